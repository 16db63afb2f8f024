// Judging on the device: all trials of a problem in two launches, which also
// put back what was there before.  dt_judge compares the elements of every
// written tensor with the reference and restores them; after it, dt_stray finds
// and restores every other byte that changed: guards, gaps, inputs.
//
// All but a few elements of a good kernel are the reference, rounded.  dt_round
// stores and judges those once; dt_judge reads the reference (12 bytes, and 4
// for a split plan) only of elements that are not, and counts differences.
#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif

enum { THREADS = 256, EACH = 16, VECTORS = 4 };

// As in tuner/judge.h: what was not written is wrong, also where a NaN is right.
#define POISON 0xffb7ffb7ffb7ffb7ull

// One per trial, zero before; of dt_judge, `wrong` and `equal` are more (or less)
// than dt_round's, modulo 2^64.  `judged` elements and `compared` vectors are what
// was looked at: a judge that did not come to work must not acquit.  `worst`
// holds the bits of a float.
struct Tally {
    unsigned long long judged, wrong, equal, compared, stray;
    unsigned worst, unused;
};

// The last of `parts` that begins at this block or before it.
template <class Part>
__device__ inline const Part& part_of_block(const Part* parts, int count)
{
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (parts[middle].first_block <= blockIdx.x) low = middle;
        else high = middle - 1;
    }
    return parts[low];
}

// ---- dt_judge: every element against the reference ---------------------------
struct Elements { // of one tensor; dense dims are merged, the last stride is 1
    char* work;
    const char* pristine; // NULL: poison
    char* rounded;        // dense
    const double* value;  // NULL: scratch, whose elements may be anything
    const float* slack;
    const float* split_slack; // NULL: none
    long long count, extent[4], stride[4];
    int rank, dtype, bytes, tally;
    unsigned first_block;
    int vectors; // nothing but whole and aligned ones, without gaps
};

struct JudgeArgs {
    const Elements* parts;
    Tally* tally;
    int count, split;
};

__device__ __noinline__ long long place_between_gaps(const Elements& p, long long index)
{
    long long at = 0;
    if (p.count < 1ll << 32) { // 64-bit division costs several times as much
        unsigned left = (unsigned)index;
        for (int d = p.rank - 1; d > 0; --d) {
            const unsigned extent = (unsigned)p.extent[d], next = left / extent;
            at += (left - next * extent) * p.stride[d];
            left = next;
        }
        return at + left * p.stride[0];
    }
    for (int d = p.rank - 1; d > 0; --d) {
        at += index % p.extent[d] * p.stride[d];
        index /= p.extent[d];
    }
    return at + index * p.stride[0];
}

__device__ inline long long place_of(const Elements& p, long long index)
{
    return p.rank == 1 ? index : place_between_gaps(p, index);
}

