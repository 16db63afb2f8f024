-- A thread per pair and some tokens; the tunables are explained in pairs.cuh.
return scheme {
  kernel = "rope_table_pairs",
  params = "RopeTablePairs",
  facts  = { "io", "rope_dim", "positions", "yarn", "rounding" },
  tune = {
    { "rounds", 4, 1, 2, 8, 16 },
    { "warps", 4, 2, 8 },
    { "frequency", 0, 1 },
  },
  where = {
    "rope_dim > 0",
    -- What fits 32-bit arithmetic and a grid.
    "ceil_div(tokens, rounds) * pairs <= 2147418112",
  },
  grid  = "ceil_div(ceil_div(tokens, rounds) * pairs, warps * 32)",
  block = "warps * 32",
}
