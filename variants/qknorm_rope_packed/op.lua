-- qknorm_rope_packed: RMSNorm of each head row of q and k, then rotary
-- embedding, in place in a packed projection; angles are made in the kernel.
--
-- For docs/operators.md:
--
-- ## qknorm_rope_packed
--
-- The same as qknorm_rope on one tensor qkv [tokens, (q_heads + kv_heads +
-- v_heads) * head_dim]: a token's row holds its q heads, its k heads and its v
-- heads, in that order.  q and k are changed in place, v is not touched.  No
-- cache of cosines: a kernel computes them from the position.
--
--   row x of q or k:   y = x / sqrt(mean(x^2) + eps) * weight
--   pair i < rope_dim/2 (a, b of y; elements 2i, 2i + 1 with interleaved, i
--   and i + rope_dim/2 with neox):
--                      f = base^(-2i / rope_dim)
--     yarn=1:          h = high, or high + 0.001 where |low - high| <= 1e-6
--                      ramp = min(max((i - low) / (h - low), 0), 1)
--                      f = f / factor * ramp + f * (1 - ramp)
--                      t = position * f
--                      a' = (a cos t - b sin t) * attention_factor
--                      b' = (b cos t + a sin t) * attention_factor
--   elements from rope_dim on: y
--
-- | tensor | extent | |
-- |---|---|---|
-- | qkv | [tokens, (q_heads + kv_heads + v_heads) * head_dim] | io dtype, in place; `qkv_stride` is the distance of tokens |
-- | q_weight, k_weight | [head_dim] | io dtype |
-- | positions | [tokens] | int64, or int32 with positions=i32 |
--
-- v_heads is kv_heads unless said, and may be 0.  Attributes: eps, base, and
-- factor, low, high and attention_factor, which only yarn=1 looks at.
--
-- How far a kernel may be off: f is the fp32 value nearest to the exact one and
-- the product with the position is exact in the reference; a kernel gets
-- 2^-23 t (|a| + |b|) |attention_factor| for its own, besides what qknorm_rope
-- gets.  Positions up to 2^20 are checked.  A kernel with the special function
-- unit's sine (tunable `trig` 1) is used only where it was proven inside this.
--
-- rounding=each: y is rounded to the io dtype, each of the four products, the
-- two sums and, with yarn=1, their products (in fp32) with attention_factor;
-- cosines and sines are not.
--
-- Traps: angles of 2^20 rad, where an ulp of fp32 is an eighth of a radian and
-- an ulp of f a quarter of one; positions [3, tokens] are another op.
--
-- There is no split form yet: qk_norm and rope would do on strided views, but
-- rope needs a table of cosines that no caller passes and that would have to
-- be made when a plan is.
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
  },

  rules = {
    { "head_dim % 2 == 0",    "head_dim must be even" },
    { "rope_dim % 2 == 0",    "rope_dim must be even" },
    { "rope_dim <= head_dim", "rope_dim must not be more than head_dim" },
    { "rounding != rounding.norm", "rounding=norm is not defined for qknorm_rope_packed" },
    { "tokens <= 1 || qkv_stride0 >= width", "the rows of qkv overlap" },
  },

  -- Always in place: qkv_out is never there, and qkv stands for it.
  tensors = {
    tensor { "qkv", dtype = "io", extent = { "tokens", "width" }, strided = true },
    tensor { "qkv_out", out = true, alias = "qkv", when = "0 == 1",
             dtype = "io", extent = { "tokens", "width" } },
    tensor { "q_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "k_weight", fill = "weight", dtype = "io", extent = { "head_dim" } },
    tensor { "positions", fill = "position", limit = "1048576",
             dtype = "positions == positions.i32 ? i32 : i64", extent = { "tokens" } },
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

  -- v is neither read nor written.
  read_bytes  = "data_bytes + tokens * (positions == positions.i64 ? 8 : 4)",
  write_bytes = "data_bytes",

  awkward = {
    "tokens=1 q_heads=1 kv_heads=1 v_heads=1",
    "tokens=37 q_heads=5 kv_heads=3 v_heads=2",
    "tokens=3 q_heads=24 kv_heads=8 v_heads=8",
    "tokens=130 q_heads=2 kv_heads=1 v_heads=0",
  },
}
