-- Wrong on purpose: `fault` says how.
return scheme {
  kernel = "qknorm_rope_planted",
  params = "QkNormRopePlanted",
  facts  = { "io" },
  tune   = { { "fault", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15 } },
  where  = { "rounding == rounding.once" },
  grid   = "tokens * (q_heads + kv_heads)",
  block  = "64",
}
