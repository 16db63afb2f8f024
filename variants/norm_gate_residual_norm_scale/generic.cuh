// r = x + gate * norm(h), gate or tanh(gate), which is an output, too; y =
// norm2(r) * (1 + scale) + shift: everything but the io dtype and the rounding
// looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_gate_residual_norm_scale/facts.cuh"
