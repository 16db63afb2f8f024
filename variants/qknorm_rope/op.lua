-- qknorm_rope: RMSNorm of each head row of q and k, then rotary embedding.
-- What the fields and tensors mean is said in docs/operators.md.
--
-- With segments=2 (joint attention over text and image) the outputs have
-- text_tokens + tokens rows: those of text_q and text_k, which have norm
-- weights of their own, then those of q and k.  Positions and the tables go by
-- the row of the output: without positions, text starts at position_offset
-- and image text_tokens later.
return op {
  name  = "qknorm_rope",
  facts = "QkNormRopeFacts",   -- the structs of facts.cuh beside this file
  args  = "QkNormRopeArgs",
  io    = { "bf16", "fp16", "fp32" },
  default = "generic",         -- the scheme that fits every legal problem

  -- What a spelling may say, in the order in which it is printed; after these
  -- come NAME_stride of every strided tensor.  `dynamic` fields are free at run
  -- time, the others may be compiled into a variant.
  fields = {
    int    { "tokens",   dynamic = true, min = 0, max = 2^40 },
    int    { "q_heads",  dynamic = true, min = 1, max = 65535 },
    int    { "kv_heads", dynamic = true, min = 1, max = 65535, default = "q_heads" },
    int    { "head_dim", min = 1, max = 65536 },
    int    { "rope_dim", min = 0, max = 65536, default = "head_dim" },
    choice { "layout", "interleaved", "neox" },
    choice { "positions", "i64", "i32", "none" },
    int    { "seq", dynamic = true, min = 1, max = 2^40, default = "max(rows, 1)" },
    int    { "segments", min = 1, max = 2, default = "1" },
    int    { "text_tokens", dynamic = true, min = 0, max = 2^40, default = "0" },
    choice { "cache", "joint", "separate" },
    dtype  { "cache_dtype", "fp32", "fp16", "bf16" },
    choice { "rounding", "once", "norm", "each" },
    flag   { "inplace", default = "segments == 1" },
    align  { "q", "k", "q_out", "k_out", "text_q", "text_k" },
  },

  -- Names for expressions: computed, never spelled.
  let = {
    { "rows",        "tokens + text_tokens" },   -- of the outputs
    { "head_rows",   "rows * (q_heads + kv_heads)" },
    { "table_width", "cache == cache.joint ? rope_dim : rope_dim / 2" },
    { "table_rows",  "positions == positions.none ? seq + 16 : max(rows, 1)" },
    { "data_bytes",  "head_rows * head_dim * bytes_of(io)" },
  },

  -- What makes a problem legal: the condition, and what to tell who broke it.
  rules = {
    { "head_dim % 2 == 0",    "head_dim must be even" },
    { "rope_dim % 2 == 0",    "rope_dim must be even" },
    { "rope_dim <= head_dim", "rope_dim must not be more than head_dim" },
    { "positions == positions.none || seq == max(rows, 1)", "seq goes with positions=none" },
    { "cache == cache.separate || cache_dtype == fp32", "a joint cache is fp32" },
    { "cache_dtype == fp32 || cache_dtype == io", "cache_dtype must be fp32 or the io dtype" },
    { "rounding != rounding.norm", "rounding=norm is not defined for qknorm_rope" },
    { "segments == 2 || text_tokens == 0", "text_tokens goes with segments=2" },
    { "segments == 1 || inplace == 0", "segments=2 is out of place: inplace=0" },
    -- Rows that are written may not overlap.
    { "rows <= 1 || q_heads <= 1 || q_out_stride0 >= (q_heads - 1) * q_out_stride1 + head_dim || q_out_stride1 >= (rows - 1) * q_out_stride0 + head_dim",
      "the rows of the output for q overlap" },
    { "rows <= 1 || kv_heads <= 1 || k_out_stride0 >= (kv_heads - 1) * k_out_stride1 + head_dim || k_out_stride1 >= (rows - 1) * k_out_stride0 + head_dim",
      "the rows of the output for k overlap" },
  },

  -- A tensor with `when` that is false is absent, and its alias (if it has one)
  -- takes its place: in place, q_out is q.
  tensors = {
    tensor { "q", dtype = "io", extent = { "tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "k", dtype = "io", extent = { "tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "q_out", out = true, alias = "q", when = "inplace == 0",
             dtype = "io", extent = { "rows", "q_heads", "head_dim" }, strided = true },
    tensor { "k_out", out = true, alias = "k", when = "inplace == 0",
             dtype = "io", extent = { "rows", "kv_heads", "head_dim" }, strided = true },
    tensor { "q_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "k_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "cos", fill = "angle", dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
    tensor { "sin", fill = "angle", when = "cache == cache.separate",
             dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
    tensor { "positions", fill = "position", limit = "table_rows", when = "positions != positions.none",
             dtype = "positions == positions.i32 ? i32 : i64", extent = { "rows" } },
    -- Of the joint output, the first text_tokens rows come from these.
    tensor { "text_q", alias = "q", when = "segments == 2",
             dtype = "io", extent = { "text_tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "text_k", alias = "k", when = "segments == 2",
             dtype = "io", extent = { "text_tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "text_q_weight", fill = "weight", when = "segments == 2",
             dtype = "io", extent = { "head_dim" } },
    tensor { "text_k_weight", fill = "weight", when = "segments == 2",
             dtype = "io", extent = { "head_dim" } },
  },

  -- Numbers that a launch needs and no choice depends on; `trial` is what a
  -- check uses.
  attrs = {
    { "eps", default = 1e-6, trial = 1e-2 },
    { "position_offset", default = 0, trial = 7 },
  },

  -- The fields of QkNormRopeArgs, in order.  ptr: a tensor; attr: an attribute;
  -- i32 and i64: a value, by default the symbol of the same name.
  arguments = {
    ptr "q", ptr "k", ptr "q_out", ptr "k_out",
    ptr "q_weight", ptr "k_weight", ptr "cos", ptr "sin", ptr "positions",
    i64 { "q_token_stride", "q_stride0" },         i64 { "q_head_stride", "q_stride1" },
    i64 { "k_token_stride", "k_stride0" },         i64 { "k_head_stride", "k_stride1" },
    i64 { "q_out_token_stride", "q_out_stride0" }, i64 { "q_out_head_stride", "q_out_stride1" },
    i64 { "k_out_token_stride", "k_out_stride0" }, i64 { "k_out_head_stride", "k_out_stride1" },
    i64 { "table_width" },
    i64 { "tokens", "rows" }, i64 { "seq" }, attr_i64 "position_offset",
    i32 { "q_heads" }, i32 { "kv_heads" }, i32 { "head_dim" }, i32 { "rope_dim" },
    i32 { "layout" }, i32 { "position_type", "positions" }, i32 { "cache" }, i32 { "cache_dtype" },
    attr_f32 "eps",
    ptr "text_q", ptr "text_k", ptr "text_q_weight", ptr "text_k_weight",
    i64 { "text_q_token_stride", "text_q_stride0" }, i64 { "text_q_head_stride", "text_q_stride1" },
    i64 { "text_k_token_stride", "text_k_stride0" }, i64 { "text_k_head_stride", "text_k_stride1" },
    i64 { "text_tokens" },
  },

  -- The same result as a list of simpler ops, one launch each.  Fields and
  -- tensors of the same name are passed on; `set` and `tensors` override.
  split = {
    step { "qk_norm", set = { weight = "io" } },
    step { "rope", set = { tokens = "rows", inplace = "1" }, tensors = { q = "q_out", k = "k_out" } },
  },

  -- Compulsory traffic: every tensor once.
  read_bytes  = "data_bytes + rows * (rope_dim * bytes_of(cache_dtype) + (positions == positions.i64 ? 8 : positions == positions.i32 ? 4 : 0))",
  write_bytes = "data_bytes",

  -- Small hard cases that every variant is checked on besides the problem
  -- itself: dynamic fields to set.
  awkward = {
    "tokens=1 q_heads=1 kv_heads=1",
    "tokens=37 q_heads=5 kv_heads=3",
    "tokens=3 q_heads=24 kv_heads=8",
    "tokens=130 q_heads=2 kv_heads=1",
  },
}
