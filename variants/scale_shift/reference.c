/* reference.c - scale_shift in double. */
#include "variants/common/reference_rows.h"

reference_fn reference_scale_shift;

void reference_scale_shift(const struct reference_call *call,
                           struct reference_out *out)
{
  const struct rows_names names = {
      .input = "x",
      .modulate = true,
  };

  rows_compute(call, &names, out);
}
