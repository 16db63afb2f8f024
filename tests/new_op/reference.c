/* reference.c - twice: y = 2 x, exact in every dtype. */
#include "variants/common/reference_number.h"

struct twice {
  struct reference_tensor x;
};

static void twice_items(const void *plan, int64_t first, int64_t last,
                        const struct reference_out *out)
{
  const struct reference_tensor *x = &((const struct twice *)plan)->x;
  const int64_t width = x->extent[1];

  for (int64_t row = first; row < last; ++row) {
    const int64_t at = (row - first) * width;

    number_load_row(x, row * x->stride[0], width, out[1].value + at);
    for (int64_t i = at + team_rank(); i < at + width; i += TEAM) {
      out[1].value[i] *= 2;
      out[1].slack[i] = 0;
      out[1].split_slack[i] = 0;
    }
  }
}

#ifndef REFERENCE_DEVICE
static void twice_plan(const struct reference_call *call, void *out)
{
  const struct twice plan = {call->tensor[0]};

  memcpy(out, &plan, sizeof plan);
}

const struct reference reference_twice = {
    twice_plan, twice_items, sizeof(struct twice),
    "variants/twice/reference.c", "twice_items"};
#endif
