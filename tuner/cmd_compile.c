/*
 * cmd_compile.c - compile every point for every target, no GPU needed.
 *
 * Points of one scheme share a unit, because a compiler charges for each: 16
 * per unit take 16 ms each where one per unit takes 37.  A unit that fails is
 * compiled again point by point, which finds the bad one.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compiler.h"
#include "emit.h"
#include "farm.h"
#include "output.h"
#include "sample.h"
#include "specs.h"

enum { BATCH_MAX = 64 };

struct point {
  struct variant variant;
  struct usage usage;
};

/* One unit at the farm; its address is the unit's id. */
struct batch {
  struct batch *next;
  uint32_t count;
  struct point point[BATCH_MAX];
};

struct run {
  /* from the command line */
  const char *variants;
  struct texts ops, shapes, targets;
  int64_t jobs, batch_size;
  bool all, cover, verbose, json, quiet;
  /* the same for every target */
  struct specs specs;
  struct problems problems;
  struct farm *farm;
  struct json out;
  struct progress progress;
  struct arena arena; /* of the batches; spare ones are used again */
  struct arena points_arena; /* of what a target's problems have shown */
  struct cover shown;
  struct batch *spare;
  /* of this target */
  char target[TARGET_TEXT];
  int arch, sms;
  struct hash *seen; /* open addressing; a zero hash is an empty place */
  size_t seen_count, seen_room;
  int64_t points, units, failed;
  double started;
  struct columns usage, failures;
  int64_t failed_total;
};

/* ---- Points seen ----------------------------------------------------- */

static struct hash *seen_place(struct hash *seen, size_t room,
                               const struct hash *h)
{
  static const struct hash none;
  size_t at = quick_hash(h, sizeof *h) & (room - 1);

  while (!hash_equal(&seen[at], &none) && !hash_equal(&seen[at], h))
    at = (at + 1) & (room - 1);
  return &seen[at];
}

static dd_status seen_grow(struct run *r)
{
  static const struct hash none;
  size_t more = r->seen_room ? r->seen_room * 2 : 1024;
  struct hash *table = mem_resize(NULL, NULL, 0, more * sizeof *table);

  if (!table) return fail(DD_NO_MEMORY, "out of memory");
  memset(table, 0, more * sizeof *table);
  for (size_t i = 0; i < r->seen_room; ++i)
    if (!hash_equal(&r->seen[i], &none))
      *seen_place(table, more, &r->seen[i]) = r->seen[i];
  mem_resize(NULL, r->seen, r->seen_room * sizeof *table, 0);
  r->seen = table;
  r->seen_room = more;
  return DD_OK;
}

/* Problems with the same facts have the same points: each is compiled once. */
static dd_status seen_add(struct run *r, const struct hash *h, bool *new)
{
  struct hash *place;

  if (2 * r->seen_count >= r->seen_room) TRY(seen_grow(r));
  place = seen_place(r->seen, r->seen_room, h);
  *new = !hash_equal(place, h);
  *place = *h;
  r->seen_count += *new;
  return DD_OK;
}

/* ---- Units ----------------------------------------------------------- */

static struct batch *batch_take(struct run *r)
{
  struct batch *b = r->spare;

  if (!b) return ARENA_NEW(&r->arena, struct batch);
  r->spare = b->next;
  memset(b, 0, sizeof *b);
  return b;
}

static void batch_give(struct run *r, struct batch *b)
{
  b->next = r->spare;
  r->spare = b;
}

static dd_status batch_submit(struct run *r, struct batch *b)
{
  struct variant variant[BATCH_MAX];
  struct bytes text = BYTES_INIT;
  dd_status status;

  for (uint32_t i = 0; i < b->count; ++i) variant[i] = b->point[i].variant;
  status = emit_unit(&r->specs.tree, variant, b->count, &text);
  if (!status) status = bytes_status(&text);
  if (!status)
    status = farm_submit(r->farm, (int64_t)(intptr_t)b, r->target, text.data);
  bytes_release(&text);
  r->units += !status;
  return status;
}

