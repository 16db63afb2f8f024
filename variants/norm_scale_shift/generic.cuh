// y = norm(x) * (1 + scale) + shift: everything but the io dtype and the
// rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_scale_shift/facts.cuh"
