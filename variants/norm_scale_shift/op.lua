-- norm_scale_shift: y = norm(x) * (1 + scale) + shift.
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "norm_scale_shift",
  camel    = "NormScaleShift",
  x        = { "x" },
  out      = { { "y", "x" } },
  norms    = { "" },
  operands = { "scale", "shift" },
  split    = {
    step { "norm" },
    step { "scale_shift", set = { inplace = "1" }, tensors = { x = "y" } },
  },
}
