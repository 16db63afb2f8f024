-- One to 32 warps per row, which stays in their registers.
return shared "rows".tuned("norm")
