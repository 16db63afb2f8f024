/* test_table.c - a table reads as it was written, or is refused. */
#include "test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tiny.h"

#define SMALL "affine:fp32 rows=8 width=64"
#define LARGE "affine:fp32 rows=512 width=64"

enum { HEAD = 56 };

/* Two variants of affine, one of each part, three plans, two intervals; codes
 * of four bytes, so that every bit can be tried. */
static struct table_interval runs[2];
static const struct table_source sources[] = {
    {"affine", "fast", "the source", 10}, {"shift", "fast", "another", 7}};

static void make(struct tiny *t)
{
  uint32_t generic, fast, scale, shift;
  struct table_plan *p;

  tiny_init(t);
  generic = tiny_variant(t, "generic", SMALL, 32, 1);
  fast = tiny_variant(t, "fast", SMALL, 64, 4);
  scale = tiny_variant(t, "fast", "scale:fp32 rows=8 width=64", 32, 1);
  shift = tiny_variant(t, "fast", "shift:fp32 rows=8 width=64", 32, 4);
  for (uint32_t i = 0; i < t->writer.variant_count; ++i) {
    t->code[i].bytes = "code";
    t->code[i].size = 4;
  }
  tiny_plan(t, LARGE, 1, fast, 0);
  p = tiny_plan(t, SMALL, 2, scale, shift);
  p->away = 0.75;
  p->rival = "affine.fast threads=32 vec=1";
  p->rival_us = 2.75;
  p->rival_low_us = 2.625;
  p->rival_high_us = 2.875;
  tiny_run(&t->ops, &runs[0], "affine", 2048);
  runs[0].steps[0] = fast;
  tiny_run(&t->ops, &runs[1], "affine", 512);
  runs[1].step_count = 2;
  runs[1].steps[0] = scale;
  runs[1].steps[1] = shift;
  p->intervals = runs;
  p->interval_count = 2;
  tiny_plan(t, "affine:fp32 rows=8 width=63", 1, generic, 0);
  t->writer.sources = sources;
  t->writer.source_count = COUNT_OF(sources);
}

static void written(struct bytes *out)
{
  struct tiny t;

  make(&t);
  assert_ok(table_write(&t.writer, out));
  tiny_release(&t);
}

/* What is not read at once is read here: damage may be anywhere. */
static dd_status open_all(struct table *t, const void *data, size_t size)
{
  dd_status status = table_open_memory(t, data, size, NULL, NULL);

  if (!status) status = table_read_all(t);
  if (status) table_close(t);
  return status;
}

static dd_status open_file(struct table *t, const char *path,
                           const struct allocator *allocator)
{
  dd_status status = table_open(t, path, allocator, NULL, false);

  if (!status) status = table_read_all(t);
  if (status) table_close(t);
  return status;
}

/* The root, which the head gives the size and the seal of. */
static void reseal(char *data)
{
  uint64_t size;
  struct hash seal;

  memcpy(&size, data + 16, 8);
  seal = hash_of(data + HEAD, size);
  memcpy(data + 24, seal.byte, sizeof seal.byte);
}

/* ---- What was written ------------------------------------------------- */

