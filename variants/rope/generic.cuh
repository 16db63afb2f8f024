// Rotary embedding of the heads of q and k: everything but the io dtype
// and the rounding looked up at run time.
#pragma once
#include "variants/common/heads_generic.cuh"
#include "variants/rope/facts.cuh"

using RopeGeneric = HeadsGeneric;

template <RopeFacts F, RopeGeneric P>
__device__ __forceinline__ void rope_generic(const RopeArgs &a)
{
  dt::heads_generic<F.io, F.rounding, P>(dt::heads_task(a));
}
