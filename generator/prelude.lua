-- prelude.lua - the words that specs may use, and what they come to.
--
-- Specs are untrusted: they see the table `words` below and nothing else, and
-- the tables they build are read here key by key.  What comes out, finish(),
-- is plain tables in the shape of the message (runtime/op.h), which spec.c
-- writes.  Every refusal names the file and, where it can be told, the line.
local host = ... -- place(): "FILE:LINE" in a spec or nil; check(expr, names);
                 -- evaluate(path, environment): what a file returns

local MAX_TEXT, MAX_ITEMS, MAX_POINTS = 1 << 20, 1 << 16, 1 << 20
local MAX_STRIDE = 1 << 48

local file = { path = "specs", source = "" } -- the spec that is being read

---- Refusing ---------------------------------------------------------------

-- A constructor knows its line from the stack; later, the line is that of the
-- first place in the file where the text in question stands.
local function where(text, pattern)
  local place = host.place()
  if place then return place end
  local at = text and string.find(file.source, pattern or text, 1, not pattern)
  if not at then return file.path end
  local _, lines = string.gsub(string.sub(file.source, 1, at), "\n", "")
  return file.path .. ":" .. lines + (string.sub(file.source, at, at) == "\n" and 0 or 1)
end

local function refuse(text, format, ...)
  error(where(text) .. ": " .. string.format(format, ...), 0)
end

local function refuse_at(place, format, ...)
  error((place or file.path) .. ": " .. string.format(format, ...), 0)
end

local function show(v)
  if type(v) == "string" then return "'" .. string.sub(v, 1, 60) .. "'" end
  if type(v) == "number" or type(v) == "boolean" or v == nil then return tostring(v) end
  return "a " .. type(v)
end

-- pairs in an order that is the same on every run.
local rank = { number = 1, string = 2, boolean = 3 }
local function sorted(t)
  local keys, i = {}, 0
  for k in next, t do
    if not rank[type(k)] then refuse(nil, "a %s is not a key that specs may use", type(k)) end
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    local x, y = rank[type(a)], rank[type(b)]
    if x ~= y then return x < y end
    if x == 3 then return a and not b end
    return a < b
  end)
  return function()
    i = i + 1
    if keys[i] ~= nil then return keys[i], t[keys[i]] end
  end
end

---- Reading what a spec wrote ----------------------------------------------

-- Each kind of value: its normal form, or nil where it is something else.
local is, says = {}, {}
says.name = "a name"
function is.name(v)
  if type(v) == "string" and #v < 64 and string.find(v, "^[%a_][%w_]*$") then return v end
end
says.text = "a line of text"
function is.text(v)
  if type(v) == "string" and #v < 4096 and not string.find(v, "%c") then return v end
end
says.expr = "an expression"
function is.expr(v)
  if math.type(v) == "integer" then return tostring(v) end
  if v ~= "" then return is.text(v) end
end
says.flag = "true or false"
function is.flag(v)
  if type(v) == "boolean" then return v end
end
says.integer = "a whole number"
function is.integer(v)
  if type(v) == "number" then return math.tointeger(v) end
end
says.number = "a number"
function is.number(v)
  if type(v) == "number" then return v + 0.0 end
end
says.table = "a table"
function is.table(v)
  if type(v) == "table" then return v end
end
says.value = "a whole number, true or false"
function is.value(v)
  if type(v) == "boolean" then return v end
  return is.integer(v)
end

