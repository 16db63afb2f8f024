// y = norm(x), LayerNorm or RMSNorm of each row: everything but the io dtype
// and the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm/facts.cuh"
