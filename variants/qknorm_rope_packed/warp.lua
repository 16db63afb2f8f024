-- A group of lanes per head row; the tunables are explained in warp.cuh.
local count  = "(vec / bytes_of(io))"                      -- of a vector
local twins  = "(layout == layout.neox ? 2 : 1)"           -- vectors of a unit
local units  = "ceil_div(head_dim / " .. count .. ", " .. twins .. ")"
local slots  = "ceil_div(" .. units .. ", lanes)"          -- units of a lane
local words  = slots .. " * " .. twins .. " * (vec / 4)"   -- registers of a row
local pairs  = slots .. " * " .. twins .. " * " .. count .. " / 2"
local groups = "(warps * 32 / lanes)"                      -- of a block
local chunks = "(ceil_div(q_heads, heads) + ceil_div(kv_heads, heads))"

-- Blocks: for one token per group, and as many as run at once.
local whole  = "ceil_div(tokens * " .. chunks .. ", " .. groups .. ")"
local wave   = "max(sms * occupancy, ceil_div(" .. chunks .. ", " .. groups .. "))"

return scheme {
  kernel = "qknorm_rope_packed_warp",
  params = "QkNormRopePackedWarp",
  facts  = { "io", "head_dim", "rope_dim", "layout", "positions", "yarn", "rounding" },
  tune = {
    { "vec", 16, 8, 4 },
    { "lanes", 16, 8, 32 },
    { "heads", 1, 2, 4, 8 },
    { "inflight", 1, 2, 4 },
    { "persistent", true, false },
    { "ahead", 1, 0, 2 },
    { "warps", 8, 4, 16 },
    { "frequency", 0, 1 },
    { "keep_angles", true, false },
    { "keep_frequency", true, false },
    { "keep_weight", true, false },
    { "hint", 0, 1, 2 },
    { "min_blocks", 0, 4 },
  },
  where = {
    -- At most one step aside from the usual choices, or the points multiply;
    -- first, because it refuses most.
    "(vec != 16) + !persistent + (persistent && ahead == 0) + (warps != 8) + frequency + !keep_angles + "
      .. "!keep_frequency + !keep_weight + (hint != 0) + (min_blocks != 0) <= 1",

    -- What the kernel needs: whole vectors, aligned; elements in twos.
    "rounding == rounding.once || bytes_of(io) == 2",
    "align % vec == 0 && vec % bytes_of(io) == 0",
    count .. " % 2 == 0",
    "head_dim % " .. count .. " == 0",
    "rope_dim % (" .. count .. " * " .. twins .. ") == 0",
    "heads % inflight == 0",
    "ahead == 0 || persistent",
    "ahead != 2 || inflight == heads",
    "rope_dim <= 1024",
    -- What fits 32-bit arithmetic and a grid.
    "tokens <= 1073741824",
    "tokens * " .. chunks .. " <= 2147418112",

    -- What can win: most lanes busy; rows, and what is fetched ahead, in at
    -- most 32 registers, angles and frequencies in 48; the widest vector that
    -- leaves a lane one unit.
    "2 * " .. units .. " > lanes",
    "inflight * " .. words .. " * (ahead == 2 ? 2 : 1) <= 32",
    pairs .. " * 3 <= 48",
    "vec == 16 || " .. slots .. " == 1 || align % (2 * vec) != 0 || head_dim % (2 * "
      .. count .. ") != 0 || rope_dim % (2 * " .. count .. " * " .. twins .. ") != 0",
    "inflight == heads || inflight * 2 == heads",
    "keep_angles || (heads > 1 && keep_frequency)",
    "keep_weight || heads > 1",
    -- More than one unit per lane is a step aside, too.
    slots .. " == 1 || lanes == 32 || (vec == 16 && persistent && ahead > 0 && warps == 8 && frequency == 0 && "
      .. "keep_angles && keep_frequency && keep_weight && hint == 0 && min_blocks == 0)",
    "min_blocks == 0 || (persistent && inflight * " .. words .. " <= 64 / min_blocks)",
  },
  grid  = "persistent ? min(" .. whole .. ", " .. wave .. ") : " .. whole,
  block = "warps * 32",
  min_blocks = "min_blocks",
}