local function refuse_key(what, key, shape)
  local known = {}
  for k in sorted(shape) do
    if type(k) == "string" and k ~= "rest" then known[#known + 1] = k end
  end
  if type(key) ~= "string" then
    refuse(nil, "%s takes fewer values than %s", what, show(key))
  end
  local plain = is.name(key) and "%f[%w_]" .. key .. "%s*="
  refuse_at(where(key, plain or nil), "%s is not a key of %s%s", show(key), what,
    #known > 0 and " (it has " .. table.concat(known, ", ") .. ")" or "")
end

local function read(what, key, kind, value)
  local v = is[kind](value)
  if v == nil then
    refuse(type(value) == "string" and value or nil, "%s: %s must be %s, not %s", what,
      type(key) == "number" and "value " .. key or show(key), says[kind], show(value))
  end
  return v
end

-- The table `t` by its shape: key to kind, "!" after a kind that must be there;
-- `rest` is the kind of all further values.
local function record(what, t, shape)
  local out, n = {}, 0
  if type(t) ~= "table" then refuse(nil, "%s takes a table, not %s", what, show(t)) end
  for k, v in sorted(t) do
    local kind = shape[k]
    if type(k) == "number" then
      n = n + 1
      if k ~= n then refuse(nil, "%s has no value %d", what, n) end
      kind = kind or shape.rest
    elseif k == "rest" then
      kind = nil
    end
    if not kind then refuse_key(what, k, shape) end
    out[k] = read(what, k, (string.gsub(kind, "!", "")), v)
  end
  for k, kind in sorted(shape) do
    if string.find(kind, "!", 1, true) and out[k] == nil then
      local of = type(t[1]) == "string" and " of '" .. string.sub(t[1], 1, 60) .. "'" or ""
      refuse(type(t[1]) == "string" and t[1] or nil, "%s%s lacks %s", what, of,
        type(k) == "number" and "value " .. k or "'" .. k .. "'")
    end
  end
  return out
end

local function list(what, t, kind)
  return record(what, t or {}, { rest = kind })
end

-- What a constructor made, by the empty table that the spec got for it: a spec
-- can pass it on and do nothing else with it.
local made = setmetatable({}, { __mode = "k" })
local function make(kind, value)
  local handle = {}
  made[handle] = { kind = kind, value = value, place = host.place() }
  return handle
end

local function take(what, t, kind)
  local out = {}
  for i, v in ipairs(list(what, t, "table")) do
    local m = made[v]
    if not m or m.kind ~= kind then refuse(nil, "value %d of %s is not a %s", i, what, kind) end
    out[i] = m.value
    out[i].place = m.place
  end
  return out
end

local function unique(what, seen, name, place)
  if seen[name] then refuse_at(place or where(name), "%s '%s' is there twice", what, name) end
  seen[name] = true
end

---- The words: safe ones of Lua's --------------------------------------------

local words = {}

local function guarded(library)
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, k)
      if library[k] == nil then refuse(nil, "%s is not a word that specs may use", show(k)) end
      return library[k]
    end,
    __newindex = function(_, k) refuse(nil, "%s cannot be set", show(k)) end,
  })
end

words.ipairs, words.tonumber, words.type, words.select = ipairs, tonumber, type, select
words.math = guarded {
  floor = math.floor, ceil = math.ceil, max = math.max, min = math.min, abs = math.abs,
  huge = math.huge, maxinteger = math.maxinteger,
}

function words.pairs(t)
  if type(t) ~= "table" then refuse(nil, "pairs takes a table, not %s", show(t)) end
  return sorted(t)
end

function words.tostring(v) -- no addresses: they differ from run to run
  return rank[type(v)] and tostring(v) or type(v)
end

function words.error(text)
  refuse(nil, "%s", type(text) == "string" and string.sub(text, 1, 200) or show(text))
end

function words.assert(v, text, ...)
  if not v then words.error(text or "assertion failed") end
  return v, text, ...
end

local function rep(s, n, between)
  n, between = is.integer(n), between or ""
  if type(s) ~= "string" or type(between) ~= "string" or not n then
    refuse(nil, "string.rep takes a text and a whole number")
  end
  if n > MAX_TEXT // math.max(1, #s + #between) then
    refuse(nil, "string.rep makes a text of more than %d bytes", MAX_TEXT)
  end
  return string.rep(s, n, between)
end

