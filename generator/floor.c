/*
 * floor.c - a program of the build: makes the table inside libdiffdispatch.
 *
 *     floor OUT.ddt VARIANTS [sm_NN ...]
 *
 * Each op's default variant for every io dtype and rounding that its rules
 * allow, as text for the CPU device and as a cubin for each target: up to 9
 * variants an op.  And the folded source of the tuned schemes, from which a
 * host that wants it compiles on a miss.  A target that this NVRTC has never
 * heard of is left out, and that is said; any other failure fails the build.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler.h"
#include "emit.h"
#include "spec.h"
#include "table_write.h"

enum {
  MAX_TARGETS = 16,
  MAX_VARIANTS = 1024,
  MAX_SOURCES = 256,
  MAX_WORKERS = 16,
};

struct floor {
  struct tree tree;
  struct op_set ops;
  struct bytes specs;
  struct arena arena;
  const char *targets[MAX_TARGETS];
  uint32_t target_count, count;
  struct table_variant variants[MAX_VARIANTS];
  uint32_t source_count;
  struct table_source sources[MAX_SOURCES];
  atomic_uint next; /* for the workers: variant * targets + target */
  _Atomic(dd_status) status;
};

/* ---- Which variants ------------------------------------------------------ */

enum { MAX_SLOTS = OP_MAX_SYMBOLS + OP_MAX_TUNABLES + DEVICE_SLOTS };

static bool is_fact(const struct scheme *s, uint32_t symbol)
{
  for (uint32_t i = 0; i < s->fact_count; ++i)
    if (s->facts[i] == symbol) return true;
  return false;
}

/* Whether the facts and tunables alone say what the expression is. */
static bool known(const struct variant *v, const struct expr *e)
{
  uint32_t symbols = v->op->symbol_count;
  uint32_t device = symbols + v->scheme->tunable_count;

  for (uint32_t i = 0; i < symbols; ++i)
    if (!is_fact(v->scheme, i) && expr_uses(e, i)) return false;
  for (uint32_t i = device; i < device + DEVICE_SLOTS; ++i)
    if (expr_uses(e, i)) return false;
  return true;
}

static bool refused(const struct variant *v, const struct rule *rules,
                    uint32_t count, const int64_t *slots)
{
  int64_t holds;

  for (uint32_t i = 0; i < count; ++i)
    if (known(v, rules[i].expr) &&
        (expr_eval(rules[i].expr, slots, &holds) || !holds))
      return true;
  return false;
}

/* Whether some legal problem may have these facts and the kernel takes them:
 * the rules of the op and the scheme that speak of nothing else. */
static bool legal(const struct variant *v)
{
  int64_t slots[MAX_SLOTS] = {0};

  for (uint32_t i = 0; i < v->scheme->fact_count; ++i)
    slots[v->scheme->facts[i]] = v->fact[i];
  memcpy(slots + v->op->symbol_count, v->tunable,
         v->scheme->tunable_count * sizeof *slots);
  return !refused(v, v->op->rules, v->op->rule_count, slots) &&
         !refused(v, v->scheme->rules, v->scheme->rule_count, slots);
}

/* The variant as a whole unit, which the CPU device compiles when it is used;
 * emit_variant() gives it the hash that names it. */
static dd_status add(struct floor *f, struct variant *v)
{
  struct bytes text = BYTES_INIT;
  struct table_variant *out = &f->variants[f->count];
  dd_status status = emit_variant(&f->tree, v, &text);

  bytes_clear(&text);
  if (!status) status = emit_unit(&f->tree, v, 1, &text);
  if (!status && f->count == MAX_VARIANTS)
    status = fail(DD_BUG, "more than %d variants", MAX_VARIANTS);
  if (!status) {
    out->variant = *v;
    out->codes = ARENA_ARRAY(&f->arena, struct table_code, 1 + f->target_count);
    out->codes[0].target = "cpu";
    out->codes[0].size = text.size;
    out->codes[0].bytes = arena_text(&f->arena, text.data, text.size);
    out->code_count = 1 + f->target_count;
    f->count++;
  }
  bytes_release(&text);
  return status;
}

/* Fact i and those after it, in every value that they can have. */
static dd_status walk(struct floor *f, struct variant *v, uint32_t i)
{
  const struct symbol *s;

  if (i == v->scheme->fact_count) return legal(v) ? add(f, v) : DD_OK;
  s = &v->op->symbols[v->scheme->facts[i]];
  if (!s->choice_count)
    return fail(DD_BAD_SPEC, "'%s.%s' fits all and is compiled for a %s",
                v->op->name, v->scheme->name, s->name);
  for (uint32_t c = 0; c < s->choice_count; ++c) {
    v->fact[i] = s->choices[c].value;
    TRY(walk(f, v, i + 1));
  }
  return DD_OK;
}

static dd_status add_op(struct floor *f, const struct op *op)
{
  struct variant v = {.op = op, .scheme = &op->schemes[0]};

  if (!op->scheme_count || !v.scheme->fits_all)
    return fail(DD_BAD_SPEC, "'%s' has no variant that fits all", op->name);
  for (uint32_t i = 0; i < v.scheme->tunable_count; ++i)
    v.tunable[i] = v.scheme->tunables[i].values[0];
  return walk(f, &v, 0);
}

