/*
 * plan.c - make a plan for a problem, and launch it.
 *
 * Everything slow is done while making: the choice, compiling (CPU device),
 * loading, the launch shape, the argument structs.  A launch checks pointers,
 * copies an argument struct, puts the pointers in and calls the driver.
 */
#include "special.h"
#include "compiler.h"
#include "launch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Code on the device -------------------------------------------------- */

/* One per variant in use, shared by plans, kept until dd_close(). */
struct loaded {
  struct loaded *next;
  struct hash hash;
  struct module *module;
  struct kernel kernel;
};

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

void loaded_free(struct dd_context *ctx)
{
  while (ctx->loaded) {
    struct loaded *l = ctx->loaded;
    ctx->loaded = l->next;
    if (!context_forked(ctx))
      ctx->device->api->unload(ctx->device, l->module);
    mem_resize(&ctx->allocator, l, sizeof *l, 0);
  }
}

static dd_status compile_cpu(struct table *from, const struct table_code *code,
                             struct bytes *out)
{
  struct bytes text = BYTES_INIT, log = BYTES_INIT;
  dd_status status;

  status = table_code_read(from, code, &text); /* which ends with a NUL */
  if (!status) status = compile_unit("cpu", bytes_string(&text), out, &log);
  bytes_release(&log);
  bytes_release(&text);
  return status;
}

/* The code as the device takes it.  Only text that no table has is in memory:
 * it is compiled here. */
static dd_status ready_code(struct dd_context *ctx, struct table *from,
                            const struct table_variant *v, struct bytes *out)
{
  const struct table_code *code = match_code(v, &ctx->device->info);

  if (!code) return fail(DD_BUG, "a variant without code was chosen");
  if (code->bytes) return special_compile(code, out);
  if (!strcmp(code->target, "cpu")) return compile_cpu(from, code, out);
  return table_code_read(from, code, out);
}

static dd_status load_into(struct dd_context *ctx, const struct variant *v,
                           const struct bytes *code, struct loaded *l)
{
  const struct device_api *api = ctx->device->api;
  char entry[VARIANT_ENTRY];
  dd_status status;

  variant_entry(v, entry);
  l->hash = v->hash;
  TRY(api->load(ctx->device, code->data, code->size, &l->module));
  status = api->kernel(ctx->device, l->module, entry, &l->kernel);
  if (status) api->unload(ctx->device, l->module);
  return status;
}

static dd_status load_new(struct dd_context *ctx, struct table *from,
                          const struct table_variant *v, struct kernel *out)
{
  struct loaded *l = mem_resize(&ctx->allocator, NULL, 0, sizeof *l);
  struct bytes code = BYTES_INIT;
  dd_status status;

  if (!l) return no_memory();
  status = ready_code(ctx, from, v, &code);
  if (!status) status = load_into(ctx, &v->variant, &code, l);
  bytes_release(&code);
  if (status) {
    mem_resize(&ctx->allocator, l, sizeof *l, 0);
    return status;
  }
  l->next = ctx->loaded;
  ctx->loaded = l;
  *out = l->kernel;
  return DD_OK;
}

/* Under the lock. */
static dd_status load(struct dd_context *ctx, struct table *from,
                      const struct table_variant *v, struct kernel *out)
{
  for (struct loaded *l = ctx->loaded; l; l = l->next)
    if (hash_equal(&l->hash, &v->variant.hash)) {
      *out = l->kernel;
      return DD_OK;
    }
  return load_new(ctx, from, v, out);
}

/* ---- Attributes ---------------------------------------------------------- */

static int attr_find(const struct op *op, const char *name)
{
  for (uint32_t i = 0; i < op->attr_count; ++i)
    if (!strcmp(op->attrs[i].name, name)) return (int)i;
  return -1;
}

static dd_status unknown_attr(const struct op *op, const char *name)
{
  char known[200] = " none";
  size_t n = 0;

  for (uint32_t i = 0; i < op->attr_count && n < sizeof known; ++i)
    n += (size_t)snprintf(known + n, sizeof known - n, " %s",
                          op->attrs[i].name);
  return fail(DD_BAD_ARGUMENT, "'%s' has no attribute '%.40s'; it has%s",
              op->name, name, known);
}

