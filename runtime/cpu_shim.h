/*
 * cpu_shim.h - CUDA's words for a host C++ compiler.
 *
 * compiler_cpu.c puts this file in front of a kernel's generated text and
 * compiles both as one C++20 unit; cpu_fiber.cpp runs the result with one fiber
 * per CUDA thread.  It includes nothing: kernels are header-free, and a
 * standard header costs more than compiling a kernel does.
 *
 * The first part is also read by the runtime (with DT_CPU_INTERFACE_ONLY), in C
 * and C++, so that both sides agree on the structs between them.
 *
 * Where CUDA leaves a thing undefined, this device is as unkind as it can be:
 * shared memory starts as NaN bytes, a shuffle from a lane that takes no part
 * gives NaN bytes, and a shuffle does not order memory.
 */
#ifndef DIFFTUNE_CPU_SHIM_H
#define DIFFTUNE_CPU_SHIM_H

struct dt_cpu_index {
  unsigned x, y, z;
};

/* What a lane wants of a warp call, where it is not the number of the lane
 * whose value it reads. */
enum { DT_CPU_BALLOT = -1, DT_CPU_SYNC = -2 };

/* The runtime, as kernels see it.  Fibers never run at the same time, so one
 * `thread` is enough: it is that of the fiber now running. */
struct dt_cpu_api {
  struct dt_cpu_index thread, block, block_dim, grid_dim;
  void *dynamic_shared; /* as large as the launch said, to the byte */
  /* Waits for all threads of the block that have not returned. */
  void (*block_meet)(const char *op, const char *file, int line);
  /* Waits for all lanes of the mask at this call.  Gives the value of lane
   * `want`, the votes of the mask's lanes, or 0 for DT_CPU_SYNC. */
  unsigned long long (*warp_meet)(const char *op, unsigned mask,
                                  unsigned long long value, int want,
                                  const char *file, int line);
  /* Ends the launch: a vector access at an address that is not a multiple of
   * its size, which is CUDA's error 716. */
  void (*misaligned)(const char *op, const void *address, unsigned long size,
                     const char *file, int line);
};

/* One entry of a unit; exported as NAME_cpu. */
struct dt_cpu_kernel {
  void (*run)(const void *args);
  unsigned long args_size;
  char *shared_begin, *shared_end; /* the unit's __shared__ variables */
};

#ifndef DT_CPU_INTERFACE_ONLY

#define DT_CPU 1

/* ---- The unit and its entries ----------------------------------------- */

/* __shared__ variables are the only zero-initialised ones of a unit, so they
 * are its .bss; the linker says where that is.  (A section of their own would
 * be plainer, but g++ 12 ignores section attributes inside templates.) */
extern "C" {
extern __attribute__((visibility("hidden"))) char __bss_start[], _end[];
}
static __attribute__((section(".data"))) const dt_cpu_api *dt_cpu;

extern "C" __attribute__((visibility("default"))) void
dt_cpu_bind(const dt_cpu_api *api)
{
  dt_cpu = api;
}

/* The kernels' text stands in an unnamed namespace, which the entry leaves for
 * a moment.  Unused functions are dropped early, and no variable of a template
 * can be merged with one of another unit. */
#define DT_EXPORT(NAME, ARGS)                                                  \
  static void NAME##_run(const void *args) { NAME(*(const ARGS *)args); }      \
  }                                                                            \
  extern "C" {                                                                 \
  extern __attribute__((visibility("default")))                                \
  const dt_cpu_kernel NAME##_cpu;                                              \
  const dt_cpu_kernel NAME##_cpu = {NAME##_run, sizeof(ARGS), __bss_start,     \
                                    _end};                                     \
  }                                                                            \
  namespace {

/* ---- Words ------------------------------------------------------------ */

#define DT_CPU_FN(RESULT, NAME, ARGS, VALUE)                                   \
  static inline RESULT NAME ARGS                                               \
  {                                                                            \
    return VALUE;                                                              \
  }

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define DT_DYN_SMEM(type, name) type *name = (type *)dt_cpu->dynamic_shared

#define threadIdx (dt_cpu->thread)
#define blockIdx (dt_cpu->block)
#define blockDim (dt_cpu->block_dim)
#define gridDim (dt_cpu->grid_dim)
static const int warpSize = 32;

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
#ifndef INFINITY
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#endif

#ifndef __clang__
#define __builtin_assume(condition) ((void)0)
#endif

/* ---- Vectors: aligned as on the device, so that UBSan sees a misaligned
 * access, which is CUDA's error 716 ---------------------------------------- */

#define DT_CPU_VECTORS(T, NAME, A2, A4)                                        \
  struct NAME##1 { T x; };                                                     \
  struct __align__(A2) NAME##2 { T x, y; };                                    \
  struct NAME##3 { T x, y, z; };                                               \
  struct __align__(A4) NAME##4 { T x, y, z, w; };                              \
  static inline NAME##1 make_##NAME##1(T x) { return {x}; }                    \
  static inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }            \
  static inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }    \
  static inline NAME##4 make_##NAME##4(T x, T y, T z, T w)                     \
  {                                                                            \
    return {x, y, z, w};                                                       \
  }
