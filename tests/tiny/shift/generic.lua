return scheme {
  kernel = "shift_generic",
  params = "TinyTune",
  fits_all = true,
  facts = { "io" },
  tune = { { "threads", 32 } },
  grid = "min(ceil_div(rows * width, threads), 1024)",
  block = "threads",
}