static dd_status read_attrs(const struct op *op, const dd_problem *problem,
                            double *attr)
{
  if (problem->attr_count && !problem->attrs)
    return fail(DD_BAD_ARGUMENT, "dd_problem.attrs is NULL, and attr_count is "
                "%zu", problem->attr_count);
  for (uint32_t i = 0; i < op->attr_count; ++i)
    attr[i] = op->attrs[i].otherwise;
  for (size_t i = 0; i < problem->attr_count; ++i) {
    const dd_attr *a = &problem->attrs[i];
    int at = a->name ? attr_find(op, a->name) : -1;
    if (at < 0) return unknown_attr(op, a->name ? a->name : "(NULL)");
    if (!isfinite(a->value))
      return fail(DD_BAD_ARGUMENT, "%s is %g", a->name, a->value);
    attr[at] = a->value;
  }
  return DD_OK;
}

/* A whole number that a double holds exactly and the field can. */
static dd_status check_whole(const char *name, enum arg_type type, double value)
{
  double limit = type == ARG_I32 ? 2147483647.0 : 9007199254740992.0;

  if (type == ARG_F32 || (value == floor(value) && fabs(value) <= limit))
    return DD_OK;
  return fail(DD_BAD_ARGUMENT, "%s is %g, and must be a whole number within "
              "%.0f", name, value, limit);
}

/* ---- Argument structs ---------------------------------------------------- */

enum { MARK_BITS = 16 }; /* the rest of a mark is what to skip */

static void *marked(uint32_t buffer, int64_t skip)
{
  return (void *)((uintptr_t)skip << MARK_BITS | buffer);
}

static void add_pointers(const struct op *op, const uint8_t *args,
                         bool in_workspace, struct plan_step *out)
{
  for (uint32_t i = 0; i < op->arg_count; ++i) {
    uintptr_t mark;
    if (op->args[i].kind != ARG_TENSOR) continue;
    memcpy(&mark, args + op->args[i].offset, sizeof mark);
    if (!(uint16_t)mark) continue; /* NULL, as args_fill() left it */
    if (((uint16_t)mark >= IN_WORKSPACE) != in_workspace) continue;
    out->skip[out->pointer_count] = (int64_t)(mark >> MARK_BITS);
    out->pointers[out->pointer_count++] = (struct plan_pointer){
        (uint16_t)op->args[i].offset, (uint16_t)mark};
  }
}

/* A launch puts pointers to buffers by groups: the last one is put again. */
static void fill_group(struct plan_step *out)
{
  uint32_t last = out->pointer_count - 1;

  while (out->pointer_count % POINTER_GROUP) {
    out->skip[out->pointer_count] = out->skip[last];
    out->pointers[out->pointer_count++] = out->pointers[last];
  }
  out->buffer_pointers = out->pointer_count;
}

/* Where each pointer of a step comes from: args_bind() is asked once, with
 * numbers in place of pointers (0: NULL, else 1 + the buffer's index), so that
 * aliases and absent tensors are its business alone. */
static dd_status find_pointers(const struct match *m,
                               const struct match_step *ms,
                               const struct step_spec *step,
                               const uint32_t *place, struct plan_step *out)
{
  const struct op *op = ms->problem.op;
  void *marks[OP_MAX_TENSORS] = {NULL};
  uint8_t args[OP_MAX_ARGS_SIZE];

  for (uint32_t j = 0; j < op->tensor_count; ++j) {
    uint32_t i = (uint32_t)(ms - m->step);
    int64_t skip = 0;
    if (ms->bind[j] < 0) continue;
    if (step)
      TRY(problem_step_offset(&m->problem, i, op->tensors[j].name, &skip));
    marks[j] = marked(place[ms->bind[j]], skip);
  }
  memset(args, 0, sizeof args);
  args_bind(&ms->problem, marks, args);
  add_pointers(op, args, false, out);
  fill_group(out);
  add_pointers(op, args, true, out);
  return DD_OK;
}

/* Which of the whole op's attributes a step's is; `step` NULL: fused. */
static int outer_attr(const struct op *whole, const struct step_spec *step,
                      const char *name)
{
  return attr_find(whole, step ? step_outer_name(step, name) : name);
}

