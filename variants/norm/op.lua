-- norm: y = norm(x), LayerNorm or RMSNorm of each row.
-- What the fields and tensors mean is said in docs/operators.md.
return shared "rows".op {
  name  = "norm",
  camel = "Norm",
  x     = { "x" },
  out   = { { "y", "x" } },
  norms = { "" },
}
