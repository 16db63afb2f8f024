/* trial.c - a problem with its inputs and the right answer, on a device. */
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compiler.h"
#include "embedded.h"
#include "parallel.h"
#include "references.h"
#include "rows.h"

extern const struct embedded_file embedded_kernels[];

enum {
  GUARD_SMALL = 4096,
  GUARD_LARGE = 65536,
  LARGE = 1 << 20,         /* bytes from which a guard is large */
  ON_DEVICE = 1 << 22,     /* elements from which the device compares */
  GUARD_BYTE = 0xa5,       /* guards and gaps */
  POISON_BYTE = 0xff,      /* a NaN in every dtype */
};

/* tuner/kernels/, in the order of their names */
enum { TOOL_COPY, TOOL_JUDGE };

/* ---- Tools --------------------------------------------------------------- */

const uint32_t copy_each[COPY_KINDS] = {1, 2, 4};

static dd_status find_tools(struct device *d, struct tools *t)
{
  for (int i = 0; i < COPY_KINDS; ++i) {
    char entry[16];
    snprintf(entry, sizeof entry, "dt_copy%u", copy_each[i]);
    TRY(d->api->kernel(d, t->module, entry, &t->copy[i]));
  }
  if (!t->on_device) return DD_OK;
  TRY(d->api->kernel(d, t->module, "dt_judge", &t->judge));
  return d->api->kernel(d, t->module, "dt_same", &t->same);
}

dd_status tools_load(struct device *d, struct tools *t)
{
  struct bytes text = BYTES_INIT, code = BYTES_INIT, log = BYTES_INIT;
  char target[16] = "cpu";
  dd_status status;

  memset(t, 0, sizeof *t);
  t->on_device = strcmp(d->info.kind, "cuda") == 0;
  if (t->on_device) snprintf(target, sizeof target, "sm_%d", d->info.arch);
  bytes_text(&text, embedded_kernels[TOOL_COPY].text);
  if (t->on_device) bytes_text(&text, embedded_kernels[TOOL_JUDGE].text);
  status = bytes_status(&text);
  if (!status) status = compile_unit(target, text.data, &code, &log);
  if (!status) status = d->api->load(d, code.data, code.size, &t->module);
  if (!status) status = find_tools(d, t);
  bytes_release(&text);
  bytes_release(&code);
  bytes_release(&log);
  return status;
}

void tools_release(struct device *d, struct tools *t)
{
  if (t->module) d->api->unload(d, t->module);
  memset(t, 0, sizeof *t);
}

/* ---- Making --------------------------------------------------------------- */

/* Which tensors a launch writes, and whose reference each is held against. */
static void find_outputs(struct trial *t)
{
  const struct op *op = t->problem.op;

  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    const struct tensor_spec *s = &op->tensors[i];
    int at = t->tensor[i].shape.present ? (int)i : s->alias;
    if (s->role != TENSOR_OUT || at < 0) continue;
    t->tensor[at].written = true;
    t->tensor[at].output = (int)i;
    t->tensor[at].outputs = t->tensor[i].shape;
    memcpy(t->tensor[at].outputs.stride, t->tensor[at].shape.stride,
           sizeof t->tensor[at].shape.stride);
  }
}

/* The alignment that is promised, and not one byte more. */
static size_t promised_alignment(const struct trial *t, int64_t dtype)
{
  int64_t align = problem_get(&t->problem, "align");

  if (align < dtype_bytes(dtype)) align = dtype_bytes(dtype);
  return (size_t)align;
}

static dd_status allocate_tensor(struct trial *t, struct trial_tensor *x)
{
  const struct device_api *api = t->device->api;
  size_t guard = x->shape.span > LARGE ? GUARD_LARGE : GUARD_SMALL;

  x->offset = guard + promised_alignment(t, x->shape.dtype);
  x->size = x->offset + (size_t)x->shape.span + guard;
  x->image = mem_resize(NULL, NULL, 0, x->size);
  if (!x->image) return fail(DD_NO_MEMORY, "out of memory: %zu bytes", x->size);
  memset(x->image, GUARD_BYTE, x->size);
  TRY(api->allocate(t->device, x->size, (void **)&x->work));
  TRY(api->allocate(t->device, x->size, (void **)&x->pristine));
  return DD_OK;
}

