// RMSNorm of each head row of q and k: everything but the io dtype and
// the rounding looked up at run time.
#pragma once
#include "variants/common/heads_generic.cuh"
#include "variants/qk_norm/facts.cuh"

using QkNormGeneric = HeadsGeneric;

template <QkNormFacts F, QkNormGeneric P>
__device__ __forceinline__ void qk_norm_generic(const QkNormArgs &a)
{
  dt::heads_generic<F.io, F.rounding, P>(dt::heads_task(a));
}
