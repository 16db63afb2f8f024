/* reference.c - norm in double. */
#include "variants/common/reference_rows.h"

static void plan(const struct reference_call *call, void *out)
{
  const struct rows_names names = {
      .input = "x",
      .norm2 = {"norm", "weight", "bias", "eps"},
  };

  rows_plan(call, &names, out);
}

const struct reference reference_norm = ROWS_REFERENCE(plan);
