// A trial's tensors, made where they are judged.
struct FillArgs {
    fill_source source;
    char* base;
    long long count, extent[4], stride[4];
    int rank, bytes, poison, unused;
};

enum { FILL_THREADS = 256, FILL_EACH = 8, POISON = 0xffb7 }; // as in tuner/judge.h

// Where the row is, in elements.
__device__ inline long long row_place(const FillArgs& a, unsigned long long row)
{
    long long at = 0;
    for (int d = a.rank - 2; d > 0; --d) {
        const unsigned long long extent = (unsigned long long)a.extent[d], next = row / extent;
        at += (long long)(row - next * extent) * a.stride[d];
        row = next;
    }
    return a.rank > 1 ? at + (long long)row * a.stride[0] : at;
}

__device__ inline void fill_one(const FillArgs& a, unsigned long long index)
{
    const unsigned long long width = (unsigned long long)a.source.width;
    // 64-bit division costs several times as much
    const unsigned long long row = index >> 32 || width >> 32 ? index / width : (unsigned)index / (unsigned)width;
    const long long column = (long long)(index - row * width);
    char* const at = a.base + (row_place(a, row) + column) * a.bytes;
    if (a.poison) {
        for (int i = 0; i < a.bytes / 2; ++i) ((unsigned short*)at)[i] = POISON;
        return;
    }
    const fill_row kind = fill_row_of(&a.source, (long long)row);
    const unsigned long long bits = fill_bits(a.source.dtype, fill_number(&a.source, &kind, (long long)row, column));
    if (a.bytes == 2) *(unsigned short*)at = (unsigned short)bits;
    else if (a.bytes == 4) *(unsigned*)at = (unsigned)bits;
    else *(unsigned long long*)at = bits;
}

extern "C" __global__ void __launch_bounds__(256) dt_fill(const __grid_constant__ FillArgs a)
{
    const long long first = (long long)blockIdx.x * (FILL_THREADS * FILL_EACH) + threadIdx.x;
    for (int k = 0; k < FILL_EACH; ++k) {
        const long long i = first + k * FILL_THREADS;
        if (i < a.count) fill_one(a, (unsigned long long)i);
    }
}
DT_EXPORT(dt_fill, FillArgs)
