-- rows.lua - what the specs of the row ops share: ops on [batch, seq, hidden].
--
-- An op is described by a table, of which all but the first four may be absent:
--   name      "norm_scale_shift"
--   camel     "NormScaleShift": facts.cuh has the structs CamelFacts, CamelArgs
--   x         its inputs, one or two, in the order of the arguments
--   out       its outputs: { name, the input that it replaces in place or nil }
--   scratch   the name of a workspace of the split form
--   norms     { "" }, or { "", "2" } where norm2, weight2, bias2 and eps2 exist
--   operands  of scale, shift and gate, in this order
--   none      the operands that may be left out; "scale" = true
--   absent    the operands that are left out by default
--   tanh      whether the field gate_tanh exists
--   split     its steps
local rows = {}

local function append(to, from)
  for _, v in ipairs(from) do table.insert(to, v) end
  return to
end

local function affine(name) -- of a norm: weight or bias
  return dtype { name, "none", "fp32", "fp16", "bf16" }
end

local function operand_field(o, name)
  local none = o.none and o.none[name]
  if o.absent and o.absent[name] then
    return operand { name, "none", "row", "scalar", "batch", "token", "frame" }
  elseif none then
    return operand { name, "row", "scalar", "batch", "token", "frame", "none" }
  end
  return operand { name, "row", "scalar", "batch", "token", "frame" }
end

-- The names of all activations, the workspace last.
local function activations(o)
  local out = append({}, o.x)
  for _, t in ipairs(o.out) do table.insert(out, t[1]) end
  if o.scratch then table.insert(out, o.scratch) end
  return out
end

local function fields(o)
  local out = {
    int { "batch",  dynamic = true, min = 0, max = 2^31, default = 1 },
    int { "seq",    dynamic = true, min = 0, max = 2^40 },
    int { "frames", dynamic = true, min = 1, max = 2^31, default = 1 },
    int { "hidden", min = 1, max = 65536 },
  }
  for i, n in ipairs(o.norms or {}) do
    table.insert(out, i == 1 and choice { "norm", "layer", "rms" }
                             or choice { "norm" .. n, "layer", "rms", default = "norm" })
  end
  for _, n in ipairs(o.norms or {}) do
    append(out, { affine("weight" .. n), affine("bias" .. n) })
  end
  for _, name in ipairs(o.operands or {}) do table.insert(out, operand_field(o, name)) end
  if o.tanh then table.insert(out, flag { "gate_tanh" }) end
  append(out, { choice { "rounding", "once", "norm", "each" }, flag { "inplace" } })
  table.insert(out, align(activations(o)))
  return out
end

local extent = { "batch", "seq", "hidden" }

local function tensors(o)
  local out = {}
  for _, name in ipairs(o.x) do
    table.insert(out, tensor { name, dtype = "io", extent = extent, strided = true })
  end
  for _, name in ipairs(o.operands or {}) do
    local is = function(form) return name .. " == " .. name .. "." .. form end
    local each = is "batch" .. " || " .. is "token" .. " || " .. is "frame"
    table.insert(out, tensor {
      name, fill = "operand", dtype = name .. "_dtype", strided = true,
      when = (o.none and o.none[name]) and name .. " != " .. name .. ".none" or nil,
      extent = { each .. " ? batch : 1",
                 is "token" .. " ? seq : " .. is "frame" .. " ? frames : 1",
                 is "scalar" .. " ? 1 : hidden" } })
  end
  for _, n in ipairs(o.norms or {}) do
    append(out, {
      tensor { "weight" .. n, fill = "weight", when = "weight" .. n .. " != 0",
               dtype = "weight" .. n, extent = { "hidden" } },
      tensor { "bias" .. n, fill = "operand", when = "bias" .. n .. " != 0",
               dtype = "bias" .. n, extent = { "hidden" } },
    })
  end
  for _, t in ipairs(o.out) do
    table.insert(out, tensor { t[1], out = true, alias = t[2], when = t[2] and "inplace == 0",
                               dtype = "io", extent = extent, strided = true })
  end
  if o.scratch then
    table.insert(out, tensor { o.scratch, scratch = true, dtype = "io", extent = extent })
  end
  return out
