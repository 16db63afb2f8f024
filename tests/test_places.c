/*
 * test_places.c - a race at several places: whose launches take turns over which
 * loads of its code, what is asked for them, and that none is left.
 *
 * The code is the CPU device's; the device passes for a GPU that runs nothing
 * and takes as long as the test says.
 */
#include "test.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "compiler.h"
#include "emit.h"
#include "specs.h"
#include "worker_inner.h"

#define PROBLEM "qknorm_rope:bf16 tokens=5 q_heads=2 head_dim=64"

enum { FUSED, OTHER, SPLIT, CANDIDATES };
enum { UNITS = 3, VARIANTS = 4, MAX_RECORDS = 64, MAX_LOADS = 64 };

static struct specs specs;
static struct worker worker;
static struct code units[UNITS]; /* of FUSED and OTHER, and of each step */
static struct held variants[VARIANTS];
static struct candidate candidates[CANDIDATES];

/* ---- A device that only takes time --------------------------------------- */

struct recording {
  size_t count;
  double us;
  void **handle;
};

static struct {
  double us; /* of a launch of what was loaded before the race */
  int fail_at, loads, unloads; /* during the race */
  struct module *module[MAX_LOADS];
  struct kernel kernel[MAX_LOADS]; /* of these */
  bool allowed[MAX_LOADS];         /* its occupancy was asked for */
  int kernels;
  struct recording records[MAX_RECORDS];
  int count, live;
  const struct recording *started[RUN_SLOTS];
} fake;

static dd_status fake_load(struct device *d, const void *code, size_t size,
                           struct module **out)
{
  assert_true(fake.loads < MAX_LOADS);
  if (fake.loads + 1 == fake.fail_at) {
    fake.fail_at = 0;
    return fail(DD_DEVICE, "out of memory, once");
  }
  TRY(cpu_device.load(d, code, size, out));
  fake.module[fake.loads++] = *out;
  return DD_OK;
}

static void fake_unload(struct device *d, struct module *m)
{
  assert_int_equal(fake.live, 0); /* no graph launches it any more */
  fake.unloads++;
  cpu_device.unload(d, m);
}

static dd_status fake_kernel(struct device *d, struct module *m,
                             const char *entry, struct kernel *out)
{
  TRY(cpu_device.kernel(d, m, entry, out));
  fake.kernel[fake.kernels++] = *out;
  return DD_OK;
}

static int loaded_as(const void *handle)
{
  for (int i = 0; i < fake.kernels; ++i)
    if (fake.kernel[i].handle == handle) return i;
  return -1;
}

static dd_status fake_occupancy(struct device *d, const struct kernel *k,
                                uint32_t block, uint32_t shared, int *out)
{
  int i = loaded_as(k->handle);

  if (i >= 0) fake.allowed[i] = true;
  return cpu_device.occupancy(d, k, block, shared, out);
}

/* Wherever else it lies, it takes 2 % more. */
static dd_status fake_record(struct device *d, const struct launch *l,
                             size_t count, struct recording **out)
{
  struct recording *r = &fake.records[fake.count++];

  (void)d;
  assert_true(fake.count <= MAX_RECORDS);
  *r = (struct recording){.count = count,
                          .handle = malloc(count * sizeof *r->handle)};
  for (size_t i = 0; i < count; ++i) {
    r->handle[i] = l[i].kernel.handle;
    r->us += fake.us * (loaded_as(l[i].kernel.handle) < 0 ? 1 : 1.02);
  }
  fake.live++;
  *out = r;
  return DD_OK;
}

static dd_status fake_start(struct device *d, struct recording *r,
                            uint32_t slot)
{
  (void)d;
  fake.started[slot] = r;
  return DD_OK;
}

static dd_status fake_wait(struct device *d, uint32_t slot, double *us)
{
  (void)d;
  *us = fake.started[slot]->us;
  return DD_OK;
}

static void fake_free(struct device *d, struct recording *r)
{
  (void)d, (void)r;
  fake.live--;
}

static void forget_records(void)
{
  while (fake.count) free(fake.records[--fake.count].handle);
}

/* ---- A race -------------------------------------------------------------- */

struct result {
  struct race_summary race;
  struct standing standing[CANDIDATES];
};

static dd_status ask(uint32_t places, struct bytes *out)
{
  struct bytes request = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  wire_put_text(&request, "cold graph");
  wire_put_i64(&request, 1);
  wire_put_u32(&request, NO_CANDIDATE);
  wire_put_u32(&request, false);
  wire_put_u32(&request, places);
  wire_put_u32(&request, CANDIDATES);
  for (int i = 0; i < CANDIDATES; ++i) put_candidate(&request, &candidates[i]);
  wire_reader_init(&r, request.data, request.size);
  status = answer_race(&worker, &r, out);
  bytes_release(&request);
  return status;
}

