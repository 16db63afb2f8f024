/* reference.c - qk_norm in double. */
#include "variants/common/reference_heads.h"

/* The tensors and attributes, in the order of op.lua. */
enum { Q, K, Q_OUT, K_OUT, Q_WEIGHT, K_WEIGHT, TEXT_Q, TEXT_K, TEXT_Q_WEIGHT,
       TEXT_K_WEIGHT };
enum { EPS };

static void plan(const struct reference_call *call, void *out)
{
  const struct problem *p = call->problem;
  const struct heads_reference h = {
      .q = Q,
      .k = K,
      .q_out = Q_OUT,
      .k_out = K_OUT,
      .q_weight = Q_WEIGHT,
      .k_weight = K_WEIGHT,
      .cos = -1,
      .sin = -1,
      .positions = -1,
      .text_q = TEXT_Q,
      .text_k = TEXT_K,
      .text_q_weight = TEXT_Q_WEIGHT,
      .text_k_weight = TEXT_K_WEIGHT,
      .text_tokens = problem_get(p, "text_tokens"),
      .io = problem_get(p, "io"),
      .norm = true,
      .each = problem_get(p, "rounding") == 2,
      .eps = (float)call->attr[EPS], /* kernels get an fp32 */
  };

  heads_plan(call, &h, out);
}

const struct reference reference_qk_norm = HEADS_REFERENCE(plan);