static void test_round_trip(void **state)
{
  struct bytes out = BYTES_INIT;
  const struct table_plan *p;
  struct tiny made;
  struct table t;

  (void)state;
  make(&made);
  assert_ok(table_write(&made.writer, &out));
  assert_ok(open_all(&t, out.data, out.size));
  assert_string_equal(t.device_name, "cpu");
  assert_string_equal(t.policy, "cold");
  assert_string_equal(t.provenance, "a test");
  assert_int_equal(t.sms, 1);
  assert_int_equal(t.variant_count, 4);
  assert_int_equal(t.plan_count, 3);
  p = &t.plans[1]; /* behind width=63 */
  assert_string_equal(p->spelling, LARGE);
  assert_false(p->split);
  assert_true(hash_equal(&t.variants[p->steps[0]].variant.hash,
                         &made.variants[1].variant.hash));
  assert_int_equal(t.variants[p->steps[0]].variant.tunable[0], 64);
  assert_int_equal(problem_get(&p->problem, "rows"), 512);
  assert_true(p->us == 2.5 && p->split_us == 4 && p->copy_us == 2);
  assert_true(p->gain == 0.5);
  p = &t.plans[2];
  assert_string_equal(p->spelling, SMALL);
  assert_true(p->split);
  assert_int_equal(p->step_count, 2);
  assert_string_equal(t.variants[p->steps[1]].variant.op->name, "shift");
  assert_true(p->away == 0.75 && t.plans[1].away == 0);
  assert_string_equal(p->rival, "affine.fast threads=32 vec=1");
  assert_true(p->rival_us == 2.75 && p->rival_low_us == 2.625 &&
              p->rival_high_us == 2.875);
  assert_int_equal(t.plans[1].interval_count, 0);
  assert_int_equal(p->interval_count, 2);
  assert_int_equal(p->intervals[0].last, 512); /* sorted */
  assert_true(p->intervals[0].split && !p->intervals[1].split);
  assert_int_equal(p->intervals[1].first, 8);
  assert_int_equal(p->intervals[1].last, 2048);
  assert_int_equal(p->intervals[1].sizes, 3);
  assert_true(p->intervals[1].loss == 0.015625 &&
              p->intervals[1].gain == 0.25);
  assert_int_equal(p->intervals[1].steps[0], t.plans[1].steps[0]);
  table_close(&t);
  table_close(&t); /* harmless */
  bytes_release(&out);
  tiny_release(&made);
}

/* The order in which things are given changes no byte, nor does a variant that
 * is given twice. */
static void test_same_bytes(void **state)
{
  struct bytes first = BYTES_INIT, second = BYTES_INIT;
  struct tiny t;
  uint32_t generic, fast, scale, shift, again;
  struct table_interval other[2];
  struct table_plan *p;

  (void)state;
  written(&first);
  tiny_init(&t);
  shift = tiny_variant(&t, "fast", "shift:fp32 rows=8 width=64", 32, 4);
  fast = tiny_variant(&t, "fast", SMALL, 64, 4);
  again = tiny_variant(&t, "fast", SMALL, 64, 4);
  generic = tiny_variant(&t, "generic", SMALL, 32, 1);
  scale = tiny_variant(&t, "fast", "scale:fp32 rows=8 width=64", 32, 1);
  for (uint32_t i = 0; i < t.writer.variant_count; ++i) {
    t.code[i].bytes = "code";
    t.code[i].size = 4;
  }
  assert_int_not_equal(fast, again);
  p = tiny_plan(&t, SMALL, 2, scale, shift);
  p->away = 0.75;
  p->rival = "affine.fast threads=32 vec=1";
  p->rival_us = 2.75;
  p->rival_low_us = 2.625;
  p->rival_high_us = 2.875;
  tiny_run(&t.ops, &other[0], "affine", 512);
  other[0].step_count = 2;
  other[0].steps[0] = scale;
  other[0].steps[1] = shift;
  tiny_run(&t.ops, &other[1], "affine", 2048);
  other[1].steps[0] = again;
  p->intervals = other;
  p->interval_count = 2;
  tiny_plan(&t, "affine:fp32 rows=8 width=63", 1, generic, 0);
  tiny_plan(&t, LARGE, 1, again, 0);
  t.writer.sources = sources;
  t.writer.source_count = COUNT_OF(sources);
  assert_ok(table_write(&t.writer, &second));
  assert_int_equal(first.size, second.size);
  assert_memory_equal(first.data, second.data, first.size);
  t.plans[0].us = 2.25; /* and a different table has other bytes */
  assert_ok(table_write(&t.writer, &second));
  assert_memory_not_equal(first.data, second.data, first.size);
  tiny_release(&t);
  bytes_release(&first);
  bytes_release(&second);
}

