/*
 * test_worker_race.c - the A/A twin of a race: whose code is loaded a second time,
 * what is asked for it, and that nothing is left.
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
#include "race.h"
#include "specs.h"
#include "worker_inner.h"

#define PROBLEM "qknorm_rope:bf16 tokens=5 q_heads=2 head_dim=64"

enum { FUSED, OTHER, SPLIT, CANDIDATES };
enum { UNITS = 3, VARIANTS = 4, MAX_RECORDS = 64, MAX_LOADS = 4 };

static struct specs specs;
static struct worker worker;
static struct code units[UNITS]; /* of FUSED and OTHER, and of each step */
static struct held variants[VARIANTS];
static struct candidate candidates[CANDIDATES];

/* ---- A device that only takes time --------------------------------------- */

struct recording {
  double us;
};

static struct {
  double us; /* of a launch of what was loaded before the race */
  int fail_at, loads, unloads; /* during the race */
  struct kernel kernel[MAX_LOADS]; /* of these */
  bool allowed[MAX_LOADS];         /* its occupancy was asked for */
  int kernels;
  char entry[VARIANT_ENTRY]; /* the last one's */
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
  fake.loads++;
  return cpu_device.load(d, code, size, out);
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
  snprintf(fake.entry, sizeof fake.entry, "%s", entry);
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
  for (size_t i = 0; i < count; ++i)
    r->us += fake.us * (loaded_as(l[i].kernel.handle) < 0 ? 1 : 1.02);
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

/* ---- A race -------------------------------------------------------------- */

struct result {
  struct race_summary race;
  struct standing standing[CANDIDATES];
};

static dd_status ask(uint32_t incumbent, struct bytes *out)
{
  struct bytes request = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  wire_put_text(&request, "cold graph");
  wire_put_i64(&request, 1);
  wire_put_u32(&request, incumbent);
  wire_put_u32(&request, false);
  wire_put_u32(&request, CANDIDATES);
  for (int i = 0; i < CANDIDATES; ++i) put_candidate(&request, &candidates[i]);
  wire_reader_init(&r, request.data, request.size);
  status = answer_race(&worker, &r, out);
  bytes_release(&request);
  return status;
}

static dd_status race(uint32_t incumbent, int fail_at, struct result *out)
{
  struct bytes reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  memset(&fake, 0, sizeof fake);
  fake.us = 3;
  fake.fail_at = fail_at;
  status = ask(incumbent, &reply);
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

/* ---- Tests --------------------------------------------------------------- */

/* All that a race loads; it may have as much shared memory as its original, and
 * is unloaded when no graph launches it any more (fake_unload()). */
static void the_twin_is_a_second_load(void **unused)
{
  struct result r;

  (void)unused;
  assert_ok(race(NO_CANDIDATE, 0, &r));
  assert_int_equal(fake.loads, 1);
  assert_int_equal(fake.kernels, 1);
  assert_true(fake.allowed[0]);
  for (int i = 0; i < CANDIDATES; ++i) assert_true(r.standing[i].final);
}

/* 2 % is what it takes more: the final goes on, and says so. */
static void what_it_takes_more_is_noise(void **unused)
{
  int rounds = race_rule_default.final_rounds;
  struct result r;

  (void)unused;
  assert_ok(race(NO_CANDIDATE, 0, &r));
  assert_true(fabs(r.race.noise - log(1.02)) < 1e-9);
  assert_true(fabs(r.race.apart - log(1.02)) < 1e-9);
  assert_int_equal(r.standing[FUSED].sample_count,
                   rounds * (1 + race_rule_default.final_more));
}

/* Both have the same time, and FUSED comes first. */
static void the_twin_is_the_incumbents(void **unused)
{
  char entry[VARIANT_ENTRY];
  struct result r;

  (void)unused;
  assert_ok(race(NO_CANDIDATE, 0, &r));
  strcpy(entry, fake.entry);
  assert_ok(race(OTHER, 0, &r));
  assert_string_not_equal(fake.entry, entry);
  assert_int_equal(r.standing[OTHER].position, 1);
  assert_ok(race(SPLIT, 0, &r)); /* its code is not one kernel's */
  assert_int_equal(fake.loads, 0);
  assert_true(r.race.noise == 0 && r.race.apart == 0);
}

/* Whose fault it would be is known before: the note. */
static void a_twin_that_does_not_load_ends_the_race(void **unused)
{
  struct result r;

  (void)unused;
  assert_int_equal(race(NO_CANDIDATE, 1, &r), DD_DEVICE);
  assert_int_equal(fake.fail_at, 0);
  assert_int_equal(fake.loads, 0);
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
      cmocka_unit_test(the_twin_is_a_second_load),
      cmocka_unit_test(what_it_takes_more_is_noise),
      cmocka_unit_test(the_twin_is_the_incumbents),
      cmocka_unit_test(a_twin_that_does_not_load_ends_the_race),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
