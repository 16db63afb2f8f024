/* reference.c - residual_norm_scale_shift in double. */
#include "variants/common/reference_rows.h"

reference_fn reference_residual_norm_scale_shift;

void reference_residual_norm_scale_shift(const struct reference_call *call,
                                         struct reference_out *out)
{
  const struct rows_names names = {
      .input = "x",
      .residual = "residual",
      .sum = "r_out",
      .norm2 = {"norm", "weight", "bias", "eps"},
      .modulate = true,
  };

  rows_compute(call, &names, out);
}
