-- heads.lua - what the specs of the head ops share: qknorm_rope, qk_norm, rope.
--
-- An op is described by a table:
--   name      "qknorm_rope"
--   camel     "QkNormRope": facts.cuh has the structs CamelFacts, CamelArgs
--   norm      whether rows are normed: weights, eps, segments
--   rope      whether pairs are turned: angles, positions
--   kv_heads  the least number of heads of k
--   fields    its own, after those of angles
--   let, rules, split, read_bytes, and what else op takes: its own
--
-- With segments=2 (joint attention over text and image) the outputs have
-- text_tokens + tokens rows: those of text_q and text_k, which have norm
-- weights of their own, then those of q and k.
local heads = {}

local function append(to, from)
  for _, v in ipairs(from or {}) do table.insert(to, v) end
  return to
end


local function fields(o)
  local out = {
    int { "tokens",   dynamic = true, min = 0, max = 2^40 },
    int { "q_heads",  dynamic = true, min = 1, max = 65535 },
    int { "kv_heads", dynamic = true, min = o.kv_heads, max = 65535, default = "q_heads" },
    int { "head_dim", min = 1, max = 65536 },
  }
  if o.rope then
    append(out, {
      int    { "rope_dim", min = 0, max = 65536, default = "head_dim" },
      choice { "layout", "interleaved", "neox" },
      choice { "positions", "i64", "i32", "none" },
      int    { "seq", dynamic = true, min = 1, max = 2^40, default = "max(rows, 1)" },
    })
  end
  if o.norm then
    append(out, {
      int { "segments", min = 1, max = 2, default = "1" },
      int { "text_tokens", dynamic = true, min = 0, max = 2^40, default = "0" },
    })
  end
  append(out, o.fields)
  append(out, {
    choice { "rounding", "once", "norm", "each" },
    flag   { "inplace", default = o.norm and "segments == 1" or "1" },
    align(append({ "q", "k", "q_out", "k_out" }, o.norm and { "text_q", "text_k" })),
  })
  return out
end

-- Rows that are written may not overlap.
local function apart(name, count)
  local out = name .. "_out"
  return { string.format("rows <= 1 || %s < 1 || %s_stride0 >= (%s - 1) * %s_stride1 + head_dim || "
             .. "%s > 1 && %s_stride1 >= (rows - 1) * %s_stride0 + head_dim",
             count, out, count, out, count, out, out),
           "the rows of the output for " .. name .. " overlap" }
end

local function rules(o)
  local out = {}
  if o.rope then
    append(out, {
      { "head_dim % 2 == 0",    "head_dim must be even" },
      { "rope_dim % 2 == 0",    "rope_dim must be even" },
      { "rope_dim <= head_dim", "rope_dim must not be more than head_dim" },
      { "positions == positions.none || seq == max(rows, 1)", "seq goes with positions=none" },
      { "cache == cache.separate || cache_dtype == fp32", "a joint cache is fp32" },
      { "cache_dtype == fp32 || cache_dtype == io", "cache_dtype must be fp32 or the io dtype" },
    })
  end
  append(out, o.rules)
  table.insert(out, { "rounding != rounding.norm", "rounding=norm is not defined for " .. o.name })
  if o.norm then
    append(out, {
      { "segments == 2 || text_tokens == 0", "text_tokens goes with segments=2" },
      { "segments == 1 || inplace == 0", "segments=2 is out of place: inplace=0" },
    })
  end
  return append(out, { apart("q", "q_heads"), apart("k", "kv_heads") })
end

local function rows(name, tokens, count, more)
  local t = { name, dtype = "io", extent = { tokens, count, "head_dim" }, strided = true }
  for k, v in pairs(more or {}) do t[k] = v end
  return tensor(t)
end