static void test_look_ups(void **state)
{
  struct bytes out = BYTES_INIT;
  const struct table_variant *v;
  struct problem p;
  struct table t;

  (void)state;
  written(&out);
  assert_ok(open_all(&t, out.data, out.size));
  assert_ok(problem_parse(&t.ops, "affine:fp32 rows=0 width=7", &p));
  assert_ok(table_default(&t, &p, &v));
  assert_non_null(v);
  assert_string_equal(v->variant.scheme->name, "generic");
  assert_non_null(table_code_find(v, "cpu"));
  assert_null(table_code_find(v, "sm_90"));
  assert_ok(problem_parse(&t.ops, "scale:fp32 rows=1 width=7", &p));
  assert_ok(table_default(&t, &p, &v));
  assert_null(v);
  table_close(&t);
  bytes_release(&out);
}

static void test_sources(void **state)
{
  struct bytes out = BYTES_INIT, text = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  assert_ok(table_open_memory(&t, out.data, out.size, NULL, NULL));
  assert_ok(table_source_read(&t, "affine", "fast", &text));
  assert_string_equal(bytes_string(&text), "the source");
  bytes_clear(&text);
  assert_ok(table_source_read(&t, "shift", "fast", &text));
  assert_string_equal(bytes_string(&text), "another");
  assert_fails(DD_UNSUPPORTED, "shift.generic",
               table_source_read(&t, "shift", "generic", &text));
  assert_fails(DD_UNSUPPORTED, "shif.fast",
               table_source_read(&t, "shif", "fast", &text));
  table_close(&t);
  bytes_release(&text);
  bytes_release(&out);
}

/* ---- Damage ------------------------------------------------------------ */

static void refused(const void *data, size_t size, const char *what, size_t n)
{
  struct table t;
  dd_status status = open_all(&t, data, size);

  if (status != DD_BAD_TABLE || !*dd_last_error())
    fail_msg("%s %zu: %s: %s", what, n, dd_status_name(status),
             dd_last_error());
}

static void test_every_bit(void **state)
{
  struct bytes out = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  for (size_t i = 0; i < out.size * 8; ++i) {
    out.data[i / 8] ^= (char)(1 << i % 8);
    refused(out.data, out.size, "bit", i);
    out.data[i / 8] ^= (char)(1 << i % 8);
  }
  assert_ok(open_all(&t, out.data, out.size));
  table_close(&t);
  bytes_release(&out);
}

/* Each length has a block of its own, so that a read past it is noticed. */
static void test_every_length(void **state)
{
  struct bytes out = BYTES_INIT;

  (void)state;
  written(&out);
  for (size_t n = 0; n < out.size; ++n) {
    char *part = malloc(n ? n : 1);
    memcpy(part, out.data, n);
    refused(part, n, "length", n);
    if (n > HEAD) { /* also with a head that says so */
      uint64_t size = n - HEAD;
      memcpy(part + 16, &size, 8);
      reseal(part);
      refused(part, n, "resealed length", n);
    }
    free(part);
  }
  bytes_add(&out, "", 1);
  refused(out.data, out.size, "length", out.size);
  bytes_release(&out);
}

/* A seal is no signature: what was sealed with a flipped bit must be refused or
 * be a table, and looking through it must be safe. */
static bool look_through(const struct bytes *file)
{
  const struct table_variant *v;
  struct table t;
  dd_status status = open_all(&t, file->data, file->size);

  if (status) {
    assert_int_equal(status, DD_BAD_TABLE);
    return false;
  }
  for (uint32_t j = 0; j < t.plan_count; ++j)
    assert_ok(table_default(&t, &t.plans[j].problem, &v));
  table_close(&t);
  return true;
}

static void flip(struct bytes *b, size_t bit)
{
  b->data[bit / 8] ^= (char)(1 << bit % 8);
}

static size_t root_end(const struct bytes *file)
{
  uint64_t size;

  memcpy(&size, file->data + 16, 8);
  return HEAD + (size_t)size;
}

