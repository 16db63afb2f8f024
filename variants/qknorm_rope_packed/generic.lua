-- The default: one warp per head row, everything but the io dtype and the
-- rounding is a run-time argument, so that it fits every legal problem.
return scheme {
  kernel   = "qknorm_rope_packed_generic",
  params   = "QkNormRopePackedGeneric",
  fits_all = true,
  facts    = { "io", "rounding" },
  tune     = { { "warps", 4 } },
  grid     = "min(ceil_div(head_rows, warps), 65536 * 16)",
  block    = "warps * 32",
}
