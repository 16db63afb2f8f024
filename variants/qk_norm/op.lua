-- qk_norm: RMSNorm of each head row of q and, if there is one, k.
-- What the fields and tensors mean is said in docs/operators.md.
--
-- With segments=2 (joint attention over text and image) the outputs have
-- text_tokens + tokens rows: those of text_q and text_k, which have norm
-- weights of their own, then those of q and k.
return op {
  name  = "qk_norm",
  facts = "QkNormFacts",   -- the structs of facts.cuh beside this file
  args  = "QkNormArgs",
  io    = { "bf16", "fp16", "fp32" },
  default = "generic",     -- the scheme that fits every legal problem

  fields = {
    int    { "tokens",   dynamic = true, min = 0, max = 2^40 },
    int    { "q_heads",  dynamic = true, min = 1, max = 65535 },
    int    { "kv_heads", dynamic = true, min = 0, max = 65535, default = "q_heads" },
    int    { "head_dim", min = 1, max = 65536 },
    int    { "segments", min = 1, max = 2, default = "1" },
    int    { "text_tokens", dynamic = true, min = 0, max = 2^40, default = "0" },
    dtype  { "weight", "none", "fp32", "fp16", "bf16", default = "io" },
    choice { "rounding", "once", "norm", "each" },
    flag   { "inplace", default = "segments == 1" },
    align  { "q", "k", "q_out", "k_out", "text_q", "text_k" },
  },

  let = {
    { "rows",        "tokens + text_tokens" },   -- of the outputs
    { "head_rows",  "rows * (q_heads + kv_heads)" },
    { "data_bytes", "head_rows * head_dim * bytes_of(io)" },
  },

  rules = {
    { "weight == 0 || weight == fp32 || weight == io", "weight must be none, fp32 or the io dtype" },
    { "rounding != rounding.norm", "rounding=norm is not defined for qk_norm" },
    { "segments == 2 || text_tokens == 0", "text_tokens goes with segments=2" },
    { "segments == 1 || inplace == 0", "segments=2 is out of place: inplace=0" },
    -- Rows that are written may not overlap.
    { "rows <= 1 || q_heads <= 1 || q_out_stride0 >= (q_heads - 1) * q_out_stride1 + head_dim || q_out_stride1 >= (rows - 1) * q_out_stride0 + head_dim",
      "the rows of the output for q overlap" },
    { "rows <= 1 || kv_heads <= 1 || k_out_stride0 >= (kv_heads - 1) * k_out_stride1 + head_dim || k_out_stride1 >= (rows - 1) * k_out_stride0 + head_dim",
      "the rows of the output for k overlap" },
  },

  -- In place, q_out is q.
  tensors = {
    tensor { "q", dtype = "io", extent = { "tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "k", dtype = "io", extent = { "tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "q_out", out = true, alias = "q", when = "inplace == 0",
             dtype = "io", extent = { "rows", "q_heads", "head_dim" }, strided = true },
    tensor { "k_out", out = true, alias = "k", when = "inplace == 0",
             dtype = "io", extent = { "rows", "kv_heads", "head_dim" }, strided = true },
    tensor { "q_weight", fill = "weight", when = "weight != 0", dtype = "weight",
             extent = { "head_dim" } },
    tensor { "k_weight", fill = "weight", when = "weight != 0 && kv_heads > 0", dtype = "weight",
             extent = { "head_dim" } },
    -- Of the joint output, the first text_tokens rows come from these.
    tensor { "text_q", alias = "q", when = "segments == 2",
             dtype = "io", extent = { "text_tokens", "q_heads", "head_dim" }, strided = true },
    tensor { "text_k", alias = "k", when = "segments == 2",
             dtype = "io", extent = { "text_tokens", "kv_heads", "head_dim" }, strided = true },
    tensor { "text_q_weight", fill = "weight", when = "segments == 2 && weight != 0",
             dtype = "weight", extent = { "head_dim" } },
    tensor { "text_k_weight", fill = "weight", when = "segments == 2 && weight != 0 && kv_heads > 0",
             dtype = "weight", extent = { "head_dim" } },
  },

  attrs = {
    { "eps", default = 1e-6, trial = 1e-2 },
  },

  -- The fields of QkNormArgs, in order.
  arguments = {
    ptr "q", ptr "k", ptr "q_out", ptr "k_out", ptr "q_weight", ptr "k_weight",
    i64 { "q_token_stride", "q_stride0" },         i64 { "q_head_stride", "q_stride1" },
    i64 { "k_token_stride", "k_stride0" },         i64 { "k_head_stride", "k_stride1" },
    i64 { "q_out_token_stride", "q_out_stride0" }, i64 { "q_out_head_stride", "q_out_stride1" },
    i64 { "k_out_token_stride", "k_out_stride0" }, i64 { "k_out_head_stride", "k_out_stride1" },
    i64 { "tokens", "rows" },
    i32 { "q_heads" }, i32 { "kv_heads" }, i32 { "head_dim" },
    i32 { "weight_dtype", "weight" },
    attr_f32 "eps",
    ptr "text_q", ptr "text_k", ptr "text_q_weight", ptr "text_k_weight",
    i64 { "text_q_token_stride", "text_q_stride0" }, i64 { "text_q_head_stride", "text_q_stride1" },
    i64 { "text_k_token_stride", "text_k_stride0" }, i64 { "text_k_head_stride", "text_k_stride1" },
    i64 { "text_tokens" },
  },

  read_bytes  = "data_bytes",
  write_bytes = "data_bytes",

  awkward = {
    "tokens=1 q_heads=1 kv_heads=1",
    "tokens=37 q_heads=5 kv_heads=3",
    "tokens=3 q_heads=24 kv_heads=8",
    "tokens=130 q_heads=2 kv_heads=0",
  },
}
