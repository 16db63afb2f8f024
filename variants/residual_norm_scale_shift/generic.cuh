// r = residual + gate * x, which is an output, too; y = norm(r) * (1 + scale)
// + shift: everything but the io dtype and the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/residual_norm_scale_shift/facts.cuh"
