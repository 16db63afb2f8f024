-- Wrong on purpose: it changes what it is held against.
return scheme {
  kernel = "qknorm_rope_far",
  params = "QkNormRopeFar",
  facts  = { "io" },
  tune   = { { "fault", 14 } },
  where  = { "rounding == rounding.once" },
  grid   = "tokens * (q_heads + kv_heads)",
  block  = "64",
}
