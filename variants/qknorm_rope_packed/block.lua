-- A block per token or few; the tunables are explained in block.cuh.
local count  = "(vec / bytes_of(io))"                      -- of a vector
local twins  = "(layout == layout.neox ? 2 : 1)"           -- vectors of a unit
local units  = "ceil_div(head_dim / " .. count .. ", " .. twins .. ")"
local slots  = "ceil_div(" .. units .. ", lanes)"          -- units of a lane
local words  = slots .. " * " .. twins .. " * (vec / 4)"   -- registers of a row
local pairs  = slots .. " * " .. twins .. " * " .. count .. " / 2"
local groups = "(warps * 32 / lanes)"                      -- of a block
local heads  = "(q_heads + kv_heads)"
local rounds = "ceil_div(block_tokens * " .. heads .. ", " .. groups .. " * inflight)"

return scheme {
  kernel = "qknorm_rope_packed_block",
  params = "QkNormRopePackedBlock",
  facts  = { "io", "head_dim", "rope_dim", "layout", "positions", "yarn", "rounding" },
  tune = {
    { "vec", 16, 8, 4 },
    { "lanes", 16, 8, 32 },
    { "block_tokens", 1, 2, 4 },
    { "inflight", 1, 2, 3, 4 },
    { "persistent", true, false },
    { "warps", 8, 4, 16 },
    { "frequency", 0, 1 },
    { "keep_weight", false, true },
    { "hint", 0, 1, 2 },
  },
  where = {
    -- At most one step aside from the usual choices.
    "(vec != 16) + !persistent + frequency + keep_weight + (hint != 0) <= 1",

    -- What the kernel needs: whole vectors, aligned; elements in twos.
    "rounding == rounding.once || bytes_of(io) == 2",
    "align % vec == 0 && vec % bytes_of(io) == 0",
    count .. " % 2 == 0",
    "head_dim % " .. count .. " == 0",
    "rope_dim % (" .. count .. " * " .. twins .. ") == 0",
    "block_tokens * rope_dim <= 1024",  -- of 48 KB shared memory
    "tokens <= 1073741824",
    "block_tokens * " .. heads .. " <= 1073741824",

    -- What can win: most lanes busy; rows in 32 registers, angles in 32; the
    -- last round mostly full; the widest vector that leaves a lane one unit.
    "2 * " .. units .. " > lanes",
    "inflight * " .. words .. " <= 32",
    pairs .. " * 2 <= 32",
    "4 * " .. rounds .. " * " .. groups .. " * inflight <= 5 * max(block_tokens * " .. heads
      .. ", " .. groups .. ")",
    -- More than one unit per lane is a step aside, too.
    slots .. " == 1 || lanes == 32 || (vec == 16 && persistent && warps == 8 && frequency == 0 && "
      .. "!keep_weight && hint == 0)",
    "vec == 16 || " .. slots .. " == 1 || align % (2 * vec) != 0 || head_dim % (2 * "
      .. count .. ") != 0 || rope_dim % (2 * " .. count .. " * " .. twins .. ") != 0",
  },
  grid  = "persistent ? min(ceil_div(tokens, block_tokens), sms * occupancy) : ceil_div(tokens, block_tokens)",
  block = "warps * 32",
}