end

-- Members of the argument struct: first the addresses, then strides, then what
-- only the kernel that fits all looks at.
local function arguments(o)
  local out, last = {}, {}
  local strided = append({}, o.x)
  append(strided, o.operands or {})
  for _, t in ipairs(o.out) do table.insert(strided, t[1]) end
  for _, name in ipairs(strided) do table.insert(out, ptr(name)) end
  for _, n in ipairs(o.norms or {}) do append(out, { ptr("weight" .. n), ptr("bias" .. n) }) end
  for _, name in ipairs(strided) do
    append(out, { i64 { name .. "_batch", name .. "_stride0" },
                  i64 { name .. "_token", name .. "_stride1" } })
  end
  append(out, { i64 { "batch" }, i64 { "seq" }, i64 { "frame_tokens" }, i32 { "hidden" } })
  for _, n in ipairs(o.norms or {}) do
    append(out, { i32 { "norm" .. n }, i32 { "weight" .. n .. "_dtype", "weight" .. n },
                  i32 { "bias" .. n .. "_dtype", "bias" .. n } })
  end
  for _, name in ipairs(o.operands or {}) do
    append(out, { i32 { name .. "_form", name }, i32 { name .. "_dtype" } })
  end
  if o.tanh then table.insert(out, i32 { "gate_tanh" }) end
  for _, n in ipairs(o.norms or {}) do table.insert(out, attr_f32("eps" .. n)) end
  return out
end

local function rules(o)
  local out = {
    { "seq % frames == 0", "seq must be a multiple of frames" },
  }
  if o.tanh then
    table.insert(out, { "gate_tanh == 0 || gate != gate.none", "gate_tanh needs a gate" })
  end
  -- Rows that are written may not overlap.
  for _, t in ipairs(o.out) do
    table.insert(out, {
      string.format("batch <= 1 || seq < 1 || %s_stride0 >= (seq - 1) * %s_stride1 + hidden || "
        .. "seq > 1 && %s_stride1 >= (batch - 1) * %s_stride0 + hidden", t[1], t[1], t[1], t[1]),
      "the rows of " .. t[1] .. " overlap" })
  end
  return out
end

-- Bytes of an operand: its elements once.
local function operand_bytes(o, name)
  local is = function(form) return name .. " == " .. name .. "." .. form end
  local text = string.format(
    "(%s ? 1 : (%s ? row_count : %s ? batch * frames : %s ? batch : 1) * hidden) * bytes_of(%s_dtype)",
    is "scalar", is "token", is "frame", is "batch", name)
  if o.none and o.none[name] then text = is "none" .. " ? 0 : " .. text end
  return text
end

local function let(o)
  local out = {
    { "row_count", "batch * seq" },
    { "frame_tokens", "max(seq / frames, 1)" },
    { "data_bytes", "row_count * hidden * bytes_of(io)" },
  }
  local read = #o.x .. " * data_bytes"
  for _, name in ipairs(o.operands or {}) do
    table.insert(out, { name .. "_bytes", operand_bytes(o, name) })
    read = read .. " + " .. name .. "_bytes"
  end
  for _, n in ipairs(o.norms or {}) do
    for _, name in ipairs { "weight" .. n, "bias" .. n } do
      read = read .. string.format(" + hidden * (%s == 0 ? 0 : bytes_of(%s))", name, name)
    end
  end
  return out, read
end

-- Ops by name: op.lua is read before the schemes beside it.
local described = {}

-- The whole op.
function rows.op(o)
  described[o.name] = o
  local names, read = let(o)
  local attrs = {}
  for _, n in ipairs(o.norms or {}) do
    table.insert(attrs, { "eps" .. n, default = 1e-6, trial = 1e-3 })
  end
  return op {
    name = o.name, facts = o.camel .. "Facts", args = o.camel .. "Args",
    io = { "bf16", "fp16", "fp32" },
    default = "generic",
    fields = fields(o), let = names, rules = rules(o), tensors = tensors(o), attrs = attrs,
    arguments = arguments(o), split = o.split,
    items = "row_count",
    read_bytes = read, write_bytes = #o.out .. " * data_bytes",
    awkward = {
      "batch=1 seq=1 frames=1",
      "batch=2 seq=37 frames=1",
      "batch=3 seq=12 frames=4",
    },
    corpus = { "seq", "" },
  }
