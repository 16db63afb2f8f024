/* reference.c - norm in double. */
#include "variants/common/reference_rows.h"

reference_fn reference_norm;

void reference_norm(const struct reference_call *call,
                    struct reference_out *out)
{
  const struct rows_names names = {
      .input = "x",
      .norm2 = {"norm", "weight", "bias", "eps"},
  };

  rows_compute(call, &names, out);
}
