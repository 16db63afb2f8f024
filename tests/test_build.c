/*
 * test_build.c - variants on their way: units, the cache, machine code.
 *
 * The compile workers are this program again.  What needs NVRTC is skipped
 * where there is none.
 */
#include "test.h"

#include <unistd.h>

#include "command.h"
#include "emit.h"
#include "farm.h"
#include "sample.h"
#include "stored.h"
#include "twin.h"
#include "variant_text.h"

enum { POINTS = 6 };

static struct specs specs;
static struct problem problem;
static struct device_info h200 = {.kind = "cuda", .arch = 90, .sms = 132};
static char folder[64];
static struct arena arena;
static struct variant *points;

static int set_up(void **state)
{
  uint32_t count;

  (void)state;
  test_folder(folder, sizeof folder);
  setenv("DIFFTUNE_CACHE", folder, 1);
  arena_init(&arena, NULL);
  assert_ok(specs_load(&specs, NULL));
  assert_ok(problem_parse(&specs.ops, "rope:bf16 tokens=64 q_heads=8 "
                          "head_dim=128", &problem));
  assert_ok(sample_points(&problem, 90, 132, 0, 1, &arena, &points, &count));
  assert_true(count >= 2 * POINTS);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  arena_release(&arena);
  specs_release(&specs);
  test_folder_remove(folder);
  return 0;
}

/* ---- Units from NVRTC ------------------------------------------------ */

static bool have_nvrtc(void)
{
  struct bytes identity = BYTES_INIT;
  bool have = !compiler_identity("sm_90", &identity);

  bytes_release(&identity);
  return have;
}

static void build_points(struct build *b, uint32_t batch)
{
  assert_ok(build_open(b, &specs, "sm_90", 1, batch));
  cache_open(&b->cache);
  for (uint32_t i = 0; i < POINTS; ++i) {
    uint32_t part;
    assert_ok(build_add(b, &points[i], &part));
    assert_int_equal(part, i);
  }
  assert_ok(build_submit(b));
  while (farm_pending(b->farm)) assert_ok(build_pump(b, true));
  for (uint32_t i = 0; i < POINTS; ++i)
    assert_int_equal(b->parts[i]->state, PART_COMPILED);
}

/* Whatever else its unit holds, and wherever the unit came from. */
static void machine_code_is_known_by_its_bytes(void **state)
{
  struct build alone, together, again;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&alone, 1);
  build_points(&together, POINTS);
  build_points(&again, 1);
  assert_int_equal(again.cache.found, POINTS);
  assert_int_equal(again.cache.stored, 0);
  for (uint32_t i = 0; i < POINTS; ++i) {
    assert_true(alone.parts[i]->has_machine);
    assert_true(alone.parts[i]->registers > 0);
    assert_true(hash_equal(&alone.parts[i]->machine,
                           &together.parts[i]->machine));
    assert_true(hash_equal(&alone.parts[i]->machine, &again.parts[i]->machine));
  }
  build_close(&alone);
  build_close(&together);
  build_close(&again);
}

static void check_key(const struct build *b, const struct unit *u)
{
  struct variant v[POINTS];
  struct bytes text = BYTES_INIT;
  struct hash key;

  for (uint32_t i = 0; i < u->count; ++i)
    v[i] = b->parts[b->in_unit[u->first + i]]->variant;
  assert_ok(emit_unit(&specs.tree, v, u->count, &text));
  key = cache_key(bytes_string(&b->identity), b->target, bytes_string(&text));
  assert_true(hash_equal(&u->key, &key));
  bytes_release(&text);
}

/* Though it is not hashed as a whole. */
static void a_unit_is_cached_under_its_text(void **state)
{
  struct build b;
  uint32_t part;

  (void)state;
  assert_ok(build_open(&b, &specs, "cpu", 1, POINTS));
  for (uint32_t i = 0; i < POINTS + 2; ++i)
    assert_ok(build_add(&b, &points[i], &part));
  assert_ok(build_submit(&b));
  assert_true(b.unit_count >= 2);
  for (size_t i = 0; i < b.unit_count; ++i) check_key(&b, &b.units[i]);
  build_close(&b);
}

/* What a database holds is the code of a variant alone. */
static void stored_code_is_known_again(void **state)
{
  struct build alone, together;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&alone, 1);
  build_points(&together, POINTS);
  for (uint32_t i = 0; i < POINTS; ++i) {
    const struct bytes *own = &alone.units[alone.parts[i]->unit].code;
    const struct bytes *next =
        &alone.units[alone.parts[(i + 1) % POINTS]->unit].code;
    assert_true(build_has_code(&together, i, own->data, own->size));
    assert_false(build_has_code(&together, i, next->data, next->size));
    assert_false(build_has_code(&together, i, own->data, own->size / 2));
  }
  build_close(&alone);
  build_close(&together);
}

static void add_shared(struct build *b, const struct claims *claims)
{
  uint32_t part;

  assert_ok(build_open(b, &specs, "cpu", 1, 1));
  assert_ok(cache_open(&b->cache));
  build_share(b, claims);
  for (uint32_t i = 0; i < POINTS; ++i)
    assert_ok(build_add(b, &points[i], &part));
}