end

-- The scheme that fits all: looks everything up while it runs.  A thread holds
-- 32 elements, a row has at least 16 threads; few rows have a block each.
-- shape_of() in rows_generic.cuh says the same.
local rows_of_block = "(row_count <= sms * occupancy ? 1 : "
  .. "hidden <= 512 ? 16 : hidden <= 1024 ? 8 : hidden <= 2048 ? 4 : hidden <= 4096 ? 2 : 1)"

function rows.generic()
  return scheme {
    kernel   = "rows_default",
    params   = "RowsDefault",
    fits_all = true,
    facts    = { "io", "rounding" },
    tune     = { { "warps", 8 } },
    grid     = "min(ceil_div(row_count, " .. rows_of_block .. "), sms * occupancy)",
    block    = "warps * 32",
  }
end

---- The tuned scheme: tunables are explained in rows_shape.cuh ------------

local count   = "(vec / bytes_of(io))"                           -- of a vector
local vectors = "(hidden / " .. count .. ")"                     -- of a row
local slots   = "ceil_div(" .. vectors .. ", warps * lanes)"     -- of a thread
local words   = "(" .. slots .. " * vec / 4)"                    -- its registers

local function facts(o)
  local out = { "io", "hidden", "rounding", "inplace" }
  for _, n in ipairs(o.norms or {}) do append(out, { "norm" .. n, "weight" .. n, "bias" .. n }) end
  for _, name in ipairs(o.operands or {}) do append(out, { name, name .. "_dtype" }) end
  if o.tanh then table.insert(out, "gate_tanh") end
  return out
end

-- The registers of everything that a row meets.
local function operand_words(o)
  local text = "0"
  for _, n in ipairs(o.norms or {}) do
    for _, name in ipairs { "weight" .. n, "bias" .. n } do
      text = text .. string.format(" + (%s == 0 ? 0 : bytes_of(%s))", name, name)
    end
  end
  for _, name in ipairs(o.operands or {}) do
    local none = o.none and o.none[name] and name .. " == " .. name .. ".none || " or ""
    text = text .. string.format(" + (%s%s == %s.scalar ? 0 : bytes_of(%s_dtype))", none, name, name, name)
  end
  return string.format("(%s * %s * (%s) / 4)", slots, count, text)
end

-- Rows of an operand begin at multiples of the pieces that it is loaded in.
local function operand_fits(name)
  local piece = string.format("min(vec, %s * bytes_of(%s_dtype))", count, name)
  local aligned = function(dim)
    return string.format("%s_stride%d * bytes_of(%s_dtype) %% %s == 0", name, dim, name, piece)
  end
  return string.format(
    "(%s != %s.batch && %s != %s.token && %s != %s.frame) || (%s && (%s == %s.batch || %s))",
    name, name, name, name, name, name, aligned(0), name, name, aligned(1))
end

-- Whether there is a mean to find, which takes a reduction more.
local function any_layer(o)
  local text = "0"
  for _, n in ipairs(o.norms or {}) do
    text = text .. string.format(" + (norm%s == norm%s.layer)", n, n)
  end
  return "(" .. text .. " > 0)"
end

