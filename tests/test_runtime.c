/* test_runtime.c - the public header, all of it, on the CPU device. */
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

#include "device.h"
#include "tiny.h"

_Static_assert(sizeof(dd_attr) == 16, "dd_attr comes in arrays: frozen");
_Static_assert(offsetof(dd_problem, attr_count) == 24, "fields never move");
_Static_assert(offsetof(dd_open_options, user) == 56, "fields never move");
_Static_assert(offsetof(dd_open_options, warn) == 64, "fields never move");
_Static_assert(offsetof(dd_qknorm_rope_args, eps) == 216,
               "fields never move");

/* ---- A table with all that the rules speak of ---------------------------- */

#define SMALL "affine:fp32 rows=8 width=64"
#define LARGE "affine:fp32 rows=512 width=64"
#define SMALL_SCALE "scale:fp32 rows=8 width=64 mode=twice"

static void of_this_machine(struct tiny *t)
{
  struct device *cpu;

  assert_ok(cpu_device.attach(&cpu));
  t->writer.sms = cpu->info.sms;
  cpu_device.close(cpu);
}

/* LARGE: fused; SMALL: split; the parts also for mode=twice.  fast wants at
 * most 4096 rows, and with vec=4 rows that are 16-byte aligned. */
static void make(struct tiny *t)
{
  uint32_t fast, scale, scale_twice, shift;

  tiny_init(t);
  of_this_machine(t);
  tiny_variant(t, "generic", SMALL, 32, 1);
  fast = tiny_variant(t, "fast", LARGE, 64, 4);
  scale = tiny_variant(t, "fast", "scale:fp32 rows=8 width=64", 32, 1);
  scale_twice = tiny_variant(t, "fast", SMALL_SCALE, 32, 1);
  shift = tiny_variant(t, "fast", "shift:fp32 rows=8 width=64", 32, 1);
  tiny_plan(t, LARGE, 1, fast, 0);
  tiny_plan(t, SMALL, 2, scale, shift);
  tiny_plan(t, SMALL_SCALE, 1, scale_twice, 0);
  tiny_plan(t, "shift:fp32 rows=8 width=64", 1, shift, 0);
}

struct fixture {
  struct bytes table;
  dd_context *ctx;
};

static dd_status open_with(struct fixture *f, struct tiny *t, uint32_t flags)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;

  memset(f, 0, sizeof *f);
  assert_ok(table_write(&t->writer, &f->table));
  o.device = "cpu";
  o.table_data = f->table.data;
  o.table_size = f->table.size;
  o.flags = flags;
  return dd_open(&o, &f->ctx);
}

static void open_table(struct fixture *f)
{
  struct tiny t;

  make(&t);
  assert_ok(open_with(f, &t, 0));
  tiny_release(&t);
}

static dd_context *open_cpu(void)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  o.device = "cpu";
  assert_ok(dd_open(&o, &ctx));
  return ctx;
}

static void close_table(struct fixture *f)
{
  dd_close(f->ctx);
  bytes_release(&f->table);
}

static dd_status plan(struct fixture *f, const char *spelling, dd_plan **out)
{
  dd_problem p = DD_PROBLEM_INIT;

  p.spelling = spelling;
  return dd_plan_make(f->ctx, &p, out);
}

/* ---- Statuses and structs ------------------------------------------------ */

/* Without options everything has its default; whether there is a GPU is
 * another question. */
static void test_open_without_options(void **state)
{
  dd_context *ctx;
  dd_status status = dd_open(NULL, &ctx);

  (void)state;
  if (status != DD_NO_DEVICE && status != DD_DEVICE) assert_ok(status);
  if (status == DD_OK) assert_non_null(ctx);
  else assert_null(ctx);
  dd_close(ctx);
}

