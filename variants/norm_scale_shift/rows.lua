-- One to 32 warps per row, which they keep in registers or shared memory, or
-- read again.
return shared "rows".tuned("norm_scale_shift")
