-- rope_table: the cosines and sines of the positions of a launch, one row per
-- token: what rope reads with cache=separate positions=none.
-- What the fields and tensors mean is said in docs/operators.md.
return op {
  name  = "rope_table",
  facts = "RopeTableFacts",   -- the structs of facts.cuh beside this file
  args  = "RopeTableArgs",
  io    = { "fp32" },
  default = "generic",        -- the scheme that fits every legal problem

  fields = {
    int    { "tokens", dynamic = true, min = 0, max = 2^40 },
    int    { "rope_dim", min = 0, max = 65536 },
    choice { "positions", "i64", "i32" },
    flag   { "yarn", default = "0" },
    choice { "rounding", "once", "norm", "each" },
  },

  let = {
    { "pairs", "rope_dim / 2" },
  },

  rules = {
    { "rope_dim % 2 == 0", "rope_dim must be even" },
    { "rounding != rounding.norm", "rounding=norm is not defined for rope_table" },
  },

  tensors = {
    tensor { "positions", fill = "position", limit = "1048576",
             dtype = "positions == positions.i32 ? i32 : i64", extent = { "tokens" } },
    tensor { "cos", out = true, dtype = "fp32", extent = { "tokens", "pairs" } },
    tensor { "sin", out = true, dtype = "fp32", extent = { "tokens", "pairs" } },
  },

  attrs = {
    { "base", default = 1e6, trial = 5e5 },
    { "factor", default = 1, trial = 2.5 },
    { "low", default = 0, trial = 4 },
    { "high", default = 0, trial = 32 },
    { "attention_factor", default = 1, trial = 0.9 },
  },

  arguments = {
    ptr "positions", ptr "cos", ptr "sin",
    i64 { "tokens" },
    i32 { "rope_dim" }, i32 { "position_type", "positions" }, i32 { "yarn" },
    attr_f32 "base", attr_f32 "factor", attr_f32 "low", attr_f32 "high", attr_f32 "attention_factor",
  },

  read_bytes  = "tokens * (positions == positions.i64 ? 8 : 4)",
  write_bytes = "tokens * rope_dim * 4",

  awkward = {
    "tokens=1",
    "tokens=37",
    "tokens=130",
  },
  corpus = { "tokens", "" },
}
