-- shift: out = x + amount.
return op {
  name  = "shift",
  facts = "TinyFacts",
  args  = "ShiftArgs",
  io    = { "fp32" },
  default = "generic",
  fields = {
    int    { "rows", dynamic = true, min = 0, max = 2^30 },
    int    { "width", min = 1, max = 4096 },
    flag   { "inplace", default = "1" },
    align  { "x", "out" },
  },
  tensors = {
    tensor { "x", dtype = "io", extent = { "rows", "width" }, strided = true },
    tensor { "out", out = true, alias = "x", when = "inplace == 0", dtype = "io",
             extent = { "rows", "width" }, strided = true },
  },
  attrs = {
    { "amount", default = 1, trial = 3 },
  },
  arguments = {
    ptr "x", ptr "out",
    i64 { "x_stride", "x_stride0" }, i64 { "out_stride", "out_stride0" }, i64 { "rows" },
    i32 { "width" },
    attr_f32 "amount",
  },
  read_bytes  = "rows * width * 4",
  write_bytes = "rows * width * 4",
  awkward = { "rows=1" },
}