static dd_status race(uint32_t places, double us, int fail_at,
                      struct result *out)
{
  struct bytes reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  forget_records();
  memset(&fake, 0, sizeof fake);
  fake.us = us;
  fake.fail_at = fail_at;
  status = ask(places, &reply);
  wire_reader_init(&r, reply.data, reply.size);
  if (!status) {
    get_race_summary(&r, &out->race);
    assert_int_equal(wire_u32(&r, "a count"), CANDIDATES);
    for (int i = 0; i < CANDIDATES; ++i)
      get_standing(&r, &worker.arena, &out->standing[i]);
    assert_ok(wire_status(&r, true, DD_BUG));
  }
  bytes_release(&reply);
  assert_int_equal(fake.live, 0);
  assert_int_equal(fake.unloads, fake.loads);
  return status;
}

/* After how many launches its kernels come again, if all of them are different
 * and it goes on like that to its end; else 0. */
static size_t period_of(const struct recording *r)
{
  size_t n = 1;

  while (n < r->count && r->handle[n] != r->handle[0]) ++n;
  for (size_t i = n; i < r->count; ++i)
    if (r->handle[i] != r->handle[i - n]) return 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t k = 0; k < i; ++k)
      if (r->handle[i] == r->handle[k]) return 0;
  return n;
}

static int count_periods(size_t period)
{
  int n = 0;

  for (int i = 0; i < fake.count; ++i)
    n += period_of(&fake.records[i]) == period;
  return n;
}

/* ---- Tests --------------------------------------------------------------- */

/* As ever: the twin alone is loaded, and lies at one other place. */
static void one_place_is_the_first(void **unused)
{
  struct result r;

  (void)unused;
  for (uint32_t places = 0; places < 2; ++places) {
    assert_ok(race(places, 3, 0, &r));
    assert_int_equal(r.race.places, 1);
    assert_int_equal(fake.loads, 1);
    assert_int_equal(count_periods(1) + count_periods(2), fake.count);
    assert_true(fabs(r.race.noise - log(1.02)) < 1e-9);
    for (int i = 0; i < CANDIDATES; ++i) assert_true(r.standing[i].final);
  }
}

/* Of the split form each step; a unit is loaded once for all its variants. */
static void race_at_four_places(double us)
{
  struct result r;

  assert_ok(race(4, us, 0, &r));
  assert_int_equal(r.race.places, 4);
  assert_int_equal(fake.loads, 3 * UNITS + 4); /* the twin's are its own */
  assert_int_equal(count_periods(0), 0);
  assert_int_equal(count_periods(4), 3); /* FUSED, OTHER, the twin */
  assert_int_equal(count_periods(8), 1); /* SPLIT */
  for (int i = 0; i < fake.kernels; ++i) assert_true(fake.allowed[i]);
  assert_true(fabs(r.standing[FUSED].median_us / us - 1.015) < 1e-9);
  assert_true(fabs(r.standing[SPLIT].median_us / us - 2 * 1.015) < 1e-9);
  assert_true(fabs(r.race.noise - log(1.02 / 1.015)) < 1e-9);
}

/* Also where the final's replays are no longer than those of the screening. */
static void launches_take_turns_over_places(void **unused)
{
  (void)unused;
  race_at_four_places(3);
  race_at_four_places(0.2);
}

/* Side by side lie those that are loaded one after the other: of two places of
 * one unit there is another's between them. */
static void places_of_one_unit_are_apart(void **unused)
{
  const struct recording *r = NULL;
  struct result result;

  (void)unused;
  assert_ok(race(4, 3, 0, &result));
  for (int i = 0; i < fake.count && !r; ++i)
    if (period_of(&fake.records[i]) == 4) r = &fake.records[i];
  assert_non_null(r);
  assert_int_equal(loaded_as(r->handle[0]), -1);
  for (int k = 2; k < 4; ++k)
    assert_true(loaded_as(r->handle[k]) > loaded_as(r->handle[k - 1]) + 1);
}

static void long_kernels_have_one_place(void **unused)
{
  struct result r;

  (void)unused;
  assert_ok(race(4, 9, 0, &r));
  assert_int_equal(r.race.places, 1);
  assert_int_equal(fake.loads, 1);
  assert_int_equal(count_periods(1) + count_periods(2), fake.count);
}

/* There a replay is one launch. */
static void the_cpu_has_one_place(void **unused)
{
  struct result r;

  (void)unused;
  strcpy(worker.device->info.kind, "cpu");
  assert_ok(race(4, 3, 0, &r));
  strcpy(worker.device->info.kind, "cuda");
  assert_int_equal(r.race.places, 1);
  assert_int_equal(fake.loads, 1);
}

/* Without the twin's first there is no race, as ever. */
static void fewer_places_will_do(void **unused)
{
  int loads = 3 * UNITS + 4;

  (void)unused;
  for (int n = 1; n <= loads; ++n) {
    struct result r;
    dd_status status = race(4, 3, n, &r);
    assert_int_equal(fake.fail_at, 0);
    assert_int_equal(status, n == 1 ? DD_DEVICE : DD_OK);
    if (status) continue;
    assert_true(r.race.places >= 1 && r.race.places < 4);
    for (int i = 0; i < CANDIDATES; ++i) assert_true(r.standing[i].final);
    assert_int_equal(count_periods(0), 0);
  }
}