static void test_statuses(void **state)
{
  (void)state;
#define CHECK_STATUS(name, value, text)                                        \
  assert_int_equal(DD_##name, value);                                          \
  assert_string_equal(dd_status_name(DD_##name), "DD_" #name);                 \
  assert_string_equal(dd_status_text(DD_##name), text);
  DD_STATUS_MAP(CHECK_STATUS)
  assert_string_equal(dd_status_name((dd_status)99), "?");
  assert_string_equal(dd_status_text((dd_status)-1), "?");
  assert_non_null(dd_last_error());
}

static void test_open_refusals(void **state)
{
  struct {
    dd_open_options known;
    uint64_t newer;
  } grown = {DD_OPEN_OPTIONS_INIT, 0};
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx = (dd_context *)&o;

  (void)state;
  o.struct_size = 0;
  assert_fails(DD_BAD_ARGUMENT, "struct_size is 0", dd_open(&o, &ctx));
  assert_null(ctx);
  o.struct_size = 1 << 20;
  assert_fails(DD_BAD_ARGUMENT, "struct_size is 1048576", dd_open(&o, &ctx));
  o = (dd_open_options)DD_OPEN_OPTIONS_INIT;
  o.flags = 0x82;
  assert_fails(DD_BAD_ARGUMENT, "unknown bits: 0x80", dd_open(&o, &ctx));
  o.flags = 0;
  o.device = "tpu";
  assert_fails(DD_NO_DEVICE, "of kind 'tpu'", dd_open(&o, &ctx));
  o.device = "cpu";
  o.table = "/nowhere/a.ddt";
  assert_fails(DD_BAD_TABLE, "/nowhere/a.ddt", dd_open(&o, &ctx));
  o.table_data = "difftune";
  assert_fails(DD_BAD_ARGUMENT, "both table", dd_open(&o, &ctx));
  o.table = NULL;
  o.table_size = 8;
  assert_fails(DD_BAD_TABLE, "the table in memory", dd_open(&o, &ctx));
  assert_fails(DD_BAD_ARGUMENT, "no place", dd_open(&o, NULL));
  grown.known.struct_size = sizeof grown;
  grown.known.device = "cpu";
  assert_ok(dd_open(&grown.known, &ctx)); /* newer, and asks for nothing new */
  dd_close(ctx);
  grown.newer = 1;
  assert_fails(DD_BAD_ARGUMENT, "does not have", dd_open(&grown.known, &ctx));
  dd_close(NULL);
}

/* An older program's options end after `device`. */
static void test_older_options(void **state)
{
  struct {
    size_t struct_size;
    const char *device;
  } old = {sizeof old, "cpu"};
  dd_context *ctx;

  (void)state;
  assert_ok(dd_open((const dd_open_options *)(const void *)&old, &ctx));
  dd_close(ctx);
}

static void test_environment(void **state)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  (void)state;
  o.device = "cpu";
  setenv("DIFFDISPATCH_TABLE", "/nowhere/b.ddt", 1);
  assert_fails(DD_BAD_TABLE, "/nowhere/b.ddt", dd_open(&o, &ctx));
  setenv("DIFFDISPATCH_TABLE", "", 1);
  assert_ok(dd_open(&o, &ctx));
  dd_close(ctx);
  unsetenv("DIFFDISPATCH_TABLE");
}

/* ---- Matches ------------------------------------------------------------- */

static void matches(struct fixture *f, const char *spelling, dd_match how,
                    const char *line)
{
  char text[256];
  dd_plan *p;

  assert_ok(plan(f, spelling, &p));
  dd_plan_describe(p, text, sizeof text);
  assert_true(how == DD_MATCH_EXACT ? dd_plan_loss(p) == 0
                                    : dd_plan_loss(p) < 0);
  if (dd_plan_match(p) != how || strcmp(text, line))
    fail_msg("%s: %d, %s; not %d, %s", spelling, dd_plan_match(p), text, how,
             line);
  dd_plan_free(p);
}

static void explains(struct fixture *f, const char *spelling,
                     const char *const *parts)
{
  dd_problem p = DD_PROBLEM_INIT;
  char text[8192], cut[20];
  size_t length, again;

  p.spelling = spelling;
  assert_ok(dd_explain(f->ctx, &p, text, sizeof text, &length));
  assert_int_equal(length, strlen(text));
  for (; *parts; ++parts)
    if (!strstr(text, *parts)) fail_msg("no '%s' in\n%s", *parts, text);
  assert_ok(dd_explain(f->ctx, &p, cut, sizeof cut, &again));
  assert_int_equal(length, again);
  assert_int_equal(strlen(cut), sizeof cut - 1);
  assert_memory_equal(cut, text, sizeof cut - 1);
  assert_ok(dd_explain(f->ctx, &p, NULL, 0, &again));
  assert_int_equal(length, again);
}

static void test_matches(void **state)
{
  static const char fused[] = "affine.fast threads=64 vec=4 (near, 2.5 us)";
  static const char parts[] =
      "scale.fast threads=32 vec=1 + shift.fast threads=32 vec=1 ";
  static const char plain[] = "affine.generic threads=32 (default)";
  char line[128];
  struct fixture f;

  (void)state;
  open_table(&f);
  matches(&f, LARGE, DD_MATCH_EXACT,
          "affine.fast threads=64 vec=4 (exact, 2.5 us)");
  snprintf(line, sizeof line, "%s(exact, 2.5 us)", parts);
  matches(&f, SMALL, DD_MATCH_EXACT, line);
  matches(&f, "affine:fp32 rows=400 width=64", DD_MATCH_NEAR, fused);
  snprintf(line, sizeof line, "%s(near, 2.5 us)", parts);
  matches(&f, "affine:fp32 rows=0 width=64", DD_MATCH_NEAR, line);
  matches(&f, "affine:fp32 rows=10 width=64", DD_MATCH_NEAR, line);
  /* The nearest does not fit, the next one does. */
  matches(&f, "affine:fp32 rows=37 width=64 align=4", DD_MATCH_NEAR, line);
  /* Three octaves are near (alignment counts: two here); more is not, neither
   * for the whole nor for the parts of the split form. */
  matches(&f, "affine:fp32 rows=4096 width=64", DD_MATCH_NEAR, fused);
  matches(&f, "affine:fp32 rows=38 width=64 align=4", DD_MATCH_DEFAULT, plain);
  matches(&f, "affine:fp32 rows=512 width=64 align=4", DD_MATCH_DEFAULT, plain);
  /* Too far, and none fits. */
  matches(&f, "affine:fp32 rows=5000 width=64", DD_MATCH_DEFAULT, plain);
  matches(&f, "affine:fp32 rows=8 width=65", DD_MATCH_DEFAULT, plain);
  /* Only the parts were measured, one near and one exactly. */
  snprintf(line, sizeof line, "%s(split, 5.0 us)", parts);
  matches(&f, "affine:fp32 rows=8 width=64 mode=twice", DD_MATCH_SPLIT, line);
  matches(&f, "affine:fp32 rows=9 width=64 mode=twice inplace=0",
          DD_MATCH_DEFAULT, plain);
  close_table(&f);
}

static void interval(struct fixture *f, const char *spelling, double loss,
                     const char *line)
{
  char text[256];
  dd_plan *p;

  assert_ok(plan(f, spelling, &p));
  dd_plan_describe(p, text, sizeof text);
  if (dd_plan_match(p) != DD_MATCH_INTERVAL || strcmp(text, line))
    fail_msg("%s: %d, %s", spelling, dd_plan_match(p), text);
  assert_true(dd_plan_loss(p) == loss);
  dd_plan_free(p);
}

/* Between two sizes that were measured, all else being as there. */
static void test_interval(void **state)
{
  static const char fused[] = "affine.fast threads=64 vec=4 (interval, 2.5 us)";
  static const char parts[] = "scale.fast threads=32 vec=1 + shift.fast "
                              "threads=32 vec=1 (interval, 2.5 us)";
  static const char *const said[] = {
      "rule      interval: rows 8 to 512, measured at 3, the nearest as "
      "affine:fp32 rows=512 width=64, 2.36 octaves away\n",
      "loss      1.6 % is expected, by the sizes measured around\n",
      "gain      at least 25.0 % on the split form where it raced\n",
      "the interval goes before: 2.36 octaves away\n", NULL};
  static const char *const gap[] = {
      "rule      interval: rows 300 to 512, measured at 1, the nearest as",
      "loss      1.6 % is expected, by the sizes measured around\n", NULL};
  struct table_interval runs[2];
  dd_counters c = DD_COUNTERS_INIT;
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  tiny_run(&t.ops, &runs[0], "affine", 512);
  runs[0].steps[0] = 1;
  t.plans[1].intervals = runs;
  t.plans[1].interval_count = 1;
  assert_ok(open_with(&f, &t, 0));
  interval(&f, "affine:fp32 rows=100 width=64", 0.015625, fused);
  interval(&f, "affine:fp32 rows=511 width=64", 0.015625, fused);
  matches(&f, LARGE, DD_MATCH_EXACT,
          "affine.fast threads=64 vec=4 (exact, 2.5 us)");
  matches(&f, "affine:fp32 rows=513 width=64", DD_MATCH_NEAR,
          "affine.fast threads=64 vec=4 (near, 2.5 us)");
  matches(&f, "affine:fp32 rows=100 width=64 x_stride=80", DD_MATCH_NEAR,
          "affine.fast threads=64 vec=4 (near, 2.5 us)");
  explains(&f, "affine:fp32 rows=100 width=64", said);
  assert_ok(dd_count(f.ctx, &c, 0));
  assert_int_equal(c.interval, 2);
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY));
  assert_fails(DD_UNTUNED, "not measured",
               plan(&f, "affine:fp32 rows=100 width=64", &p));
  close_table(&f);
  /* At the end of a gap: from one measured size up to a boundary. */
  runs[0].first = 300;
  runs[0].sizes = 1;
  t.plans[1].interval_count = 0;
  t.plans[0].intervals = runs;
  t.plans[0].interval_count = 1;
  assert_ok(open_with(&f, &t, 0));
  interval(&f, "affine:fp32 rows=300 width=64", 0.015625, fused);
  matches(&f, "affine:fp32 rows=299 width=64", DD_MATCH_NEAR,
          "affine.fast threads=64 vec=4 (near, 2.5 us)");
  explains(&f, "affine:fp32 rows=300 width=64", gap);
  close_table(&f);
  t.plans[0].interval_count = 0;
  tiny_run(&t.ops, &runs[0], "affine", 512);
  runs[0].steps[0] = 1;
  /* Of two the one that lost less. */
  tiny_run(&t.ops, &runs[1], "affine", 128);
  runs[1].loss = 0;
  runs[1].step_count = 2;
  runs[1].steps[0] = 2;
  runs[1].steps[1] = 4;
  t.plans[1].interval_count = 2;
  assert_ok(open_with(&f, &t, 0));
  interval(&f, "affine:fp32 rows=100 width=64", 0, parts);
  interval(&f, "affine:fp32 rows=129 width=64", 0.015625, fused);
  close_table(&f);
  t.writer.device_name = "another";
  assert_ok(open_with(&f, &t, 0));
  matches(&f, "affine:fp32 rows=129 width=64", DD_MATCH_DEVICE,
          "affine.fast threads=64 vec=4 (other device, 2.5 us)");
  close_table(&f);
  tiny_release(&t);
}

/* A choice that does not fit the size at hand is passed over; a part of a split
 * form may stand in an interval, too. */
static void test_interval_fits(void **state)
{
  struct table_interval runs[2];
  struct fixture f;
  struct tiny t;

  (void)state;
  make(&t);
  tiny_run(&t.ops, &runs[0], "affine", 8192); /* fast: at most 4096 rows */
  runs[0].steps[0] = 1;
  t.plans[1].intervals = runs;
  t.plans[1].interval_count = 1;
  assert_ok(open_with(&f, &t, 0));
  interval(&f, "affine:fp32 rows=4000 width=64", 0.015625,
           "affine.fast threads=64 vec=4 (interval, 2.5 us)");
  matches(&f, "affine:fp32 rows=5000 width=64", DD_MATCH_DEFAULT,
          "affine.generic threads=32 (default)");
  close_table(&f);
  t.plans[1].interval_count = 0;
  tiny_run(&t.ops, &runs[1], "shift", 4096);
  runs[1].steps[0] = 4;
  t.plans[3].intervals = &runs[1];
  t.plans[3].interval_count = 1;
  tiny_plan(&t, "scale:fp32 rows=4096 width=64 mode=twice", 1, 3, 0);
  assert_ok(open_with(&f, &t, 0));
  matches(&f, "affine:fp32 rows=4096 width=64 mode=twice", DD_MATCH_SPLIT,
          "scale.fast threads=32 vec=1 + shift.fast threads=32 vec=1 (split, "
          "5.0 us)");
  close_table(&f);
  tiny_release(&t);
}

/* What a plan lost next door it is expected to lose near its problem, too. */
static void test_near_loss(void **state)
{
  static const char *const lacks[] = {
      "loss      50.0 %: the table lacks the best that was measured\n", NULL};
  static const char *const said[] = {
      "loss      at most 25.0 % on the problems measured next to that one\n",
      "second    measured there: affine.fast threads=32 vec=1, 2.8 us (2.6 to "
      "2.9)\n", "gain      measured there: at least 50.0 % on the split form\n",
      NULL};
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  t.plans[0].away = 0.8;
  t.plans[0].rival = "affine.fast threads=32 vec=1";
  t.plans[0].rival_us = 2.75;
  t.plans[0].rival_low_us = 2.625;
  t.plans[0].rival_high_us = 2.875;
  assert_ok(open_with(&f, &t, 0));
  assert_ok(plan(&f, "affine:fp32 rows=600 width=64", &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_NEAR);
  assert_true(fabs(dd_plan_loss(p) - 0.25) < 1e-12);
  dd_plan_free(p);
  explains(&f, "affine:fp32 rows=600 width=64", said);
  close_table(&f);
  t.plans[0].loss = 0.5; /* nor is an exact one always the best */
  assert_ok(open_with(&f, &t, 0));
  assert_ok(plan(&f, LARGE, &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_EXACT);
  assert_true(dd_plan_loss(p) == 0.5);
  dd_plan_free(p);
  explains(&f, LARGE, lacks);
  close_table(&f);
  tiny_release(&t);
}

/* What is damaged after the table was opened is not used: without its plans
 * the table's own default serves, without its code only the library's. */
static void test_damage_after_opening(void **state)
{
  struct fixture f;
  struct table t;
  dd_plan *p;

  (void)state;
  open_table(&f);
  assert_ok(table_open_memory(&t, f.table.data, f.table.size, NULL, NULL));
  for (uint32_t i = 0; i < t.plan_page_count; ++i)
    f.table.data[t.plan_pages[i].section.offset] ^= 1;
  assert_fails(DD_BAD_TABLE, "damaged", table_read_all(&t));
  assert_ok(plan(&f, LARGE, &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_DEFAULT);
  dd_plan_free(p);
  for (uint32_t i = 0; i < t.pack_count; ++i)
    f.table.data[t.packs[i].offset] ^= 1;
  assert_fails(DD_UNSUPPORTED, "no variant", plan(&f, SMALL_SCALE, &p));
  assert_ok(plan(&f, "qknorm_rope:fp32 tokens=1 q_heads=1 head_dim=64", &p));
  dd_plan_free(p);
  table_close(&t);
  close_table(&f);
}

/* A nearer plan that does not fit, and comes later, leaves no trace. */
static void test_near_then_misfit(void **state)
{
  struct fixture f;
  struct tiny t;

  (void)state;
  make(&t);
  tiny_plan(&t, "affine:fp32 rows=32 width=64", 2, 2, 4);
  tiny_plan(&t, "affine:fp32 rows=64 width=64", 1, 1, 0);
  assert_ok(open_with(&f, &t, 0));
  matches(&f, "affine:fp32 rows=60 width=64 align=4", DD_MATCH_NEAR,
          "scale.fast threads=32 vec=1 + shift.fast threads=32 vec=1 "
          "(near, 2.5 us)");
  close_table(&f);
  tiny_release(&t);
}

static void test_other_device(void **state)
{
  static const char *const warned[] = {
      "loss      unknown", "warning   measured on another (cpu), this is cpu",
      "to tune   difftune sweep --cpu --shapes '" LARGE "'\n", NULL};
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  t.writer.device_name = "another";
  assert_ok(open_with(&f, &t, 0));
  matches(&f, LARGE, DD_MATCH_DEVICE,
          "affine.fast threads=64 vec=4 (other device, 2.5 us)");
  explains(&f, LARGE, warned);
  close_table(&f);
  t.plans[0].gain = 0.009; /* as fast as the split form there: slower here? */
  tiny_plan(&t, "scale:fp32 rows=512 width=64", 1, 2, 0);
  tiny_plan(&t, "shift:fp32 rows=512 width=64", 1, 4, 0);
  assert_ok(open_with(&f, &t, 0));
  matches(&f, LARGE, DD_MATCH_SPLIT,
          "scale.fast threads=32 vec=1 + shift.fast threads=32 vec=1 "
          "(split, 5.0 us)");
  explains(&f, LARGE, warned);
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY));
  assert_fails(DD_UNTUNED, "not measured on this", plan(&f, LARGE, &p));
  assert_null(p);
  close_table(&f);
  t.writer.device_name = "NVIDIA H200";
  t.writer.device_kind = "cuda";
  t.writer.arch = 90;
  assert_ok(open_with(&f, &t, 0));
  matches(&f, LARGE, DD_MATCH_DEFAULT, "affine.generic threads=32 (default)");
  close_table(&f);
  tiny_release(&t);
}

static void test_exact_only(void **state)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY));
  matches(&f, LARGE, DD_MATCH_EXACT,
          "affine.fast threads=64 vec=4 (exact, 2.5 us)");
  assert_fails(DD_UNTUNED, "rows=9", plan(&f, "affine:fp32 rows=9 width=64",
                                          &p));
  assert_fails(DD_BAD_ARGUMENT, "rows", plan(&f, "affine:fp32 width=64", &p));
  close_table(&f);
  tiny_release(&t);
  o.device = "cpu";
  o.flags = DD_OPEN_EXACT_ONLY;
  assert_ok(dd_open(&o, &f.ctx)); /* no table at all */
  assert_fails(DD_UNTUNED, "not measured",
               plan(&f, "qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64", &p));
  dd_close(f.ctx);
}

