/* reference.c - norm_gate_residual in double. */
#include "variants/common/reference_rows.h"

reference_fn reference_norm_gate_residual;

void reference_norm_gate_residual(const struct reference_call *call,
                                  struct reference_out *out)
{
  const struct rows_names names = {
      .input = "h",
      .norm1 = {"norm", "weight", "bias", "eps"},
      .residual = "x",
  };

  rows_compute(call, &names, out);
}
