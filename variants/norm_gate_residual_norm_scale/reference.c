/* reference.c - norm_gate_residual_norm_scale in double. */
#include "variants/common/reference_rows.h"

static void plan(const struct reference_call *call, void *out)
{
  const struct rows_names names = {
      .input = "h",
      .norm1 = {"norm", "weight", "bias", "eps"},
      .residual = "x",
      .sum = "r_out",
      .norm2 = {"norm2", "weight2", "bias2", "eps2"},
      .modulate = true,
  };

  rows_plan(call, &names, out);
}

const struct reference reference_norm_gate_residual_norm_scale =
    ROWS_REFERENCE(plan);
