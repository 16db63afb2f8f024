/* reference.c - norm_gate_residual in double. */
#include "variants/common/reference_rows.h"

static void plan(const struct reference_call *call, void *out)
{
  const struct rows_names names = {
      .input = "h",
      .norm1 = {"norm", "weight", "bias", "eps"},
      .residual = "x",
  };

  rows_plan(call, &names, out);
}

const struct reference reference_norm_gate_residual = ROWS_REFERENCE(plan);
