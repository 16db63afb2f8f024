-- The default: everything but the io dtype and the rounding is a run-time
-- argument, so that it fits every legal problem.  Blocks go on to further tokens.
return scheme {
  kernel   = "qknorm_rope_packed_generic",
  params   = "QkNormRopePackedGeneric",
  fits_all = true,
  facts    = { "io", "rounding" },
  tune     = { { "warps", 8 } },
  grid     = "min(tokens, sms * occupancy)",
  block    = "warps * 32",
}
