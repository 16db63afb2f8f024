/* reference.c - scale_shift in double. */
#include "variants/common/reference_rows.h"

static void plan(const struct reference_call *call, void *out)
{
  const struct rows_names names = {
      .input = "x",
      .modulate = true,
  };

  rows_plan(call, &names, out);
}

const struct reference reference_scale_shift = ROWS_REFERENCE(plan);
