-- One to 32 warps per row, vector by vector.
return shared "rows".tuned("scale_shift")
