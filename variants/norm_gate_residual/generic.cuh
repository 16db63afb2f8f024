// y = x + gate * norm(h), gate or tanh(gate): everything but the io dtype and
// the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_gate_residual/facts.cuh"