static void test_sealed_root(void **state)
{
  struct bytes out = BYTES_INIT;
  size_t accepted = 0, damaged = 0;

  (void)state;
  written(&out);
  for (size_t i = HEAD * 8; i < root_end(&out) * 8; ++i) {
    flip(&out, i);
    reseal(out.data);
    if (look_through(&out)) accepted++;
    else damaged++;
    flip(&out, i);
  }
  assert_true(accepted > 0 && damaged > 0);
  bytes_release(&out);
}

/* The bits of one section, with its seal in the root put right each time. */
static void damage_section(struct bytes *file, const struct table_section *s,
                           size_t *accepted)
{
  char *at = file->data + s->offset;
  char *seal = memmem(file->data, root_end(file), s->seal.byte, 32);

  assert_non_null(seal);
  for (size_t i = 0; i < s->stored * 8; ++i) {
    struct hash h;
    flip(file, s->offset * 8 + i);
    h = hash_of(at, s->stored);
    memcpy(seal, h.byte, 32);
    reseal(file->data);
    *accepted += look_through(file);
    flip(file, s->offset * 8 + i);
  }
  memcpy(seal, s->seal.byte, 32);
  reseal(file->data);
}

static void test_sealed_sections(void **state)
{
  struct bytes out = BYTES_INIT;
  struct table t;
  size_t accepted = 0;

  (void)state;
  written(&out);
  assert_ok(table_open_memory(&t, out.data, out.size, NULL, NULL));
  damage_section(&out, &t.variant_pages[0].section, &accepted);
  damage_section(&out, &t.plan_pages[0].section, &accepted);
  assert_true(accepted > 0);
  accepted = 0;
  damage_section(&out, &t.packs[0], &accepted); /* code: nobody looks inside */
  assert_int_equal(accepted, t.packs[0].stored * 8);
  accepted = 0;
  damage_section(&out, &t.sources, &accepted); /* texts, but for their sizes */
  assert_true(accepted > 0 && accepted < t.sources.stored * 8);
  table_close(&t);
  bytes_release(&out);
}

static void test_other_versions(void **state)
{
  struct bytes out = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  out.data[8] = 7;
  assert_fails(DD_BAD_TABLE, "version 7, and this library reads version 5",
               open_all(&t, out.data, out.size));
  out.data[8] = TABLE_VERSION;
  out.data[0] = 'D';
  assert_fails(DD_BAD_TABLE, "not a dispatch table",
               open_all(&t, out.data, out.size));
  assert_fails(DD_BAD_TABLE, "without an address",
               open_all(&t, NULL, 0));
  bytes_release(&out);
}

/* ---- What cannot be written -------------------------------------------- */

static uint32_t field_of(const struct tiny *t, const char *name)
{
  return (uint32_t)op_symbol_find(op_find(&t->ops, "affine"), name);
}

/* Changes one thing of a good table, and expects to be refused. */
#define REFUSED(status, part, change)                                          \
  do {                                                                         \
    struct bytes out_ = BYTES_INIT;                                            \
    struct tiny t;                                                             \
    make(&t);                                                                  \
    assert_ok(table_write(&t.writer, &out_));                                  \
    change;                                                                    \
    assert_fails(status, part, table_write(&t.writer, &out_));                 \
    tiny_release(&t);                                                          \
    bytes_release(&out_);                                                      \
  } while (0)

