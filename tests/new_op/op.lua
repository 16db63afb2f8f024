-- twice: y = 2 x.  The smallest op there can be, added by the recipe of
-- variants/README.md in a test (new_op.sh).
return op {
  name    = "twice",
  facts   = "TwiceFacts",
  args    = "TwiceArgs",
  io      = { "bf16", "fp16", "fp32" },
  default = "generic",
  fields  = {
    int    { "rows",  dynamic = true, min = 0, max = 2^30 },
    int    { "width", min = 1, max = 65536 },
    choice { "rounding", "once", "norm", "each" },
    flag   { "inplace" },
    align  { "x", "y" },
  },
  tensors = {
    tensor { "x", dtype = "io", extent = { "rows", "width" }, strided = true },
    tensor { "y", out = true, alias = "x", when = "inplace == 0", dtype = "io",
             extent = { "rows", "width" }, strided = true },
  },
  arguments = {
    ptr "x", ptr "y", i64 { "x_stride", "x_stride0" }, i64 { "y_stride", "y_stride0" },
    i64 { "rows" }, i32 { "width" },
  },
  read_bytes  = "rows * width * bytes_of(io)",
  write_bytes = "rows * width * bytes_of(io)",
  awkward     = { "rows=1", "rows=33" },
}