__device__ inline double number_of(unsigned bits, int dtype)
{
    if (dtype == 1) return __uint_as_float(bits);
    if (dtype == 3) return __uint_as_float(bits << 16);
    const unsigned exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float v = exponent == 31 ? __uint_as_float(mantissa ? 0x7fffffffu : 0x7f800000u)
                  : exponent == 0  ? mantissa * 0x1p-24f
                  : __uint_as_float((exponent + 127 - 15) << 23 | mantissa << 13);
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

struct Seen { // by one thread
    int judged, wrong, equal;
    double worst;
};

// Where one of the two is a NaN or an infinity.
__device__ __noinline__ double error_of_special(double out, double value, double allowed, int dtype)
{
    const double infinity = __uint_as_float(0x7f800000u);
    const double largest = dtype == 3 ? 0x1.fep127 : dtype == 2 ? 65504. : 0x1.fffffep127;
    if (value != value || out != out) return value != value && out != out ? 0 : infinity;
    if (fabs(value) == infinity) return out == value ? 0 : infinity;
    const bool same_sign = (__double_as_longlong(out) ^ __double_as_longlong(value)) >= 0;
    return same_sign && fabs(value) + allowed > largest ? 0 : infinity;
}

// The rule of tuner/judge.c, which a test holds it against.  a / b <= 1 is
// a <= b in IEEE arithmetic, so that most elements need no division.
__device__ inline void judge_element(double out, double value, double slack, int dtype, Seen& seen)
{
    const double infinity = __uint_as_float(0x7f800000u);
    const double ulp = ulp_of(value, dtype), allowed = ulp + slack, off = fabs(out - value);
    if (off < infinity) {
        seen.equal += off < 0.5 * ulp;
        seen.wrong += !(off <= allowed);
        if (off > seen.worst * allowed) seen.worst = off / allowed;
        return;
    }
    const double error = error_of_special(out, value, allowed, dtype);
    seen.equal += out == value || (out != out && value != value);
    seen.wrong += !(error <= 1);
    if (error > seen.worst) seen.worst = error;
}

__device__ inline void judge_bits(const Elements& p, long long index, unsigned bits, bool split, Seen& seen)
{
    if (bits == (unsigned)(p.bytes == 2 ? POISON & 0xffff : POISON)) {
        seen.wrong++;
        seen.worst = __uint_as_float(0x7f800000u);
        return;
    }
    const double more = split && p.split_slack ? p.split_slack[index] : 0;
    judge_element(number_of(bits, p.dtype), p.value[index], p.slack[index] + more, p.dtype, seen);
}

// Adds up what the threads of a block have seen.
__device__ inline void report(const Seen& seen, Tally& tally)
{
    __shared__ int judged, wrong, equal;
    __shared__ unsigned worst;
    if (threadIdx.x == 0) judged = wrong = equal = 0, worst = 0;
    __syncthreads();
    if (seen.judged) atomicAdd(&judged, seen.judged);
    if (seen.wrong) atomicAdd(&wrong, seen.wrong);
    if (seen.equal) atomicAdd(&equal, seen.equal);
    if (seen.worst > 0) atomicMax(&worst, __float_as_uint((float)seen.worst)); // not negative: bits are in order
    __syncthreads();
    if (threadIdx.x) return;
    atomicAdd(&tally.judged, (unsigned long long)judged);
    if (wrong) atomicAdd(&tally.wrong, (unsigned long long)(long long)wrong);
    if (equal) atomicAdd(&tally.equal, (unsigned long long)(long long)equal);
    if (worst) atomicMax(&tally.worst, worst);
}

__device__ inline long long first_of_block(const Elements& p)
{
    return (long long)(blockIdx.x - p.first_block) * (THREADS * EACH) + threadIdx.x;
}

// An element that is not the rounded reference: what it adds to what was seen.
// By value, so that a thread's sums stay in registers.
__device__ __noinline__ Seen judge_other(const Elements& p, long long index, unsigned got, unsigned rounded, bool split)
{
    Seen other = {0, 0, 0, 0}, right = {0, 0, 0, 0};
    judge_bits(p, index, got, split, other);
    judge_bits(p, index, rounded, split, right);
    return {0, other.wrong - right.wrong, other.equal - right.equal, other.worst};
}

template <class Bits>
__device__ inline void judge_one(const Elements& p, long long index, long long at, bool split, Seen& seen)
{
    const Bits got = ((const Bits*)p.work)[at];
    if (sizeof(Bits) <= 4 && p.value) {
        const Bits rounded = ((const Bits*)p.rounded)[index];
        seen.judged++;
        if (got != rounded) {
            const Seen other = judge_other(p, index, (unsigned)got, (unsigned)rounded, split);
            seen.wrong += other.wrong;
            seen.equal += other.equal;
            seen.worst = fmax(seen.worst, other.worst);
        }
    }
    ((Bits*)p.work)[at] = p.pristine ? ((const Bits*)p.pristine)[at] : (Bits)POISON;
}

template <class Bits>
__device__ inline void judge_block(const Elements& p, bool split, Seen& seen)
{
    const long long first = first_of_block(p);
#pragma unroll 4
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS;
        if (i < p.count) judge_one<Bits>(p, i, place_of(p, i), split, seen);
    }
}

__device__ inline bool same(const uint4& a, const uint4& b)
{
    return a.x == b.x && a.y == b.y && a.z == b.z && a.w == b.w;
}

// Most vectors are those of the rounded reference, and the loads of all that a
// thread has are in flight together.
template <class Bits>
__device__ inline void judge_vectors(const Elements& p, bool split, Seen& seen)
{
    enum { PER = 16 / sizeof(Bits), MINE = EACH / PER };
    uint4* const work = (uint4*)p.work;
    const uint4* const pristine = (const uint4*)p.pristine;
    const long long count = p.count / PER;
    const long long first = (long long)(blockIdx.x - p.first_block) * (THREADS * MINE) + threadIdx.x;
    uint4 got[MINE], rounded[MINE];
#pragma unroll
    for (int j = 0; j < MINE; ++j) {
        const long long v = first + j * THREADS;
        got[j] = rounded[j] = make_uint4(0, 0, 0, 0);
        if (v >= count) continue; // and not the last one's: that is being put back
        got[j] = work[v];
        rounded[j] = ((const uint4*)p.rounded)[v];
    }
#pragma unroll
    for (int j = 0; j < MINE; ++j) {
        const long long v = first + j * THREADS;
        if (v >= count) break;
        if (same(got[j], rounded[j])) {
            seen.judged += PER;
            work[v] = pristine ? pristine[v] : make_uint4(POISON & ~0u, POISON & ~0u, POISON & ~0u, POISON & ~0u);
            continue;
        }
#pragma unroll 1
        for (long long i = v * PER; i < (v + 1) * PER; ++i) judge_one<Bits>(p, i, i, split, seen);
    }
}