local function format(text, ...)
  local size = type(text) == "string" and #text
  if not size then refuse(nil, "string.format takes a text, not %s", show(text)) end
  if string.find(text, "%%[^%a%%]*p") then refuse(nil, "string.format does not know %%p") end
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if not rank[type(v)] then refuse(nil, "string.format cannot print %s", show(v)) end
    size = size + (type(v) == "string" and #v or 0)
  end
  if size > MAX_TEXT then refuse(nil, "string.format makes a text of more than %d bytes", MAX_TEXT) end
  return string.format(text, ...)
end
words.string = guarded { rep = rep, format = format }

local function items(what, t)
  if type(t) ~= "table" then refuse(nil, "%s takes a table, not %s", what, show(t)) end
  if #t > MAX_ITEMS then refuse(nil, "%s takes at most %d items", what, MAX_ITEMS) end
  return #t
end

local function insert(t, at, v)
  local n = items("table.insert", t)
  if v == nil then at, v = n + 1, at end
  at = is.integer(at)
  if not at or at < 1 or at > n + 1 then refuse(nil, "table.insert: no such position") end
  for i = n, at, -1 do t[i + 1] = t[i] end
  t[at] = v
end

local function concat(t, between, first, last)
  local size, n = 0, items("table.concat", t)
  first, last = is.integer(first or 1), is.integer(last or n)
  if not first or not last then refuse(nil, "table.concat takes items by whole numbers") end
  if between ~= nil and type(between) ~= "string" then
    refuse(nil, "table.concat puts a text between, not %s", show(between))
  end
  for i = first, last do
    if type(t[i]) ~= "string" and type(t[i]) ~= "number" then
      refuse(nil, "table.concat: item %d is %s", i, show(t[i]))
    end
    size = size + #tostring(t[i]) + (between and #between or 0)
    if size > MAX_TEXT then refuse(nil, "table.concat makes a text of more than %d bytes", MAX_TEXT) end
  end
  return table.concat(t, between, first, last)
end

local function sort(t, before)
  items("table.sort", t)
  table.sort(t, before)
end
words.table = guarded { insert = insert, concat = concat, sort = sort }

---- The words: what specs share -----------------------------------------------

local environment -- of a file, below
local shared = {} -- by name: { what the file returned }, or false while it is read

-- What variants/common/NAME.lua returns; it is read once.
function words.shared(name)
  if not is.name(name) then refuse(nil, "shared takes a name, not %s", show(name)) end
  if shared[name] == nil then
    local outer, path = file, "variants/common/" .. name .. ".lua"
    shared[name] = false
    local value = host.evaluate(path, environment)
    file = outer
    if value == nil then refuse(nil, "there is no %s, or it returns nothing", path) end
    shared[name] = { value }
  end
  if not shared[name] then refuse(nil, "'%s' is shared with itself", name) end
  return shared[name][1]
end

---- The words: fields --------------------------------------------------------

local INT, CHOICE, STRIDE, LET, SUFFIX = 1, 2, 3, 4, 5 -- enum symbol_kind
local dtypes = { fp32 = 1, fp16 = 2, bf16 = 3, i32 = 6, i64 = 7 }

local function symbol(t)
  t.dynamic = t.dynamic and 1 or 0
  t.min, t.max, t.otherwise = t.min or 0, t.max or 0, t.otherwise or ""
  t.cpp_type, t.choices = t.cpp_type or "", t.choices or {}
  t.tensor, t.dim = t.tensor or 0, t.dim or 0
  return t
end

function words.int(t)
  local f = record("int", t, { "name!", dynamic = "flag", min = "integer!", max = "integer!",
                               default = "expr" })
  if f.min > f.max then refuse(nil, "int '%s' has min %d above max %d", f[1], f.min, f.max) end
  return make("field", symbol { name = f[1], kind = INT, dynamic = f.dynamic, min = f.min,
                                max = f.max, otherwise = f.default })
end

function words.flag(t)
  local f = record("flag", t, { "name!", default = "expr" })
  return make("field", symbol { name = f[1], kind = INT, max = 1, otherwise = f.default or "0" })
end

local function camel_case(name)
  local text = string.gsub("_" .. name, "_+(%w?)", string.upper)
  return (string.gsub(text, "_", ""))
end

local function choices_of(what, words_of, value_of)
  local out, seen = {}, {}
  for i, word in ipairs(words_of) do
    local value = value_of(word, i)
    if not value then refuse(nil, "%s does not know the dtype '%s'", what, word) end
    unique("the word", seen, word, host.place())
    out[i] = { word = word, value = value }
  end
  return out
end

function words.choice(t)
  local f = record("choice", t, { "name!", "name!", rest = "name", default = "expr" })
  local name = table.remove(f, 1)
  return make("field", symbol {
    name = name, kind = CHOICE, otherwise = f.default or "0", cpp_type = "dt::" .. camel_case(name),
    choices = choices_of("choice", f, function(_, i) return i - 1 end) })
end

function words.dtype(t)
  local f = record("dtype", t, { "name!", "name!", rest = "name", default = "expr" })
  local name = table.remove(f, 1)
  local choices = choices_of("dtype", f, function(word)
    return word == "none" and 0 or dtypes[word]
  end)
  return make("field", symbol {
    name = name, kind = CHOICE, otherwise = f.default or tostring(choices[1].value),
    cpp_type = "dt::Dtype", choices = choices })
end

-- A modulation operand: its form, and after a colon its dtype ("row:fp32"),
-- by default the io dtype.  Two symbols: NAME and NAME_dtype.
local forms = { none = 0, scalar = 1, row = 2, batch = 3, token = 4, frame = 5 } -- dt::Form

function words.operand(t)
  local f = record("operand", t, { "name!", "name!", rest = "name", default = "expr" })
  local name = table.remove(f, 1)
  local choices = {}
  for i, word in ipairs(f) do
    if not forms[word] then refuse(word, "operand '%s' has no form '%s'", name, word) end
    choices[i] = { word = word, value = forms[word] }
  end
  return make("field", symbol {
    name = name, kind = CHOICE, otherwise = f.default or tostring(choices[1].value),
    cpp_type = "dt::Form", choices = choices,
    suffix = symbol { name = name .. "_dtype", kind = SUFFIX, otherwise = "io", cpp_type = "dt::Dtype",
                      choices = { { word = "fp32", value = 1 }, { word = "fp16", value = 2 },
                                  { word = "bf16", value = 3 } } } })
end

function words.align(t)
  local tensors = record("align", t, { "name!", rest = "name" })
  return make("field", symbol { name = "align", kind = INT, dynamic = true, min = 1, max = 16,
                                tensors = tensors })
end

---- The words: tensors, arguments, steps -------------------------------------

local fills = { normal = 0, weight = 1, angle = 2, position = 3, operand = 4 }

function words.tensor(t)
  local f = record("tensor", t, {
    "name!", dtype = "expr!", extent = "table!", strided = "flag", out = "flag", scratch = "flag",
    alias = "name", when = "expr", fill = "name", limit = "expr" })
  local fill = fills[f.fill or "normal"]
  local extents = list("extent", f.extent, "expr")
  if not fill then refuse(nil, "tensor '%s' has no fill '%s'", f[1], f.fill) end
  if fill == fills.position and not f.limit then
    refuse(nil, "tensor '%s' is of positions and lacks 'limit'", f[1])
  end
  if #extents < 1 or #extents > 4 then
    refuse(nil, "tensor '%s' has rank %d, not 1 to 4", f[1], #extents)
  end
  return make("tensor", {
    name = f[1], role = f.scratch and 2 or f.out and 1 or 0, fill = fill, dtype = f.dtype, when = f.when or "",
    alias = f.alias or "", extents = extents, strided = f.strided, strides = {},
    limit = f.limit or "" })
end

local function argument(word, kind, type_of, has_value)
  words[word] = function(t)
    if type(t) == "string" then t = { t } end
    local f = record(word, t, { "name!", has_value and "expr" or nil })
    return make("argument", { name = f[1], kind = kind, type = type_of, what = f[2] or f[1] })
  end
end
argument("ptr", 0, 0) -- enum arg_kind, enum arg_type
argument("i32", 1, 1, true)
argument("i64", 1, 2, true)
argument("attr_i64", 2, 2)
argument("attr_f32", 2, 3)

local function map(what, t, kind, key, value)
  local out = {}
  for k, v in sorted(t or {}) do
    out[#out + 1] = { [key] = read(what, "key", "name", k), [value] = read(what, k, kind, v) }
  end
  return out
end

-- `at`: a tensor of the step begins so many elements into the one it stands on.
function words.step(t)
  local f = record("step", t, { "name!", set = "table", tensors = "table", at = "table" })
  local tensors, at = map("tensors", f.tensors, "name", "inner", "outer"), {}
  for _, row in ipairs(map("at", f.at, "expr", "inner", "at")) do at[row.inner] = row.at end
  for _, row in ipairs(tensors) do
    row.at, at[row.inner] = at[row.inner] or "", nil
  end
  for name in sorted(at) do refuse(name, "step: '%s' of 'at' is not one of 'tensors'", name) end
  return make("step", { op = f[1], sets = map("set", f.set, "expr", "field", "value"),
                        tensors = tensors })
end

---- The words: op and scheme ---------------------------------------------------

function words.op(t)
  return make("op", record("op", t, {
    name = "name!", facts = "name!", args = "name!", io = "table!", default = "name!",
    fields = "table!", let = "table", rules = "table", tensors = "table!", attrs = "table",
    arguments = "table!", split = "table", items = "expr", read_bytes = "expr!", write_bytes = "expr!",
    awkward = "table", corpus = "table" }))
end

function words.scheme(t)
  if type(t) == "table" and is.expr(t.grid) then
    local copy = {}
    for k, v in sorted(t) do copy[k] = v end
    copy.grid = { t.grid }
    t = copy
  end
  return make("scheme", record("scheme", t, {
    kernel = "name!", params = "name!", fits_all = "flag", facts = "table", tune = "table",
    where = "table", grid = "table!", block = "expr!", shared = "expr", min_blocks = "expr" }))
end

-- variants/zoo.lua: { name, spelling, calls = ... } for every site.
function words.zoo(t)
  return make("zoo", list("zoo", t, "table"))
end

---- From an op to its message ---------------------------------------------------

local function check(text, names, place)
  local sentence = host.check(text, names)
  if sentence then refuse_at(place or where(text), "%s", sentence) end
end

local function define(names, s)
  unique("the symbol", names, s.name, s.place)
  for _, c in ipairs(s.choices) do names[s.name .. "." .. c.word] = true end
end

local function io_symbol(t)
  local io = list("io", t.io, "name")
  if #io == 0 then refuse("io", "io has no dtype") end
  return symbol { name = "io", kind = 0, cpp_type = "dt::Dtype",
                  choices = choices_of("io", io, function(word) return dtypes[word] end) }
end

-- "(a) * (b)": the elements between neighbours along dim `d` when contiguous.
local function contiguous(tensor, d)
  local factors = {}
  for i = d + 1, #tensor.extents do
    local extent = tensor.extents[i]
    factors[#factors + 1] = string.find(extent, "^[%w_]+$") and extent or "(" .. extent .. ")"
  end
  return table.concat(factors, " * ")
end

local function stride_symbols(tensors, by_name)
  local out = {}
  for i, t in ipairs(tensors) do
    local alias = by_name[t.alias]
    for d = 1, t.strided and #t.extents - 1 or 0 do
      local name, value = t.name .. "_stride" .. d - 1, contiguous(t, d)
      if alias and alias.strided and t.when ~= "" and #alias.extents == #t.extents then
        value = string.format("(%s) ? %s : %s_stride%d", t.when, value, t.alias, d - 1)
      end
      t.strides[d] = name
      out[#out + 1] = symbol { name = name, kind = STRIDE, dynamic = true, max = MAX_STRIDE,
                               otherwise = value, tensor = i, dim = d - 1, place = t.place }
    end
  end
  return out
end

-- A row that overlaps its neighbour is not a tensor that can be written; one
-- that is only read may repeat (stride 0).
local function stride_rules(tensors)
  local out, written = {}, {}
  for _, t in ipairs(tensors) do
    if t.role == 1 then
      written[t.name] = ""
      -- its alias is written where it is absent itself
      written[t.alias] = t.when ~= "" and "(" .. t.when .. ") || " or ""
    end
  end
  for _, t in ipairs(tensors) do
    local d = #t.extents - 1
    if t.strides[d] and written[t.name] then
      local row = t.extents[d + 1]
      out[#out + 1] = {
        expr = string.format("%s%s >= (%s)", written[t.name], t.strides[d], row),
        sentence = string.format("%s_stride must be at least %s elements per row", t.name, row) }
    end
  end
  return out
end

-- The largest power of two, 16 at most, that divides the bytes of every row
-- stride: what a kernel may rely on when the tensors themselves start aligned.
local function alignment(field, by_name)
  local value = "16"
  for _, name in ipairs(field.tensors) do
    local t = by_name[name]
    if not t then refuse_at(field.place, "align: no tensor is named '%s'", name) end
    for d = 1, #t.extents - 1 do
      value = string.format("min(pow2(%s * bytes_of(%s)), %s)",
                            t.strides[d] or contiguous(t, #t.extents - 1), t.dtype, value)
      if not t.strides[d] then break end -- the rows' stride divides the others
    end
  end
  return value
end

local function align_rules(field)
  return {
    { expr = "align == pow2(align) && align >= bytes_of(io)",
      sentence = "align must be a power of two of at least one element" },
    { expr = "align <= " .. field.otherwise, sentence = "align is more than the strides allow" },
  }
end

local function lets(t)
  local out = {}
  for i, row in ipairs(list("let", t.let, "table")) do
    local f = record("let", row, { "name!", "expr!" })
    out[i] = symbol { name = f[1], kind = LET, otherwise = f[2] }
  end
  return out
end

local function rules(t)
  local out = {}
  for i, row in ipairs(list("rules", t.rules, "table")) do
    local f = record("rule", row, { "expr!", "text!" })
    out[i] = { expr = f[1], sentence = f[2] }
  end
  return out
end

local function attributes(t)
  local out, seen = {}, {}
  for i, row in ipairs(list("attrs", t.attrs, "table")) do
    local f = record("attr", row, { "name!", default = "number!", trial = "number" })
    unique("the attr", seen, f[1])
    out[i] = { name = f[1], otherwise = f.default, trial = f.trial or f.default }
  end
  return out, seen
end

local function append(to, from)
  for _, v in ipairs(from) do to[#to + 1] = v end
end

local function tensors_of(t)
  local tensors, by_name = take("tensors", t.tensors, "tensor"), {}
  for _, s in ipairs(tensors) do
    if s.alias ~= "" and not by_name[s.alias] then
      refuse_at(s.place, "no tensor before '%s' is named '%s'", s.name, s.alias)
    end
    unique("the tensor", by_name, s.name, s.place)
    by_name[s.name] = s
  end
  return tensors, by_name
end

local function symbols_of(t, tensors, by_name)
  local strides = stride_symbols(tensors, by_name)
  local symbols, checks = { io_symbol(t) }, stride_rules(tensors)
  for _, field in ipairs(take("fields", t.fields, "field")) do
    symbols[#symbols + 1] = field
    if field.suffix then
      field.suffix.place = field.place
      symbols[#symbols + 1] = field.suffix
    end
  end
  for _, s in ipairs(symbols) do
    if s.tensors then
      s.otherwise = alignment(s, by_name)
      append(checks, align_rules(s))
    end
  end
  append(symbols, strides)
  append(symbols, lets(t))
  return symbols, checks
end

local function names_of(symbols)
  local names = {}
  for name in sorted(dtypes) do names[name] = true end
  for _, s in ipairs(symbols) do define(names, s) end
  for _, s in ipairs(symbols) do
    if s.otherwise ~= "" then check(s.otherwise, names, s.place) end
  end
  return names
end

local function check_tensor(s, names)
  check(s.dtype, names, s.place)
  for _, extent in ipairs(s.extents) do check(extent, names, s.place) end
  if s.when ~= "" then check(s.when, names, s.place) end
  if s.limit ~= "" then check(s.limit, names, s.place) end
end

local function check_arguments(arguments, names, by_name, attrs)
  local seen = {}
  for _, a in ipairs(arguments) do
    unique("the argument", seen, a.name, a.place)
    if a.kind == 1 then
      check(a.what, names, a.place)
    elseif not (a.kind == 0 and by_name or attrs)[a.what] then
      refuse_at(a.place, "no %s is named '%s'", a.kind == 0 and "tensor" or "attr", a.what)
    end
  end
end

local function check_steps(steps, names, by_name, attrs)
  for _, s in ipairs(steps) do
    for _, set in ipairs(s.sets) do check(set.value, names, s.place) end
    for _, t in ipairs(s.tensors) do
      if not by_name[t.outer] and not attrs[t.outer] then
        refuse_at(s.place, "no tensor is named '%s'", t.outer)
      end
      if t.at ~= "" then check(t.at, names, s.place) end
    end
  end
end

---- From a scheme to its message --------------------------------------------------

local function tunable(row)
  local f = record("tune", row, { "name!", "value!", rest = "value" })
  local out = { name = f[1], boolean = type(f[2]) == "boolean" and 1 or 0, values = {} }
  local seen = {}
  for i = 2, #f do
    local v = f[i]
    if type(v) ~= type(f[2]) then refuse(f[1], "tunable '%s' mixes numbers with true and false", f[1]) end
    if seen[v] then refuse(f[1], "tunable '%s' has the value %s twice", f[1], show(v)) end
    seen[v] = true
    out.values[i - 1] = type(v) == "boolean" and (v and 1 or 0) or v
  end
  return out
end

local function tunables_of(t, names)
  local out, points = {}, 1
  for i, row in ipairs(list("tune", t.tune, "table")) do
    out[i] = tunable(row)
    unique("the name", names, out[i].name)
    points = points * #out[i].values
    if points > MAX_POINTS then refuse("tune", "the space has more than %d points", MAX_POINTS) end
  end
  return out
end

-- Facts in the op's order, whatever order the scheme named them in: it is the
-- order of the members of the op's struct of facts.
local function facts_of(t, symbols)
  local named, out = {}, {}
  for _, fact in ipairs(list("facts", t.facts, "name")) do unique("the fact", named, fact) end
  for _, s in ipairs(symbols) do
    if named[s.name] then
      if s.dynamic == 1 then refuse(s.name, "the fact '%s' is dynamic", s.name) end
      out[#out + 1] = s.name
      named[s.name] = nil
    end
  end
  for name in sorted(named) do refuse(name, "the fact '%s' is not a field of the op", name) end
  return out
end

local function check_fits_all(scheme)
  for _, fact in ipairs(scheme.facts) do
    if fact ~= "io" and fact ~= "rounding" then
      refuse(fact, "a scheme that fits all may have the facts io and rounding, not %s", fact)
    end
  end
end

local function shape_of(t, names)
  local grid = list("grid", t.grid, "expr")
  local out = { grid[1] or "", grid[2] or "", grid[3] or "", t.block, t.shared or "",
                t.min_blocks or "" }
  if #grid < 1 or #grid > 3 then refuse("grid", "grid has %d extents, not 1 to 3", #grid) end
  for _, text in ipairs(out) do
    if text ~= "" then check(text, names) end
  end
  return out
end

local function scheme_of(given, symbols, symbol_names)
  local m, names = made[given.value], { arch = true, sms = true, occupancy = true }
  if not m or m.kind ~= "scheme" then refuse(nil, "a scheme's file must return scheme { ... }") end
  for name in sorted(symbol_names) do names[name] = true end
  local t = m.value
  local scheme = {
    name = read("scheme", "the file", "name", given.name), file = given.file,
    kernel = t.kernel, params = t.params, fits_all = t.fits_all and 1 or 0,
    facts = facts_of(t, symbols), tunables = tunables_of(t, names),
    rules = list("where", t.where, "expr"),
  }
  for _, rule in ipairs(scheme.rules) do check(rule, names) end
  if t.fits_all then check_fits_all(scheme) end
  scheme.shape = shape_of(t, names)
  return scheme
end

local function schemes_of(t, given, symbols, names)
  local out, first = {}, nil
  local op_file = file
  for _, g in ipairs(given) do
    file = { path = g.path, source = g.source }
    local scheme = scheme_of(g, symbols, names)
    if scheme.name == t.default then first = scheme else out[#out + 1] = scheme end
  end
  file = op_file
  if not first then refuse("default", "there is no scheme '%s' for the default", t.default) end
  if first.fits_all == 0 then
    refuse("default", "the default scheme '%s' must have fits_all = true", t.default)
  end
  table.insert(out, 1, first)
  return out
end

local function finish(path, source, folder, value, given)
  file = { path = path, source = source }
  local m = made[value]
  if not m or m.kind ~= "op" then refuse(nil, "op.lua must return op { ... }") end
  local t = m.value
  if t.name ~= folder then refuse(t.name, "the op '%s' is in the folder '%s'", t.name, folder) end
  local tensors, by_name = tensors_of(t)
  local symbols, checks = symbols_of(t, tensors, by_name)
  local names = names_of(symbols)
  local attrs, attr_names = attributes(t)
  local out = {
    name = t.name, facts = t.facts, args = t.args, symbols = symbols, tensors = tensors,
    attrs = attrs, arguments = take("arguments", t.arguments, "argument"), rules = rules(t),
    steps = take("split", t.split or {}, "step"), items = t.items or "", read_bytes = t.read_bytes,
    write_bytes = t.write_bytes, awkward = list("awkward", t.awkward, "text"),
    corpus = list("corpus", t.corpus, "text"),
  }
  append(out.rules, checks)
  for _, s in ipairs(tensors) do check_tensor(s, names) end
  for _, r in ipairs(out.rules) do check(r.expr, names) end
  check_arguments(out.arguments, names, by_name, attr_names)
  check_steps(out.steps, names, by_name, attr_names)
  if t.items then check(t.items, names) end
  check(t.read_bytes, names)
  check(t.write_bytes, names)
  out.schemes = schemes_of(t, given, symbols, names)
  return out
end

-- Everything a spec can name; what is not here stops it.
function environment(path, source)
  file = { path = path, source = source }
  return guarded(words)
end

local function finish_zoo(path, source, value)
  file = { path = path, source = source }
  local m, out, seen = made[value], {}, {}
  if not m or m.kind ~= "zoo" then refuse(nil, "zoo.lua must return zoo { ... }") end
  for i, row in ipairs(m.value) do
    local f = record("site", row, { "text!", "text!", calls = "integer" })
    unique("the site", seen, f[1])
    out[i] = { name = f[1], spelling = f[2], calls = f.calls or 0 }
  end
  return out
end

return { environment = environment, finish = finish, finish_zoo = finish_zoo }