DT_CPU_VECTORS(signed char, char, 2, 4)
DT_CPU_VECTORS(unsigned char, uchar, 2, 4)
DT_CPU_VECTORS(short, short, 4, 8)
DT_CPU_VECTORS(unsigned short, ushort, 4, 8)
DT_CPU_VECTORS(int, int, 8, 16)
DT_CPU_VECTORS(unsigned, uint, 8, 16)
DT_CPU_VECTORS(float, float, 8, 16)
DT_CPU_VECTORS(long, long, 16, 16)
DT_CPU_VECTORS(unsigned long, ulong, 16, 16)
DT_CPU_VECTORS(long long, longlong, 16, 16)
DT_CPU_VECTORS(unsigned long long, ulonglong, 16, 16)
DT_CPU_VECTORS(double, double, 16, 16)
#undef DT_CPU_VECTORS

/* ---- Loads and stores with a cache hint: here only loads and stores --- */

/* Where a call is: the last arguments of whatever may have to be named. */
#define DT_CPU_HERE                                                            \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <class T>
static inline void dt_cpu_check(const char *op, const T *address,
                                const char *file, int line)
{
  if ((size_t)address % alignof(T))
    dt_cpu->misaligned(op, address, alignof(T), file, line);
}
template <class T> struct dt_cpu_same {
  typedef T type;
};
#define DT_CPU_LOAD(NAME)                                                      \
  template <class T> static inline T NAME(const T *from, DT_CPU_HERE)          \
  {                                                                            \
    dt_cpu_check(#NAME, from, file, line);                                     \
    return *from;                                                              \
  }
#define DT_CPU_STORE(NAME)                                                     \
  template <class T>                                                           \
  static inline void NAME(T *to, typename dt_cpu_same<T>::type value,          \
                          DT_CPU_HERE)                                         \
  {                                                                            \
    dt_cpu_check(#NAME, to, file, line);                                       \
    *to = value;                                                               \
  }
DT_CPU_LOAD(__ldg)
DT_CPU_LOAD(__ldca)
DT_CPU_LOAD(__ldcg)
DT_CPU_LOAD(__ldcs)
DT_CPU_LOAD(__ldcv)
DT_CPU_LOAD(__ldlu)
DT_CPU_STORE(__stcg)
DT_CPU_STORE(__stcs)
DT_CPU_STORE(__stwb)
DT_CPU_STORE(__stwt)
#undef DT_CPU_LOAD
#undef DT_CPU_STORE

/* ---- Bits ------------------------------------------------------------- */

extern "C" {
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);
}
template <class To, class From> static inline To dt_cpu_bits(From from)
{
  static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps the size");
  return __builtin_bit_cast(To, from);
}
DT_CPU_FN(unsigned, __float_as_uint, (float v), dt_cpu_bits<unsigned>(v))
DT_CPU_FN(int, __float_as_int, (float v), dt_cpu_bits<int>(v))
DT_CPU_FN(float, __uint_as_float, (unsigned v), dt_cpu_bits<float>(v))
DT_CPU_FN(float, __int_as_float, (int v), dt_cpu_bits<float>(v))
DT_CPU_FN(long long, __double_as_longlong, (double v),
          dt_cpu_bits<long long>(v))
DT_CPU_FN(double, __longlong_as_double, (long long v), dt_cpu_bits<double>(v))

DT_CPU_FN(int, __popc, (unsigned v), __builtin_popcount(v))
DT_CPU_FN(int, __popcll, (unsigned long long v), __builtin_popcountll(v))
DT_CPU_FN(int, __ffs, (int v), __builtin_ffs(v))
DT_CPU_FN(int, __ffsll, (long long v), __builtin_ffsll(v))
DT_CPU_FN(int, __clz, (int v), v ? __builtin_clz((unsigned)v) : 32)
DT_CPU_FN(int, __clzll, (long long v),
          v ? __builtin_clzll((unsigned long long)v) : 64)
static inline void __trap(void) { __builtin_trap(); }

static inline unsigned __umulhi(unsigned a, unsigned b)
{
  return (unsigned)((unsigned long long)a * b >> 32);
}
DT_CPU_FN(int, __mulhi, (int a, int b), (int)((long long)a * b >> 32))
static inline unsigned long long __umul64hi(unsigned long long a,
                                            unsigned long long b)
{
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned long long dt_cpu_join(unsigned low, unsigned high)
{
  return (unsigned long long)high << 32 | low;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by)
{
  return (unsigned)(dt_cpu_join(low, high) >> (by & 31));
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by)
{
  return (unsigned)(dt_cpu_join(low, high) << (by & 31) >> 32);
}
static inline unsigned __brev(unsigned v)
{
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
  return r;
}
/* Selector digits with their high bit set (copies of a sign) included. */
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
  const unsigned long long both = dt_cpu_join(a, b);
  unsigned r = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned digit = selector >> 4 * i & 15;
    const unsigned byte = (unsigned)(both >> 8 * (digit & 7)) & 255;
    r |= (digit & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
  }
  return r;
}

/* ---- 16-bit floats: to nearest even; a NaN becomes 0x7fff as by cvt */

static inline unsigned short dt_cpu_f32_to_f16(float value)
{
  const unsigned bits = __float_as_uint(value);
  const unsigned sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;

  if (size > 0x7f800000) return 0x7fff;
  if (size >= 0x477ff000) return (unsigned short)(sign | 0x7c00); /* 65520 */
  if (size < 0x38800000) { /* subnormal: the last place of 0.5f is 2^-24 */
    const float sum = __uint_as_float(size) + 0.5f;
    return (unsigned short)(sign | (__float_as_uint(sum) - 0x3f000000));
  }
  const unsigned odd = size >> 13 & 1;
  return (unsigned short)(sign | (size + 0xfff + odd - 0x38000000) >> 13);
}
static inline float dt_cpu_f16_to_f32(unsigned short value)
{
  const unsigned sign = (value & 0x8000u) << 16, size = value & 0x7fffu;
  unsigned wide = (size << 13) + 0x38000000;

  if (size >= 0x7c00) wide = 0x7f800000 | (size & 0x3ff) << 13;
  if (size < 0x400) wide = __float_as_uint((float)size * 0x1p-24f);
  return __uint_as_float(sign | wide);
}
static inline unsigned short dt_cpu_f32_to_bf16(float value)
{
  const unsigned bits = __float_as_uint(value);

  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline float dt_cpu_bf16_to_f32(unsigned short value)
{
  return __uint_as_float((unsigned)value << 16);
}

/* ---- Mathematics: libm's, whose errors are no larger than CUDA's ------ */

#define DT_CPU_MATH_1(X)                                                       \
  X(sqrt) X(fabs) X(floor) X(ceil) X(trunc) X(rint) X(round) X(nearbyint)      \
  X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sin) X(cos)       \
  X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(erf) X(erfc) X(cbrt)
#define DT_CPU_MATH_2(X)                                                       \
  X(fmax) X(fmin) X(fmod) X(pow) X(atan2) X(copysign) X(hypot)
#define DT_CPU_DECLARE(F) float F##f(float) noexcept; double F(double) noexcept;
extern "C" {
DT_CPU_MATH_1(DT_CPU_DECLARE)
#undef DT_CPU_DECLARE
#define DT_CPU_DECLARE(F)                                                      \
  float F##f(float, float) noexcept; double F(double, double) noexcept;
DT_CPU_MATH_2(DT_CPU_DECLARE)
#undef DT_CPU_DECLARE
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float ldexpf(float, int) noexcept;
double ldexp(double, int) noexcept;
void sincosf(float, float *, float *) noexcept;
void sincos(double, double *, double *) noexcept;
int abs(int) noexcept;
}
#undef DT_CPU_MATH_1
#undef DT_CPU_MATH_2

DT_CPU_FN(float, rsqrtf, (float v), 1.0f / __builtin_sqrtf(v))
DT_CPU_FN(double, rsqrt, (double v), 1.0 / __builtin_sqrt(v))
DT_CPU_FN(float, exp10f, (float v), powf(10.0f, v))
DT_CPU_FN(float, __frsqrt_rn, (float v),
          (float)(1.0 / __builtin_sqrt((double)v)))
DT_CPU_FN(float, __fsqrt_rn, (float v), __builtin_sqrtf(v))
DT_CPU_FN(float, __frcp_rn, (float v), 1.0f / v)
DT_CPU_FN(float, __fadd_rn, (float a, float b), a + b)
DT_CPU_FN(float, __fsub_rn, (float a, float b), a - b)
DT_CPU_FN(float, __fmul_rn, (float a, float b), a * b)
DT_CPU_FN(float, __fdiv_rn, (float a, float b), a / b)
DT_CPU_FN(float, __fmaf_rn, (float a, float b, float c), fmaf(a, b, c))
DT_CPU_FN(double, __dadd_rn, (double a, double b), a + b)
DT_CPU_FN(double, __dmul_rn, (double a, double b), a * b)
DT_CPU_FN(double, __fma_rn, (double a, double b, double c), fma(a, b, c))
DT_CPU_FN(float, __fdividef, (float a, float b), a / b)
DT_CPU_FN(float, __expf, (float v), expf(v))
DT_CPU_FN(float, __exp10f, (float v), exp10f(v))
DT_CPU_FN(float, __logf, (float v), logf(v))
DT_CPU_FN(float, __log2f, (float v), log2f(v))
DT_CPU_FN(float, __log10f, (float v), log10f(v))
DT_CPU_FN(float, __powf, (float a, float b), powf(a, b))
DT_CPU_FN(float, __sinf, (float v), sinf(v))
DT_CPU_FN(float, __cosf, (float v), cosf(v))
DT_CPU_FN(float, __tanf, (float v), tanf(v))
static inline void __sincosf(float v, float *s, float *c) { sincosf(v, s, c); }
DT_CPU_FN(float, __saturatef, (float v),
          v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f)
DT_CPU_FN(bool, isnan, (float v), __builtin_isnan(v))
DT_CPU_FN(bool, isnan, (double v), __builtin_isnan(v))
DT_CPU_FN(bool, isinf, (float v), __builtin_isinf(v))
DT_CPU_FN(bool, isinf, (double v), __builtin_isinf(v))
DT_CPU_FN(bool, isfinite, (float v), __builtin_isfinite(v))
DT_CPU_FN(bool, isfinite, (double v), __builtin_isfinite(v))
DT_CPU_FN(float, abs, (float v), __builtin_fabsf(v))
DT_CPU_FN(double, abs, (double v), __builtin_fabs(v))
DT_CPU_FN(long, abs, (long v), v < 0 ? -v : v)
DT_CPU_FN(long long, abs, (long long v), v < 0 ? -v : v)

/* Conversions saturate and take NaN to 0, as cvt does. */
template <class T>
static inline T dt_cpu_integer(double v, double low, double high)
{
  if (__builtin_isnan(v)) return 0;
  return v <= low ? (T)low : v >= high ? (T)high : (T)v;
}
static inline int dt_cpu_int(double v)
{
  return dt_cpu_integer<int>(v, -2147483648.0, 2147483647.0);
}
static inline unsigned dt_cpu_uint(double v)
{
  return dt_cpu_integer<unsigned>(v, 0.0, 4294967295.0);
}
DT_CPU_FN(int, __float2int_rn, (float v), dt_cpu_int(rintf(v)))
DT_CPU_FN(int, __float2int_rz, (float v), dt_cpu_int(truncf(v)))
DT_CPU_FN(int, __float2int_rd, (float v), dt_cpu_int(floorf(v)))
DT_CPU_FN(int, __float2int_ru, (float v), dt_cpu_int(ceilf(v)))
DT_CPU_FN(unsigned, __float2uint_rn, (float v), dt_cpu_uint(rintf(v)))
DT_CPU_FN(unsigned, __float2uint_rz, (float v), dt_cpu_uint(truncf(v)))
DT_CPU_FN(float, __int2float_rn, (int v), (float)v)
DT_CPU_FN(float, __uint2float_rn, (unsigned v), (float)v)
DT_CPU_FN(float, __ll2float_rn, (long long v), (float)v)
DT_CPU_FN(double, __ll2double_rn, (long long v), (double)v)
DT_CPU_FN(float, __double2float_rn, (double v), (float)v)

/* min and max for the pairs CUDA has; an unsigned operand makes it unsigned. */
#define DT_CPU_MIN_MAX(R, A, B)                                                \
  static inline R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; }          \
  static inline R max(A a, B b) { return (R)a < (R)b ? (R)b : (R)a; }