/* Poison the elements, not the gaps between them. */
static void poison(struct trial_tensor *x)
{
  const struct tensor_shape *s = &x->shape;
  int64_t width = s->extent[s->rank - 1], bytes = dtype_bytes(s->dtype);

  for (int64_t row = 0; s->count && row < s->count / width; ++row)
    memset(x->image + x->offset + row_offset(s, row) * bytes, POISON_BYTE,
           (size_t)(width * bytes));
}

static dd_status make_tensor(struct trial *t, uint32_t i, enum fill_class class,
                             uint64_t seed)
{
  const struct tensor_spec *spec = &t->problem.op->tensors[i];
  struct trial_tensor *x = &t->tensor[i];
  int64_t limit = 1;

  if (!x->shape.present) return DD_OK;
  TRY(allocate_tensor(t, x));
  if (spec->limit) TRY(expr_eval(spec->limit, t->problem.value, &limit));
  if (spec->role != TENSOR_IN)
    poison(x);
  else
    fill_tensor(spec, &x->shape, limit, class, seed + 7919 * i,
                x->image + x->offset);
  t->buffer[i] = x->work + x->offset;
  return t->device->api->copy_in(t->device, x->pristine, x->image, x->size);
}

/* ---- The reference --------------------------------------------------------- */

struct reference_job {
  reference_fn *compute;
  const struct trial *trial;
  struct reference_tensor tensor[OP_MAX_TENSORS];
  int64_t items;
};

static void compute_rows(void *user, int64_t first, int64_t last)
{
  struct reference_job *job = user;
  const struct trial *t = job->trial;
  struct reference_out out[OP_MAX_TENSORS] = {{0}};
  struct reference_call call = {&t->problem, job->tensor, t->attr, first, last};

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    int64_t skip;
    if (!t->value[i]) continue;
    skip = first * (t->tensor[i].shape.count / job->items);
    out[i].value = t->value[i] + skip;
    out[i].slack = t->slack[i] + skip;
    out[i].split_slack = t->split_slack[i] + skip;
  }
  job->compute(&call, out);
}

static dd_status allocate_reference(struct trial *t, uint32_t i)
{
  size_t n = (size_t)t->tensor[i].shape.count;

  if (t->problem.op->tensors[i].role != TENSOR_OUT || n == 0) return DD_OK;
  t->reference_count[i] = n;
  t->value[i] = mem_resize(NULL, NULL, 0, n * sizeof(double));
  t->slack[i] = mem_resize(NULL, NULL, 0, n * sizeof(float));
  t->split_slack[i] = mem_resize(NULL, NULL, 0, n * sizeof(float));
  if (!t->value[i] || !t->slack[i] || !t->split_slack[i])
    return fail(DD_NO_MEMORY, "out of memory: a reference of %zu elements", n);
  return DD_OK;
}

static reference_fn *find_reference(const char *op)
{
  for (const struct reference_row *r = reference_rows; r->op; ++r)
    if (strcmp(r->op, op) == 0) return r->compute;
  return NULL;
}

static dd_status compute_reference(struct trial *t)
{
  const struct op *op = t->problem.op;
  struct reference_job job = {find_reference(op->name), t, {{0}}, 0};
  int64_t largest = 0;

  if (!job.compute)
    return fail(DD_UNSUPPORTED, "op '%s' has no reference in this program; "
                "build difftune with variants/%s/reference.c", op->name, op->name);
  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    const struct trial_tensor *x = &t->tensor[i];
    struct reference_tensor *r = &job.tensor[i];
    TRY(allocate_reference(t, i));
    r->present = x->shape.present;
    r->dtype = x->shape.dtype;
    r->rank = x->shape.rank;
    memcpy(r->extent, x->shape.extent, sizeof r->extent);
    memcpy(r->stride, x->shape.stride, sizeof r->stride);
    r->data = x->image ? x->image + x->offset : NULL;
    if (t->value[i]) job.items = x->shape.extent[0];
    if (t->value[i] && x->shape.count > largest) largest = x->shape.count;
  }
  if (op->items) TRY(expr_eval(op->items, t->problem.value, &job.items));
  if (!largest || job.items <= 0) return DD_OK; /* nothing to compute */
  parallel_for(job.items, 1 + 65536 / (1 + largest / job.items), compute_rows,
               &job);
  return DD_OK;
}

static dd_status to_device(struct device *d, const void *from, size_t size,
                           void *to_pointer)
{
  void *memory;

  TRY(d->api->allocate(d, size, &memory));
  memcpy(to_pointer, &memory, sizeof memory);
  return d->api->copy_in(d, memory, from, size);
}