static void pump_all(struct build *b)
{
  while (farm_pending(b->farm)) assert_ok(build_pump(b, true));
  for (uint32_t i = 0; i < POINTS; ++i)
    assert_int_equal(b->parts[i]->state, PART_COMPILED);
}

/* Each compiles at once what it has claimed, `second` the one that `first` has
 * not; that is silent then, so that `first` has to compile it too. */
static void builds_share_what_they_compile(void **state)
{
  struct build first, second;
  struct claims claims;

  (void)state;
  claims_open(&claims, claims_make());
  assert_non_null(claims.slot);
  add_shared(&first, &claims);
  add_shared(&second, &claims);
  assert_true(build_is_shared(&first));
  assert_int_equal(farm_pending(second.farm), POINTS);
  pump_all(&first);
  pump_all(&second);
  assert_int_equal(first.cache.stored, POINTS);
  assert_int_equal(first.cache.found, 0);
  assert_int_equal(second.cache.stored, 1);
  assert_int_equal(second.cache.found, POINTS - 1);
  build_close(&first);
  build_close(&second);
  claims_close(&claims);
}

static void print_row(const struct variant *v, struct bytes *label,
                      struct bytes *facts, struct db_variant_row *row)
{
  variant_print(v, label);
  variant_print_facts(v, facts);
  *row = (struct db_variant_row){
      .op = v->op->name, .scheme = v->scheme->name,
      .tunables = strchr(bytes_string(label), ' ') + 1,
      .facts = bytes_string(facts), .hash = v->hash};
}

static void stored_variants_share_what_is_folded(void **state)
{
  struct build b = {.specs = &specs};
  const struct emit_scheme *text;
  struct variant found;

  (void)state;
  arena_init(&b.arena, NULL);
  for (uint32_t i = 1; i < POINTS; ++i) { /* 0 is of the default scheme */
    struct bytes label = BYTES_INIT, facts = BYTES_INIT;
    struct db_variant_row row;
    assert_ok(build_source(&b, &points[i], &text));
    assert_ok(emit_hash(text, &points[i]));
    print_row(&points[i], &label, &facts, &row);
    assert_true(stored_is_current_in(&b, &row, &found));
    assert_true(hash_equal(&found.hash, &points[i].hash));
    assert_true(stored_is_current(&specs, &row, &found));
    row.hash.byte[0] ^= 1;
    assert_false(stored_is_current_in(&b, &row, &found));
    row.tunables = "lanes=3";
    assert_false(stored_is_current_in(&b, &row, &found));
    bytes_release(&label);
    bytes_release(&facts);
  }
  for (uint32_t i = 1; i < POINTS; ++i)
    assert_ptr_equal(points[i].scheme, points[1].scheme);
  assert_non_null(b.schemes);
  assert_null(b.schemes->next);
  build_close(&b);
}

static void a_stored_text_becomes_the_same_code(void **state)
{
  struct bytes text = BYTES_INIT;
  struct build written, stored;
  uint32_t part;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&written, POINTS);
  assert_ok(emit_source(&specs.tree, &points[1], &text));
  assert_ok(variant_text(&points[1], &text));
  assert_ok(build_open(&stored, &specs, "sm_90", 1, POINTS));
  assert_ok(build_add_text(&stored, &points[1], bytes_string(&text), &part));
  while (farm_pending(stored.farm)) assert_ok(build_pump(&stored, true));
  assert_int_equal(stored.parts[part]->state, PART_COMPILED);
  assert_true(hash_equal(&stored.parts[part]->machine,
                         &written.parts[1]->machine));
  build_close(&stored);
  build_close(&written);
  bytes_release(&text);
}

/* While it is compiled alone, whoever else has the part goes on with it. */
static void a_winner_is_compiled_beside_the_others(void **state)
{
  const struct bytes *code;
  struct build b;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&b, POINTS);
  assert_false(build_has_alone(&b, 4));
  assert_ok(build_want_alone(&b, 4));
  assert_ok(build_want_alone(&b, 4)); /* once */
  assert_int_equal(farm_pending(b.farm), 1);
  assert_false(build_has_alone(&b, 4));
  assert_int_equal(b.parts[4]->state, PART_COMPILED);
  assert_int_equal(b.parts[4]->unit, b.parts[3]->unit);
  while (!build_has_alone(&b, 4)) assert_ok(build_pump(&b, true));
  assert_ok(build_alone(&b, 4, &code));
  assert_true(code->size < b.units[b.parts[4]->unit].code.size);
  assert_int_equal(farm_pending(b.farm), 0);
  assert_ok(build_alone(&b, 3, &code)); /* waits by itself */
  assert_int_equal(b.compiled, POINTS);
  build_close(&b);
}