#define DT_CPU_MIN_MAX_INTEGER(S, U)                                           \
  DT_CPU_MIN_MAX(S, S, S)                                                      \
  DT_CPU_MIN_MAX(U, U, U) DT_CPU_MIN_MAX(U, S, U) DT_CPU_MIN_MAX(U, U, S)
DT_CPU_MIN_MAX_INTEGER(int, unsigned)
DT_CPU_MIN_MAX_INTEGER(long, unsigned long)
DT_CPU_MIN_MAX_INTEGER(long long, unsigned long long)
#undef DT_CPU_MIN_MAX_INTEGER
#undef DT_CPU_MIN_MAX
DT_CPU_FN(float, min, (float a, float b), __builtin_fminf(a, b))
DT_CPU_FN(float, max, (float a, float b), __builtin_fmaxf(a, b))
DT_CPU_FN(double, min, (double a, double b), __builtin_fmin(a, b))
DT_CPU_FN(double, max, (double a, double b), __builtin_fmax(a, b))
DT_CPU_FN(double, min, (float a, double b), __builtin_fmin(a, b))
DT_CPU_FN(double, max, (float a, double b), __builtin_fmax(a, b))
DT_CPU_FN(double, min, (double a, float b), __builtin_fmin(a, b))
DT_CPU_FN(double, max, (double a, float b), __builtin_fmax(a, b))

