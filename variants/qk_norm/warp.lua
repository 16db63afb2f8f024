-- A group of lanes per head row; the tunables are explained in
-- common/heads_shape.cuh.
local count  = "(vec / bytes_of(io))"                      -- of a vector
local units  = "(head_dim / " .. count .. ")"              -- vectors of a row
local slots  = "ceil_div(" .. units .. ", lanes)"          -- of a lane
local words  = slots .. " * (vec / 4)"                     -- registers of a row
local groups = "(warps * 32 / lanes)"                      -- of a block
local chunks = "(ceil_div(q_heads, heads) + ceil_div(kv_heads, heads))"
local pitch  = "max(max(max(q_stride1, k_stride1), max(q_out_stride1, k_out_stride1)), "
            .. "max(text_q_stride1, text_k_stride1))"

-- Blocks: for one token per group, and as many as run at once.
local whole  = "ceil_div(rows * " .. chunks .. ", " .. groups .. ")"
local wave   = "max(sms * occupancy, ceil_div(" .. chunks .. ", " .. groups .. "))"
local rows   = "ceil_div(rows, " .. groups .. ")"
local column = "max(sms * occupancy / " .. chunks .. ", 1)"

return scheme {
  kernel = "qk_norm_warp",
  params = "QkNormWarp",
  facts  = { "io", "head_dim", "segments", "weight", "rounding", "inplace" },
  tune = {
    { "vec", 16, 8, 4 },
    { "lanes", 16, 8, 32, 64 },
    { "heads", 1, 2, 4, 8 },
    { "inflight", 1, 2, 4 },
    { "persistent", false, true },
    { "ahead", 0, 2, 3 },
    { "warps", 8, 4, 2 },
    { "grid2d", false, true },
    { "hint", 0, 1, 2 },
  },
  where = {
    -- At most one step aside from the usual choices, or the points multiply;
    -- first, because it refuses most.
    "(vec != 16) + (" .. slots .. " > 1 && lanes != 32) + (warps != 8) + grid2d + (hint != 0) "
      .. "<= 1",
    "ahead < 2 || (warps == 8 && !grid2d && heads > 1)",

    -- What the kernel needs: whole vectors, aligned.
    "align % vec == 0 && vec % bytes_of(io) == 0",
    "head_dim % " .. count .. " == 0",
    "heads % inflight == 0",
    "lanes <= 32 || warps % 2 == 0",
    "ahead == 0 || persistent",
    "ahead != 2 || inflight == heads",
    "ahead < 3 || (ahead - 1) * heads * " .. words .. " * 4 * warps * 32 <= 48000",
    "ahead < 3 || hint != 1", -- rows come as copies, which take no hint: 2 is the same
    -- What fits 32-bit arithmetic and a grid.
    "rows <= 1073741824",
    pitch .. " * bytes_of(io) <= 2147483647",
    "grid2d ? " .. chunks .. " <= 65535 : rows * " .. chunks .. " <= 2147418112",

    -- What can win: most lanes busy; rows and what is fetched ahead in at most
    -- 32 registers; the widest vector that leaves a lane one.
    "2 * " .. units .. " > lanes",
    "inflight * " .. words .. " * (ahead == 2 ? 2 : 1) <= 32",
    "vec == 16 || " .. slots .. " == 1 || align % (2 * vec) != 0 || head_dim % (2 * "
      .. count .. ") != 0",
    "warps >= 4 || (rows <= 2 * sms && heads <= 2)",
    "inflight == heads || inflight * 2 == heads && heads > 2",
  },
  grid = {
    "grid2d ? (persistent ? min(" .. rows .. ", " .. column .. ") : " .. rows
      .. ") : (persistent ? min(" .. whole .. ", " .. wave .. ") : " .. whole .. ")",
    "grid2d ? " .. chunks .. " : 1",
  },
  block = "warps * 32",
}
