-- qknorm_rope_packed: RMSNorm of each head row of q and k, then rotary
-- embedding, in place in a packed projection; angles are made in the kernel.
-- What the fields and tensors mean is said in docs/operators.md.
return op {
  name  = "qknorm_rope_packed",
  facts = "QkNormRopePackedFacts",   -- the structs of facts.cuh beside this file
  args  = "QkNormRopePackedArgs",
  io    = { "bf16", "fp16", "fp32" },
  default = "generic",               -- the scheme that fits every legal problem

  fields = {
    int    { "tokens",   dynamic = true, min = 0, max = 2^40 },
    int    { "q_heads",  dynamic = true, min = 1, max = 65535 },
    int    { "kv_heads", dynamic = true, min = 1, max = 65535, default = "q_heads" },
    int    { "v_heads",  dynamic = true, min = 0, max = 65535, default = "kv_heads" },
    int    { "head_dim", min = 1, max = 65536 },
    int    { "rope_dim", min = 0, max = 65536, default = "head_dim" },
    choice { "layout", "interleaved", "neox" },
    choice { "positions", "i64", "i32" },
    flag   { "yarn", default = "0" },
    choice { "rounding", "once", "norm", "each" },
    align  { "qkv" },
  },

  let = {
    { "width",      "(q_heads + kv_heads + v_heads) * head_dim" },
    { "head_rows",  "tokens * (q_heads + kv_heads)" },
    { "data_bytes", "head_rows * head_dim * bytes_of(io)" },
    { "head_align", "min(align, pow2(head_dim * bytes_of(io)))" }, -- of each head's start
  },

  rules = {
    { "head_dim % 2 == 0",    "head_dim must be even" },
    { "rope_dim % 2 == 0",    "rope_dim must be even" },
    { "rope_dim <= head_dim", "rope_dim must not be more than head_dim" },
    { "rounding != rounding.norm", "rounding=norm is not defined for qknorm_rope_packed" },
    { "tokens <= 1 || qkv_stride0 >= width", "the rows of qkv overlap" },
  },

  -- Always in place: qkv_out is never there, and the columns of q and k in qkv
  -- stand for it.  cos and sin are the split form's.
  tensors = {
    tensor { "qkv", dtype = "io", extent = { "tokens", "width" }, strided = true },
    tensor { "qkv_out", out = true, alias = "qkv", when = "0 == 1",
             dtype = "io", extent = { "tokens", "(q_heads + kv_heads) * head_dim" } },
    tensor { "q_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "k_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "positions", fill = "position", limit = "1048576",
             dtype = "positions == positions.i32 ? i32 : i64", extent = { "tokens" } },
    tensor { "cos", scratch = true, dtype = "fp32", extent = { "tokens", "rope_dim / 2" } },
    tensor { "sin", scratch = true, dtype = "fp32", extent = { "tokens", "rope_dim / 2" } },
  },

  attrs = {
    { "eps", default = 1e-6, trial = 1e-2 },
    { "base", default = 1e6, trial = 5e5 },
    { "factor", default = 1, trial = 2.5 },
    { "low", default = 0, trial = 4 },
    { "high", default = 0, trial = 32 },
    { "attention_factor", default = 1, trial = 0.9 },
  },

  arguments = {
    ptr "qkv", ptr "q_weight", ptr "k_weight", ptr "positions",
    i64 { "token_stride", "qkv_stride0" }, i64 { "tokens" },
    i32 { "q_heads" }, i32 { "kv_heads" }, i32 { "head_dim" }, i32 { "rope_dim" },
    i32 { "layout" }, i32 { "position_type", "positions" }, i32 { "yarn" },
    attr_f32 "eps", attr_f32 "base", attr_f32 "factor", attr_f32 "low",
    attr_f32 "high", attr_f32 "attention_factor",
  },

  -- The tables are made by each launch, from its own positions: there is no
  -- bound on them, and no memory but the workspace.  rope takes a row of them
  -- per token: its positions=none, cache=separate.
  split = {
    step { "rope_table", set = { io = "fp32", rounding = "io == fp32 ? rounding : rounding.once" } },
    step { "qk_norm", set = { weight = "io", align = "head_align" },
           tensors = { q = "qkv", k = "qkv" }, at = { k = "q_heads * head_dim" } },
    step { "rope", set = { positions = 2, cache = 1, align = "head_align" },
           tensors = { q = "qkv", k = "qkv" }, at = { k = "q_heads * head_dim" } },
  },

  -- v is neither read nor written.
  read_bytes  = "data_bytes + tokens * (positions == positions.i64 ? 8 : 4)",
  write_bytes = "data_bytes",

  awkward = {
    "tokens=1 q_heads=1 kv_heads=1 v_heads=1",
    "tokens=37 q_heads=5 kv_heads=3 v_heads=2",
    "tokens=3 q_heads=24 kv_heads=8 v_heads=8",
    "tokens=130 q_heads=2 kv_heads=1 v_heads=0",
  },
  corpus = { "tokens", "q_heads=48 kv_heads=16" },
}