/* ---- Atomics: relaxed, as on the device ------------------------------- */

template <class T, class F> static inline T dt_cpu_atomic(T *at, F change)
{
  T seen, next;

  __atomic_load(at, &seen, __ATOMIC_RELAXED);
  do next = change(seen);
  while (!__atomic_compare_exchange(at, &seen, &next, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED));
  return seen;
}
#define DT_CPU_ATOMIC(T, NAME, RESULT)                                         \
  static inline T NAME(T *at, T v)                                             \
  {                                                                            \
    return dt_cpu_atomic(at, [v](T old) { return (T)(RESULT); });              \
  }
#define DT_CPU_ATOMIC_NUMBER(T)                                                \
  DT_CPU_ATOMIC(T, atomicAdd, old + v) DT_CPU_ATOMIC(T, atomicExch, v)
#define DT_CPU_ATOMIC_INTEGER(T)                                               \
  DT_CPU_ATOMIC_NUMBER(T)                                                      \
  DT_CPU_ATOMIC(T, atomicMin, old < v ? old : v)                               \
  DT_CPU_ATOMIC(T, atomicMax, old < v ? v : old)                               \
  DT_CPU_ATOMIC(T, atomicAnd, old & v)                                         \
  DT_CPU_ATOMIC(T, atomicOr, old | v)                                          \
  static inline T atomicCAS(T *at, T expected, T v)                            \
  {                                                                            \
    return dt_cpu_atomic(at, [=](T old) { return old == expected ? v : old; });\
  }
