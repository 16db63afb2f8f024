/* reference.c - gate_residual in double. */
#include "variants/common/reference_rows.h"

reference_fn reference_gate_residual;

void reference_gate_residual(const struct reference_call *call,
                             struct reference_out *out)
{
  const struct rows_names names = {
      .input = "h",
      .residual = "x",
  };

  rows_compute(call, &names, out);
}
