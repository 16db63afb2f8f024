// RMSNorm of each head row of q and k: everything but the io dtype and
// the rounding looked up at run time.
#pragma once
#include "variants/common/heads_generic.cuh"
#include "variants/qk_norm/facts.cuh"

using QkNormGeneric = HeadsGeneric;

template <QkNormFacts F, QkNormGeneric P>
__device__ __forceinline__ void qk_norm_generic(const QkNormArgs &a)
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
      .q_token_stride = a.q_token_stride,
      .q_head_stride = a.q_head_stride,
      .k_token_stride = a.k_token_stride,
      .k_head_stride = a.k_head_stride,
      .q_out_token_stride = a.q_out_token_stride,
      .q_out_head_stride = a.q_out_head_stride,
      .k_out_token_stride = a.k_out_token_stride,
      .k_out_head_stride = a.k_out_head_stride,
      .tokens = a.tokens,
      .q_heads = a.q_heads,
      .kv_heads = a.kv_heads,
      .head_dim = a.head_dim,
      .rope_dim = 0,
      .weight_dtype = (dt::Dtype)a.weight_dtype,
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