DT_CPU_ATOMIC_NUMBER(float)
DT_CPU_ATOMIC_NUMBER(double)
DT_CPU_ATOMIC_INTEGER(int)
DT_CPU_ATOMIC_INTEGER(unsigned)
DT_CPU_ATOMIC_INTEGER(unsigned long long)
#undef DT_CPU_ATOMIC_INTEGER
#undef DT_CPU_ATOMIC_NUMBER
#undef DT_CPU_ATOMIC

static inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __threadfence(); }

/* ---- Meetings of a block and of a warp -------------------------------- */

static inline void __syncthreads(DT_CPU_HERE)
{
  dt_cpu->block_meet("__syncthreads", file, line);
}
static inline void __syncwarp(unsigned mask = 0xffffffff, DT_CPU_HERE)
{
  dt_cpu->warp_meet("__syncwarp", mask, 0, DT_CPU_SYNC, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, DT_CPU_HERE)
{
  return (unsigned)dt_cpu->warp_meet("__ballot_sync", mask, predicate != 0,
                                     DT_CPU_BALLOT, file, line);
}
static inline int __any_sync(unsigned mask, int predicate, DT_CPU_HERE)
{
  return dt_cpu->warp_meet("__any_sync", mask, predicate != 0, DT_CPU_BALLOT,
                           file, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, DT_CPU_HERE)
{
  return dt_cpu->warp_meet("__all_sync", mask, predicate != 0, DT_CPU_BALLOT,
                           file, line) == mask;
}

/* CUDA promises only that the caller is in it, so it is all there is. */
DT_CPU_FN(unsigned, __activemask, (), 1u << (threadIdx.x & 31))

/* Which lane a shuffle reads, as the PTX manual computes it: a lane past the
 * last of its segment (before the first, for up) reads itself. */
struct dt_cpu_segment {
  int lane, first, last;
  explicit dt_cpu_segment(int width)
      : lane((int)(threadIdx.x & 31)), first(lane & (32 - width) & 31),
        last(first | (width - 1))
  {
  }
  int index(int from) const { return first | (from & (last - first)); }
  int up(unsigned by) const { return not_before(lane - (int)(by & 31)); }
  int down(unsigned by) const { return not_after(lane + (int)(by & 31)); }
  int bit(int by) const { return not_after(lane ^ (by & 31)); }
  int not_before(int from) const { return from >= first ? from : lane; }
  int not_after(int from) const { return from <= last ? from : lane; }
};

template <class T>
static inline T dt_cpu_shuffle(const char *op, unsigned mask, T value, int want,
                               const char *file, int line)
{
  unsigned long long bits = 0;

  static_assert(sizeof(T) <= sizeof bits, "a shuffle moves up to 8 bytes");
  memcpy(&bits, &value, sizeof value);
  bits = dt_cpu->warp_meet(op, mask, bits, want, file, line);
  memcpy(&value, &bits, sizeof value);
  return value;
}
#define DT_CPU_SHUFFLE(NAME, T, BY, WANT)                                      \
  static inline T NAME(unsigned mask, T value, BY by, int width = 32,          \
                       DT_CPU_HERE)                                            \
  {                                                                            \
    return dt_cpu_shuffle(#NAME, mask, value, dt_cpu_segment(width).WANT(by),  \
                          file, line);                                         \
  }
#define DT_CPU_SHUFFLES(T)                                                     \
  DT_CPU_SHUFFLE(__shfl_sync, T, int, index)                                   \
  DT_CPU_SHUFFLE(__shfl_up_sync, T, unsigned, up)                              \
  DT_CPU_SHUFFLE(__shfl_down_sync, T, unsigned, down)                          \
  DT_CPU_SHUFFLE(__shfl_xor_sync, T, int, bit)
DT_CPU_SHUFFLES(int)
DT_CPU_SHUFFLES(unsigned)
DT_CPU_SHUFFLES(long)
DT_CPU_SHUFFLES(unsigned long)
DT_CPU_SHUFFLES(long long)
DT_CPU_SHUFFLES(unsigned long long)
DT_CPU_SHUFFLES(float)
DT_CPU_SHUFFLES(double)
#undef DT_CPU_SHUFFLES
#undef DT_CPU_SHUFFLE
#undef DT_CPU_HERE

/* ---- The kernels' text follows, and a closing brace ------------------- */
namespace {

#endif
#endif