static void test_refusals(void **state)
{
  (void)state;
  REFUSED(DD_BUG, "names variant 4 of 4", t.plans[0].steps[0] = 4);
  REFUSED(DD_BAD_TABLE, "never has threads=33",
          t.variants[1].variant.tunable[0] = 33);
  REFUSED(DD_BAD_TABLE, "cannot be made for width=5000",
          t.variants[1].variant.fact[1] = 5000);
  REFUSED(DD_BAD_TABLE, "cannot be made for mode=2",
          t.variants[1].variant.fact[2] = 2);
  REFUSED(DD_BAD_TABLE, "is spelled 'affine:fp32 rows=8 width=64'",
          t.plans[0].spelling = "affine:fp32 width=64 rows=8");
  REFUSED(DD_BAD_TABLE, "no op is named 'other'",
          t.plans[0].spelling = "other:fp32");
  REFUSED(DD_BAD_TABLE, "out of order", t.plans[0].spelling = SMALL);
  REFUSED(DD_BAD_TABLE, "no variant at all", t.plans[0].step_count = 0);
  REFUSED(DD_BAD_TABLE, "has 2 steps, not 1", t.plans[0].steps[0] = 2);
  REFUSED(DD_BAD_TABLE, "is scale, not shift", t.plans[1].steps[0] = 3);
  REFUSED(DD_BAD_TABLE, "its time is nan us", t.plans[0].us = NAN);
  REFUSED(DD_BAD_TABLE, "copy's time is -1 us", t.plans[0].copy_us = -1);
  REFUSED(DD_BAD_TABLE, "gain over the split form is -2", t.plans[0].gain = -2);
  REFUSED(DD_BAD_TABLE, "its loss is -0.5", t.plans[0].loss = -0.5);
  REFUSED(DD_BAD_TABLE, "next to it is 1.5", t.plans[0].away = 1.5);
  REFUSED(DD_BAD_TABLE, "next to it is nan", t.plans[0].away = NAN);
  REFUSED(DD_BAD_TABLE, "best's time is -1 us", t.plans[0].rival_us = -1);
  REFUSED(DD_BAD_TABLE, "bound is inf us", t.plans[0].rival_high_us = INFINITY);
  REFUSED(DD_BAD_TABLE, "has no field 99", runs[0].field = 99);
  REFUSED(DD_BAD_TABLE, "an interval of width, which is no size",
          runs[0].field = field_of(&t, "width"));
  REFUSED(DD_BAD_TABLE, "3 sizes, rows 8 to 8", runs[0].last = 8);
  REFUSED(DD_BAD_TABLE, "rows 8 to 1073741825", runs[0].last = (1 << 30) + 1);
  REFUSED(DD_BAD_TABLE, "an interval of 0 sizes", runs[0].sizes = 0);
  REFUSED(DD_BAD_TABLE, "rows 9 to 2048", runs[0].first = 9);
  REFUSED(DD_BAD_TABLE, "rows -1 to 2048", runs[0].first = -1);
  REFUSED(DD_BAD_TABLE, "interval 1 is out of order", runs[0].last = 512);
  REFUSED(DD_BAD_TABLE, "an interval's loss is -1", runs[0].loss = -1);
  REFUSED(DD_BAD_TABLE, "split form is -2", runs[0].gain = -2);
  REFUSED(DD_BAD_TABLE, "has 2 steps, not 1", runs[1].step_count = 1);
  REFUSED(DD_BUG, "names variant 4 of 4", runs[0].steps[0] = 4);
  REFUSED(DD_BAD_TABLE, "no target is named 'sm_9'",
          t.code[0].target = "sm_9");
  REFUSED(DD_BAD_TABLE, "the code for cpu is empty", t.code[0].size = 0);
  REFUSED(DD_BAD_TABLE, "no device is of kind 'tpu'",
          t.writer.device_kind = "tpu");
  REFUSED(DD_BAD_TABLE, "no device has arch -1", t.writer.arch = -1);
}

/* ---- Files and memory --------------------------------------------------- */

