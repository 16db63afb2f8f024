-- gate_residual: y = x + gate * h, gate or tanh(gate).
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name     = "gate_residual",
  camel    = "GateResidual",
  x        = { "x", "h" },
  out      = { { "y", "x" } },
  operands = { "gate" },
  none     = { gate = true }, -- = 1
  tanh     = true,
}