static dd_status find_attrs(const struct op *whole, const struct step_spec *step,
                            const struct op *op, const double *attr,
                            struct plan_step *out)
{
  for (uint32_t i = 0; i < op->arg_count; ++i) {
    const struct arg_spec *a = &op->args[i];
    int from;
    if (a->kind != ARG_ATTR) continue;
    from = outer_attr(whole, step, op->attrs[a->index].name);
    if (from < 0) continue; /* its default stays */
    TRY(check_whole(whole->attrs[from].name, a->type, attr[from]));
    if (out->attr_count == COUNT_OF(out->attrs))
      return fail(DD_UNSUPPORTED, "'%s' uses its attributes too often",
                  op->name);
    out->attrs[out->attr_count++] = (struct plan_attr){
        attr[from], (uint16_t)a->offset, (uint8_t)a->type, (uint8_t)from};
  }
  return DD_OK;
}

static void step_attrs(const struct op *whole, const struct step_spec *step,
                       const struct op *op, const double *attr, double *out)
{
  for (uint32_t i = 0; i < op->attr_count; ++i) {
    int from = outer_attr(whole, step, op->attrs[i].name);
    out[i] = from < 0 ? op->attrs[i].otherwise : attr[from];
  }
}

static dd_status bake_args(const struct match *m, const struct match_step *ms,
                           const struct step_spec *step, const double *attr, const uint32_t *place,
                           struct plan_step *out)
{
  const struct op *whole = m->problem.op, *op = ms->problem.op;
  double own[OP_MAX_ATTRS];
  uint32_t pointers = 0;

  for (uint32_t i = 0; i < op->arg_count; ++i)
    pointers += op->args[i].kind == ARG_TENSOR;
  if (pointers > OP_MAX_TENSORS * 2)
    return fail(DD_UNSUPPORTED, "'%s' takes too many pointers", op->name);
  TRY(find_attrs(whole, step, op, attr, out));
  step_attrs(whole, step, op, attr, own);
  TRY(args_fill(&ms->problem, own, out->args));
  out->launch.args_size = op->args_size;
  return find_pointers(m, ms, step, place, out);
}

/* ---- Launch shape -------------------------------------------------------- */

static dd_status shape_launch(struct device *d, const struct match_step *ms,
                              struct launch *out)
{
  const struct variant *v = &ms->variant->variant;
  int arch = d->info.arch, sms = d->info.sms, occupancy = 1;
  struct geometry g;

  TRY(variant_geometry(v, &ms->problem, arch, sms, 1, &g));
  TRY(d->api->occupancy(d, &out->kernel, g.block, g.shared_bytes, &occupancy));
  TRY(variant_geometry(v, &ms->problem, arch, sms, occupancy, &g));
  memcpy(out->grid, g.grid, sizeof out->grid);
  out->block = g.block;
  out->shared_bytes = g.shared_bytes;
  return DD_OK;
}

/* ---- Buffers ------------------------------------------------------------- */

/* What a pointer must be a multiple of: `align` bytes, but for a list of
 * positions, which kernels read one by one. */
static int64_t pointer_align(const struct problem *p,
                             const struct tensor_spec *t,
                             const struct tensor_shape *shape)
{
  int64_t element = dtype_bytes(shape->dtype);
  int align = op_symbol_find(p->op, "align");

  if (t->fill == FILL_POSITION || align < 0) return element;
  return p->value[align] > element ? p->value[align] : element;
}

/* place[t]: where tensor t's pointer is found, an absent one's in its alias. */
static dd_status list_buffers(const struct problem *p, struct dd_plan *plan,
                              uint32_t place[OP_MAX_TENSORS])
{
  const struct op *op = p->op;
  struct tensor_shape shape;

  memset(place, 0, sizeof *place * OP_MAX_TENSORS);
  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    struct plan_buffer *b = &plan->rest->buffers[plan->buffer_count];
    TRY(problem_shape(p, (int)i, &shape));
    if (op->tensors[i].role == TENSOR_SCRATCH) {
      place[i] = IN_WORKSPACE + i;
      plan->rest->scratch_at[i] = plan->workspace_size;
      plan->workspace_size += ((size_t)shape.span + 255) / 256 * 256;
      continue;
    }
    if (!shape.present) continue;
    place[i] = ++plan->buffer_count;
    b->name = op->tensors[i].name;
    b->needed = shape.count > 0;
    b->mask = (uintptr_t)pointer_align(p, &op->tensors[i], &shape) - 1;
    plan->mask |= b->mask;
  }
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    if (!place[i] && op->tensors[i].alias >= 0)
      place[i] = place[op->tensors[i].alias];
  return DD_OK;
}