static dd_status upload_reference(struct trial *t, uint32_t i)
{
  size_t n = t->reference_count[i];

  if (!t->tools->on_device || n < ON_DEVICE) return DD_OK;
  TRY(to_device(t->device, t->value[i], n * 8, &t->device_value[i]));
  TRY(to_device(t->device, t->slack[i], n * 4, &t->device_slack[i]));
  return to_device(t->device, t->split_slack[i], n * 4,
                   &t->device_split_slack[i]);
}

static dd_status fill_trial(struct trial *t, enum fill_class class,
                            uint64_t seed, bool trial_attrs)
{
  const struct op *op = t->problem.op;

  for (uint32_t i = 0; i < op->attr_count; ++i)
    t->attr[i] = trial_attrs ? op->attrs[i].trial : op->attrs[i].otherwise;
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    TRY(problem_shape(&t->problem, (int)i, &t->tensor[i].shape));
  find_outputs(t);
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    TRY(make_tensor(t, i, class, seed));
  TRY(compute_reference(t));
  for (uint32_t i = 0; i < op->tensor_count; ++i) TRY(upload_reference(t, i));
  return DD_OK;
}

dd_status trial_make(struct device *d, const struct tools *tools,
                     const struct problem *p, enum fill_class class,
                     uint64_t seed, bool trial_attrs, struct trial **out)
{
  struct trial *t = mem_resize(NULL, NULL, 0, sizeof *t);
  dd_status status;

  *out = NULL;
  if (!t) return fail(DD_NO_MEMORY, "out of memory");
  memset(t, 0, sizeof *t);
  t->device = d;
  t->tools = tools;
  t->problem = *p;
  status = fill_trial(t, class, seed, trial_attrs);
  if (status) trial_free(t);
  else *out = t;
  return status;
}

static void free_tensor(struct trial *t, uint32_t i)
{
  const struct device_api *api = t->device->api;
  struct trial_tensor *x = &t->tensor[i];
  size_t n = t->reference_count[i];

  mem_resize(NULL, x->image, x->size, 0);
  if (x->work) api->deallocate(t->device, x->work, x->size);
  if (x->pristine) api->deallocate(t->device, x->pristine, x->size);
  mem_resize(NULL, t->value[i], n * 8, 0);
  mem_resize(NULL, t->slack[i], n * 4, 0);
  mem_resize(NULL, t->split_slack[i], n * 4, 0);
  if (t->device_value[i])
    api->deallocate(t->device, t->device_value[i], n * 8);
  if (t->device_slack[i])
    api->deallocate(t->device, t->device_slack[i], n * 4);
  if (t->device_split_slack[i])
    api->deallocate(t->device, t->device_split_slack[i], n * 4);
}

void trial_free(struct trial *t)
{
  if (!t) return;
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i) free_tensor(t, i);
  mem_resize(NULL, t, sizeof *t, 0);
}

dd_status trial_reset(struct trial *t)
{
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    struct trial_tensor *x = &t->tensor[i];
    if (x->image)
      TRY(t->device->api->copy(t->device, x->work, x->pristine, x->size));
  }
  return DD_OK;
}

/* ---- Judging on the host ---------------------------------------------------- */

struct judge_job {
  const struct trial *trial;
  const struct trial_tensor *tensor;
  const char *base;
  bool split;
  struct judgement parts[64]; /* by piece: no lock */
  int64_t grain;
};

static void judge_piece(void *user, int64_t first, int64_t last)
{
  struct judge_job *job = user;
  const struct trial *t = job->trial;
  int o = job->tensor->output;

  judge_rows(&job->tensor->outputs, job->base, t->value[o], t->slack[o],
             job->split ? t->split_slack[o] : NULL, first, last,
             &job->parts[first / job->grain]);
}

static void judge_tensor(const struct trial *t, const struct trial_tensor *x,
                         const char *base, bool split, struct judgement *out)
{
  struct judge_job job = {t, x, base, split, {JUDGEMENT_INIT}, 1};
  int64_t rows;

  if (!x->outputs.count) return;
  for (size_t i = 0; i < COUNT_OF(job.parts); ++i)
    job.parts[i] = (struct judgement)JUDGEMENT_INIT;
  rows = x->outputs.count / x->outputs.extent[x->outputs.rank - 1];
  job.grain = (rows + 63) / 64;
  parallel_for(rows, job.grain, judge_piece, &job);
  for (size_t i = 0; i < COUNT_OF(job.parts); ++i) judge_add(out, &job.parts[i]);
}

