// RMSNorm of each head row of q and k, then rotary embedding: everything
// but the io dtype and the rounding looked up at run time.
#pragma once
#include "variants/common/heads_generic.cuh"
#include "variants/qknorm_rope/facts.cuh"

using QkNormRopeGeneric = HeadsGeneric;

template <QkNormRopeFacts F, QkNormRopeGeneric P>
__device__ __forceinline__ void qknorm_rope_generic(const QkNormRopeArgs &a)
{
  dt::HeadsTask task = dt::heads_task(a);

  task.weight_dtype = F.io;
  dt::heads_generic<F.io, F.rounding, P>(task);
}