static dd_status add_source(struct floor *f, const struct op *op,
                            const struct scheme *scheme)
{
  const struct variant v = {.op = op, .scheme = scheme};
  struct table_source *out = &f->sources[f->source_count];
  struct bytes text = BYTES_INIT;
  dd_status status = emit_source(&f->tree, &v, &text);

  if (!status && f->source_count == MAX_SOURCES)
    status = fail(DD_BUG, "more than %d sources", MAX_SOURCES);
  if (!status) {
    out->op = op->name;
    out->scheme = scheme->name;
    out->text = arena_text(&f->arena, text.data, text.size);
    out->size = text.size;
    f->source_count++;
  }
  bytes_release(&text);
  return status;
}

static dd_status add_sources(struct floor *f, const struct op *op)
{
  for (uint32_t i = 1; i < op->scheme_count; ++i)
    TRY(add_source(f, op, &op->schemes[i]));
  return DD_OK;
}

/* ---- Compiling ----------------------------------------------------------- */

static dd_status compile(struct floor *f, uint32_t job, struct bytes *code,
                         struct bytes *log)
{
  struct table_variant *v = &f->variants[job / f->target_count];
  struct table_code *out = &v->codes[1 + job % f->target_count];
  const char *target = f->targets[job % f->target_count];
  dd_status status = compile_unit(target, v->codes[0].bytes, code, log);
  void *copy;

  if (status)
    return fail_in(status, "%s.%s for %s", v->variant.op->name,
                   v->variant.scheme->name, target);
  copy = malloc(code->size); /* held until the program ends */
  if (!copy) return fail(DD_NO_MEMORY, "out of memory");
  out->target = target;
  out->bytes = memcpy(copy, code->data, code->size);
  out->size = code->size;
  return DD_OK;
}

static void *work(void *floor)
{
  struct floor *f = floor;
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  while (!atomic_load(&f->status)) {
    uint32_t job = atomic_fetch_add(&f->next, 1);
    dd_status status;
    if (job >= f->count * f->target_count) break;
    status = compile(f, job, &code, &log);
    if (!status) continue;
    fprintf(stderr, "floor: %s\n", dd_last_error());
    atomic_store(&f->status, status);
  }
  bytes_release(&code);
  bytes_release(&log);
  return NULL;
}

static dd_status compile_all(struct floor *f)
{
  pthread_t threads[MAX_WORKERS];
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  int count = 0;

  for (long i = 1; i < cores && i < MAX_WORKERS; ++i)
    if (!pthread_create(&threads[count], NULL, work, f)) count++;
  work(f);
  while (count) pthread_join(threads[--count], NULL);
  return atomic_load(&f->status) ? fail(f->status, "not every variant compiled")
                                 : DD_OK;
}

/* Keeps the targets that the compiler knows. */
static dd_status probe(struct floor *f, char **targets, int count)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  for (int i = 0; i < count && f->target_count < MAX_TARGETS; ++i) {
    if (!compile_unit(targets[i],
                      "extern \"C\" __global__ void probe() {}\n", &code, &log))
      f->targets[f->target_count++] = targets[i];
    else
      fprintf(stderr, "floor: without %s: %s\n", targets[i], dd_last_error());
  }
  bytes_release(&code);
  bytes_release(&log);
  return count && !f->target_count
             ? fail(DD_COMPILE, "no target can be compiled")
             : DD_OK;
}

/* ---- The program --------------------------------------------------------- */

static dd_status write_table(struct floor *f, const char *path)
{
  struct table_writer w = {.specs = &f->specs,
                           .provenance = "the defaults of this library",
                           .variant_count = f->count,
                           .variants = f->variants,
                           .source_count = f->source_count,
                           .sources = f->sources};
  struct bytes out = BYTES_INIT;
  dd_status status = table_write(&w, &out);

  if (!status) status = file_write(path, out.data, out.size);
  bytes_release(&out);
  return status;
}

static dd_status make(struct floor *f, int argc, char **argv)
{
  arena_init(&f->arena, NULL);
  TRY(tree_load(&f->tree, argv[2]));
  TRY(spec_evaluate(&f->tree, NULL, NULL, &f->specs));
  TRY(op_set_read(&f->ops, f->specs.data, f->specs.size, NULL));
  TRY(probe(f, argv + 3, argc - 3));
  for (uint32_t i = 0; i < f->ops.count; ++i) TRY(add_op(f, &f->ops.ops[i]));
  for (uint32_t i = 0; i < f->ops.count; ++i)
    TRY(add_sources(f, &f->ops.ops[i]));
  if (f->target_count) TRY(compile_all(f));
  TRY(write_table(f, argv[1]));
  printf("floor: %u variants of %u ops, cpu and %u targets\n", f->count,
         f->ops.count, f->target_count);
  return DD_OK;
}

int main(int argc, char **argv)
{
  static struct floor floor;

  if (argc < 3) {
    fprintf(stderr, "usage: floor OUT.ddt VARIANTS [sm_NN ...]\n");
    return 64;
  }
  if (!make(&floor, argc, argv)) return 0;
  fprintf(stderr, "floor: %s\n", dd_last_error());
  return 1;
}