/* What nobody knows the bits of: one choice for all sizes, that of the longest
 * plan. */
static void test_same_choice(void **state)
{
  static const char *const refused[] = {
      "affine:fp32 rows=5000 width=64",       /* more than fast takes */
      "affine:fp32 rows=8 width=64 align=4",  /* less than vec=4 needs */
      "affine:fp32 rows=8 width=65",          /* no plan is like this */
      "affine:fp32 rows=8 width=64 mode=twice" /* only its parts have some */};
  static const char line[] = "affine.fast threads=64 vec=4 (near, 9.0 us)";
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  t.plans[0].us = 9;
  tiny_plan(&t, "affine:fp32 rows=4096 width=64", 1, 0, 0)->us = 20;
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS));
  matches(&f, LARGE, DD_MATCH_EXACT,
          "affine.fast threads=64 vec=4 (exact, 9.0 us)");
  matches(&f, SMALL, DD_MATCH_NEAR, line);
  matches(&f, "affine:fp32 rows=4096 width=64", DD_MATCH_NEAR, line);
  for (size_t i = 0; i < COUNT_OF(refused); ++i)
    assert_fails(DD_UNTUNED, "DD_OPEN_SAME_BITS", plan(&f, refused[i], &p));
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS | DD_OPEN_EXACT_ONLY));
  assert_fails(DD_UNTUNED, "DD_OPEN_SAME_BITS", plan(&f, SMALL, &p));
  close_table(&f);
  tiny_release(&t);
}

/* Of plans and intervals that have the longest plan's bits, the one that would
 * be taken anyway; and none that has others, or the default's. */
static void test_choices_that_agree(void **state)
{
  static const struct {
    const char *spelling, *choice;
  } want[] = {
      {"affine:fp32 rows=2048 width=64", /* the longest */
       "affine.fast threads=64 vec=1 (exact, 20.0 us)"},
      {LARGE, "affine.fast threads=64 vec=4 (exact, 9.0 us)"}, /* agrees */
      {"affine:fp32 rows=8 width=64 align=8", /* what agrees and fits */
       "affine.fast threads=64 vec=1 (near, 20.0 us)"},
      {"affine:fp32 rows=9 width=64", /* at any distance */
       "affine.fast threads=64 vec=4 (near, 9.0 us)"},
      {"affine:fp32 rows=4096 width=64", /* not the default */
       "affine.fast threads=64 vec=1 (near, 20.0 us)"},
      {"affine:fp32 rows=1024 width=64", /* the interval with its bits */
       "affine.fast threads=32 vec=4 (interval, 9.0 us)"},
      {"affine:fp32 rows=600 width=64", /* not the one with others */
       "affine.fast threads=32 vec=4 (interval, 9.0 us)"}};
  static const char *const said[] = {
      "bits      0000000000000007\n",
      "affine:fp32 rows=8 width=64: scale.fast threads=32 vec=1 + shift.fast "
      "threads=32 vec=1, 2.5 us: other bits than the longest plan "
      "(DD_OPEN_SAME_BITS)", NULL};
  struct table_interval runs[2];
  struct fixture f;
  struct tiny t;
  uint32_t other;
  dd_plan *p;

  (void)state;
  make(&t);
  t.plans[0].us = 9;
  t.plans[0].bits = 7;
  t.plans[1].bits = 8; /* SMALL is split */
  tiny_plan(&t, "affine:fp32 rows=4096 width=64", 1, 0, 0)->us = 40;
  t.plans[4].bits = 7;
  tiny_plan(&t, "affine:fp32 rows=2048 width=64", 1,
            tiny_variant(&t, "fast", LARGE, 64, 1), 0)->us = 20;
  t.plans[5].bits = 7;
  t.plans[5].split_us = 10;
  t.plans[5].loss = 1;
  other = tiny_variant(&t, "fast", LARGE, 32, 4);
  tiny_run(&t.ops, &runs[0], "affine", 1500);
  tiny_run(&t.ops, &runs[1], "affine", 800);
  runs[0].first = runs[1].first = 500;
  runs[0].steps[0] = other;
  runs[0].bits = 7;
  runs[1].steps[0] = 1;
  runs[1].bits = 8;
  runs[1].loss = 0; /* else it would be the better one */
  t.plans[0].interval_count = 2;
  t.plans[0].intervals = runs;
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS));
  for (size_t i = 0; i < COUNT_OF(want); ++i) {
    if (!i) continue; /* below: it has lost something */
    if (strstr(want[i].choice, "(interval"))
      interval(&f, want[i].spelling, 0.015625, want[i].choice);
    else
      matches(&f, want[i].spelling, strstr(want[i].choice, "(exact")
              ? DD_MATCH_EXACT : DD_MATCH_NEAR, want[i].choice);
  }
  explains(&f, LARGE, said);
  assert_ok(plan(&f, want[0].spelling, &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_EXACT);
  assert_true(dd_plan_loss(p) == 1);
  dd_plan_free(p);
  explains(&f, want[0].spelling, (const char *[]){
      "the split form: faster, and not in the table, 10.0 us", NULL});
  assert_fails(DD_UNTUNED, "DD_OPEN_SAME_BITS",
               plan(&f, "affine:fp32 rows=9000 width=64", &p));
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS | DD_OPEN_EXACT_ONLY));
  matches(&f, LARGE, DD_MATCH_EXACT, want[1].choice);
  assert_fails(DD_UNTUNED, "DD_OPEN_SAME_BITS", plan(&f, SMALL, &p));
  close_table(&f);
  tiny_release(&t);
}

/* A plan that was seen to differ leads nobody, and is nobody's. */
static void test_choices_that_differ(void **state)
{
  static const char *const said[] = {
      "bits      differ between batches, or launches\n", NULL};
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  t.plans[0].us = 9; /* the longest */
  t.plans[0].bits = BITS_DIFFER;
  assert_ok(open_with(&f, &t, 0));
  explains(&f, LARGE, said);
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS));
  matches(&f, SMALL, DD_MATCH_EXACT, "scale.fast threads=32 vec=1 + shift.fast "
          "threads=32 vec=1 (exact, 2.5 us)");
  matches(&f, LARGE, DD_MATCH_NEAR, "scale.fast threads=32 vec=1 + shift.fast "
          "threads=32 vec=1 (near, 2.5 us)");
  close_table(&f);
  t.plans[1].bits = BITS_DIFFER;
  assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS));
  assert_fails(DD_UNTUNED, "DD_OPEN_SAME_BITS", plan(&f, LARGE, &p));
  close_table(&f);
  tiny_release(&t);
}

/* ---- The same bits ------------------------------------------------------- */

enum { HIDDEN = 3072, MOST_ROWS = 37 };

/* Variants of norm that sum in other orders: four warps for one row, two rows
 * of three, and one of two warps that is read again. */
static void make_norms(struct tiny *t)
{
  static const int64_t points[][OP_MAX_TUNABLES] = {
      {16, 4, 1, 0, 0, 0, 0, 0, 0, 0, 32},
      {16, 3, 2, 0, 0, 0, 0, 0, 0, 0, 32},
      {16, 2, 1, 0, 0, 0, 0, 0, 0, 2, 32}};
  static const char *const measured[] = {"norm:fp16 seq=1 hidden=3072",
                                         "norm:fp16 seq=16 hidden=3072",
                                         "norm:fp16 seq=37 hidden=3072"};

  tiny_init_in(t, TEST_ROOT "/variants");
  for (uint32_t i = 0; i < COUNT_OF(points); ++i) {
    tiny_point(t, "rows", measured[i], points[i]);
    tiny_plan(t, measured[i], 1, i, 0);
  }
}

typedef uint16_t norm_rows[MOST_ROWS][HIDDEN];

/* Rows at once, and as many times as there are of them. */
static void norm(struct fixture *f, int at_once, norm_rows x, norm_rows y)
{
  char spelling[64];
  dd_plan *p;

  snprintf(spelling, sizeof spelling, "norm:fp16 seq=%d hidden=3072", at_once);
  assert_ok(plan(f, spelling, &p));
  for (int i = 0; i + at_once <= MOST_ROWS; i += at_once) {
    void *buffers[] = {x[i], y[i]};
    assert_ok(dd_plan_launch(p, buffers, NULL, NULL));
  }
  dd_plan_free(p);
}

