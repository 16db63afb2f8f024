-- Wrong on purpose: `fault` says how.
return scheme {
  kernel = "qknorm_rope_packed_planted",
  params = "QkNormRopePackedPlanted",
  facts  = { "io", "rounding" },
  tune   = { { "fault", 0, 1 } },
  where  = { "v_heads > 0 && tokens > 0 && bytes_of(io) == 2" },
  grid   = "min(tokens, 4)",
  block  = "8 * 32",
}