extern "C" __global__ void __launch_bounds__(256) dt_judge(const __grid_constant__ JudgeArgs a)
{
    const Elements& p = part_of_block(a.parts, a.count);
    Seen seen = {0, 0, 0, 0};
    if (p.vectors && p.bytes == 2) judge_vectors<unsigned short>(p, a.split, seen);
    else if (p.vectors) judge_vectors<unsigned>(p, a.split, seen);
    else if (p.bytes == 2) judge_block<unsigned short>(p, a.split, seen);
    else if (p.bytes == 4) judge_block<unsigned>(p, a.split, seen);
    else judge_block<unsigned long long>(p, a.split, seen);
    report(seen, a.tally[p.tally]);
}
DT_EXPORT(dt_judge, JudgeArgs)

// ---- dt_round: the reference in the tensors' dtype -----------------------------
// To nearest.  Were it not, dt_judge's counts would still be right, and its
// worst error too large at most.  A rounding can be wrong itself, where a value's
// slack is a NaN; what a kernel leaves there may be right, so that only the count,
// which dt_judge corrects, is told.
__device__ inline unsigned bits_of(double value, int dtype)
{
    if (dtype == 1) return __float_as_uint((float)value);
    const int mantissa = dtype == 3 ? 7 : 10, low = dtype == 3 ? -126 : -14;
    const unsigned infinity = dtype == 3 ? 0x7f80 : 0x7c00;
    const unsigned sign = __double_as_longlong(value) < 0 ? 0x8000 : 0;
    if (value != value) return infinity | 1;
    if (fabs(value) == __uint_as_float(0x7f800000u)) return sign | infinity;
    const double ulp = ulp_of(value, dtype), rounded = rint(fabs(value) / ulp) * ulp;
    if (rounded < __longlong_as_double((long long)(low + 1023) << 52)) // subnormal
        return sign | (unsigned)(rounded / ulp);
    const long long bits = __double_as_longlong(rounded) - ((long long)(low - 1 + 1023) << 52);
    return sign | (unsigned)min(bits >> (52 - mantissa), (long long)infinity);
}

extern "C" __global__ void __launch_bounds__(256) dt_round(const __grid_constant__ JudgeArgs a)
{
    const Elements& p = part_of_block(a.parts, a.count);
    const long long first = first_of_block(p);
    Seen seen = {0, 0, 0, 0};
    for (int k = 0; k < EACH && p.value; ++k) {
        const long long i = first + k * THREADS;
        if (i >= p.count) break;
        const unsigned bits = bits_of(p.value[i], p.dtype);
        if (p.bytes == 2) ((unsigned short*)p.rounded)[i] = (unsigned short)bits;
        else ((unsigned*)p.rounded)[i] = bits;
        Seen one = {0, 0, 0, 0};
        judge_bits(p, i, bits, a.split, one);
        seen.judged++;
        seen.wrong += one.wrong;
        seen.equal += one.equal;
        if (!one.wrong) seen.worst = fmax(seen.worst, one.worst);
    }
    report(seen, a.tally[p.tally]);
}
DT_EXPORT(dt_round, JudgeArgs)

// ---- dt_stray: whatever else changed -----------------------------------------
struct Range { // of an allocation, in vectors of 16 bytes
    uint4* work;
    const uint4* pristine;
    long long count;
    unsigned first_block;
    int tally;
};

struct StrayArgs {
    const Range* parts;
    Tally* tally;
    long long count;
};

extern "C" __global__ void __launch_bounds__(256) dt_stray(const __grid_constant__ StrayArgs a)
{
    const Range& p = part_of_block(a.parts, (int)a.count);
    const long long begin = (long long)(blockIdx.x - p.first_block) * (THREADS * VECTORS);
    const long long first = begin + threadIdx.x;
    Tally& tally = a.tally[p.tally];
    if (threadIdx.x == 0)
        atomicAdd(&tally.compared, (unsigned long long)min(p.count - begin, (long long)(THREADS * VECTORS)));
    uint4 now[VECTORS], was[VECTORS];
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
        const long long i = first + j * THREADS;
        if (i >= p.count) continue;
        now[j] = p.work[i];
        was[j] = p.pristine[i];
    }
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
        const long long i = first + j * THREADS;
        if (i >= p.count) return;
        if (same(now[j], was[j])) continue;
        p.work[i] = was[j];
        atomicAdd(&tally.stray, 1ull);
    }
}
DT_EXPORT(dt_stray, StrayArgs)