static void note_usage(struct run *r, struct point *p,
                       const struct farm_result *result)
{
  struct bytes label = BYTES_INIT;
  char entry[VARIANT_ENTRY];

  variant_entry(&p->variant, entry);
  if (!r->arch || cubin_usage(result->code.data, result->code.size, entry,
                              &p->usage))
    memset(&p->usage, 0, sizeof p->usage);
  variant_print(&p->variant, &label);
  bytes_text(&label, " | ");
  variant_print_facts(&p->variant, &label);
  columns_cell(&r->usage, "%d", p->usage.registers);
  columns_cell(&r->usage, "%d", p->usage.local_bytes);
  columns_cell(&r->usage, "%d", p->usage.shared_bytes);
  columns_cell(&r->usage, "%s", bytes_string(&label));
  bytes_release(&label);
}

static void note_failure(struct run *r, const struct point *p,
                         const struct farm_result *result)
{
  struct bytes label = BYTES_INIT;

  variant_print(&p->variant, &label);
  bytes_text(&label, " | ");
  variant_print_facts(&p->variant, &label);
  columns_cell(&r->failures, "%s", bytes_string(&label));
  columns_cell(&r->failures, "%s", bytes_string(&result->error));
  bytes_release(&label);
  r->failed++;
  if (r->verbose && result->log.size)
    fprintf(stderr, "%s\n", bytes_string(&result->log));
}

static dd_status try_alone(struct run *r, const struct batch *b)
{
  for (uint32_t i = 0; i < b->count; ++i) {
    struct batch *one = batch_take(r);
    if (!one) return fail(DD_NO_MEMORY, "out of memory");
    one->point[0] = b->point[i];
    one->count = 1;
    TRY(batch_submit(r, one));
  }
  return DD_OK;
}

static dd_status unit_done(struct run *r, const struct farm_result *result)
{
  struct batch *b = (struct batch *)(intptr_t)result->id;
  dd_status status = DD_OK;

  if (result->status && result->status != DD_COMPILE)
    status = fail(result->status, "%s", bytes_string(&result->error));
  else if (result->status && b->count > 1)
    status = try_alone(r, b);
  else if (result->status)
    note_failure(r, &b->point[0], result);
  else
    for (uint32_t i = 0; i < b->count; ++i)
      note_usage(r, &b->point[i], result);
  batch_give(r, b);
  progress_at(&r->progress, 0, 0, "%lld points, %lld failed",
              (long long)r->points, (long long)r->failed);
  return status;
}

/* Takes finished units until at most `limit` are on their way. */
static dd_status drain(struct run *r, size_t limit)
{
  struct farm_result result;
  dd_status status = DD_OK;

  while (!status && farm_pending(r->farm) > limit) {
    if (!farm_next(r->farm, &result, true)) {
      if (interrupted()) return DD_OK;
      continue;
    }
    status = unit_done(r, &result);
    farm_result_release(&result);
  }
  return status;
}

static dd_status batch_send(struct run *r, struct batch **b)
{
  dd_status status = *b && (*b)->count ? batch_submit(r, *b) : DD_OK;

  *b = NULL;
  if (status) return status;
  return drain(r, 4 * (size_t)farm_workers(r->farm));
}

static dd_status add_point(struct run *r, struct batch **b, struct variant *v)
{
  struct bytes text = BYTES_INIT;
  dd_status status = emit_variant(&r->specs.tree, v, &text);
  bool new = false;

  bytes_release(&text);
  if (!status) status = seen_add(r, &v->hash, &new);
  if (status || !new) return status;
  if (!*b && !(*b = batch_take(r))) return fail(DD_NO_MEMORY, "out of memory");
  (*b)->point[(*b)->count++].variant = *v;
  r->points++;
  return (*b)->count < r->batch_size ? DD_OK : batch_send(r, b);
}

