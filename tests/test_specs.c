/* test_specs.c - what the specs promise the command line. */
#include "test.h"

#include "sample.h"
#include "specs.h"

static struct specs specs;

static int setup(void **state)
{
  (void)state;
  assert_ok(specs_load(&specs, NULL));
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  specs_release(&specs);
  return 0;
}

/* Whether some scheme has a point that fits, on a GPU and on the CPU. */
static bool can_run(const struct problem *p, int arch, int sms)
{
  struct space space;
  struct variant v;

  for (uint32_t i = 0; i < p->op->scheme_count; ++i) {
    space_init(&space, &p->op->schemes[i], p, arch, sms);
    if (space_next(&space, &v)) return true;
  }
  return false;
}

static void read_trials(const struct op *op, struct problems *all)
{
  struct texts ops = {0}, none = {0};

  texts_add(&ops, op->name);
  assert_ok(problems_read(&specs, &none, &ops, all));
}

static void every_op_has_trials_that_run(void **state)
{
  (void)state;
  assert_true(specs.ops.count > 0);
  for (uint32_t i = 0; i < specs.ops.count; ++i) {
    const struct op *op = &specs.ops.ops[i];
    struct problems all;
    uint32_t dtypes = 0;
    read_trials(op, &all);
    assert_true(all.count >= 12);
    for (size_t j = 0; j < all.count; ++j) {
      assert_ptr_equal(all.item[j].op, op);
      assert_true(can_run(&all.item[j], 90, 132));
      assert_true(can_run(&all.item[j], 0, 4));
      dtypes |= 1u << problem_get(&all.item[j], "io");
    }
    assert_int_equal(__builtin_popcount(dtypes), op->symbols[0].choice_count);
    problems_release(&all);
  }
}

/* Whether a trial's symbol `i` has the value. */
static bool tried(const struct problems *all, uint32_t i, int64_t value)
{
  for (size_t j = 0; j < all->count; ++j)
    if (all->item[j].value[i] == value) return true;
  return false;
}

/* A choice that the op's rules never allow ("rounding=norm is not defined for
 * rope") is none. */
static bool is_defined(const struct problems *all, const struct symbol *s,
                       const struct choice *c)
{
  char field[64];
  struct problem p;

  snprintf(field, sizeof field, "%s=%s", s->name, c->word);
  return problem_override(&all->item[0], field, &p) == DD_OK ||
         !strstr(dd_last_error(), "is not defined");
}

static void every_choice_has_a_trial(void **state)
{
  (void)state;
  for (uint32_t i = 0; i < specs.ops.count; ++i) {
    const struct op *op = &specs.ops.ops[i];
    struct problems all;
    read_trials(op, &all);
    for (uint32_t j = 0; j < op->symbol_count; ++j) {
      const struct symbol *s = &op->symbols[j];
      for (uint32_t k = 0; k < s->choice_count; ++k)
        if (!tried(&all, j, s->choices[k].value) &&
            is_defined(&all, s, &s->choices[k]))
          fail_msg("variants/%s/trials.txt has nothing with %s=%s", op->name,
                   s->name, s->choices[k].word);
    }
    problems_release(&all);
  }
}

/* Widths that must be fast, and those that nobody should have to think of. */
static void every_width_has_a_trial(void **state)
{
  static const int widths[] = {1,    3,    8,    37,   96,   256,
                               1536, 2240, 3072, 5120, 16384};

  (void)state;
  for (uint32_t i = 0; i < specs.ops.count; ++i) {
    const struct op *op = &specs.ops.ops[i];
    int hidden = op_symbol_find(op, "hidden");
    struct problems all;
    if (hidden < 0) continue;
    read_trials(op, &all);
    for (size_t j = 0; j < COUNT_OF(widths); ++j)
      if (!tried(&all, (uint32_t)hidden, widths[j]))
        fail_msg("variants/%s/trials.txt has nothing with hidden=%d", op->name,
                 widths[j]);
    problems_release(&all);
  }
}

static bool shows(const struct variant *v, uint32_t count,
                  const struct scheme *s, uint32_t tunable, int64_t value)
{
  for (uint32_t i = 0; i < count; ++i)
    if (v[i].scheme == s && v[i].tunable[tunable] == value) return true;
  return false;
}

/* What --cover takes of an op's trials, in one array. */
static uint32_t cover_trials(const struct op *op, int arch, struct arena *a,
                             struct variant *taken, uint32_t room)
{
  struct cover cover = {NULL};
  struct problems all;
  uint32_t n = 0;

  read_trials(op, &all);
  for (size_t i = 0; i < all.count; ++i) {
    struct variant *points;
    uint32_t count;
    assert_ok(cover_points(&cover, NULL, &all.item[i], arch, 4, 1, a, &points,
                           &count));
    assert_true(count > 0 && n + count <= room);
    memcpy(taken + n, points, count * sizeof *points);
    n += count;
  }
  problems_release(&all);
  return n;
}

/* One spec serves all row ops; without a norm there is no mean to find in one
 * pass. */
static bool never_fits(const struct scheme *s, uint32_t tunable, int64_t value)
{
  return strcmp(s->tunables[tunable].name, "one_pass") == 0 && value &&
         (strcmp(s->function, "gate_residual_rows") == 0 ||
          strcmp(s->function, "scale_shift_rows") == 0);
}

