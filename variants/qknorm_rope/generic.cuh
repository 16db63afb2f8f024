// RMSNorm of each head row of q and k, then rotary embedding: everything
// but the io dtype and the rounding looked up at run time.
#pragma once
#include "variants/common/heads_generic.cuh"
#include "variants/qknorm_rope/facts.cuh"

using QkNormRopeGeneric = HeadsGeneric;

template <QkNormRopeFacts F, QkNormRopeGeneric P>
__device__ __forceinline__ void qknorm_rope_generic(const QkNormRopeArgs &a)
{
  static_assert(F.rounding != dt::Rounding::norm,
                "rounded at each step, or at the store");
  const dt::HeadsTask task{
      .q = a.q,
      .k = a.k,
      .q_out = a.q_out,
      .k_out = a.k_out,
      .q_weight = a.q_weight,
      .k_weight = a.k_weight,
      .cos = a.cos,
      .sin = a.sin,
      .positions = a.positions,
      .q_token_stride = a.q_token_stride,
      .q_head_stride = a.q_head_stride,
      .k_token_stride = a.k_token_stride,
      .k_head_stride = a.k_head_stride,
      .q_out_token_stride = a.q_out_token_stride,
      .q_out_head_stride = a.q_out_head_stride,
      .k_out_token_stride = a.k_out_token_stride,
      .k_out_head_stride = a.k_out_head_stride,
      .table_width = a.table_width,
      .tokens = a.tokens,
      .seq = a.seq,
      .position_offset = a.position_offset,
      .q_heads = a.q_heads,
      .kv_heads = a.kv_heads,
      .head_dim = a.head_dim,
      .rope_dim = a.rope_dim,
      .layout = (dt::Layout)a.layout,
      .position_type = (dt::Positions)a.position_type,
      .cache = (dt::Cache)a.cache,
      .cache_dtype = (dt::Dtype)a.cache_dtype,
      .weight_dtype = F.io,
      .eps = a.eps,
      .norm = true,
      .text_q = a.text_q,
      .text_k = a.text_k,
      .text_q_weight = a.text_q_weight,
      .text_k_weight = a.text_k_weight,
      .text_q_token_stride = a.text_q_token_stride,
      .text_q_head_stride = a.text_q_head_stride,
      .text_k_token_stride = a.text_k_token_stride,
      .text_k_head_stride = a.text_k_head_stride,
      .text_tokens = a.text_tokens,
  };
  dt::heads_generic<F.io, F.rounding, P>(task);
}