/* ---- A target -------------------------------------------------------- */

static dd_status add_every_point(struct run *r, const struct scheme *s,
                                 const struct problem *p, struct batch **b)
{
  struct space space;
  struct variant v;

  space_init(&space, s, p, r->arch, r->sms);
  while (!interrupted() && space_next(&space, &v)) TRY(add_point(r, b, &v));
  return DD_OK;
}

static dd_status add_cover(struct run *r, const struct scheme *s,
                           const struct problem *p, struct batch **b)
{
  struct variant *v;
  uint32_t count;

  TRY(cover_points(&r->shown, s, p, r->arch, r->sms, 1, &r->points_arena, &v,
                   &count));
  for (uint32_t i = 0; i < count && !interrupted(); ++i)
    TRY(add_point(r, b, &v[i]));
  return DD_OK;
}

static dd_status submit_scheme(struct run *r, const struct op *op,
                               const struct scheme *s)
{
  struct batch *b = NULL;

  for (size_t i = 0; i < r->problems.count; ++i) {
    const struct problem *p = &r->problems.item[i];
    if (p->op != op) continue;
    TRY(r->cover ? add_cover(r, s, p, &b) : add_every_point(r, s, p, &b));
  }
  return batch_send(r, &b);
}

static dd_status submit_all(struct run *r)
{
  for (uint32_t i = 0; i < r->specs.ops.count; ++i) {
    const struct op *op = &r->specs.ops.ops[i];
    for (uint32_t j = 0; j < op->scheme_count; ++j)
      TRY(submit_scheme(r, op, &op->schemes[j]));
  }
  return drain(r, 0);
}

static void json_rows(struct run *r, const char *key, const struct columns *c,
                      const char *const *names)
{
  json_array(&r->out, key);
  for (size_t i = 0; i < c->count; ++i) {
    size_t column = i % c->width;
    if (!column) json_object(&r->out, NULL);
    if (c->right[column])
      json_int(&r->out, names[column], atoi(c->cell[i]));
    else
      json_text(&r->out, names[column], c->cell[i]);
    if (column + 1 == c->width) json_end(&r->out, '}');
  }
  json_end(&r->out, ']');
}

static void print_json(struct run *r, double seconds)
{
  static const char *const usage[] = {"registers", "local_bytes",
                                      "shared_bytes", "variant"};
  static const char *const failure[] = {"variant", "reason"};

  json_object(&r->out, NULL);
  json_text(&r->out, "target", r->target);
  json_int(&r->out, "points", r->points);
  json_int(&r->out, "units", r->units);
  json_int(&r->out, "failed", r->failed);
  json_real(&r->out, "seconds", seconds);
  json_rows(r, "failures", &r->failures, failure);
  if (r->verbose) json_rows(r, "variants", &r->usage, usage);
  json_end(&r->out, '}');
}

static void print_text(struct run *r, double seconds)
{
  char time[32];

  print_seconds(seconds, time);
  printf("%s: %lld points in %lld units, %s%lld failed%s, %s\n", r->target,
         (long long)r->points, (long long)r->units,
         r->failed ? colour(stdout, RED) : "", (long long)r->failed,
         r->failed ? colour(stdout, PLAIN) : "", time);
  for (size_t i = 0; i + 1 < r->failures.count; i += 2)
    printf("  %s\n    %s\n", r->failures.cell[i], r->failures.cell[i + 1]);
  if (r->verbose) columns_print(&r->usage, stdout, "  ");
}

static void print_target(struct run *r)
{
  double seconds = seconds_now() - r->started;

  progress_end(&r->progress);
  if (r->json)
    print_json(r, seconds);
  else
    print_text(r, seconds);
}

