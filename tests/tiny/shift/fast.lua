return scheme {
  kernel = "shift_fast",
  params = "TinyTune",
  facts = { "io", "width" },
  tune = { { "threads", 32, 64 }, { "vec", 1, 4 } },
  where = { "width % vec == 0", "align % (vec * 4) == 0", "rows <= 4096" },
  grid = "min(ceil_div(rows * width, threads * vec), 1024)",
  block = "threads",
}
