-- One block per row.
return scheme {
  kernel   = "twice_generic",
  params   = "TwiceGeneric",
  fits_all = true,
  facts    = { "io", "rounding" },
  tune     = { { "threads", 64, 128, 32 } },
  grid     = "rows",
  block    = "threads",
}