/* Each of them as the longest: rows alone and in batches. */
static void test_same_bits(void **state)
{
  static const int at_once[] = {2, 16, MOST_ROWS};
  static _Alignas(64) norm_rows x, alone[3], y;
  struct fixture f;
  struct tiny t;

  (void)state;
  for (uint32_t i = 0; i < MOST_ROWS * HIDDEN; ++i) /* 2 to 8 */
    x[i / HIDDEN][i % HIDDEN] =
        (uint16_t)(0x4000 | i * 2654435761u % 0x7fff >> 4);
  make_norms(&t);
  for (int i = 0; i < 3; ++i) {
    t.plans[i].us = 10 + i;
    assert_ok(open_with(&f, &t, DD_OPEN_SAME_BITS));
    norm(&f, 1, x, alone[i]);
    for (size_t j = 0; j < COUNT_OF(at_once); ++j) {
      int whole = MOST_ROWS / at_once[j] * at_once[j];
      norm(&f, at_once[j], x, y);
      assert_memory_equal(y, alone[i], (size_t)whole * sizeof y[0]);
    }
    close_table(&f);
  }
  assert_memory_not_equal(alone[0], alone[1], sizeof y);
  tiny_release(&t);
}

/* ---- A table of other specs ---------------------------------------------- */

/* In a file of the specs, the first `from` is `to`. */
struct edit {
  const char *file, *from, *to, *named; /* what differs then; NULL: nothing */
};
static const struct edit edits[] = {
    {"variants/common/rows.lua", "dtype { name, \"none\", \"fp32\",",
     "dtype { name, \"fp32\", \"none\",", "weight"}, /* one more tensor */
    {"variants/common/rows.lua", "\"layer\", \"rms\" }", "\"rms\", \"layer\" }",
     "norm"},                                         /* another result */
    {"variants/norm/op.lua", "{ \"y\", \"x\" }", "{ \"z\", \"x\" }", "y"},
    {"variants/common/rows.lua", "\"batch\", \"seq\", \"hidden\" }",
     "\"seq\", \"batch\", \"hidden\" }", "x"},      /* another shape */
    {"variants/common/rows.lua", "default = 1e-6", "default = 1e-5", "eps"},
    {"variants/common/rows.lua", "trial = 1e-3", "trial = 1e-2", NULL}};

static void edit_specs(struct tiny *t, const struct edit *e)
{
  for (size_t i = 0; i < t->tree.count; ++i) {
    struct tree_file *f = &t->tree.files[i];
    const char *at = strcmp(f->path, e->file) ? NULL : strstr(f->text, e->from);
    if (!at) continue;
    f->text = arena_printf(&t->tree.arena, "%.*s%s%s", (int)(at - f->text),
                           f->text, e->to, at + strlen(e->from));
    f->size = strlen(f->text);
    op_set_release(&t->ops);
    bytes_clear(&t->specs);
    assert_ok(spec_evaluate(&t->tree, "norm", NULL, &t->specs));
    assert_ok(op_set_read(&t->ops, t->specs.data, t->specs.size, NULL));
    return;
  }
  fail_msg("%s does not have: %s", e->file, e->from);
}

#define FEW "norm:fp32 seq=3 hidden=256"

static dd_status norm_few(dd_context *ctx, float *x, float *y)
{
  static const int64_t rows[] = {1, 3, 256};
  dd_tensor from = {x, 1, 0, 3, 2, 32, 1, rows, NULL, 0}, to = from;
  dd_norm_args args = {.struct_size = sizeof args, .x = &from, .y = &to};

  to.data = y;
  return dd_norm(ctx, &args, NULL);
}

static void takes_exact(struct fixture *f)
{
  char text[4096];

  assert_ok(dd_trace(f->ctx, text, sizeof text, NULL));
  if (!strstr(text, "1 launches, exact")) fail_msg("not exact: %s", text);
}

static void refuses_others(struct fixture *f, const struct edit *e,
                           const char *variant)
{
  dd_problem p = DD_PROBLEM_INIT;
  char text[4096], words[80];

  p.spelling = FEW;
  assert_fails(DD_BAD_ARGUMENT, "no table has", dd_pin(f->ctx, FEW, variant));
  assert_ok(dd_explain(f->ctx, &p, text, sizeof text, NULL));
  snprintf(words, sizeof words, "another '%s' than this library", e->named);
  if (!strstr(text, words)) fail_msg("not '%s' but:\n%s", words, text);
  assert_ok(dd_trace(f->ctx, text, sizeof text, NULL));
  assert_non_null(strstr(text, "1 launches, default"));
}

/* What a table calls by the library's spelling may have other tensors, another
 * default, another attribute: it is not used, whoever asks. */
static void test_other_specs(void **state)
{
  static const int64_t point[OP_MAX_TUNABLES] = {16, 2, 1, 0, 0, 0,
                                                 0,  0, 0, 0, 32};
  static _Alignas(64) float in[3 * 256], right[3 * 256], got[3 * 256];
  dd_context *bare = open_cpu();
  struct bytes variant = BYTES_INIT;
  char folder[64], path[160];
  struct fixture f;
  struct tiny t;

  (void)state;
  for (int i = 0; i < 3 * 256; ++i) in[i] = 1 + 1e-3F * (float)(i % 17);
  assert_ok(norm_few(bare, in, right));
  dd_close(bare);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/difftune", folder);
  assert_int_equal(mkdir(path, 0755), 0);
  snprintf(path, sizeof path, "%s/difftune/cpu.ddt", folder);
  setenv("XDG_DATA_DIRS", folder, 1);
  for (size_t i = 0; i < COUNT_OF(edits); ++i) {
    tiny_init_in(&t, TEST_ROOT "/variants");
    edit_specs(&t, &edits[i]);
    of_this_machine(&t);
    tiny_plan(&t, FEW, 1, tiny_point(&t, "rows", FEW, point), 0);
    bytes_clear(&variant);
    variant_print(&t.variants[0].variant, &variant);
    assert_ok(open_with(&f, &t, 0));
    memset(got, 0, sizeof got);
    assert_ok(norm_few(f.ctx, in, got));
    if (!edits[i].named) {
      takes_exact(&f);
      close_table(&f);
      tiny_release(&t);
      continue;
    }
    assert_memory_equal(got, right, sizeof got);
    refuses_others(&f, &edits[i], bytes_string(&variant));
    dd_close(f.ctx);
    assert_ok(file_write(path, f.table.data, f.table.size));
    f.ctx = open_cpu(); /* and so is the system's */
    assert_ok(norm_few(f.ctx, in, got));
    assert_memory_equal(got, right, sizeof got);
    close_table(&f);
    assert_int_equal(remove(path), 0);
    assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY));
    assert_fails(DD_UNTUNED, "not measured", norm_few(f.ctx, in, got));
    close_table(&f);
    tiny_release(&t);
  }
  setenv("XDG_DATA_DIRS", "/nowhere", 1);
  test_folder_remove(folder);
  bytes_release(&variant);
}

static void test_no_variant(void **state)
{
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  t.variants[0].code_count = 0; /* the default has no code for this device */
  assert_ok(open_with(&f, &t, 0));
  assert_fails(DD_UNSUPPORTED, "on cpu",
               plan(&f, "affine:fp32 rows=8 width=65", &p));
  assert_fails(DD_BAD_ARGUMENT, "no op is named 'other'",
               plan(&f, "other:fp32 rows=8", &p));
  close_table(&f);
  tiny_release(&t);
}

/* ---- Launches ------------------------------------------------------------ */

enum { ROWS = 8, WIDTH = 64, STRIDE = 80 };
static _Alignas(64) float x[ROWS * STRIDE], out[ROWS * STRIDE];

static void fill(void)
{
  for (int i = 0; i < ROWS * STRIDE; ++i) {
    x[i] = (float)(i % 97) - 48;
    out[i] = -1;
  }
}

static void compare(const float *got, int stride, float factor, float amount)
{
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < stride; ++c) {
      int at = r * stride + c;
      float in = (float)(at % 97) - 48;
      float want = c < WIDTH ? in * factor + amount : got == x ? in : -1;
      if (got[at] != want)
        fail_msg("row %d, column %d: %g, not %g", r, c, got[at], want);
    }
}

/* In place and not, strided and not; the same numbers whatever is chosen. */
static void test_launches(void **state)
{
  static const char *const spellings[] = {
      SMALL,                                      /* split */
      "affine:fp32 rows=8 width=64 inplace=0",    /* default */
      "affine:fp32 rows=8 width=64 x_stride=80",  /* near: split, strided */
      "affine:fp32 rows=8 width=64 inplace=0 x_stride=80 out_stride=80"};
  dd_attr attrs[] = {{"amount", 5}, {"factor", 3}};
  dd_problem problem = DD_PROBLEM_INIT;
  struct fixture f;
  dd_plan *p;

  (void)state;
  open_table(&f);
  problem.attrs = attrs;
  problem.attr_count = 2;
  for (size_t i = 0; i < COUNT_OF(spellings); ++i) {
    void *buffers[] = {x, out};
    problem.spelling = spellings[i];
    assert_ok(dd_plan_make(f.ctx, &problem, &p));
    assert_int_equal(dd_plan_buffer_count(p), 1 + i % 2);
    assert_string_equal(dd_plan_buffer_name(p, 0), "x");
    if (i % 2) assert_string_equal(dd_plan_buffer_name(p, 1), "out");
    assert_null(dd_plan_buffer_name(p, 1 + i % 2));
    assert_int_equal(dd_plan_workspace_size(p), 0);
    fill();
    assert_ok(dd_plan_launch(p, buffers, NULL, NULL));
    compare(i % 2 ? out : x, i < 2 ? WIDTH : STRIDE, 3, 5);
    dd_plan_free(p);
  }
  close_table(&f);
}

