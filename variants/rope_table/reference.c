/* reference.c - rope_table in double. */
#include "variants/common/reference_angles.h"

/* The tensors and attributes, in the order of op.lua. */
enum { POSITIONS, COS, SIN };
enum { BASE };

/* What fp32 may be off; nothing where the nearest values are asked for. */
static float slack_of(const struct angles_reference *a, double value,
                      double error)
{
  return a->each ? 0 : (float)(error + 8 * 0x1p-24 * fabs(value));
}

static void put(const struct angles_reference *a, int64_t at, double value,
                double error, const struct reference_out *out)
{
  out->value[at] = value;
  out->slack[at] = slack_of(a, value, error);
  out->split_slack[at] = 0;
}

static void table_items(const void *plan, int64_t first, int64_t last,
                        const struct reference_out *out)
{
  const struct angles_reference *a = (const struct angles_reference *)plan;
  const int64_t half = a->rope_dim / 2;
  double f[TEAM_MINE];

  for (int64_t block = 0; block < half; block += TEAM_BLOCK) {
    const int64_t n = half - block < TEAM_BLOCK ? half - block : TEAM_BLOCK;

    for (int64_t i = 0; i < team_share(n); i++)
      f[i] = angles_frequency(a, block + team_place(i));
    for (int64_t token = first; token < last; token++)
      for (int64_t i = 0; i < team_share(n); i++) {
        const int64_t at = (token - first) * half + block + team_place(i);
        const struct angle t = angles_at(a, angles_position(a, token), f[i]);

        put(a, at, t.cos, t.error, &out[COS]);
        put(a, at, t.sin, t.error, &out[SIN]);
      }
  }
}

#ifndef REFERENCE_DEVICE
static void table_plan(const struct reference_call *call, void *out)
{
  const struct angles_reference plan = angles_of(call, POSITIONS, BASE);

  memcpy(out, &plan, sizeof plan);
}

const struct reference reference_rope_table = {
    table_plan, table_items, sizeof(struct angles_reference),
    "variants/rope_table/reference.c", "table_items"};
#endif