static dd_status compile_target(struct run *r, const char *target)
{
  dd_status status;

  TRY(target_parse(target, &r->arch, &r->sms));
  target_print(r->arch, r->target);
  r->points = r->units = r->failed = 0;
  r->started = seconds_now();
  columns_init(&r->usage, ">registers", ">local", ">shared", "variant", NULL);
  columns_init(&r->failures, "variant", "reason", NULL);
  progress_begin(&r->progress, r->target, r->quiet || r->json);
  status = submit_all(r);
  if (!status && !interrupted()) print_target(r);
  r->failed_total += r->failed;
  columns_release(&r->usage);
  columns_release(&r->failures);
  mem_resize(NULL, r->seen, r->seen_room * sizeof *r->seen, 0);
  r->seen = NULL;
  r->seen_count = r->seen_room = 0;
  arena_release(&r->points_arena);
  r->shown = (struct cover){NULL};
  return status;
}

/* Without --all and --shapes the first trial of each op is enough. */
static void keep_first_of_each(struct problems *all)
{
  const struct op *last = NULL;
  size_t n = 0;

  for (size_t i = 0; i < all->count; ++i) {
    if (all->item[i].op == last) continue;
    last = all->item[i].op;
    all->item[n++] = all->item[i];
  }
  all->count = n;
}

static dd_status compile_all(struct run *r)
{
  dd_status status = DD_OK;

  TRY(problems_read(&r->specs, &r->shapes, &r->ops, &r->problems));
  if (!r->all && !r->shapes.count) keep_first_of_each(&r->problems);
  if (!r->problems.count)
    return fail(DD_BAD_ARGUMENT, "there is no problem to compile for");
  TRY(farm_open((int)r->jobs, &r->farm));
  json_init(&r->out, stdout);
  if (r->json) json_array(&r->out, NULL);
  for (size_t i = 0; i < r->targets.count && !status && !interrupted(); ++i)
    status = compile_target(r, r->targets.item[i]);
  if (r->json) json_end(&r->out, ']');
  if (r->json) json_finish(&r->out);
  return status;
}

static void run_release(struct run *r)
{
  farm_close(r->farm);
  arena_release(&r->arena);
  problems_release(&r->problems);
  specs_release(&r->specs);
}

static int finish(struct run *r, dd_status status)
{
  run_release(r);
  if (interrupted()) return EXIT_INTERRUPTED;
  if (status) return say_failure(status);
  return r->failed_total ? EX_DATAERR : EX_OK;
}

int cmd_compile(int argc, char **argv)
{
  struct run r = {.batch_size = 16};
  const struct option table[] = {
      OPT_VARIANTS(&r.variants),
      OPT_OPS(&r.ops),
      OPT_SHAPES(&r.shapes),
      OPT_FLAG("all", 'a', &r.all,
               "every trial of an op, not only its first"),
      OPT_FLAG("cover", 0, &r.cover,
               "of each problem one, and every value of every tunable once"),
      OPT_LIST("arch", 0, &r.targets, "TARGET,...",
               "sm_80, sm_90, cpu, ... (sm_90)"),
      OPT_INT("jobs", 'j', &r.jobs, 1, 1024, "N",
              "workers at once (one per processor)"),
      OPT_INT("batch", 0, &r.batch_size, 1, BATCH_MAX, "N",
              "points per unit (16)"),
      OPT_FLAG("quiet", 'q', &r.quiet, "no progress"),
      OPT_FLAG("verbose", 'v', &r.verbose,
               "also registers and spills, and the compiler's log"),
      OPT_JSON(&r.json),
      OPT_END};
  dd_status status;
  int code;

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  if (r.all && r.shapes.count)
    return say_usage("--all goes without --shapes");
  if (!r.targets.count) texts_add(&r.targets, "sm_90");
  status = specs_load(&r.specs, r.variants);
  if (status) return say_failure(status);
  arena_init(&r.arena, NULL);
  arena_init(&r.points_arena, NULL);
  interrupt_watch();
  return finish(&r, compile_all(&r));
}