static void check_values(const struct op *op, const struct scheme *s, int arch,
                         const struct variant *taken, uint32_t count)
{
  for (uint32_t t = 0; t < s->tunable_count; ++t)
    for (uint32_t k = 0; k < s->tunables[t].value_count; ++k) {
      int64_t value = s->tunables[t].values[k];
      if (shows(taken, count, s, t, value) == never_fits(s, t, value))
        fail_msg("%s.%s %s=%lld: a trial of %d for it is %s", op->name, s->name,
                 s->tunables[t].name, (long long)value, arch,
                 never_fits(s, t, value) ? "one too many" : "missing");
    }
}

/* Every value that a spec lists fits some trial, on a GPU and on the CPU, and
 * the cover has it: what `check --cover` and `compile --cover` rely on. */
static void a_cover_shows_every_value(void **state)
{
  enum { ROOM = 1024 };
  static const int archs[] = {0, 80, 90, 100};
  static struct variant taken[ROOM];

  (void)state;
  for (uint32_t i = 0; i < specs.ops.count * COUNT_OF(archs); ++i) {
    const struct op *op = &specs.ops.ops[i / COUNT_OF(archs)];
    int arch = archs[i % COUNT_OF(archs)];
    struct arena a;
    uint32_t n;
    arena_init(&a, NULL);
    n = cover_trials(op, arch, &a, taken, ROOM);
    for (uint32_t j = 0; j < op->scheme_count; ++j)
      check_values(op, &op->schemes[j], arch, taken, n);
    arena_release(&a);
  }
}

static int64_t tunable(const struct variant *v, const char *name)
{
  return v->tunable[scheme_tunable_find(v->scheme, name)];
}

/* A row that is kept in shared memory leaves room for the sums of its warps:
 * with 16 bits in and a sum kept in fp32, whole slots of 8 elements a thread,
 * and two places of a float for each warp, which are read by fours. */
static void a_kept_row_fits_with_its_sums(void **state)
{
  int met = 0;

  (void)state;
  for (int hidden = 4096; hidden <= 12288; hidden += 512) {
    char text[80];
    struct problem p;
    snprintf(text, sizeof text,
             "residual_norm_scale_shift:bf16 seq=9 hidden=%d", hidden);
    assert_ok(problem_parse(&specs.ops, text, &p));
    for (uint32_t i = 0; i < p.op->scheme_count; ++i) {
      struct space space;
      struct variant v;
      if (strcmp(p.op->schemes[i].name, "rows") != 0) continue;
      space_init(&space, &p.op->schemes[i], &p, 90, 132);
      while (space_next(&space, &v)) {
        int64_t warps = tunable(&v, "warps"), rows = tunable(&v, "rows");
        int64_t threads = warps * 32, vectors = hidden / 8;
        int64_t slots = (vectors + threads - 1) / threads;
        int64_t sums = 2 * ((warps + 3) / 4 * 4) * 4;
        if (tunable(&v, "keep") != 1) continue;
        assert_true(rows * (slots * threads * 32 + sums) <= 48 << 10);
        met++;
      }
    }
  }
  assert_true(met > 0);
}

static void problems_come_once_in_order(void **state)
{
  struct texts shapes = {0}, ops = {0};
  struct problems all;

  (void)state;
  texts_add(&shapes, "rope:bf16 tokens=2 q_heads=1 head_dim=64");
  texts_add(&shapes, "qk_norm:bf16 tokens=2 q_heads=1 head_dim=64");
  texts_add(&shapes, "rope:bf16 head_dim=64 tokens=2 rope_dim=64 q_heads=1");
  assert_ok(problems_read(&specs, &shapes, &ops, &all));
  assert_int_equal(all.count, 2);
  assert_string_equal(all.item[0].op->name, "rope");
  problems_release(&all);
  texts_add(&ops, "qk_norm");
  assert_ok(problems_read(&specs, &shapes, &ops, &all));
  assert_int_equal(all.count, 1);
  problems_release(&all);
  texts_add(&ops, "nothing");
  assert_fails(DD_BAD_ARGUMENT, "'nothing'",
               problems_read(&specs, &shapes, &ops, &all));
  assert_null(all.item);
}

static void targets_print_as_they_are_read(void **state)
{
  static const char *const good[] = {"cpu", "sm_80", "sm_90", "sm_100"};
  static const char *const bad[] = {"", "sm_", "sm_90x", "90a", "sm_12", "gpu"};
  char text[TARGET_TEXT];
  int arch, sms;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(good); ++i) {
    assert_ok(target_parse(good[i], &arch, &sms));
    assert_true(sms > 0);
    target_print(arch, text);
    assert_string_equal(text, good[i]);
  }
  for (size_t i = 0; i < COUNT_OF(bad); ++i)
    assert_fails(DD_BAD_ARGUMENT, bad[i], target_parse(bad[i], &arch, &sms));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_op_has_trials_that_run),
      cmocka_unit_test(every_choice_has_a_trial),
      cmocka_unit_test(every_width_has_a_trial),
      cmocka_unit_test(a_cover_shows_every_value),
      cmocka_unit_test(a_kept_row_fits_with_its_sums),
      cmocka_unit_test(problems_come_once_in_order),
      cmocka_unit_test(targets_print_as_they_are_read),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
