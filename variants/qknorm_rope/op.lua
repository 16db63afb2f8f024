-- qknorm_rope: RMSNorm of each head row of q and k, then rotary embedding.
-- What the fields and tensors mean is said in docs/operators.md.
return shared("heads").op {
  name = "qknorm_rope", camel = "QkNormRope", norm = true, rope = true, kv_heads = 1,

  fields = {
    choice { "cache", "joint", "separate" },
    dtype  { "cache_dtype", "fp32", "fp16", "bf16" },
  },
  arguments = { i32 { "cache_dtype" } },

  let = {
    { "table_width", "cache == cache.joint ? rope_dim : rope_dim / 2" },
    { "data_bytes",  "head_rows * head_dim * bytes_of(io)" },
  },

  -- The same result as a list of simpler ops, one launch each.  Fields and
  -- tensors of the same name are passed on; `set` and `tensors` override.
  split = {
    step { "qk_norm", set = { weight = "io" } },
    step { "rope", set = { tokens = "rows", inplace = "1" }, tensors = { q = "q_out", k = "k_out" } },
  },

  -- Compulsory traffic: every tensor once.
  read_bytes = "data_bytes + rows * (rope_dim * bytes_of(cache_dtype) + (positions == positions.i64 ? 8 : positions == positions.i32 ? 4 : 0))",
}
