/*
 * tiny.h - a table made in a test, of the specs in tests/tiny.
 *
 * affine (out = x * factor + amount), and its split parts scale and shift; each
 * has a variant `generic` that fits all and a variant `fast` with conditions.
 */
#ifndef DIFFTUNE_TEST_TINY_H
#define DIFFTUNE_TEST_TINY_H

#include "emit.h"
#include "spec.h"
#include "table_write.h"

enum { TINY_VARIANTS = 16, TINY_PLANS = 16 };

struct tiny {
  struct tree tree;
  struct op_set ops;
  struct bytes specs, text[TINY_VARIANTS];
  struct table_code code[TINY_VARIANTS];
  struct table_variant variants[TINY_VARIANTS];
  struct table_plan plans[TINY_PLANS];
  struct table_writer writer;
};

static inline void tiny_init_in(struct tiny *t, const char *folder)
{
  memset(t, 0, sizeof *t);
  assert_ok(tree_load(&t->tree, folder));
  assert_ok(spec_evaluate(&t->tree, NULL, NULL, &t->specs));
  assert_ok(op_set_read(&t->ops, t->specs.data, t->specs.size, NULL));
  t->writer = (struct table_writer){.specs = &t->specs,
                                    .device_name = "cpu",
                                    .device_kind = "cpu",
                                    .policy = "cold",
                                    .provenance = "a test",
                                    .sms = 1,
                                    .variants = t->variants,
                                    .plans = t->plans};
}

static inline void tiny_init(struct tiny *t)
{
  tiny_init_in(t, TEST_ROOT "/tests/tiny");
}

static inline void tiny_release(struct tiny *t)
{
  for (int i = 0; i < TINY_VARIANTS; ++i) bytes_release(&t->text[i]);
  bytes_release(&t->specs);
  op_set_release(&t->ops);
  tree_release(&t->tree);
}

/* Adds a scheme's variant with these tunables and the facts of a problem;
 * returns its number.  Its code is its text. */
static inline uint32_t tiny_point(struct tiny *t, const char *scheme,
                                  const char *spelling, const int64_t *tunable)
{
  uint32_t n = t->writer.variant_count++;
  struct table_variant *v = &t->variants[n];
  struct problem p;
  const struct scheme *s;

  assert_true(n < TINY_VARIANTS);
  assert_ok(problem_parse(&t->ops, spelling, &p));
  s = op_scheme_find(p.op, scheme);
  assert_non_null(s);
  variant_of(s, &p, tunable, &v->variant);
  assert_ok(emit_variant(&t->tree, &v->variant, &t->text[n]));
  bytes_clear(&t->text[n]);
  assert_ok(emit_unit(&t->tree, &v->variant, 1, &t->text[n]));
  t->code[n] = (struct table_code){
      .target = "cpu", .bytes = t->text[n].data, .size = t->text[n].size};
  v->code_count = 1;
  v->codes = &t->code[n];
  return n;
}

/* The same, of "affine.fast" and its like. */
static inline uint32_t tiny_variant(struct tiny *t, const char *scheme,
                                    const char *spelling, int64_t threads,
                                    int64_t vec)
{
  int64_t tunable[OP_MAX_TUNABLES] = {threads, vec};

  return tiny_point(t, scheme, spelling, tunable);
}

/* Adds a plan of `count` steps; the spelling must outlive the table. */
static inline struct table_plan *tiny_plan(struct tiny *t, const char *spelling,
                                           uint32_t count, uint32_t first,
                                           uint32_t second)
{
  struct table_plan *p = &t->plans[t->writer.plan_count++];

  assert_true(t->writer.plan_count <= TINY_PLANS);
  *p = (struct table_plan){.spelling = spelling,
                           .step_count = count,
                           .steps = {first, second},
                           .us = 2.5,
                           .split_us = 4,
                           .copy_us = 2,
                           .gain = 0.5};
  return p;
}

/* An interval of rows, from 8 on, of one step, with numbers that a double has exactly. */
static inline void tiny_run(const struct op_set *ops, struct table_interval *v,
                            const char *op, int64_t last)
{
  *v = (struct table_interval){
      .field = (uint32_t)op_symbol_find(op_find(ops, op), "rows"),
      .first = 8,
      .last = last,
      .sizes = 3,
      .step_count = 1,
      .loss = 0.015625,
      .gain = 0.25};
}

#endif
