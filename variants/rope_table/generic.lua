-- The default: everything but the rounding is a run-time argument, so that it
-- fits every legal problem.  At least a thread for each pair; few enough that
-- the frequency, which costs more than an angle, is made for several tokens.
return scheme {
  kernel   = "rope_table_generic",
  params   = "RopeTableGeneric",
  fits_all = true,
  facts    = { "io", "rounding" },
  tune     = { { "warps", 4 } },
  grid     = "pairs == 0 ? 0 : max(ceil_div(pairs, warps * 32), "
          .. "min(ceil_div(tokens * pairs, warps * 32), sms * min(occupancy, 4)))",
  block    = "warps * 32",
}