static void test_files(void **state)
{
  char folder[64], path[128];
  struct bytes out = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  assert_fails(DD_BAD_TABLE, "No such file",
               table_open(&t, path, NULL, NULL, false));
  assert_fails(DD_BAD_TABLE, "not a regular",
               table_open(&t, folder, NULL, NULL, false));
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_fails(DD_BAD_TABLE, "not a regular",
               table_open(&t, path, NULL, NULL, false));
  remove(path);
  assert_ok(file_write(path, "difftune", 8));
  assert_fails(DD_BAD_TABLE, "not a dispatch",
               table_open(&t, path, NULL, NULL, false));
  assert_ok(file_write(path, out.data, out.size));
  assert_ok(table_open(&t, path, NULL, NULL, false));
  assert_ok(file_write(path, "", 0)); /* what is open is not touched by it */
  assert_int_equal(t.plan_count, 3);
  table_close(&t);
  test_folder_remove(folder);
  bytes_release(&out);
}

/* A link, or a folder that others may write, can change under the host. */
static void test_folders(void **state)
{
  char folder[64], path[128], link[128];
  struct bytes out = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  snprintf(link, sizeof link, "%s/b.ddt", folder);
  assert_ok(file_write(path, out.data, out.size));
  assert_int_equal(symlink(path, link), 0);
  assert_fails(DD_BAD_TABLE, "a symbolic link",
               table_open(&t, link, NULL, NULL, false));
  assert_ok(table_open(&t, link, NULL, NULL, true));
  table_close(&t);
  assert_int_equal(chmod(folder, 0777), 0);
  assert_fails(DD_BAD_TABLE, "others may write its folder (mode 777)",
               table_open(&t, path, NULL, NULL, false));
  assert_ok(table_open(&t, path, NULL, NULL, true));
  table_close(&t);
  assert_int_equal(chmod(folder, 01777), 0); /* as /tmp */
  assert_ok(table_open(&t, path, NULL, NULL, false));
  table_close(&t);
  test_folder_remove(folder);
  bytes_release(&out);
}

/* Who can write a table can run code on the GPU of who opens it. */
static void test_owners(void **state)
{
  char folder[64], path[128];
  struct bytes out = BYTES_INIT;
  struct table t;

  (void)state;
  written(&out);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  assert_ok(file_write(path, out.data, out.size));
  assert_int_equal(chmod(path, 0664), 0);
  assert_fails(DD_BAD_TABLE, "others may write it (mode 664)",
               table_open(&t, path, NULL, NULL, false));
  assert_int_equal(chmod(path, 0602), 0);
  assert_fails(DD_BAD_TABLE, "mode 602",
               table_open(&t, path, NULL, NULL, false));
  assert_ok(table_open(&t, path, NULL, NULL, true));
  table_close(&t);
  if (!geteuid()) { /* only root can give a file away, and be somebody else */
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_fails(DD_BAD_TABLE, "belongs to user 12345",
                 table_open(&t, path, NULL, NULL, false));
  }
  test_folder_remove(folder);
  bytes_release(&out);
}

static void test_out_of_memory(void **state)
{
  char folder[64], path[128];
  struct bytes out = BYTES_INIT;
  struct test_memory m;
  struct table t;
  long n = 0;

  (void)state;
  written(&out);
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  assert_ok(file_write(path, out.data, out.size));
  test_memory_init(&m);
  for (;;) {
    dd_status status;
    m.calls = 0;
    m.fail_at = ++n;
    status = open_file(&t, path, &m.allocator);
    if (m.calls < n) {
      assert_int_equal(status, DD_OK);
      break;
    }
    assert_int_not_equal(status, DD_OK);
    assert_non_null(strstr(dd_last_error(), "out of memory"));
    assert_int_equal(m.live, 0);
  }
  assert_true(n > 3);
  table_close(&t);
  assert_int_equal(m.live, 0);
  test_folder_remove(folder);
  bytes_release(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_same_bytes),
      cmocka_unit_test(test_look_ups),
      cmocka_unit_test(test_sources),
      cmocka_unit_test(test_every_bit),
      cmocka_unit_test(test_every_length),
      cmocka_unit_test(test_sealed_root),
      cmocka_unit_test(test_sealed_sections),
      cmocka_unit_test(test_other_versions),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_files),
      cmocka_unit_test(test_owners),
      cmocka_unit_test(test_folders),
      cmocka_unit_test(test_out_of_memory),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
