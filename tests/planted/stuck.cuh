// Kernels that do not come back, die, do nothing, or keep the compiler busy:
// each must cost itself and no other (fault 0 is right).
#pragma once
#include "variants/qknorm_rope/planted.cuh"

struct QkNormRopeStuck {
  int fault = 0; // see stuck.py, which names them
};

__device__ int stuck_launches;
__device__ volatile int stuck_on = 1; // a local one is optimised away

// About ten million steps for the compiler, a thousand times over.
template <int N> struct StuckSpin {
  static constexpr int run()
  {
    unsigned x = N;
    for (int i = 0; i < 100; ++i)
      for (int k = 0; k < 20000; ++k) x = x * 1664525u + 1013904223u;
    return (int)x;
  }
  static constexpr int value = run() ^ StuckSpin<N - 1>::value;
};
template <> struct StuckSpin<0> {
  static constexpr int value = 0;
};

template <QkNormRopeFacts F, QkNormRopeStuck P>
__device__ void qknorm_rope_stuck(const QkNormRopeArgs &a)
{
  const bool last = blockIdx.x + 1 == gridDim.x && threadIdx.x == 0;
  static_assert(P.fault != 7, "fault 7 does not compile");
  if (P.fault == 1)
    while (stuck_on) continue;
  if (P.fault == 2 && last) *(volatile int *)16 = 1;
  if (P.fault == 3 && last) __trap();
  if (P.fault == 4) return;
  qknorm_rope_planted<F, QkNormRopePlanted{.fault = 0}>(a);
  if constexpr (P.fault == 5) // every other launch is wrong
    if (last && ++stuck_launches % 2 == 0) dt::write_one<F.io>(a.q_out, 0, 64.f);
  constexpr int spin = P.fault == 6 ? 800 : 0; // compilers nest up to 900
  if (last && StuckSpin<spin>::value == 1) dt::write_one<F.io>(a.q_out, 0, 1.f);
}
