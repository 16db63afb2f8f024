/* reference.c - rope_table in double. */
#include "variants/common/reference_angles.h"

/* The tensors and attributes, in the order of op.lua. */
enum { POSITIONS, COS, SIN };
enum { BASE };

enum { BLOCK = 64 }; /* pairs */

/* What fp32 may be off; nothing where the nearest values are asked for. */
static float slack_of(const struct angles_reference *a, double value,
                      double error)
{
  return a->each ? 0 : (float)(error + 8 * 0x1p-24 * fabs(value));
}

static void put(const struct angles_reference *a, int64_t at, double value,
                double error, struct reference_out *out)
{
  out->value[at] = value;
  out->slack[at] = slack_of(a, value, error);
  out->split_slack[at] = 0;
}

reference_fn reference_rope_table;

void reference_rope_table(const struct reference_call *call,
                          struct reference_out *out)
{
  const struct angles_reference a = angles_of(call, POSITIONS, BASE);
  const int64_t half = a.rope_dim / 2;
  double f[BLOCK];

  for (int64_t first = 0; first < half; first += BLOCK) {
    const int64_t n = half - first < BLOCK ? half - first : BLOCK;

    for (int64_t i = 0; i < n; i++) f[i] = angles_frequency(&a, first + i);
    for (int64_t token = call->first; token < call->last; token++)
      for (int64_t i = 0; i < n; i++) {
        const int64_t at = (token - call->first) * half + first + i;
        const struct angle t = angles_at(&a, angles_position(&a, token), f[i]);

        put(&a, at, t.cos, t.error, &out[COS]);
        put(&a, at, t.sin, t.error, &out[SIN]);
      }
  }
}
