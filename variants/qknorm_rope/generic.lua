-- The default: everything but the io dtype and the rounding is a run-time
-- argument, so that it fits every legal problem.  Warps go on to further rows.
return scheme {
  kernel   = "qknorm_rope_generic",
  params   = "QkNormRopeGeneric",
  fits_all = true,
  facts    = { "io", "rounding" },
  tune     = { { "warps", 4 } },
  where    = { "rounding != rounding.norm" },
  grid     = "min(ceil_div(head_rows, warps), sms * occupancy)",
  block    = "warps * 32",
}
