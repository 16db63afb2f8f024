// Comparing on the device: for outputs too large to bring back.
#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif

// ---- dt_judge: every element against the reference ---------------------------
// The same rule as tuner/judge.c, which a test holds it against.
struct JudgeArgs {
    const void* base;
    const double* value;
    const float* slack;
    const float* split_slack;
    unsigned long long* result; // wrong, bit-equal, first wrong, worst (float bits)
    long long extent[4], stride[4];
    int rank, dtype;
};

__device__ inline double load_element(const void* base, long long at, int dtype)
{
    if (dtype == 1) return ((const float*)base)[at];
    const unsigned bits = ((const unsigned short*)base)[at];
    if (dtype == 3) return __uint_as_float(bits << 16);
    const unsigned exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double v = exponent == 31 ? (mantissa ? __uint_as_float(0x7fffffffu) : __uint_as_float(0x7f800000u))
             : exponent == 0  ? mantissa * 0x1p-24
                              : (1024 + mantissa) * __uint_as_float((exponent + 127 - 25) << 23);
    return bits & 0x8000 ? -v : v;
}

__device__ inline double ulp_of(double value, int dtype)
{
    const int mantissa = dtype == 3 ? 7 : dtype == 2 ? 10 : 23;
    const int low = dtype == 2 ? -14 : -126;
    int exponent = (int)(__double_as_longlong(value) >> 52 & 0x7ff) - 1023;
    if (exponent < low) exponent = low;
    return __longlong_as_double((long long)(exponent - mantissa + 1023) << 52);
}

__device__ inline double error_of(double out, double value, double slack, int dtype)
{
    const double infinity = __uint_as_float(0x7f800000u);
    const double largest = dtype == 3 ? 0x1.fep127 : dtype == 2 ? 65504. : 0x1.fffffep127;
    if (value != value || out != out) return value != value && out != out ? 0 : infinity;
    if (value == infinity || value == -infinity) return out == value ? 0 : infinity;
    const double allowed = ulp_of(value, dtype) + slack;
    if (out != infinity && out != -infinity) return fabs(out - value) / allowed;
    return (out < 0) == (value < 0) && fabs(value) + allowed > largest ? 0 : infinity;
}

extern "C" __global__ void __launch_bounds__(256) dt_judge(const __grid_constant__ JudgeArgs a)
{
    long long count = 1;
    for (int d = 0; d < a.rank; ++d) count *= a.extent[d];
    unsigned long long wrong = 0, equal = 0, first = ~0ull;
    float worst = 0;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (long long)gridDim.x * blockDim.x) {
        long long at = 0, left = i;
        for (int d = a.rank - 1; d >= 0; --d) {
            at += left % a.extent[d] * a.stride[d];
            left /= a.extent[d];
        }
        const double value = a.value[i], out = load_element(a.base, at, a.dtype);
        const double slack = (double)a.slack[i] + (a.split_slack ? (double)a.split_slack[i] : 0.);
        const double error = error_of(out, value, slack, a.dtype);
        if (out == value || fabs(out - value) < 0.5 * ulp_of(value, a.dtype) || (value != value && out != out)) equal++;
        if ((float)error > worst) worst = (float)error;
        if (!(error <= 1)) {
            wrong++;
            if ((unsigned long long)i < first) first = i;
        }
    }
    if (wrong) {
        atomicAdd(&a.result[0], wrong);
        atomicMin(&a.result[2], first);
    }
    if (equal) atomicAdd(&a.result[1], equal);
    atomicMax((unsigned*)&a.result[3], __float_as_uint(worst)); // not negative: bits are in order
}
DT_EXPORT(dt_judge, JudgeArgs)

// ---- dt_same: are two ranges of bytes equal? ---------------------------------
struct SameArgs {
    const unsigned char* a;
    const unsigned char* b;
    unsigned long long* result; // different, unused, first different
    long long bytes;
};

extern "C" __global__ void __launch_bounds__(256) dt_same(const __grid_constant__ SameArgs s)
{
    unsigned long long different = 0, first = ~0ull;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < s.bytes;
         i += (long long)gridDim.x * blockDim.x)
        if (s.a[i] != s.b[i]) {
            different++;
            if ((unsigned long long)i < first) first = i;
        }
    if (different) {
        atomicAdd(&s.result[0], different);
        atomicMin(&s.result[2], first);
    }
}
DT_EXPORT(dt_same, SameArgs)