/* The split form of a problem that is not in place: its parts were measured. */
static void test_split_out_of_place(void **state)
{
  void *buffers[] = {x, out};
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  tiny_plan(&t, "scale:fp32 rows=8 width=64 mode=twice inplace=0", 1, 3, 0);
  assert_ok(open_with(&f, &t, 0));
  assert_ok(plan(&f, "affine:fp32 rows=8 width=64 mode=twice inplace=0", &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_SPLIT);
  fill();
  assert_ok(dd_plan_launch(p, buffers, NULL, NULL));
  compare(out, WIDTH, 4, 1); /* the defaults: factor 2, amount 1 */
  for (int i = 0; i < ROWS * STRIDE; ++i)
    assert_true(x[i] == (float)(i % 97) - 48);
  dd_plan_free(p);
  close_table(&f);
  tiny_release(&t);
}

static void test_launch_refusals(void **state)
{
  void *buffers[] = {x, out};
  struct fixture f;
  dd_plan *p;

  (void)state;
  open_table(&f);
  assert_ok(plan(&f, "affine:fp32 rows=8 width=64 inplace=0", &p));
  buffers[1] = NULL;
  assert_fails(DD_BAD_ARGUMENT, "'out', is NULL",
               dd_plan_launch(p, buffers, NULL, NULL));
  buffers[1] = out + 2;
  assert_fails(DD_BAD_ARGUMENT, "not a multiple of 16",
               dd_plan_launch(p, buffers, NULL, NULL));
  assert_fails(DD_BAD_ARGUMENT, "no buffers",
               dd_plan_launch(p, NULL, NULL, NULL));
  assert_fails(DD_BAD_ARGUMENT, "no plan",
               dd_plan_launch(NULL, buffers, NULL, NULL));
  dd_plan_free(p);
  assert_ok(plan(&f, "affine:fp32 rows=8 width=64 inplace=0 align=8", &p));
  assert_ok(dd_plan_launch(p, buffers, NULL, NULL)); /* as promised */
  dd_plan_free(p);
  assert_ok(plan(&f, "affine:fp32 rows=0 width=64 inplace=0", &p));
  buffers[0] = buffers[1] = NULL;
  assert_ok(dd_plan_launch(p, buffers, NULL, NULL)); /* nothing to do */
  assert_ok(dd_plan_launch(p, NULL, NULL, NULL));
  dd_plan_free(p);
  dd_plan_free(NULL);
  close_table(&f);
}

static void test_plan_refusals(void **state)
{
  dd_attr attr = {"colour", 1};
  dd_problem p = DD_PROBLEM_INIT;
  struct fixture f;
  dd_plan *plan_;

  (void)state;
  open_table(&f);
  assert_fails(DD_BAD_ARGUMENT, "spelling is NULL",
               dd_plan_make(f.ctx, &p, &plan_));
  p.spelling = SMALL;
  p.attrs = &attr;
  p.attr_count = 1;
  assert_fails(DD_BAD_ARGUMENT, "no attribute 'colour'; it has factor amount",
               dd_plan_make(f.ctx, &p, &plan_));
  assert_null(plan_);
  attr = (dd_attr){"factor", NAN};
  assert_fails(DD_BAD_ARGUMENT, "factor is nan",
               dd_plan_make(f.ctx, &p, &plan_));
  p.attrs = NULL;
  assert_fails(DD_BAD_ARGUMENT, "attrs is NULL",
               dd_plan_make(f.ctx, &p, &plan_));
  p.struct_size = 4;
  assert_fails(DD_BAD_ARGUMENT, "dd_problem.struct_size is 4",
               dd_plan_make(f.ctx, &p, &plan_));
  assert_fails(DD_BAD_ARGUMENT, "no dd_problem",
               dd_plan_make(f.ctx, NULL, &plan_));
  assert_fails(DD_BAD_ARGUMENT, "no context", dd_plan_make(NULL, &p, &plan_));
  assert_fails(DD_BAD_ARGUMENT, "no place", dd_plan_make(f.ctx, &p, NULL));
  close_table(&f);
}

/* ---- Words --------------------------------------------------------------- */

static void test_explain(void **state)
{
  static const char *const exact[] = {
      "chosen    affine.fast threads=64 vec=4 (exact, 2.5 us)\n",
      "loss      none: the best that was measured\n",
      "compiled for io=fp32 width=64 mode=once\n", "this device\n",
      "the split form: slower, 4.0 us\n",
      "affine:fp32 rows=8 width=64: scale.fast threads=32 vec=1 + shift.fast "
      "threads=32 vec=1, 2.5 us: too far: 6.00 octaves away\n", NULL};
  static const char *const next[] = {
      "chosen    scale.fast threads=32 vec=1 + shift.fast threads=32 vec=1 "
      "(near, measured there: 2.5 us)\n",
      "rule      near: measured as affine:fp32 rows=8 width=64, 2.24 octaves",
      "copy      measured there: 2.0 us for the same traffic, 80 % of its "
      "speed\n",
      "does not fit: align % (vec * 4) == 0\n", NULL};
  static const char *const fused[] = {
      "rule      near: measured as affine:fp32 rows=512 width=64, 1.00 octaves",
      "the split form: slower, measured there: 4.0 us\n", NULL};
  static const char *const other[] = {
      "rule      split\n", "nearest   none with the same static fields\n",
      "mode differs (once, not twice)\n", NULL};
  static const char *const nothing[] = {
      "chosen    nothing: ", "rows=9", "only exact ones are wanted\n", NULL};
  static const char *const foreign[] = {
      "(default)", "not used, it is for another\n", "of another arch\n", NULL};
  dd_problem wrong = DD_PROBLEM_INIT;
  struct fixture f;
  struct tiny t;

  (void)state;
  make(&t);
  assert_ok(open_with(&f, &t, 0));
  explains(&f, LARGE, exact);
  explains(&f, "affine:fp32 rows=16 width=64 align=4", next);
  explains(&f, "affine:fp32 rows=1024 width=64", fused);
  explains(&f, "affine:fp32 rows=8 width=64 mode=twice", other);
  wrong.spelling = "affine:fp32 rows=x";
  assert_fails(DD_BAD_ARGUMENT, "rows",
               dd_explain(f.ctx, &wrong, NULL, 0, NULL));
  close_table(&f);
  assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY));
  explains(&f, "affine:fp32 rows=9 width=64", nothing);
  close_table(&f);
  t.writer.device_kind = "cuda";
  t.writer.arch = 90;
  assert_ok(open_with(&f, &t, 0));
  explains(&f, LARGE, foreign);
  close_table(&f);
  tiny_release(&t);
}

/* A fused plan that hardly beat its split form serves its own problem only. */
static void test_never_slower_than_split(void **state)
{
  static const struct {
    double gain, split_us;
    const char *spelling;
    dd_match how;
  } cases[] = {
      {0.5, 4, "affine:fp32 rows=1024 width=64", DD_MATCH_NEAR},
      {0.009, 4, "affine:fp32 rows=1024 width=64", DD_MATCH_SPLIT},
      {0.009, 4, LARGE, DD_MATCH_EXACT},
      {0, 0, "affine:fp32 rows=1024 width=64", DD_MATCH_NEAR},
      {0, 4, "affine:fp32 rows=4096 width=64", DD_MATCH_SPLIT},
  };
  struct fixture f;
  struct tiny t;
  dd_plan *p;

  (void)state;
  make(&t);
  tiny_plan(&t, "scale:fp32 rows=512 width=64", 1, 2, 0);
  tiny_plan(&t, "shift:fp32 rows=512 width=64", 1, 4, 0);
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    t.plans[0].gain = cases[i].gain;
    t.plans[0].split_us = cases[i].split_us;
    assert_ok(open_with(&f, &t, 0));
    assert_ok(plan(&f, cases[i].spelling, &p));
    assert_int_equal(dd_plan_match(p), cases[i].how);
    assert_int_equal(dd_plan_is_split(p), cases[i].how == DD_MATCH_SPLIT);
    dd_plan_free(p);
    close_table(&f);
  }
  tiny_release(&t);
}

static void found_by(dd_context *ctx, const char *spelling, dd_match how)
{
  dd_problem problem = DD_PROBLEM_INIT;
  dd_plan *p;

  problem.spelling = spelling;
  assert_ok(dd_plan_make(ctx, &problem, &p));
  assert_int_equal(dd_plan_match(p), how);
  dd_plan_free(p);
}

/* Named variants, of a table or of the library, for the problem and no other. */
static void test_pin(void **state)
{
  const char *fast = "affine.fast threads=64 vec=4";
  const char *parts = "scale.fast threads=32 vec=1 + shift.fast threads=32 "
                      "vec=1";
  dd_counters c = DD_COUNTERS_INIT;
  struct fixture f;
  char text[4096];
  dd_problem problem = DD_PROBLEM_INIT;

  (void)state;
  open_table(&f);
  assert_fails(DD_BAD_ARGUMENT, "no context", dd_pin(NULL, LARGE, fast));
  assert_fails(DD_BAD_ARGUMENT, "no spelling", dd_pin(f.ctx, NULL, fast));
  assert_fails(DD_BAD_ARGUMENT, "no table has 'affine.fast threads=64'",
               dd_pin(f.ctx, LARGE, "affine.fast threads=64"));
  assert_fails(DD_BAD_ARGUMENT, "no table has", /* rows that are too many */
               dd_pin(f.ctx, "affine:fp32 rows=5000 width=64", fast));
  assert_fails(DD_BAD_ARGUMENT, "'affine' has no field",
               dd_pin(f.ctx, "affine:fp32 rows=8 width=64 x=1", fast));
  assert_ok(dd_pin(f.ctx, "affine:fp32 width=64 rows=8", fast));
  found_by(f.ctx, SMALL, DD_MATCH_PINNED);
  found_by(f.ctx, LARGE, DD_MATCH_EXACT);
  problem.spelling = SMALL;
  assert_ok(dd_explain(f.ctx, &problem, text, sizeof text, NULL));
  assert_non_null(strstr(text, "affine.fast threads=64 vec=4 (pinned)"));
  assert_ok(dd_pin(f.ctx, LARGE, parts));
  assert_ok(dd_pin(f.ctx, SMALL, parts)); /* in place of the other */
  found_by(f.ctx, LARGE, DD_MATCH_PINNED);
  assert_ok(dd_count(f.ctx, &c, 0));
  assert_int_equal(c.pinned, 2);
  assert_ok(dd_pin(f.ctx, LARGE, NULL));
  assert_ok(dd_pin(f.ctx, LARGE, NULL));
  found_by(f.ctx, LARGE, DD_MATCH_EXACT);
  close_table(&f);
}

