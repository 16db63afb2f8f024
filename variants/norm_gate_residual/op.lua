-- norm_gate_residual: y = x + gate * norm(h), gate or tanh(gate).
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "norm_gate_residual",
  camel    = "NormGateResidual",
  x        = { "x", "h" },
  out      = { { "y", "x" } },
  scratch  = "scratch",
  norms    = { "" },
  operands = { "gate" },
  none     = { gate = true }, -- = 1
  tanh     = true,
  split    = {
    step { "norm", set = { inplace = "0" }, tensors = { x = "h", y = "scratch" } },
    step { "gate_residual", tensors = { h = "scratch" } },
  },
}
