-- affine: out = x * factor + amount; with mode=twice the factor counts twice.
return op {
  name  = "affine",
  facts = "TinyFacts",
  args  = "AffineArgs",
  io    = { "fp32" },
  default = "generic",
  fields = {
    int    { "rows", dynamic = true, min = 0, max = 2^30 },
    int    { "width", min = 1, max = 4096 },
    choice { "mode", "once", "twice" },
    flag   { "inplace", default = "1" },
    align  { "x", "out" },
  },
  tensors = {
    tensor { "x", dtype = "io", extent = { "rows", "width" }, strided = true },
    tensor { "out", out = true, alias = "x", when = "inplace == 0", dtype = "io",
             extent = { "rows", "width" }, strided = true },
  },
  attrs = {
    { "factor", default = 2, trial = 3 },
    { "amount", default = 1, trial = 3 },
  },
  arguments = {
    ptr "x", ptr "out",
    i64 { "x_stride", "x_stride0" }, i64 { "out_stride", "out_stride0" }, i64 { "rows" },
    i32 { "width" }, i32 { "mode" },
    attr_f32 "factor", attr_f32 "amount",
  },
  split = {
    step { "scale" },
    step { "shift", set = { inplace = "1" }, tensors = { x = "out" } },
  },
  read_bytes  = "rows * width * 4",
  write_bytes = "rows * width * 4",
  awkward = { "rows=1" },
}