/* The system's table lies under the host's. */
static void test_system_table(void **state)
{
  char folder[64], path[160], text[4096], alone[65], both[65];
  dd_problem problem = DD_PROBLEM_INIT;
  struct table_interval run;
  struct fixture f;
  struct tiny t;
  size_t length;

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/difftune", folder);
  assert_int_equal(mkdir(path, 0755), 0);
  snprintf(path, sizeof path, "%s/difftune/cpu.ddt", folder);
  setenv("XDG_DATA_DIRS", folder, 1);
  make(&t);
  tiny_plan(&t, "affine:fp32 rows=1024 width=64", 1, 1, 0);
  tiny_run(&t.ops, &run, "affine", 1024);
  run.steps[0] = 1;
  t.plans[0].intervals = &run;
  t.plans[0].interval_count = 1;
  assert_ok(open_with(&f, &t, 0));
  assert_ok(file_write(path, f.table.data, f.table.size));
  found_by(f.ctx, "affine:fp32 rows=1024 width=64", DD_MATCH_EXACT);
  close_table(&f);
  t.writer.plan_count--;
  t.plans[0].interval_count = 0;
  assert_ok(open_with(&f, &t, DD_OPEN_NO_SYSTEM_TABLE));
  found_by(f.ctx, "affine:fp32 rows=1024 width=64", DD_MATCH_NEAR);
  assert_ok(dd_digest(f.ctx, alone));
  close_table(&f);
  assert_ok(open_with(&f, &t, 0));
  found_by(f.ctx, "affine:fp32 rows=1024 width=64", DD_MATCH_EXACT);
  found_by(f.ctx, LARGE, DD_MATCH_EXACT);
  found_by(f.ctx, "affine:fp32 rows=600 width=64", DD_MATCH_INTERVAL);
  found_by(f.ctx, "affine:fp32 rows=1100 width=64", DD_MATCH_NEAR);
  assert_ok(dd_digest(f.ctx, both));
  assert_string_not_equal(alone, both);
  problem.spelling = LARGE;
  assert_ok(dd_explain(f.ctx, &problem, text, sizeof text, &length));
  assert_non_null(strstr(text, "under it  cpu (cpu), 5 plans"));
  close_table(&f);
  assert_ok(file_write(path, "difftune", 8)); /* as good as none */
  assert_ok(open_with(&f, &t, 0));
  found_by(f.ctx, "affine:fp32 rows=1024 width=64", DD_MATCH_NEAR);
  close_table(&f);
  setenv("XDG_DATA_DIRS", "/nowhere", 1);
  test_folder_remove(folder);
  tiny_release(&t);
}

/* Plans that were not taken, and a tie with the split form. */
static void test_explain_others(void **state)
{
  static const char *const parts[] = {
      "threads=64 vec=4, 2.5 us: farther: 2.00 octaves away\n",
      "the split form: no faster than noise, 2.4 us\n", NULL};
  struct fixture f;
  struct tiny t;

  (void)state;
  make(&t);
  t.plans[0].split_us = 2.4;
  tiny_plan(&t, "affine:fp32 rows=128 width=64", 1, 1, 0);
  assert_ok(open_with(&f, &t, 0));
  explains(&f, LARGE, parts);
  close_table(&f);
  tiny_release(&t);
}

static void test_describe(void **state)
{
  struct fixture f;
  char text[10];
  dd_plan *p;

  (void)state;
  open_table(&f);
  assert_ok(plan(&f, LARGE, &p));
  assert_int_equal(dd_plan_describe(p, text, sizeof text),
                   strlen("affine.fast threads=64 vec=4 (exact, 2.5 us)"));
  assert_string_equal(text, "affine.fa");
  assert_int_equal(dd_plan_describe(p, NULL, 0), 44);
  dd_plan_free(p);
  close_table(&f);
}

/* ---- dd_qknorm_rope ------------------------------------------------------ */

enum { TOKENS = 5, HEADS = 3, DIM = 64, CALLERS = 64 };

struct qk {
  _Alignas(64) float q[TOKENS * HEADS * DIM], k[TOKENS * HEADS * DIM];
  _Alignas(64) float q_weight[DIM], k_weight[DIM], cos[64 * DIM];
  _Alignas(64) int64_t positions[TOKENS];
  dd_qknorm_rope_args args;
};

static void qk_init(struct qk *d)
{
  memset(d, 0, sizeof *d);
  for (int i = 0; i < TOKENS * HEADS * DIM; ++i) {
    d->q[i] = (float)(i % 13) - 6;
    d->k[i] = (float)(i % 11) - 5;
  }
  for (int i = 0; i < DIM; ++i) d->q_weight[i] = d->k_weight[i] = 1;
  for (int i = 0; i < 64 * DIM; ++i)
    d->cos[i] = i % DIM < DIM / 2 ? cosf((float)(i / DIM))
                                  : sinf((float)(i / DIM));
  for (int i = 0; i < TOKENS; ++i) d->positions[i] = TOKENS - i;
  d->args = (dd_qknorm_rope_args){.struct_size = sizeof d->args,
                                  .io = DD_F32,
                                  .tokens = TOKENS,
                                  .q_heads = HEADS,
                                  .kv_heads = HEADS,
                                  .head_dim = DIM,
                                  .q = d->q,
                                  .k = d->k,
                                  .q_weight = d->q_weight,
                                  .k_weight = d->k_weight,
                                  .cos = d->cos,
                                  .positions = d->positions};
}

/* One row of q as it must be: `position` turns every pair by that angle. */
static void check_row(const float *got, const float *in, double eps,
                      int64_t position)
{
  double sum = 0, scale;

  for (int i = 0; i < DIM; ++i) sum += (double)in[i] * in[i];
  scale = 1 / sqrt(sum / DIM + eps);
  for (int i = 0; i < DIM; i += 2) {
    double c = cosf((float)position), s = sinf((float)position);
    double a = in[i] * scale, b = in[i + 1] * scale;
    assert_true(fabs(got[i] - (a * c - b * s)) < 1e-5);
    assert_true(fabs(got[i + 1] - (b * c + a * s)) < 1e-5);
  }
}

static void check_all(const struct qk *d, const float *q, double eps,
                      int64_t offset)
{
  struct qk *fresh = malloc(sizeof *fresh);

  qk_init(fresh);
  for (int row = 0; row < TOKENS * HEADS; ++row) {
    int token = row / HEADS;
    check_row(q + row * DIM, fresh->q + row * DIM, eps,
              d->args.positions ? TOKENS - token : offset + token);
  }
  free(fresh);
}

/* eps and the offset belong to a call, not to the plan that is found. */
static void test_typed(void **state)
{
  dd_context *ctx = open_cpu();
  struct qk *d = malloc(sizeof *d);
  float *q_out = aligned_alloc(64, sizeof d->q);
  float *k_out = aligned_alloc(64, sizeof d->k);

  (void)state;
  qk_init(d);
  d->args.tokens = 1;
  assert_ok(dd_qknorm_rope(ctx, &d->args, NULL)); /* another shape first */
  qk_init(d);
  assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
  check_all(d, d->q, 1e-6, 0);
  for (int offset = 0; offset < 3; ++offset) {
    qk_init(d);
    d->args.positions = NULL;
    d->args.position_offset = offset;
    d->args.eps = 0.5 * offset;
    assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
    check_all(d, d->q, offset ? 0.5 * offset : 1e-6, offset);
  }
  qk_init(d);
  d->args.q_out = q_out;
  d->args.k_out = k_out;
  assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
  check_all(d, q_out, 1e-6, 0);
  qk_init(d);
  d->args.q_out = d->q; /* in place, said aloud */
  d->args.k_out = d->k;
  assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
  check_all(d, d->q, 1e-6, 0);
  free(q_out);
  free(k_out);
  free(d);
  dd_close(ctx);
}

/* ---- Watching ------------------------------------------------------------ */

static void test_counters(void **state)
{
  dd_counters c = DD_COUNTERS_INIT;
  const char *spellings[] = {LARGE, SMALL_SCALE};
  struct fixture f;
  dd_plan *p;

  (void)state;
  open_table(&f);
  assert_ok(dd_prepare(f.ctx, spellings, 2, NULL));
  assert_ok(dd_prepare(f.ctx, spellings, 2, NULL)); /* already there */
  assert_ok(plan(&f, "affine:fp32 rows=9 width=64", &p));
  dd_plan_free(p);
  assert_fails(DD_UNSUPPORTED, "no variant",
               plan(&f, "scale:fp32 rows=8 width=63", &p));
  assert_ok(dd_count(f.ctx, &c, 1));
  assert_int_equal(c.exact, 2);
  assert_int_equal(c.near_sizes, 1);
  assert_int_equal(c.refused, 1);
  assert_int_equal(c.split + c.by_default + c.other_device, 0);
  assert_ok(dd_count(f.ctx, &c, 0));
  assert_int_equal(c.exact + c.near_sizes + c.refused, 0);
  c.struct_size = 8;
  assert_fails(DD_BAD_ARGUMENT, "struct_size is 8", dd_count(f.ctx, &c, 0));
  close_table(&f);
}

static void test_trace(void **state)
{
  char folder[64], path[128], text[256];
  const char *spelling = "qknorm_rope:fp32 tokens=9 q_heads=3 head_dim=64";
  const char *wanted =
      "qknorm_rope:fp32 tokens=5 q_heads=3 head_dim=64 # 3 launches, default\n"
      "qknorm_rope:fp32 tokens=9 q_heads=3 head_dim=64 # 0 launches, "
      "default\n";
  struct bytes file = BYTES_INIT;
  dd_context *ctx = open_cpu();
  struct qk d;
  size_t length;

  (void)state;
  assert_ok(dd_prepare(ctx, &spelling, 1, NULL));
  qk_init(&d);
  for (int i = 0; i < 3; ++i) assert_ok(dd_qknorm_rope(ctx, &d.args, NULL));
  assert_ok(dd_trace(ctx, text, sizeof text, &length));
  assert_string_equal(text, wanted);
  assert_int_equal(length, strlen(wanted));
  assert_ok(dd_trace(ctx, text, 5, &length));
  assert_string_equal(text, "qkno");
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/trace.txt", folder);
  setenv("DIFFDISPATCH_TRACE", path, 1);
  dd_close(ctx);
  unsetenv("DIFFDISPATCH_TRACE");
  assert_ok(file_read(path, 4096, &file));
  assert_string_equal(bytes_string(&file), wanted);
  bytes_release(&file);
  test_folder_remove(folder);
}

/* From one moment on, each problem's counts too. */
static void test_trace_reset(void **state)
{
  dd_counters c = DD_COUNTERS_INIT;
  dd_context *ctx = open_cpu();
  char text[256];
  struct qk d;

  (void)state;
  qk_init(&d);
  for (int i = 0; i < 3; ++i) assert_ok(dd_qknorm_rope(ctx, &d.args, NULL));
  assert_ok(dd_count(ctx, &c, 1));
  assert_int_equal(c.by_default, 1);
  assert_ok(dd_qknorm_rope(ctx, &d.args, NULL));
  assert_ok(dd_trace(ctx, text, sizeof text, NULL));
  assert_string_equal(text, "qknorm_rope:fp32 tokens=5 q_heads=3 head_dim=64 "
                            "# 1 launches, default\n");
  dd_close(ctx);
}

