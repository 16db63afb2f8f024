-- rope: rotary embedding of the heads of q and, if there is one, k.
-- What the fields and tensors mean is said in docs/operators.md.
return shared("heads").op {
  name = "rope", camel = "Rope", rope = true, kv_heads = 0,

  fields = {
    choice { "cache", "joint", "separate" },
    choice { "table", "half", "repeated", "full" },
    dtype  { "cache_dtype", "fp32", "fp16", "bf16" },
  },
  arguments = { i32 { "table" }, i32 { "cache_dtype" } },

  rules = {
    { "cache == cache.separate || table == table.half", "a joint cache is table=half" },
    { "table != table.repeated || layout == layout.interleaved", "table=repeated goes with layout=interleaved" },
    { "table != table.full || layout == layout.neox", "table=full goes with layout=neox" },
  },

  -- In place, what is not rotated need not be touched.
  let = {
    { "table_width", "cache == cache.joint || table != table.half ? rope_dim : rope_dim / 2" },
    { "data_bytes",  "head_rows * (inplace ? rope_dim : head_dim) * bytes_of(io)" },
  },

  read_bytes = "data_bytes + tokens * ((cache == cache.joint ? 1 : 2) * table_width * bytes_of(cache_dtype) + (positions == positions.i64 ? 8 : positions == positions.i32 ? 4 : 0))",
}