local function conditions(o)
  local row = string.format("%s * %d * (ahead ? 2 : 1)", words, #o.x)
  -- The slots that are kept, and at most three values of each warp, in double,
  -- twice: what rows_walk.cuh and rows_sum.cuh have in shared memory.
  local kept = #o.x == 2 and "4" or "bytes_of(io)" -- bytes of an element
  local shared_bytes = "rows * (" .. slots .. " * warps * 32 * " .. count .. " * " .. kept
    .. " + ceil_div(warps, 4) * 4 * 48)"
  -- At most one step aside from the usual choices, or the points multiply.
  local aside = {
    "(vec != 16)", "(rows > 1 && (warps >= 4 || rows * warps * lanes > 192))", "(persistent && operands == 2)", "ahead",
    "one_pass", "(hint != 0)", "(registers != 0)",
    "(keep != 0 && " .. row .. " <= 40 && (one_pass || persistent))",
  }
  local out = {
    -- What the first tunables alone refuse comes first: no point behind it is
    -- looked at.
    "align % vec == 0 && vec % bytes_of(io) == 0",
    "hidden % " .. count .. " == 0",
    "row_count <= 1073741824",
    "rows * warps <= 32",
    "rows == 1 ? warps > 1 : rows * warps <= 16",
    "(vec != 16) + (rows > 1 && warps >= 4) <= 1",
    "operands < 3 || persistent",
    "!ahead || persistent",
    "!one_pass || " .. any_layer(o),
  }
  local steps = "(vec != 16) + (rows > 1 && warps >= 4) + " .. aside[3]
  for i = 4, 7 do
    steps = steps .. " + " .. aside[i]
    table.insert(out, steps .. " <= 1")
  end
  append(out, {
    table.concat(aside, " + ") .. " <= 1",

    -- What the kernel needs.
    "!one_pass || " .. vectors .. " % (warps * lanes) == 0",
    "lanes == 32 || (warps == 1 && rows * lanes >= 64)",
  })
  for _, name in ipairs(o.operands or {}) do table.insert(out, operand_fits(name)) end
  append(out, {
    -- What can win: most threads busy, blocks of 2 to 16 warps if a row is not
    -- longer, what is held in registers, the widest vector that leaves a thread
    -- two or more.
    "10 * " .. vectors .. " >= 7 * " .. slots .. " * warps * lanes || (warps == 1 && " .. slots .. " == 1)",
    "lanes == 32 ? rows < 16 : " .. vectors .. " <= 32 && keep == 0", -- short rows
    "warps != 5 || " .. vectors .. " % 160 == 0",
    "keep != 0 || " .. row .. " <= 40",
    "operands < 1 || " .. row .. " + " .. operand_words(o) .. " <= 56",
    "operands == 0 || " .. operand_words(o) .. " > 0",
    "operands != 1 || " .. slots .. " > 2",
    "vec == 16 || " .. slots .. " == 1 || align % (2 * vec) != 0 || hidden % (2 * " .. count .. ") != 0",
    "registers == 0 || (" .. row .. " + 36 <= registers && 4 * " .. row .. " + 16 >= registers)",

    -- A row that is not in registers: long, or of few warps.
    "keep == 0 || (vec == 16 && operands == 0 && !ahead && registers == 0 && hint == 0)",
    "keep == 0 || (" .. slots .. " >= 4 && rows <= 2 && warps <= 16)",
    "keep != 1 || " .. shared_bytes .. " <= 49152",
  })
  return out
end

function rows.tuned(name)
  local o = described[name]
  local blocks = "ceil_div(row_count, rows)"
  return scheme {
    kernel = name .. "_rows",
    params = o.camel .. "Rows",
    facts  = facts(o),
    tune = {
      { "vec", 16, 8, 4 },
      { "warps", 4, 1, 2, 3, 5, 6, 8, 10, 12, 16, 20, 24, 32 },
      { "rows", 1, 2, 4, 8, 16 },
      { "persistent", false, true },
      { "operands", 0, 1, 2, 3 },
      { "ahead", false, true },
      { "one_pass", false, true },
      { "hint", 0, 1, 2 },
      { "registers", 0, 64, 48 },
      o.norms and { "keep", 0, 1, 2 } or { "keep", 0 },
      { "lanes", 32, 16, 8 },
    },
    where = conditions(o),
    grid  = "persistent ? min(" .. blocks .. ", sms * occupancy) : " .. blocks,
    block = "warps * rows * lanes",
    min_blocks = "registers == 0 ? 0 : min(65536 / (registers * warps * rows * lanes), 32)",
  }
end

return rows