/* Refused problems are in the trace, and get their plan when they may. */
static void test_trace_of_refusals(void **state)
{
  const char *spelling = "affine:fp32 rows=9 width=64";
  dd_counters c = DD_COUNTERS_INIT;
  struct fixture f;
  struct tiny t;
  char text[256];

  (void)state;
  make(&t);
  assert_ok(open_with(&f, &t, DD_OPEN_EXACT_ONLY | DD_OPEN_TRACE));
  for (int i = 0; i < 2; ++i)
    assert_fails(DD_UNTUNED, "rows=9", dd_prepare(f.ctx, &spelling, 1, NULL));
  assert_ok(dd_trace(f.ctx, text, sizeof text, NULL));
  assert_string_equal(text, "affine:fp32 rows=9 width=64 # 0 launches, "
                            "0 captured, 2 refused, no plan\n");
  assert_ok(dd_pin(f.ctx, spelling, "affine.fast threads=64 vec=4"));
  assert_ok(dd_count(f.ctx, &c, 1));
  assert_int_equal(c.refused, 2);
  assert_ok(dd_prepare(f.ctx, &spelling, 1, NULL));
  assert_ok(dd_trace(f.ctx, text, sizeof text, NULL));
  assert_string_equal(text, "affine:fp32 rows=9 width=64 # 0 launches, "
                            "0 captured, pinned\n");
  close_table(&f);
  tiny_release(&t);
}

/* What a host was told, one line each. */
static void take_warning(void *user, const char *text)
{
  bytes_printf(user, "%s\n", text);
}

static dd_context *open_warned(const struct bytes *table, uint32_t flags,
                               struct bytes *said)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  o.device = "cpu";
  o.table_data = table->data;
  o.table_size = table->size;
  o.flags = flags;
  o.user = said;
  o.warn = take_warning;
  assert_ok(dd_open(&o, &ctx));
  return ctx;
}

static void test_warnings(void **state)
{
  const char *list[] = {LARGE, "affine:fp32 rows=500 width=64",
                        "affine:fp32 width=64 rows=500"};
  struct bytes said = BYTES_INIT;
  dd_problem p = DD_PROBLEM_INIT;
  struct fixture f;
  dd_context *ctx;
  dd_plan *plan;

  (void)state;
  open_table(&f);
  ctx = open_warned(&f.table, 0, &said);
  for (int i = 0; i < 2; ++i) assert_ok(dd_prepare(ctx, list, 3, NULL));
  assert_string_equal(
      bytes_string(&said),
      "'affine:fp32 rows=500 width=64' was not measured on this device: "
      "affine.fast threads=64 vec=4 (near, 2.5 us); `difftune sweep --cpu "
      "--shapes 'affine:fp32 rows=500 width=64'` measures it, and `difftune "
      "emit` makes the table\n");
  bytes_clear(&said);
  p.spelling = SMALL;
  assert_ok(dd_plan_make(ctx, &p, &plan));
  dd_plan_free(plan);
  p.spelling = "affine:fp32 rows=8 width=65";
  assert_ok(dd_plan_make(ctx, &p, &plan));
  dd_plan_free(plan);
  assert_non_null(strstr(bytes_string(&said), "width=65' was not measured"));
  assert_null(strstr(bytes_string(&said), "width=64"));
  dd_close(ctx);
  bytes_clear(&said);
  ctx = open_warned(&f.table, DD_OPEN_EXACT_ONLY, &said);
  for (int i = 0; i < 2; ++i)
    assert_fails(DD_UNTUNED, "rows=500", dd_prepare(ctx, list + 1, 1, NULL));
  assert_int_equal(strncmp(bytes_string(&said), "'affine:fp32 rows=500 "
                           "width=64' was not measured on this device: "
                           "refused; `difftune sweep", 82), 0);
  assert_ptr_equal(strchr(bytes_string(&said), '\n'),
                   bytes_string(&said) + said.size - 1);
  dd_close(ctx);
  bytes_release(&said);
  close_table(&f);
}

static void test_digest(void **state)
{
  char first[65], second[65];
  dd_context *ctx = open_cpu();
  struct fixture f;

  (void)state;
  open_table(&f);
  assert_ok(dd_digest(f.ctx, first));
  close_table(&f);
  open_table(&f);
  assert_ok(dd_digest(f.ctx, second));
  assert_string_equal(first, second);
  assert_int_equal(strlen(first), 64);
  assert_ok(dd_digest(ctx, second));
  assert_string_not_equal(first, second);
  assert_fails(DD_BAD_ARGUMENT, "no place", dd_digest(ctx, NULL));
  close_table(&f);
  dd_close(ctx);
}

/* ---- dd_launch ------------------------------------------------------------ */

struct dl {
  struct qk d;
  int64_t rows[3], width[1], table[2], tokens[1];
  dd_tensor q, k, q_weight, k_weight, cos, positions;
  const dd_tensor *list[9];
};

static dd_tensor dl_tensor(void *data, int32_t rank, const int64_t *shape)
{
  return (dd_tensor){.data = data, .rank = rank, .type_code = 2,
                     .type_bits = 32, .lanes = 1, .shape = shape};
}

static void dl_init(struct dl *l)
{
  qk_init(&l->d);
  memcpy(l->rows, (int64_t[]){TOKENS, HEADS, DIM}, sizeof l->rows);
  l->width[0] = DIM;
  memcpy(l->table, (int64_t[]){64, DIM}, sizeof l->table);
  l->tokens[0] = TOKENS;
  l->q = dl_tensor(l->d.q, 3, l->rows);
  l->k = dl_tensor(l->d.k, 3, l->rows);
  l->q_weight = dl_tensor(l->d.q_weight, 1, l->width);
  l->k_weight = dl_tensor(l->d.k_weight, 1, l->width);
  l->cos = dl_tensor(l->d.cos, 2, l->table);
  l->positions = dl_tensor(l->d.positions, 1, l->tokens);
  l->positions.type_code = 0;
  l->positions.type_bits = 64;
  memcpy(l->list, (const dd_tensor *[]){&l->q, &l->k, NULL, NULL, &l->q_weight,
                                        &l->k_weight, &l->cos, NULL,
                                        &l->positions}, sizeof l->list);
}

static dd_status dl_launch(dd_context *ctx, struct dl *l, const char *op)
{
  dd_attr eps = {"eps", 0.25};

  return dd_launch(ctx, op, l->list, COUNT_OF(l->list), &eps, 1, NULL);
}

static void test_tensors(void **state)
{
  dd_context *ctx = open_cpu();
  struct qk plain;
  struct dl l;

  (void)state;
  dl_init(&l);
  qk_init(&plain);
  plain.args.eps = 0.25;
  assert_ok(dd_qknorm_rope(ctx, &plain.args, NULL));
  for (int round = 0; round < 2; ++round) { /* made, then found */
    dl_init(&l);
    assert_ok(dl_launch(ctx, &l, "qknorm_rope:fp32"));
    assert_memory_equal(l.d.q, plain.q, sizeof plain.q);
    assert_memory_equal(l.d.k, plain.k, sizeof plain.k);
  }
  dl_init(&l);
  assert_ok(dl_launch(ctx, &l, "qknorm_rope:fp32 layout=neox"));
  assert_memory_not_equal(l.d.q, plain.q, sizeof plain.q);
  dd_close(ctx);
}

static void test_tensors_with_strides(void **state)
{
  static const int64_t strides[] = {DIM, TOKENS * DIM, 1}; /* head by head */
  dd_context *ctx = open_cpu();
  struct qk plain;
  struct dl l;

  (void)state;
  dl_init(&l);
  l.q.strides = strides;
  qk_init(&plain);
  plain.args.eps = 0.25;
  plain.args.q_stride[0] = DIM;
  plain.args.q_stride[1] = TOKENS * DIM;
  assert_ok(dd_qknorm_rope(ctx, &plain.args, NULL));
  assert_ok(dl_launch(ctx, &l, "qknorm_rope:fp32"));
  assert_memory_equal(l.d.q, plain.q, sizeof plain.q);
  dd_close(ctx);
}

#define REFUSED_TENSORS(part, op, change)                                      \
  do {                                                                         \
    dl_init(&l);                                                               \
    change;                                                                    \
    assert_fails(DD_BAD_ARGUMENT, part, dl_launch(ctx, &l, op));               \
  } while (0)

static void test_tensors_refusals(void **state)
{
  static const int64_t few[] = {DIM - 2}, outer[] = {2, 1};
  dd_context *ctx = open_cpu();
  struct dl l;

  (void)state;
  REFUSED_TENSORS("no op is named 'other", "other:fp32", (void)0);
  REFUSED_TENSORS("no op was given", NULL, (void)0);
  REFUSED_TENSORS("io dtype", "qknorm_rope", (void)0);
  REFUSED_TENSORS("'q' must be bf16", "qknorm_rope:bf16", (void)0);
  REFUSED_TENSORS("'k', is missing", "qknorm_rope:fp32 kv_heads=3",
                  l.list[1] = NULL);
  REFUSED_TENSORS("'sin', is given", "qknorm_rope:fp32", l.list[7] = &l.cos);
  REFUSED_TENSORS("'q_out', is missing", "qknorm_rope:fp32 inplace=0",
                  (void)0);
  REFUSED_TENSORS("'positions' must be i64", "qknorm_rope:fp32 positions=i64",
                  l.positions.type_bits = 32);
  REFUSED_TENSORS("'q_weight' has another shape", "qknorm_rope:fp32",
                  l.q_weight.shape = few);
  REFUSED_TENSORS("'cos' has another shape", "qknorm_rope:fp32",
                  l.cos.strides = outer);
  REFUSED_TENSORS("'q' has another shape", "qknorm_rope:fp32 tokens=4",
                  (void)0);
  REFUSED_TENSORS("has rank 9", "qknorm_rope:fp32", l.q.rank = 9);
  dl_init(&l);
  assert_fails(DD_BAD_ARGUMENT, "no attribute 'epsilon'",
               dd_launch(ctx, "qknorm_rope:fp32", l.list, 9,
                         &(dd_attr){"epsilon", 1}, 1, NULL));
  assert_fails(DD_BAD_ARGUMENT, "whole number",
               dd_launch(ctx, "qknorm_rope:fp32", l.list, 9,
                         &(dd_attr){"position_offset", 0.5}, 1, NULL));
  dd_close(ctx);
}

