-- qk_norm: RMSNorm of each head row of q and, if there is one, k.
-- What the fields and tensors mean is said in docs/operators.md.
return shared("heads").op {
  name = "qk_norm", camel = "QkNorm", norm = true, kv_heads = 0,

  fields = { dtype { "weight", "none", "fp32", "fp16", "bf16", default = "io" } },
  arguments = { i32 { "weight_dtype", "weight" } },

  rules = {
    { "weight == 0 || weight == fp32 || weight == io", "weight must be none, fp32 or the io dtype" },
  },
  let = {
    { "data_bytes", "head_rows * head_dim * bytes_of(io)" },
  },

  read_bytes = "data_bytes",
}
