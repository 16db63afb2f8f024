/* reference.c - rope in double. */
#include "variants/common/reference_heads.h"

/* The tensors and attributes, in the order of op.lua. */
enum { Q, K, Q_OUT, K_OUT, COS, SIN, POSITIONS };
enum { POSITION_OFFSET };

static void plan(const struct reference_call *call, void *out)
{
  const struct problem *p = call->problem;
  const struct heads_reference h = {
      .q = Q,
      .k = K,
      .q_out = Q_OUT,
      .k_out = K_OUT,
      .q_weight = -1,
      .k_weight = -1,
      .cos = COS,
      .sin = SIN,
      .positions = POSITIONS,
      .text_q_weight = -1,
      .text_k_weight = -1,
      .io = problem_get(p, "io"),
      .rope_dim = problem_get(p, "rope_dim"),
      .neox = problem_get(p, "layout") == 1,
      .each = problem_get(p, "rounding") == 2,
      .table = problem_get(p, "table"),
      .joint = !call->tensor[SIN].present,
      .seq = problem_get(p, "seq"),
      .position_offset = (int64_t)call->attr[POSITION_OFFSET],
  };

  heads_plan(call, &h, out);
}

const struct reference reference_rope = HEADS_REFERENCE(plan);
