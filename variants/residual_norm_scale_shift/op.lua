-- residual_norm_scale_shift: r = residual + gate * x, which is an output, too;
-- y = norm(r) * (1 + scale) + shift.
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "residual_norm_scale_shift",
  camel    = "ResidualNormScaleShift",
  x        = { "residual", "x" },
  out      = { { "y" }, { "r_out", "residual" } },
  norms    = { "" },
  operands = { "scale", "shift", "gate" },
  none     = { gate = true }, -- = 1
  split    = {
    step { "gate_residual", tensors = { x = "residual", h = "x", y = "r_out" } },
    step { "norm", set = { inplace = "0" }, tensors = { x = "r_out" } },
    step { "scale_shift", set = { inplace = "1" }, tensors = { x = "y" } },
  },
}