/* Whether no tensor that is written has an element, or no grid has a block. */
static bool nothing_to_do(const struct op *op, const struct dd_plan *plan,
                          const uint32_t *place)
{
  uint32_t written = 0, needed = 0, blocks = 0;

  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    if (op->tensors[i].role != TENSOR_OUT || !place[i]) continue;
    written++;
    needed += plan->rest->buffers[place[i] - 1].needed;
  }
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    const uint32_t *g = plan->steps[i].launch.grid;
    blocks += g[0] && g[1] && g[2];
  }
  return (written && !needed) || !blocks;
}

/* ---- Making -------------------------------------------------------------- */

static dd_status make_step(struct dd_plan *plan, const struct match *m,
                           uint32_t i, const double *attr,
                           const uint32_t *place)
{
  struct dd_context *ctx = plan->ctx;
  struct plan_step *s = &plan->steps[i];
  dd_status status;

  TRY(bake_args(m, &m->step[i],
                plan->split ? &plan->op->steps[i] : NULL,
                attr, place, s));
  pthread_mutex_lock(&ctx->lock);
  status = load(ctx, m->table, m->step[i].variant, &s->launch.kernel);
  if (!status) status = shape_launch(ctx->device, &m->step[i], &s->launch);
  pthread_mutex_unlock(&ctx->lock);
  if (status) return fail_in(status, "%s.%s", m->step[i].problem.op->name,
                             m->step[i].variant->variant.scheme->name);
  return DD_OK;
}

/* Whether a look at its pointers is one at all buffers. */
static bool takes_all(const struct dd_plan *plan, const struct plan_step *s)
{
  uint32_t taken = 0;

  for (uint32_t i = 0; i < s->buffer_pointers; ++i)
    taken |= 1u << (s->pointers[i].buffer - 1);
  return taken && taken == (1u << plan->buffer_count) - 1;
}

static dd_status fill_plan(struct dd_plan *plan, const struct match *m,
                           const double *attr)
{
  uint32_t place[OP_MAX_TENSORS];

  TRY(list_buffers(&m->problem, plan, place));
  if (!plan->split) plan->workspace_size = 0;
  for (uint32_t i = 0; i < plan->step_count; ++i)
    TRY(make_step(plan, m, i, attr, place));
  plan->empty = nothing_to_do(plan->op, plan, place);
  plan->plain = !plan->empty && !plan->split && plan->step_count == 1 &&
                !plan->traced && takes_all(plan, plan->steps) &&
                plan->steps->buffer_pointers <= PLAIN_POINTERS;
  return DD_OK;
}

/* One block: the struct, its steps, what launches need not read, its text. */
static dd_status new_plan(struct dd_context *ctx, const struct match *m,
                          struct dd_plan **out)
{
  size_t rest = sizeof(struct dd_plan) +
                m->step_count * sizeof(struct plan_step);
  size_t head = rest + sizeof(struct plan_rest);
  struct bytes text = BYTES_INIT;
  struct dd_plan *plan = NULL;
  dd_status status;

  match_print(m, &text);
  status = bytes_status(&text);
  if (!status) {
    plan = lines_new(&ctx->allocator, head + text.size + 1);
    if (!plan) status = no_memory();
  }
  if (!status) {
    plan->size = head + text.size + 1;
    plan->text = memcpy((char *)plan + head, bytes_string(&text),
                        text.size + 1);
    plan->rest = (struct plan_rest *)((char *)plan + rest);
    plan->ctx = ctx;
    plan->forks = ctx->forks;
    plan->traced = ctx->traced;
    plan->device = ctx->device;
    plan->start = ctx->device->api->start;
    plan->op = m->problem.op;
    plan->how = m->how;
    plan->loss = m->loss;
    plan->split = m->step[0].problem.op != m->problem.op;
    plan->step_count = m->step_count;
    *out = plan;
  }
  bytes_release(&text);
  return status;
}

