/* reference.c - qknorm_rope in double. */
#include "variants/common/reference_heads.h"

/* The tensors and attributes, in the order of op.lua. */
enum { Q, K, Q_OUT, K_OUT, Q_WEIGHT, K_WEIGHT, COS, SIN, POSITIONS, TEXT_Q,
       TEXT_K, TEXT_Q_WEIGHT, TEXT_K_WEIGHT };
enum { EPS, POSITION_OFFSET };

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
      .cos = COS,
      .sin = SIN,
      .positions = POSITIONS,
      .text_q = TEXT_Q,
      .text_k = TEXT_K,
      .text_q_weight = TEXT_Q_WEIGHT,
      .text_k_weight = TEXT_K_WEIGHT,
      .text_tokens = problem_get(p, "text_tokens"),
      .io = problem_get(p, "io"),
      .rope_dim = problem_get(p, "rope_dim"),
      .norm = true,
      .each = problem_get(p, "rounding") == 2,
      .neox = problem_get(p, "layout") == 1,
      .joint = !call->tensor[SIN].present,
      .seq = problem_get(p, "seq"),
      .position_offset = (int64_t)call->attr[POSITION_OFFSET],
      .eps = (float)call->attr[EPS], /* kernels get an fp32 */
  };

  heads_plan(call, &h, out);
}

const struct reference reference_qknorm_rope = HEADS_REFERENCE(plan);
