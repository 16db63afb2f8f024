-- Ends badly on purpose: `fault` says how.
return scheme {
  kernel = "qknorm_rope_stuck",
  params = "QkNormRopeStuck",
  facts  = { "io" },
  tune   = { { "fault", 0, 1, 2, 3, 4, 5, 6, 7 } },
  where  = { "rounding == rounding.once" },
  grid   = "tokens * (q_heads + kv_heads)",
  block  = "64",
}
