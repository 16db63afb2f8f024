// y = x * (1 + scale) + shift: everything but the io dtype and the rounding
// looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/scale_shift/facts.cuh"
