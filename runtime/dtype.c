/* dtype.c - the storage types: names, sizes, exact conversion to double. */
#include "base.h"

#include <math.h>
#include <string.h>

const char *dtype_name(int64_t dtype)
{
  switch (dtype) {
#define NAME(name, value, bytes)                                               \
  case value: return #name;
    DTYPE_MAP(NAME)
#undef NAME
  }
  return "?";
}

int64_t dtype_parse(const char *name)
{
#define PARSE(word, value, bytes)                                              \
  if (strcmp(name, #word) == 0) return value;
  DTYPE_MAP(PARSE)
#undef PARSE
  return 0;
}

int64_t dtype_bytes(int64_t dtype)
{
  switch (dtype) {
#define BYTES(name, value, bytes)                                              \
  case value: return bytes;
    DTYPE_MAP(BYTES)
#undef BYTES
  }
  return 0;
}

/* A binary floating-point format with an implicit leading bit. */
struct format {
  int mantissa_bits, min_exponent, max_exponent; /* of 1.xxx * 2^e */
};

static struct format format_of(int64_t dtype)
{
  switch (dtype) {
  case DD_F16: return (struct format){10, -14, 15};
  case DD_BF16: return (struct format){7, -126, 127};
  default: return (struct format){23, -126, 127};
  }
}

double dtype_ulp(int64_t dtype, double value)
{
  struct format f = format_of(dtype);
  int exponent;

  if (!isfinite(value)) return 0;
  exponent = value == 0 ? f.min_exponent : ilogb(value);
  if (exponent < f.min_exponent) exponent = f.min_exponent;
  if (exponent > f.max_exponent) exponent = f.max_exponent;
  return ldexp(1, exponent - f.mantissa_bits);
}

/* To the nearest multiple of an ulp, ties to even; past the largest: Inf. */
double dtype_round(int64_t dtype, double value)
{
  struct format f = format_of(dtype);
  double ulp, rounded;

  if (dtype == DD_I32 || dtype == DD_I64) return rint(value);
  if (!isfinite(value)) return value;
  if (dtype == DD_F32) return (float)value;
  ulp = dtype_ulp(dtype, value);
  rounded = rint(value / ulp) * ulp; /* exact: ulp is a power of two */
  if (fabs(rounded) >= ldexp(1, f.max_exponent + 1))
    return copysign(INFINITY, value);
  return rounded;
}

static double load_small(uint16_t bits, struct format f)
{
  int exponent_bits = 15 - f.mantissa_bits;
  int exponent = bits >> f.mantissa_bits & ((1 << exponent_bits) - 1);
  int mantissa = bits & ((1 << f.mantissa_bits) - 1);
  double value;

  if (exponent == (1 << exponent_bits) - 1)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    value = ldexp(mantissa, f.min_exponent - f.mantissa_bits);
  else
    value = ldexp(mantissa + (1 << f.mantissa_bits),
                  exponent - 1 + f.min_exponent - f.mantissa_bits);
  return copysign(value, bits & 0x8000 ? -1.0 : 1.0);
}

static uint16_t store_small(double value, int64_t dtype, struct format f)
{
  int exponent_bits = 15 - f.mantissa_bits;
  uint16_t sign = signbit(value) ? 0x8000 : 0;
  uint16_t top = (uint16_t)(((1 << exponent_bits) - 1) << f.mantissa_bits);
  double rounded = fabs(dtype_round(dtype, value)), ulp;
  int exponent;

  if (isnan(value)) return 0x7fff;
  if (isinf(rounded)) return sign | top;
  if (rounded < ldexp(1, f.min_exponent))
    return sign | (uint16_t)ldexp(rounded, f.mantissa_bits - f.min_exponent);
  exponent = ilogb(rounded);
  ulp = ldexp(1, exponent - f.mantissa_bits);
  return sign | (uint16_t)(((exponent - f.min_exponent + 1)
                            << f.mantissa_bits) +
                           ((int)(rounded / ulp) - (1 << f.mantissa_bits)));
}

double dtype_load(int64_t dtype, const void *at)
{
  uint16_t small;
  float single;
  int32_t i32;
  int64_t i64;

  switch (dtype) {
  case DD_F32: memcpy(&single, at, 4); return single;
  case DD_I32: memcpy(&i32, at, 4); return i32;
  case DD_I64: memcpy(&i64, at, 8); return (double)i64;
  case DD_BF16: { /* the upper half of a float */
    uint32_t bits;
    memcpy(&small, at, 2);
    bits = (uint32_t)small << 16;
    memcpy(&single, &bits, 4);
    return single;
  }
  default: memcpy(&small, at, 2); return load_small(small, format_of(dtype));
  }
}

void dtype_store(int64_t dtype, void *at, double value)
{
  float single = (float)value;
  int32_t i32;
  int64_t i64;
  uint16_t small;

  switch (dtype) {
  case DD_F32: memcpy(at, &single, 4); break;
  case DD_I32: i32 = (int32_t)value, memcpy(at, &i32, 4); break;
  case DD_I64: i64 = (int64_t)value, memcpy(at, &i64, 8); break;
  default:
    small = store_small(value, dtype, format_of(dtype));
    memcpy(at, &small, 2);
  }
}
