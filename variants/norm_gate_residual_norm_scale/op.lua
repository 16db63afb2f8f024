-- norm_gate_residual_norm_scale: r = x + gate * norm(h), gate or tanh(gate),
-- which is an output, too; y = norm2(r) * (1 + scale) + shift.
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "norm_gate_residual_norm_scale",
  camel    = "NormGateResidualNormScale",
  x        = { "x", "h" },
  out      = { { "y" }, { "r_out", "x" } },
  norms    = { "", "2" },
  operands = { "scale", "shift", "gate" },
  none     = { scale = true, shift = true, gate = true }, -- = 0, 0, 1
  absent   = { shift = true },
  tanh     = true,
  split    = {
    step { "norm", set = { inplace = "0" }, tensors = { x = "h" } },
    step { "gate_residual", tensors = { h = "y", y = "r_out" } },
    step { "norm",
           set = { norm = "norm2", weight = "weight2", bias = "bias2", inplace = "0" },
           tensors = { x = "r_out", weight = "weight2", bias = "bias2", eps = "eps2" } },
    step { "scale_shift", set = { inplace = "1" }, tensors = { x = "y" } },
  },
}