/* ---- Memory -------------------------------------------------------------- */

static void *by_user(void *user, void *block, size_t old_size, size_t new_size)
{
  return test_resize(user, block, old_size, new_size);
}

/* What a host of the table asks: plans of its own, prepared ones, a pin, and
 * words about them. */
static dd_status use_plans(dd_context *ctx, struct test_memory *m)
{
  void *buffers[] = {x, out};
  const char *spelling = SMALL;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_plan *p;
  dd_status status;
  long before;

  problem.spelling = spelling;
  TRY(dd_plan_make(ctx, &problem, &p));
  before = m->calls;
  status = dd_plan_launch(p, buffers, NULL, NULL);
  assert_int_equal(m->calls, before);
  dd_plan_free(p);
  TRY(status);
  TRY(dd_prepare(ctx, &spelling, 1, NULL));
  TRY(dd_pin(ctx, spelling, "affine.fast threads=64 vec=4"));
  TRY(dd_explain(ctx, &problem, NULL, 0, NULL));
  return dd_trace(ctx, NULL, 0, NULL);
}

/* A host's table in memory, or as a file: what is kept of it is another. */
struct life {
  const struct bytes *table;
  const char *path;
};

/* Opens, uses, closes; the first failure. */
static dd_status whole_life(const struct life *l, struct test_memory *m)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_context *ctx;
  dd_status status;

  problem.spelling = LARGE;
  o.device = "cpu";
  o.table = l->path;
  if (l->table) {
    o.table_data = l->table->data;
    o.table_size = l->table->size;
  }
  o.allocate = by_user;
  o.user = m;
  status = dd_open(&o, &ctx);
  if (status) {
    assert_null(ctx);
    return status;
  }
  status = l->table ? use_plans(ctx, m)
                    : dd_explain(ctx, &problem, NULL, 0, NULL);
  dd_close(ctx);
  return status;
}

/* Every allocation fails once, the library's own and those of what it uses:
 * the call fails with a sentence, and nothing is left behind. */
static void fail_each(const struct life *l)
{
  struct allocator kept = default_allocator;
  struct test_memory m;
  long n = 1, failures = 0;

  test_memory_init(&m);
  for (;; ++n) {
    dd_status status;
    m.calls = 0;
    m.fail_at = n;
    default_allocator = m.allocator;
    status = whole_life(l, &m);
    default_allocator = kept;
    if (m.live) fail_msg("call %ld: %zu bytes are left", n, m.live);
    if (m.calls < n) {
      assert_ok(status);
      break;
    }
    if (status && status != DD_NO_MEMORY && status != DD_COMPILE &&
        !strstr(dd_last_error(), "memory"))
      fail_msg("call %ld: %s: %s", n, dd_status_name(status), dd_last_error());
    failures += status != DD_OK;
  }
  assert_true(failures > 10);
}

static void test_out_of_memory(void **state)
{
  struct bytes table = BYTES_INIT;
  char folder[64], path[128];
  struct tiny t;

  (void)state;
  make(&t);
  assert_ok(table_write(&t.writer, &table));
  tiny_release(&t);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  assert_ok(file_write(path, table.data, table.size));
  fail_each(&(struct life){.table = &table});
  fail_each(&(struct life){.path = path});
  test_folder_remove(folder);
  bytes_release(&table);
}

/* Pointers at every alignment that a float may have. */
static void test_typed_alignment(void **state)
{
  dd_context *ctx = open_cpu();
  struct qk *d = malloc(sizeof *d);
  float *room = aligned_alloc(64, sizeof d->q + 64);

  (void)state;
  for (int shift = 0; shift < 5; ++shift) {
    qk_init(d);
    memcpy(room + shift, d->q, sizeof d->q);
    d->args.q = room + shift;
    assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
    check_all(d, room + shift, 1e-6, 0);
  }
  free(room);
  free(d);
  dd_close(ctx);
}

static void test_typed_refusals(void **state)
{
  dd_context *ctx = open_cpu();
  struct qk *d = malloc(sizeof *d);

  (void)state;
#define REFUSED(part, change)                                                  \
  do {                                                                         \
    qk_init(d);                                                                \
    change;                                                                    \
    assert_fails(DD_BAD_ARGUMENT, part, dd_qknorm_rope(ctx, &d->args, NULL));  \
  } while (0)
  REFUSED("io is 9", d->args.io = 9);
  REFUSED("table_dtype 7", d->args.table_dtype = 7);
  REFUSED("neox is 2", d->args.neox = 2);
  REFUSED("position_type is 3", d->args.position_type = 3);
  REFUSED("beyond 2^53", d->args.position_offset = INT64_MIN);
  REFUSED("eps is inf", d->args.eps = INFINITY);
  REFUSED("q_out and k_out", d->args.q_out = d->q + DIM);
  REFUSED("head_dim", d->args.head_dim = 63);
  REFUSED("rope_dim", d->args.rope_dim = 66);
  REFUSED("'k', is NULL", d->args.k = NULL);
  REFUSED("struct_size is 8", d->args.struct_size = 8);
  assert_fails(DD_BAD_ARGUMENT, "no dd_qknorm_rope_args",
               dd_qknorm_rope(ctx, NULL, NULL));
  assert_fails(DD_BAD_ARGUMENT, "no context",
               dd_qknorm_rope(NULL, &d->args, NULL));
  qk_init(d);
  d->args.tokens = 0;
  d->args.q = d->args.k = NULL;
  d->args.positions = NULL;
  assert_ok(dd_qknorm_rope(ctx, &d->args, NULL));
  free(d);
  dd_close(ctx);
}

struct caller {
  pthread_t thread;
  pthread_barrier_t *start;
  dd_context *ctx;
  struct qk data;
  int failed;
};

/* Forty shapes, so that the table of plans grows under the readers. */
static void *call(void *user)
{
  struct caller *c = user;

  pthread_barrier_wait(c->start);
  for (int i = 0; i < 40 && !c->failed; ++i) {
    c->data.args.tokens = 1 + i % TOKENS;
    c->data.args.kv_heads = 1 + i / TOKENS % HEADS;
    c->data.args.q_heads = 1 + i / TOKENS / HEADS % HEADS;
    c->failed = dd_qknorm_rope(c->ctx, &c->data.args, NULL) != DD_OK;
  }
  return NULL;
}

/* All threads meet all shapes first at the same time, and all get the same. */
static void test_typed_race(void **state)
{
  struct caller *c = calloc(CALLERS, sizeof *c);
  dd_context *ctx = open_cpu();
  pthread_barrier_t start;

  (void)state;
  pthread_barrier_init(&start, NULL, CALLERS);
  for (int i = 0; i < CALLERS; ++i) {
    qk_init(&c[i].data);
    c[i].start = &start;
    c[i].ctx = ctx;
    assert_int_equal(pthread_create(&c[i].thread, NULL, call, &c[i]), 0);
  }
  for (int i = 0; i < CALLERS; ++i) {
    pthread_join(c[i].thread, NULL);
    assert_false(c[i].failed);
    assert_memory_equal(c[i].data.q, c[0].data.q, sizeof c->data.q);
    assert_memory_equal(c[i].data.k, c[0].data.k, sizeof c->data.k);
  }
  pthread_barrier_destroy(&start);
  dd_close(ctx);
  free(c);
}

/* ---- The header by itself ------------------------------------------------ */

static void test_header(void **state)
{
  static const char *const compilers[] = {"cc -std=c11 -x c",
                                          "c++ -std=c++17 -x c++"};
  char command[1024];

  (void)state;
  for (size_t i = 0; i < COUNT_OF(compilers); ++i) {
    snprintf(command, sizeof command,
             "%s -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only "
             "'%s/runtime/include/diffdispatch.h'", compilers[i], TEST_ROOT);
    if (system(command)) fail_msg("%s", command);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_without_options),
      cmocka_unit_test(test_statuses),
      cmocka_unit_test(test_open_refusals),
      cmocka_unit_test(test_older_options),
      cmocka_unit_test(test_environment),
      cmocka_unit_test(test_matches),
      cmocka_unit_test(test_interval),
      cmocka_unit_test(test_interval_fits),
      cmocka_unit_test(test_near_loss),
      cmocka_unit_test(test_damage_after_opening),
      cmocka_unit_test(test_near_then_misfit),
      cmocka_unit_test(test_other_device),
      cmocka_unit_test(test_exact_only),
      cmocka_unit_test(test_same_choice),
      cmocka_unit_test(test_choices_that_agree),
      cmocka_unit_test(test_choices_that_differ), cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_other_specs),
      cmocka_unit_test(test_no_variant),
      cmocka_unit_test(test_launches),
      cmocka_unit_test(test_split_out_of_place),
      cmocka_unit_test(test_launch_refusals),
      cmocka_unit_test(test_plan_refusals),
      cmocka_unit_test(test_never_slower_than_split),
      cmocka_unit_test(test_system_table),
      cmocka_unit_test(test_pin),
      cmocka_unit_test(test_explain),
      cmocka_unit_test(test_explain_others),
      cmocka_unit_test(test_describe),
      cmocka_unit_test(test_out_of_memory),
      cmocka_unit_test(test_typed),
      cmocka_unit_test(test_counters),
      cmocka_unit_test(test_trace),
      cmocka_unit_test(test_trace_reset),
      cmocka_unit_test(test_trace_of_refusals),
      cmocka_unit_test(test_warnings),
      cmocka_unit_test(test_digest),
      cmocka_unit_test(test_tensors),
      cmocka_unit_test(test_tensors_with_strides),
      cmocka_unit_test(test_tensors_refusals),
      cmocka_unit_test(test_typed_alignment),
      cmocka_unit_test(test_typed_refusals),
      cmocka_unit_test(test_typed_race),
      cmocka_unit_test(test_header),
  };

  unsetenv("DIFFDISPATCH_TABLE");
  setenv("XDG_DATA_HOME", "/nowhere", 1); /* no table of this machine's */
  setenv("XDG_DATA_DIRS", "/nowhere", 1);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