/* What fails alone was proven all the same: only its code is missing. */
static void a_winner_that_differs_alone_is_no_failure_of_its_part(void **state)
{
  const struct bytes *code;
  struct build b;
  struct unit *alone;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&b, POINTS);
  assert_ok(build_alone(&b, 3, &code));
  alone = &b.units[b.parts[3]->alone];
  bytes_clear(&alone->code);
  assert_fails(DD_COMPILE, "not what was proven; use --batch 1",
               build_alone(&b, 3, &code));
  alone->state = PART_FAILED;
  alone->reason = "the compiler was tired";
  assert_fails(DD_COMPILE, "the compiler was tired",
               build_alone(&b, 3, &code));
  assert_int_equal(b.parts[3]->state, PART_COMPILED);
  assert_int_equal(b.failed, 0);
  build_close(&b);
}

/* Flips a byte near the end of every entry. */
static void damage_cache(void)
{
  char command[512];

  snprintf(command, sizeof command,
           "for f in $(find '%s' -type f); do printf '\\125\\252' | dd of=$f "
           "bs=1 seek=300 conv=notrunc 2>/dev/null || exit 1; done", folder);
  if (system(command)) fail_msg("cannot run: %s", command);
}

static void damaged_entries_are_compiled_again(void **state)
{
  struct build first, second, third;

  (void)state;
  if (!have_nvrtc()) skip();
  build_points(&first, 3);
  damage_cache();
  build_points(&second, 3);
  build_points(&third, 3);
  assert_int_equal(second.cache.damaged, first.cache.stored);
  assert_int_equal(second.cache.stored, first.cache.stored);
  assert_int_equal(third.cache.found, first.cache.stored);
  for (uint32_t i = 0; i < POINTS; ++i)
    assert_true(
        hash_equal(&first.parts[i]->machine, &second.parts[i]->machine));
  build_close(&first);
  build_close(&second);
  build_close(&third);
}

/* ---- Twins ----------------------------------------------------------- */

/* Two candidates of the problem as if both had compiled to `machine`. */
struct pair {
  struct part part[2], *parts[2];
  struct entry entry[2];
  struct build build;
  struct outcome outcome;
};

static void make_pair(struct pair *p, const struct variant *a,
                      const struct variant *b)
{
  memset(p, 0, sizeof *p);
  for (uint32_t i = 0; i < 2; ++i) {
    p->part[i].variant = i ? *b : *a;
    p->part[i].has_machine = true;
    p->parts[i] = &p->part[i];
    p->entry[i].part[0] = i;
  }
  p->build.parts = p->parts;
  p->outcome.problem = problem;
  p->outcome.entries = p->entry;
  p->outcome.count = 2;
  p->entry[0].done = true;
}

static const struct entry *twin_in(struct pair *p)
{
  return twin_find(&p->build, &h200, &p->outcome, &p->entry[1]);
}

/* Another point of the same scheme, with another launch. */
static const struct variant *other_launch(void)
{
  struct geometry x, y;

  assert_ok(variant_geometry(&points[POINTS], &problem, 90, 132, 1, &x));
  for (const struct variant *v = points + POINTS + 1;; ++v) {
    if (variant_geometry(v, &problem, 90, 132, 1, &y)) continue;
    if (v->scheme == points[POINTS].scheme &&
        memcmp(&x, &y, sizeof x))
      return v;
  }
}

static void twins_have_the_same_code_and_launch(void **state)
{
  const struct variant *one = &points[POINTS];
  struct pair p;

  (void)state;
  make_pair(&p, one, one);
  assert_ptr_equal(twin_in(&p), &p.entry[0]);
  p.part[1].machine.byte[31] = 1;
  assert_null(twin_in(&p));
  make_pair(&p, one, other_launch());
  assert_null(twin_in(&p));
}

static void a_twin_is_one_that_was_tried_itself(void **state)
{
  const struct variant *one = &points[POINTS];
  struct pair p;

  (void)state;
  make_pair(&p, one, one);
  p.entry[0].done = false;
  assert_null(twin_in(&p));
  make_pair(&p, one, one);
  p.entry[0].twin = &p.entry[1];
  assert_null(twin_in(&p));
  make_pair(&p, one, one); /* the CPU device's code has no entry to look at */
  p.part[0].has_machine = p.part[1].has_machine = false;
  assert_null(twin_in(&p));
}

#define WITH_SPECS(test)                                                       \
  cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      WITH_SPECS(machine_code_is_known_by_its_bytes),
      WITH_SPECS(a_unit_is_cached_under_its_text),
      WITH_SPECS(stored_code_is_known_again),
      WITH_SPECS(builds_share_what_they_compile),
      WITH_SPECS(stored_variants_share_what_is_folded),
      WITH_SPECS(a_stored_text_becomes_the_same_code),
      WITH_SPECS(a_winner_is_compiled_beside_the_others),
      WITH_SPECS(a_winner_that_differs_alone_is_no_failure_of_its_part),
      WITH_SPECS(damaged_entries_are_compiled_again),
      WITH_SPECS(twins_have_the_same_code_and_launch),
      WITH_SPECS(a_twin_is_one_that_was_tried_itself),
  };

  if (argc > 1 && !strcmp(argv[1], WORKER_COMPILE))
    return farm_worker_main(WORKER_IN, WORKER_OUT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
