// y = x + gate * h, gate or tanh(gate): everything but the io dtype and the
// rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/gate_residual/facts.cuh"