static bool is_scratch(const struct trial *t, uint32_t i)
{
  return t->problem.op->tensors[i].role == TENSOR_SCRATCH;
}

/* Puts elements back to what they were, so that one memcmp says whether
 * anything else changed. */
static void restore_elements(const struct trial_tensor *x,
                             const struct tensor_shape *s, char *after)
{
  int64_t width = s->extent[s->rank - 1], bytes = dtype_bytes(s->dtype);

  for (int64_t row = 0; s->count && row < s->count / width; ++row) {
    int64_t at = (int64_t)x->offset + row_offset(s, row) * bytes;
    memcpy(after + at, x->image + at, (size_t)(width * bytes));
  }
}

static void describe_stray(const char *name, const struct trial_tensor *x,
                           const char *after, struct verdict *out)
{
  size_t at = 0;

  while (at < x->size && after[at] == x->image[at]) at++;
  if (at < x->offset)
    snprintf(out->reason, sizeof out->reason,
             "it wrote before '%s': the byte %zu before its start", name,
             x->offset - at);
  else if (at >= x->offset + (size_t)x->shape.span)
    snprintf(out->reason, sizeof out->reason,
             "it wrote past '%s': byte %zu after its end", name,
             at - x->offset - (size_t)x->shape.span);
  else
    snprintf(out->reason, sizeof out->reason,
             "it changed byte %zu of '%s', which is not an output",
             at - x->offset, name);
}

static void describe_wrong(const struct trial *t, const struct trial_tensor *x,
                           const char *base, const struct judgement *j,
                           const char *name, struct verdict *out)
{
  const struct tensor_shape *s = &x->outputs;
  int64_t index[OP_MAX_RANK] = {0}, left = j->first_wrong, at = 0;
  char where[80] = "";
  size_t n = 0;

  for (int d = (int)s->rank - 1; d >= 0; --d) {
    index[d] = left % s->extent[d];
    left /= s->extent[d];
    at += index[d] * s->stride[d];
  }
  for (uint32_t d = 0; d < s->rank; ++d)
    n += (size_t)snprintf(where + n, sizeof where - n, "%s%lld", d ? "," : "",
                          (long long)index[d]);
  n = (size_t)snprintf(out->reason, sizeof out->reason,
                       "%lld of %lld elements of '%s' are wrong; [%s]",
                       (long long)j->wrong, (long long)j->elements, name, where);
  if (base && n < sizeof out->reason)
    n += (size_t)snprintf(out->reason + n, sizeof out->reason - n, " is %.9g and",
                          dtype_load(s->dtype, base + at * dtype_bytes(s->dtype)));
  if (n < sizeof out->reason)
    snprintf(out->reason + n, sizeof out->reason - n, " should be %.9g",
             t->value[x->output][j->first_wrong]);
}

static dd_status judge_on_host(struct trial *t, uint32_t i, bool split,
                               struct verdict *out)
{
  struct trial_tensor *x = &t->tensor[i];
  const char *name = t->problem.op->tensors[i].name;
  struct judgement j = JUDGEMENT_INIT;
  char *after = mem_resize(NULL, NULL, 0, x->size);
  dd_status status;

  if (!after) return fail(DD_NO_MEMORY, "out of memory");
  status = t->device->api->copy_out(t->device, after, x->work, x->size);
  if (!status && x->written) {
    judge_tensor(t, x, after + x->offset, split, &j);
    if (j.wrong && !out->reason[0])
      describe_wrong(t, x, after + x->offset, &j, name, out);
    restore_elements(x, &x->outputs, after);
    judge_add(&out->judgement, &j);
  }
  if (!status && is_scratch(t, i)) restore_elements(x, &x->shape, after);
  if (!status && !out->reason[0] && memcmp(after, x->image, x->size))
    describe_stray(name, x, after, out);
  mem_resize(NULL, after, x->size, 0);
  return status;
}

/* ---- Judging on the device --------------------------------------------------- */

/* The argument structs of tuner/kernels/judge.cuh. */
struct judge_args {
  const void *base, *value, *slack, *split_slack;
  void *result;
  int64_t extent[4], stride[4];
  int32_t rank, dtype;
};
struct judge_result { /* as the kernel writes it */
  uint64_t wrong, bit_equal, first_wrong;
  uint32_t worst; /* the bits of a float */
  uint32_t unused;
};
struct same_args {
  const void *a, *b;
  void *result;
  int64_t bytes;
};

