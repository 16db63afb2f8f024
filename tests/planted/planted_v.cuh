// The packed default, and one bit of v changed afterwards: what the check must
// refuse, though an ulp is what an output may be off.
#pragma once
#include "variants/qknorm_rope_packed/generic.cuh"

struct QkNormRopePackedPlanted {
  int fault = 0; // 1: the last bit of an element of v
};

template <QkNormRopePackedFacts F, QkNormRopePackedPlanted P>
__device__ void qknorm_rope_packed_planted(const QkNormRopePackedArgs &a)
{
  const dt::i64 v = (a.tokens - 1) * a.token_stride +
                    (dt::i64)(a.q_heads + a.kv_heads) * a.head_dim;

  qknorm_rope_packed_generic<F, QkNormRopePackedGeneric{}>(a);
  if (P.fault == 1 && blockIdx.x == 0 && threadIdx.x == 0)
    ((dt::u16 *)a.qkv)[v] ^= 1;
}