static dd_status make_of(struct dd_context *ctx, const struct match *m,
                         const double *attr, struct dd_plan **out)
{
  struct dd_plan *plan;
  dd_status status;

  TRY(new_plan(ctx, m, &plan));
  status = fill_plan(plan, m, attr);
  if (status) {
    dd_plan_free(plan);
    return status;
  }
  *out = plan;
  return DD_OK;
}

/* The specialised default in place of the generic one, if it can be had. */
static dd_status make_special(struct dd_context *ctx, struct match *m,
                              const double *attr, struct dd_plan **out)
{
  const struct table_variant *generic = m->step[0].variant;
  struct special s;
  dd_status status = DD_UNSUPPORTED;

  if (special_find(ctx, m, &s)) {
    status = special_text(ctx, &s);
    if (!status) status = make_of(ctx, m, attr, out);
  }
  special_end(&s);
  m->step[0].variant = generic;
  m->compiled = false;
  return status;
}

static dd_status make_by(struct dd_context *ctx, const struct matcher *matcher,
                         const dd_problem *problem, struct dd_plan **out)
{
  double attr[OP_MAX_ATTRS];
  struct match m;
  dd_status status;

  TRY(choose(ctx, matcher, problem->spelling, &m));
  TRY(read_attrs(m.problem.op, problem, attr));
  status = make_special(ctx, &m, attr, out);
  return !status || status == DD_NO_MEMORY ? status
                                           : make_of(ctx, &m, attr, out);
}

/* Where the table's code turns out damaged: as without the table. */
static dd_status make(struct dd_context *ctx, const dd_problem *problem,
                      struct dd_plan **out)
{
  struct matcher bare = ctx->matcher;
  dd_status status;

  if (!problem->spelling)
    return fail(DD_BAD_ARGUMENT, "dd_problem.spelling is NULL");
  status = make_by(ctx, &ctx->matcher, problem, out);
  if (status != DD_BAD_TABLE || bare.exact_only || bare.same_bits)
    return status;
  bare.table = NULL;
  status = make_by(ctx, &bare, problem, out);
  bare.under = NULL;
  return status == DD_BAD_TABLE ? make_by(ctx, &bare, problem, out) : status;
}

static void count_plan(struct dd_context *ctx, dd_status status,
                       const struct dd_plan *plan)
{
  if (!status)
    atomic_fetch_add_explicit(&ctx->made[plan->how], 1, memory_order_relaxed);
  else if (status == DD_UNTUNED || status == DD_UNSUPPORTED)
    atomic_fetch_add_explicit(&ctx->refused, 1, memory_order_relaxed);
}

dd_status plan_make(struct dd_context *ctx, const dd_problem *problem,
                    struct dd_plan **out)
{
  dd_status status = make(ctx, problem, out);

  count_plan(ctx, status, *out);
  return status;
}

dd_status dd_plan_make(dd_context *ctx, const dd_problem *problem,
                       dd_plan **out)
{
  dd_problem p;
  dd_status status;

  if (!out) return fail(DD_BAD_ARGUMENT, "no place for the plan was given");
  *out = NULL;
  TRY(context_check(ctx));
  TRY(struct_read("dd_problem", problem,
                  offsetof(dd_problem, spelling) + sizeof(char *), &p,
                  sizeof p));
  status = plan_make(ctx, &p, out);
  advise(ctx, p.spelling, status, *out);
  return status;
}

void dd_plan_free(dd_plan *plan)
{
  if (plan) lines_free(&plan->ctx->allocator, plan, plan->size);
}

/* ---- Asking -------------------------------------------------------------- */

const char *match_word(dd_match how)
{
  switch (how) {
  case DD_MATCH_EXACT: return "exact";
  case DD_MATCH_NEAR: return "near";
  case DD_MATCH_DEVICE: return "other device";
  case DD_MATCH_SPLIT: return "split";
  case DD_MATCH_DEFAULT: return "default";
  case DD_MATCH_PINNED: return "pinned";
  case DD_MATCH_INTERVAL: return "interval";
  }
  return "?";
}