static struct launch tool_launch(const struct kernel *k, const void *args,
                                 size_t size)
{
  return (struct launch){*k, {2048, 1, 1}, 256, 0, args, size};
}

static dd_status run_tool(struct trial *t, const struct kernel *k,
                          const void *args, size_t size, void *result,
                          struct judge_result *out)
{
  const struct device_api *api = t->device->api;
  struct launch l = tool_launch(k, args, size);

  memset(out, 0, sizeof *out);
  out->first_wrong = UINT64_MAX;
  TRY(api->copy_in(t->device, result, out, sizeof *out));
  TRY(api->launch(t->device, &l, NULL));
  TRY(api->wait(t->device));
  return api->copy_out(t->device, out, result, sizeof *out);
}

static dd_status judge_elements(struct trial *t, struct trial_tensor *x,
                                bool split, void *result, struct judgement *j)
{
  struct judge_args args = {x->work + x->offset, t->device_value[x->output],
                            t->device_slack[x->output],
                            split ? t->device_split_slack[x->output] : NULL,
                            result, {0}, {0}, (int32_t)x->outputs.rank,
                            (int32_t)x->outputs.dtype};
  struct judge_result r;
  float worst;

  memcpy(args.extent, x->outputs.extent, sizeof args.extent);
  memcpy(args.stride, x->outputs.stride, sizeof args.stride);
  TRY(run_tool(t, &t->tools->judge, &args, sizeof args, result, &r));
  memcpy(&worst, &r.worst, sizeof worst);
  *j = (struct judgement){worst, x->outputs.count, (int64_t)r.wrong,
                          (int64_t)r.bit_equal,
                          r.wrong ? (int64_t)r.first_wrong : -1};
  return DD_OK;
}

static dd_status same_bytes(struct trial *t, const struct trial_tensor *x,
                            size_t from, size_t size, void *result,
                            const char *name, struct verdict *out)
{
  struct same_args args = {x->work + from, x->pristine + from, result,
                           (int64_t)size};
  struct judge_result r;

  TRY(run_tool(t, &t->tools->same, &args, sizeof args, result, &r));
  if (r.wrong && !out->reason[0])
    snprintf(out->reason, sizeof out->reason,
             "it changed byte %lld from the start of '%s', which is not an "
             "output", (long long)(from + r.first_wrong) - (long long)x->offset,
             name);
  return DD_OK;
}

/* Gaps between strided rows are judged by the small trials, on the host. */
static dd_status judge_on_device(struct trial *t, uint32_t i, bool split,
                                 void *result, struct verdict *out)
{
  struct trial_tensor *x = &t->tensor[i];
  const char *name = t->problem.op->tensors[i].name;
  struct judgement j = JUDGEMENT_INIT;
  size_t end = x->offset + (size_t)x->shape.span;

  if (!x->written) return same_bytes(t, x, 0, x->size, result, name, out);
  TRY(judge_elements(t, x, split, result, &j));
  if (j.wrong && !out->reason[0]) describe_wrong(t, x, NULL, &j, name, out);
  judge_add(&out->judgement, &j);
  TRY(same_bytes(t, x, 0, x->offset, result, name, out));
  return same_bytes(t, x, end, x->size - end, result, name, out);
}

static bool is_judged_on_device(const struct trial *t,
                                const struct trial_tensor *x)
{
  if (x->written) return t->device_value[x->output] != NULL;
  if (is_scratch(t, (uint32_t)(x - t->tensor))) return false;
  return t->tools->on_device && x->shape.count >= ON_DEVICE;
}

dd_status trial_judge(struct trial *t, bool split, struct verdict *out)
{
  struct device *d = t->device;
  void *result = NULL;
  dd_status status = d->api->wait(d);

  memset(out, 0, sizeof *out);
  out->judgement = (struct judgement)JUDGEMENT_INIT;
  if (!status) status = d->api->allocate(d, sizeof(struct judge_result), &result);
  for (uint32_t i = 0; i < t->problem.op->tensor_count && !status; ++i) {
    struct trial_tensor *x = &t->tensor[i];
    if (!x->image) continue;
    if (is_judged_on_device(t, x))
      status = judge_on_device(t, i, split, result, out);
    else
      status = judge_on_host(t, i, split, out);
  }
  if (result) d->api->deallocate(d, result, sizeof(struct judge_result));
  if (out->judgement.wrong && out->judgement.error <= 1)
    out->judgement.error = INFINITY;
  return status;
}
