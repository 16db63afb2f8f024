-- scale_shift: y = x * (1 + scale) + shift.
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "scale_shift",
  camel    = "ScaleShift",
  x        = { "x" },
  out      = { { "y", "x" } },
  operands = { "scale", "shift" },
  none     = { scale = true, shift = true }, -- as a step where the op has none
}