void match_print_variants(const struct match *m, struct bytes *out)
{
  for (uint32_t i = 0; i < m->step_count; ++i) {
    if (i) bytes_text(out, " + ");
    variant_print(&m->step[i].variant->variant, out);
  }
}

void match_print(const struct match *m, struct bytes *out)
{
  match_print_variants(m, out);
  bytes_printf(out, " (%s%s", match_word(m->how),
               m->compiled ? ", compiled here" : "");
  if (m->us > 0) bytes_printf(out, ", %.1f us", m->us);
  bytes_text(out, ")");
}

dd_match dd_plan_match(const dd_plan *plan)
{
  return plan ? plan->how : DD_MATCH_DEFAULT;
}

double dd_plan_loss(const dd_plan *plan)
{
  return plan ? plan->loss : MATCH_LOSS_UNKNOWN;
}

int dd_plan_is_split(const dd_plan *plan)
{
  return plan && plan->split;
}

size_t dd_plan_workspace_size(const dd_plan *plan)
{
  return plan ? plan->workspace_size : 0;
}

size_t dd_plan_buffer_count(const dd_plan *plan)
{
  return plan ? plan->buffer_count : 0;
}

const char *dd_plan_buffer_name(const dd_plan *plan, size_t index)
{
  if (!plan || index >= plan->buffer_count) return NULL;
  return plan->rest->buffers[index].name;
}

size_t dd_plan_describe(const dd_plan *plan, char *text, size_t size)
{
  const char *line = plan ? plan->text : "no plan";

  return text_cut(line, strlen(line), text, size);
}

/* ---- Launching ----------------------------------------------------------- */

static dd_status refuse_pointer(const struct dd_plan *plan, uint32_t i,
                                const void *pointer)
{
  const struct plan_buffer *b = &plan->rest->buffers[i];

  if (!pointer)
    return fail(DD_BAD_ARGUMENT, "'%s': buffer %u, '%s', is NULL",
                plan->op->name, i, b->name);
  return fail(DD_BAD_ARGUMENT, "'%s': buffer %u, '%s', is at %p, which is not "
              "a multiple of %" PRIuPTR, plan->op->name, i, b->name, pointer,
              b->mask + 1);
}

static dd_status check_attr(const struct plan_attr *a, double value)
{
  int64_t whole = (int64_t)value;

  if (a->type == ARG_F32) return DD_OK;
  if (value != (double)whole)
    return fail(DD_BAD_ARGUMENT, "%g must be a whole number", value);
  if (a->type == ARG_I32 && whole != (int32_t)whole)
    return fail(DD_BAD_ARGUMENT, "%g is more than 32 bits can hold", value);
  return DD_OK;
}

/* Of all steps before the first is launched: a step that refused behind one
 * that runs would leave half of the work done. */
static dd_status check_attrs(const struct dd_plan *plan, const double *attr)
{
  const struct plan_step *s = plan->steps, *end = s + plan->step_count;

  for (; s < end; ++s)
    for (uint32_t i = 0; i < s->attr_count; ++i)
      TRY(check_attr(&s->attrs[i], attr[s->attrs[i].attr]));
  return DD_OK;
}

static void put_attr(const struct plan_attr *a, double value, uint8_t *args)
{
  int64_t whole = (int64_t)value;
  int32_t small = (int32_t)whole;
  float real = (float)value;

  switch ((enum arg_type)a->type) {
  case ARG_PTR: break;
  case ARG_F32: memcpy(args + a->offset, &real, sizeof real); break;
  case ARG_I32: memcpy(args + a->offset, &small, sizeof small); break;
  case ARG_I64: memcpy(args + a->offset, &whole, sizeof whole); break;
  }
}

/* A tensor without elements may be NULL, and nobody reads what lies behind. */
static void put_buffers(const struct plan_step *s, void *const *buffers,
                        uint8_t *args)
{
  const struct plan_pointer *p = s->pointers, *end = p + s->buffer_pointers;

  for (; p < end; ++p)
    memcpy(args + p->offset, &buffers[p->buffer - 1], sizeof *buffers);
}