-- A weight of k is there where k is; qknorm_rope always has one.
local function weight(o, name, ...)
  local when = { ... }
  if not o.rope then table.insert(when, "weight != 0") end
  if not o.rope and (name == "k_weight" or name == "text_k_weight") then
    table.insert(when, "kv_heads > 0")
  end
  return tensor { name, fill = "weight", dtype = o.rope and "io" or "weight", extent = { "head_dim" },
                  when = #when > 0 and table.concat(when, " && ") or nil }
end

-- In place, q_out is q.
local function tensors(o)
  local out = {
    rows("q", "tokens", "q_heads"),
    rows("k", "tokens", "kv_heads"),
    rows("q_out", "rows", "q_heads", { out = true, alias = "q", when = "inplace == 0" }),
    rows("k_out", "rows", "kv_heads", { out = true, alias = "k", when = "inplace == 0" }),
  }
  if o.norm then append(out, { weight(o, "q_weight"), weight(o, "k_weight") }) end
  if o.rope then
    append(out, {
      tensor { "cos", fill = "angle", dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
      tensor { "sin", fill = "angle", when = "cache == cache.separate",
               dtype = "cache_dtype", extent = { "table_rows", "table_width" } },
      tensor { "positions", fill = "position", limit = "table_rows", when = "positions != positions.none",
               dtype = "positions == positions.i32 ? i32 : i64", extent = { "rows" } },
    })
  end
  if o.norm then
    -- Of the joint output, the first text_tokens rows come from these.
    append(out, {
      rows("text_q", "text_tokens", "q_heads", { alias = "q", when = "segments == 2" }),
      rows("text_k", "text_tokens", "kv_heads", { alias = "k", when = "segments == 2" }),
      weight(o, "text_q_weight", "segments == 2"),
      weight(o, "text_k_weight", "segments == 2"),
    })
  end
  return out
end

local function strides(name)
  return { i64 { name .. "_token_stride", name .. "_stride0" },
           i64 { name .. "_head_stride", name .. "_stride1" } }
end

-- The members of CamelArgs, in order.
local function arguments(o)
  local out = { ptr "q", ptr "k", ptr "q_out", ptr "k_out" }
  if o.norm then append(out, { ptr "q_weight", ptr "k_weight" }) end
  if o.rope then append(out, { ptr "cos", ptr "sin", ptr "positions" }) end
  for _, name in ipairs { "q", "k", "q_out", "k_out" } do append(out, strides(name)) end
  if o.rope then table.insert(out, i64 { "table_width" }) end
  table.insert(out, i64 { "tokens", "rows" })
  if o.rope then append(out, { i64 { "seq" }, attr_i64 "position_offset" }) end
  append(out, { i32 { "q_heads" }, i32 { "kv_heads" }, i32 { "head_dim" } })
  if o.rope then
    append(out, { i32 { "rope_dim" }, i32 { "layout" }, i32 { "position_type", "positions" }, i32 { "cache" } })
  end
  append(out, o.arguments)
  if o.norm then
    append(out, { attr_f32 "eps", ptr "text_q", ptr "text_k", ptr "text_q_weight", ptr "text_k_weight" })
    append(append(out, strides("text_q")), strides("text_k"))
    table.insert(out, i64 { "text_tokens" })
  end
  return out
end

local function let(o)
  local out = {
    { "rows",      o.norm and "tokens + text_tokens" or "tokens" }, -- of the outputs
    { "head_rows", "rows * (q_heads + kv_heads)" },
  }
  if o.rope then
    table.insert(out, { "table_rows", "positions == positions.none ? seq + 16 : max(rows, 1)" })
  end
  return append(out, o.let)
end

-- The whole op.
function heads.op(o)
  local attrs = {}
  if o.norm then table.insert(attrs, { "eps", default = 1e-6, trial = 1e-2 }) end
  if o.rope then table.insert(attrs, { "position_offset", default = 0, trial = 7 }) end
  return op {
    name = o.name, facts = o.camel .. "Facts", args = o.camel .. "Args",
    io = { "bf16", "fp16", "fp32" },
    default = "generic",
    fields = fields(o), let = let(o), rules = rules(o), tensors = tensors(o), attrs = attrs,
    arguments = arguments(o), split = o.split,
    read_bytes = o.read_bytes, write_bytes = "data_bytes",
    awkward = {
      "tokens=1 q_heads=1 kv_heads=1",
      "tokens=37 q_heads=5 kv_heads=3",
      "tokens=3 q_heads=24 kv_heads=8",
      "tokens=130 q_heads=2 kv_heads=" .. o.kv_heads,
    },
    corpus = { "tokens", "q_heads=48 kv_heads=16" },
  }
end

-- The scheme that fits all: everything but the io dtype and the rounding is a
-- run-time argument.  Warps go on to further rows.
function heads.generic(name, camel)
  return scheme {
    kernel   = name .. "_generic",
    params   = camel .. "Generic",
    fits_all = true,
    facts    = { "io", "rounding" },
    tune     = { { "warps", 4 } },
    where    = { "rounding != rounding.norm" },
    grid     = "min(ceil_div(head_rows, warps), sms * occupancy)",
    block    = "warps * 32",
  }
end

return heads