/* ---- Set-up -------------------------------------------------------------- */

static void load_unit(int unit, int first, int count, const struct variant *v)
{
  struct bytes text = BYTES_INIT, log = BYTES_INIT;
  struct code *c = &units[unit];
  char entry[VARIANT_ENTRY];

  assert_ok(emit_unit(&specs.tree, v, (size_t)count, &text));
  if (compile_unit("cpu", bytes_string(&text), &c->bytes, &log))
    fail_msg("%s", bytes_string(&log));
  assert_ok(cpu_device.load(worker.device, c->bytes.data, c->bytes.size,
                            &c->module));
  for (int i = 0; i < count; ++i) {
    struct held *h = &variants[first + i];
    *h = (struct held){.loaded.variant = v[i], .origin = c};
    variant_entry(&v[i], entry);
    assert_ok(cpu_device.kernel(worker.device, c->module, entry,
                                &h->loaded.kernel));
    assert_ok(hash_table_add(&worker.variants, &h->loaded.variant.hash, h));
  }
  bytes_release(&text);
  bytes_release(&log);
}

/* The op's default, with so many warps. */
static void make_variant(const struct problem *p, int64_t warps,
                         struct variant *v)
{
  struct bytes text = BYTES_INIT;

  assert_int_equal(p->op->schemes[0].tunable_count, 1);
  variant_of(&p->op->schemes[0], p, &warps, v);
  assert_null(variant_misfit(v, p, 0, worker.device->info.sms));
  assert_ok(emit_variant(&specs.tree, v, &text));
  bytes_release(&text);
}

static void load_candidates(const struct problem *p)
{
  struct variant v[2];
  int bind[OP_MAX_TENSORS];

  for (int i = 0; i < 2; ++i) make_variant(p, 4 >> i, &v[i]);
  load_unit(0, 0, 2, v);
  assert_int_equal(p->op->step_count, 2);
  for (uint32_t i = 0; i < 2; ++i) {
    struct problem step;
    assert_ok(problem_step(&specs.ops, p, i, &step, bind));
    make_variant(&step, 4, v);
    load_unit(1 + (int)i, 2 + (int)i, 1, v);
  }
  for (int i = 0; i < CANDIDATES; ++i)
    candidates[i] = (struct candidate){
        .split = i == SPLIT, .step_count = i == SPLIT ? 2 : 1,
        .steps = {variants[i].loaded.variant.hash,
                  variants[SPLIT + 1].loaded.variant.hash}};
}

static const struct device_api *pass_for_a_gpu(void)
{
  static struct device_api api;

  api = cpu_device;
  api.load = fake_load;
  api.unload = fake_unload;
  api.kernel = fake_kernel;
  api.occupancy = fake_occupancy;
  api.record = fake_record;
  api.record_start = fake_start;
  api.record_wait = fake_wait;
  api.record_free = fake_free;
  return &api;
}

static int set_up(void **unused)
{
  struct problem p;

  (void)unused;
  assert_ok(specs_load(&specs, NULL));
  assert_ok(cpu_device.open(0, &worker.device));
  assert_ok(tools_load(worker.device, false, &worker.tools));
  worker.out_fd = open("/dev/null", O_WRONLY);
  worker.ops = specs.ops;
  arena_init(&worker.arena, NULL);
  worker.checker = (struct checker){.device = worker.device, .ops = &specs.ops,
                                    .tools = &worker.tools};
  assert_ok(problem_parse(&specs.ops, PROBLEM, &p));
  assert_ok(checker_set(&worker.checker, &p, 1));
  load_candidates(&p);
  worker.clocks.device = worker.device; /* it has none */
  worker.device->api = pass_for_a_gpu();
  strcpy(worker.device->info.kind, "cuda");
  return 0;
}

static int tear_down(void **unused)
{
  (void)unused;
  forget_records();
  worker.device->api = &cpu_device;
  checker_release(&worker.checker);
  for (int i = 0; i < UNITS; ++i) {
    cpu_device.unload(worker.device, units[i].module);
    bytes_release(&units[i].bytes);
  }
  tools_release(worker.device, &worker.tools);
  cpu_device.close(worker.device);
  hash_table_release(&worker.variants);
  arena_release(&worker.arena);
  specs_release(&specs);
  close(worker.out_fd);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_place_is_the_first),
      cmocka_unit_test(launches_take_turns_over_places),
      cmocka_unit_test(places_of_one_unit_are_apart),
      cmocka_unit_test(long_kernels_have_one_place),
      cmocka_unit_test(the_cpu_has_one_place),
      cmocka_unit_test(fewer_places_will_do),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
