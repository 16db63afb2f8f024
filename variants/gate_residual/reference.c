/* reference.c - gate_residual in double. */
#include "variants/common/reference_rows.h"

static void plan(const struct reference_call *call, void *out)
{
  const struct rows_names names = {
      .input = "h",
      .residual = "x",
  };

  rows_plan(call, &names, out);
}

const struct reference reference_gate_residual = ROWS_REFERENCE(plan);