/* What only a split plan has: parts of a buffer, and scratch tensors. */
static void put_split(const struct dd_plan *plan, const struct plan_step *s,
                      void *const *buffers, void *workspace, uint8_t *args)
{
  for (uint32_t i = 0; i < s->pointer_count; ++i) {
    const struct plan_pointer *p = &s->pointers[i];
    const size_t *scratch_at = plan->rest->scratch_at;
    uintptr_t at = (uintptr_t)s->skip[i];
    if (i < s->buffer_pointers) at += (uintptr_t)buffers[p->buffer - 1];
    else at = (uintptr_t)workspace + scratch_at[p->buffer - IN_WORKSPACE];
    memcpy(args + p->offset, &at, sizeof at);
  }
}

HOT dd_status plan_attrs(const struct plan_step *s, const double *attr,
                         uint8_t *args)
{
  const struct plan_attr *end = s->attrs + s->attr_count;

  for (const struct plan_attr *a = s->attrs; a < end; ++a) {
    if (attr[a->attr] == a->baked) continue;
    TRY(check_attr(a, attr[a->attr]));
    put_attr(a, attr[a->attr], args);
  }
  return DD_OK;
}

static dd_status launch_step(const struct dd_plan *plan,
                             const struct plan_step *s, void *const *buffers,
                             void *workspace, const double *attr, void *stream)
{
  _Alignas(16) uint8_t args[OP_MAX_ARGS_SIZE];
  const uint32_t *g = s->launch.grid;

  if (!g[0] || !g[1] || !g[2]) return DD_OK;
  copy_args(args, s->args, s->launch.args_size);
  put_buffers(s, buffers, args);
  if (plan->split) put_split(plan, s, buffers, workspace, args);
  if (attr) TRY(plan_attrs(s, attr, args));
  return plan->start(plan->device, &s->launch, args, stream);
}

/* Whether it is captured takes a call of the driver more: only a trace asks. */
static void count(const struct dd_plan *plan, void *stream)
{
  bool captured = plan->traced &&
                  plan->device->api->capturing(plan->device, stream);

  launches_add(plan->launches, captured ? LAUNCH_CAPTURED : LAUNCH_EAGER);
}

static dd_status check_buffers(const struct dd_plan *plan,
                               void *const *buffers)
{
  for (uint32_t i = 0; i < plan->buffer_count; ++i) {
    const struct plan_buffer *b = &plan->rest->buffers[i];
    if (((uintptr_t)buffers[i] & b->mask) || (b->needed && !buffers[i]))
      return refuse_pointer(plan, i, buffers[i]);
  }
  return DD_OK;
}

dd_status plan_launch(const struct dd_plan *plan, void *const *buffers,
                      void *workspace, const double *attr, void *stream)
{
  const struct plan_step *s = plan->steps, *end = s + plan->step_count;

  TRY(plan_check(plan));
  if (plan->empty) return DD_OK;
  if (!buffers)
    return fail(DD_BAD_ARGUMENT, "'%s': no buffers were given",
                plan->op->name);
  if (plan->workspace_size && (!workspace || (uintptr_t)workspace % 16))
    return fail(DD_BAD_ARGUMENT, "'%s': the workspace of %zu bytes is at %p, "
                "which is %s", plan->op->name, plan->workspace_size, workspace,
                workspace ? "not a multiple of 16" : "NULL");
  TRY(check_buffers(plan, buffers));
  if (attr) TRY(check_attrs(plan, attr));
  for (; s < end; ++s)
    TRY(launch_step(plan, s, buffers, workspace, attr, stream));
  if (plan->launches) count(plan, stream);
  return DD_OK;
}

static ALWAYS_INLINE void *buffer_at(const void *from, uint32_t number)
{
  return ((void *const *)from)[(int)number - 1];
}

HOT dd_status dd_plan_launch(const dd_plan *plan, void *const *buffers,
                             void *workspace, struct CUstream_st *stream)
{
  const struct plan_step *s;
  dd_status status = LOOK_CLOSER;

  if (!plan) return fail(DD_BAD_ARGUMENT, "no plan was given");
  s = plan->steps;
  if (LIKELY(buffers))
    status = launch_plain(plan, s->pointers, s->buffer_pointers, buffer_at,
                          buffers, NULL, stream);
  if (LIKELY(status != LOOK_CLOSER)) return status;
  return plan_launch(plan, buffers, workspace, NULL, stream);
}
