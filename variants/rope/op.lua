-- rope: rotary embedding of the heads of q and, if there is one, k.
-- What the fields and tensors mean is said in docs/operators.md.
--
-- How other views are spelled:
--   [T, H*D]      the same memory as [T, H, D]
--   [B, S, H, D]  tokens = B*S; q_stride=SPACE,D where tokens are SPACE apart.
--                 Angles that start again with each b: positions=none seq=S.
--   [H, S, D]     tokens = S; q_stride=D,S*D
return op {
  name  = "rope",
  facts = "RopeFacts",   -- the structs of facts.cuh beside this file
  args  = "RopeArgs",
  io    = { "bf16", "fp16", "fp32" },
  default = "generic",   -- the scheme that fits every legal problem

  fields = {
    int    { "tokens",   dynamic = true, min = 0, max = 2^40 },
    int    { "q_heads",  dynamic = true, min = 1, max = 65535 },
    int    { "kv_heads", dynamic = true, min = 0, max = 65535, default = "q_heads" },
    int    { "head_dim", min = 1, max = 65536 },
    int    { "rope_dim", min = 0, max = 65536, default = "head_dim" },
    choice { "layout", "interleaved", "neox" },
    choice { "positions", "i64", "i32", "none" },
    int    { "seq", dynamic = true, min = 1, max = 2^40, default = "max(tokens, 1)" },
    choice { "cache", "joint", "separate" },
    choice { "table", "half", "repeated", "full" },
    dtype  { "cache_dtype", "fp32", "fp16", "bf16" },
    choice { "rounding", "once", "norm", "each" },
    flag   { "inplace", default = "1" },
    align  { "q", "k", "q_out", "k_out" },
  },

  -- In place, what is not rotated need not be touched.
  let = {
    { "head_rows",   "tokens * (q_heads + kv_heads)" },
    { "table_width", "cache == cache.joint || table != table.half ? rope_dim : rope_dim / 2" },
    { "table_rows",  "positions == positions.none ? seq + 16 : max(tokens, 1)" },
    { "data_bytes",  "head_rows * (inplace ? rope_dim : head_dim) * bytes_of(io)" },
  },

  rules = {
    { "head_dim % 2 == 0",    "head_dim must be even" },
    { "rope_dim % 2 == 0",    "rope_dim must be even" },
    { "rope_dim <= head_dim", "rope_dim must not be more than head_dim" },
    { "positions == positions.none || seq == max(tokens, 1)", "seq goes with positions=none" },
    { "cache == cache.separate || cache_dtype == fp32", "a joint cache is fp32" },
    { "cache_dtype == fp32 || cache_dtype == io", "cache_dtype must be fp32 or the io dtype" },
    { "cache == cache.separate || table == table.half", "a joint cache is table=half" },
    { "table != table.repeated || layout == layout.interleaved", "table=repeated goes with layout=interleaved" },
    { "table != table.full || layout == layout.neox", "table=full goes with layout=neox" },
    { "rounding != rounding.norm", "rounding=norm is not defined for rope" },
    -- Rows that are written may not overlap.
    { "tokens <= 1 || q_heads <= 1 || q_out_stride0 >= (q_heads - 1) * q_out_stride1 + head_dim || q_out_stride1 >= (tokens - 1) * q_out_stride0 + head_dim",
      "the rows of the output for q overlap" },
    { "tokens <= 1 || kv_heads <= 1 || k_out_stride0 >= (kv_heads - 1) * k_out_stride1 + head_dim || k_out_stride1 >= (tokens - 1) * k_out_stride0 + head_dim",
      "the rows of the output for k overlap" },
  },

  -- In place, q_out is q.
  tensors = {
    tensor { "q", dtype = "io", extent = { "tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "k", dtype = "io", extent = { "tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "q_out", out = true, alias = "q", when = "inplace == 0",
             dtype = "io", extent = { "tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "k_out", out = true, alias = "k", when = "inplace == 0",
             dtype = "io", extent = { "tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "cos", fill = "angle", dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
    tensor { "sin", fill = "angle", when = "cache == cache.separate",
             dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
    tensor { "positions", fill = "position", limit = "table_rows", when = "positions != positions.none",
             dtype = "positions == positions.i32 ? i32 : i64", extent = { "tokens" } },
  },

  attrs = {
    { "position_offset", default = 0, trial = 7 },
  },

  -- The fields of RopeArgs, in order.
  arguments = {
    ptr "q", ptr "k", ptr "q_out", ptr "k_out", ptr "cos", ptr "sin", ptr "positions",
    i64 { "q_token_stride", "q_stride0" },         i64 { "q_head_stride", "q_stride1" },
    i64 { "k_token_stride", "k_stride0" },         i64 { "k_head_stride", "k_stride1" },
    i64 { "q_out_token_stride", "q_out_stride0" }, i64 { "q_out_head_stride", "q_out_stride1" },
    i64 { "k_out_token_stride", "k_out_stride0" }, i64 { "k_out_head_stride", "k_out_stride1" },
    i64 { "table_width" },
    i64 { "tokens" }, i64 { "seq" }, attr_i64 "position_offset",
    i32 { "q_heads" }, i32 { "kv_heads" }, i32 { "head_dim" }, i32 { "rope_dim" },
    i32 { "layout" }, i32 { "position_type", "positions" }, i32 { "cache" }, i32 { "table" }, i32 { "cache_dtype" },
  },

  read_bytes  = "data_bytes + tokens * ((cache == cache.joint ? 1 : 2) * table_width * bytes_of(cache_dtype) + (positions == positions.i64 ? 8 : positions == positions.i32 ? 4 : 0))",
  write_bytes = "data_bytes",

  awkward = {
    "tokens=1 q_heads=1 kv_heads=1",
    "tokens=37 q_heads=5 kv_heads=3",
    "tokens=3 q_heads=24 kv_heads=8",
    "tokens=130 q_heads=2 kv_heads=0",
  },
}
