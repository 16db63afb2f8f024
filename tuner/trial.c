/* trial.c - a problem with its inputs and the right answer, on a device. */
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "embedded.h"
#include "fill_element.h"
#include "output.h"
#include "parallel.h"
#include "references.h"
#include "rows.h"
#include "spot.h"
#include "tool_code.h"

extern const struct embedded_file embedded_kernels[];

enum {
  GUARD_SMALL = 4096,
  GUARD_LARGE = 65536,
  LARGE = 1 << 20,         /* bytes from which a guard is large */
  PIECE = 1 << 20,         /* bytes that a thread sets at a time */
  NAN_BYTE = 0xff,         /* guards, gaps: a NaN in any dtype, or -1 */
  HUGE_BYTE = 0x7e,        /* a double of 10^301 */
  MAKE_FROM = 1 << 20,     /* bytes of tensors that are worth a kernel */
};

/* tuner/kernels/, in the order of their names */
enum { TOOL_COPY, TOOL_JUDGE, TOOL_SEAL = 4 };

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
  TRY(d->api->kernel(d, t->module, "dt_round", &t->round));
  TRY(d->api->kernel(d, t->module, "dt_judge", &t->judge));
  TRY(d->api->kernel(d, t->module, "dt_stray", &t->stray));
  return d->api->kernel(d, t->module, "dt_seal", &t->seal);
}

dd_status tools_text(bool on_device, struct bytes *out)
{
  bytes_text(out, embedded_kernels[TOOL_COPY].text);
  if (on_device) bytes_text(out, embedded_kernels[TOOL_JUDGE].text);
  if (on_device) bytes_text(out, embedded_kernels[TOOL_SEAL].text);
  return bytes_status(out);
}

/* Without one the host makes all trials. */
static dd_status open_maker(struct device *d, struct tools *t)
{
  dd_status status = maker_open(d, "", &t->maker);

  if (status != DD_COMPILE) return status;
  say("inputs are made on the host, which takes longer: %s", dd_last_error());
  return DD_OK;
}

dd_status tools_load(struct device *d, bool on_device, struct tools *t)
{
  struct bytes text = BYTES_INIT, code = BYTES_INIT;
  dd_status status;

  memset(t, 0, sizeof *t);
  t->on_device = on_device;
  status = tools_text(on_device, &text);
  if (!status) status = tool_code(d, text.data, TOOL_FUSED, &code);
  if (!status) status = d->api->load(d, code.data, code.size, &t->module);
  if (!status) status = find_tools(d, t);
  if (!status && on_device) status = open_maker(d, t);
  t->make_from = MAKE_FROM;
  bytes_release(&text);
  bytes_release(&code);
  return status;
}

void tools_release(struct device *d, struct tools *t)
{
  if (t->module) d->api->unload(d, t->module);
  maker_close(t->maker);
  memset(t, 0, sizeof *t);
}

/* ---- Making -------------------------------------------------------------- */

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

/* Memory of hundreds of MB, which threads are about to fill: with pages of 4 KB
 * the kernel would take as long as they do. */
static void *allocate_host(size_t size)
{
  void *memory = mem_resize(NULL, NULL, 0, size);
  uintptr_t page = 2 << 20, from = ((uintptr_t)memory + page - 1) & -page;
  uintptr_t to = ((uintptr_t)memory + size) & -page;

  if (memory && from < to)
    madvise((char *)memory + (from - (uintptr_t)memory), to - from,
            MADV_HUGEPAGE); /* only a hint */
  return memory;
}

struct filling { /* with one value */
  char *at;
  int byte;
};

static void set_bytes(void *user, int64_t first, int64_t last)
{
  const struct filling *s = user;

  memset(s->at + first, s->byte, (size_t)(last - first));
}

static void measure_tensor(const struct trial *t, struct trial_tensor *x)
{
  size_t guard = x->shape.span > LARGE ? GUARD_LARGE : GUARD_SMALL;

  if (!x->shape.present) return;
  x->offset = guard + promised_alignment(t, x->shape.dtype);
  x->size = (x->offset + (size_t)x->shape.span + guard + 15) / 16 * 16;
}

static dd_status allocate_tensor(struct trial_tensor *x)
{
  struct filling guards;

  x->image = allocate_host(x->size);
  if (!x->image) return fail(DD_NO_MEMORY, "out of memory: %zu bytes", x->size);
  guards = (struct filling){x->image, NAN_BYTE};
  parallel_for((int64_t)x->size, PIECE, set_bytes, &guards);
  return DD_OK;
}

static void fill_poison(char *at, int64_t bytes)
{
  const uint16_t poison = POISON;

  for (int64_t i = 0; i < bytes; i += 2) memcpy(at + i, &poison, 2);
}

static void poison_rows(void *user, int64_t first, int64_t last)
{
  const struct trial_tensor *x = user;
  const struct tensor_shape *s = &x->shape;
  int64_t bytes = dtype_bytes(s->dtype), width = s->extent[s->rank - 1] * bytes;

  for (int64_t row = first; row < last; ++row)
    fill_poison(x->image + x->offset + row_offset(s, row) * bytes, width);
}

/* Poison the elements, not the gaps between them. */
static void poison(struct trial_tensor *x)
{
  const struct tensor_shape *s = &x->shape;
  int64_t width = s->count ? s->extent[s->rank - 1] : 1;

  parallel_for(s->count / width, 1 + PIECE / width, poison_rows, x);
}

dd_status trial_source(const struct trial *t, uint32_t tensor,
                       struct fill_source *out)
{
  const struct tensor_spec *spec = &t->problem.op->tensors[tensor];
  int64_t limit = 1;

  if (spec->limit) TRY(expr_eval(spec->limit, t->problem.value, &limit));
  *out = fill_source_of(spec, &t->tensor[tensor].shape, limit, t->class,
                        t->seed + 7919 * tensor);
  return DD_OK;
}

static dd_status fill_image(struct trial *t, uint32_t i)
{
  struct trial_tensor *x = &t->tensor[i];
  struct fill_source source;

  if (!x->size) return DD_OK;
  TRY(allocate_tensor(x));
  TRY(trial_source(t, i, &source));
  if (t->problem.op->tensors[i].role != TENSOR_IN)
    poison(x);
  else
    fill_tensor(&source, &x->shape, x->image + x->offset);
  return DD_OK;
}

/* ---- The reference ------------------------------------------------------- */

struct reference_job {
  const struct reference *reference;
  const struct trial *trial;
  _Alignas(16) char plan[REFERENCE_PLAN];
};

static void compute_rows(void *user, int64_t first, int64_t last)
{
  struct reference_job *job = user;
  const struct trial *t = job->trial;
  struct reference_out out[OP_MAX_TENSORS] = {{0}};

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    int64_t skip = first * t->each[i];
    if (!t->value[i]) continue;
    out[i].value = t->value[i] + skip;
    out[i].slack = t->slack[i] + skip;
    out[i].split_slack = t->split_slack[i] + skip;
  }
  job->reference->items(job->plan, first, last, out);
}

static dd_status allocate_reference(struct trial *t, uint32_t i)
{
  size_t n = t->reference_count[i];

  if (!n) return DD_OK;
  t->value[i] = allocate_host(n * sizeof(double));
  t->slack[i] = allocate_host(n * sizeof(float));
  t->split_slack[i] = allocate_host(n * sizeof(float));
  if (!t->value[i] || !t->slack[i] || !t->split_slack[i])
    return fail(DD_NO_MEMORY, "out of memory: a reference of %zu elements", n);
  return DD_OK;
}

static dd_status find_reference(const char *op, const struct reference **out)
{
  for (const struct reference_row *r = reference_rows; r->op; ++r)
    if (strcmp(r->op, op) == 0) {
      *out = r->reference;
      return DD_OK;
    }
  return fail(DD_UNSUPPORTED, "op '%s' has no reference in this program; "
              "build difftune with variants/%s/reference.c", op, op);
}

/* Pieces that are worth a thread, and many enough that all of them have some
 * until the end. */
static int64_t choose_grain(int64_t items, int64_t each)
{
  int64_t elements = items * each / 64;

  if (elements < 1 << 13) elements = 1 << 13;
  if (elements > 1 << 18) elements = 1 << 18;
  return 1 + elements / (1 + each);
}

void trial_tensors(const struct trial *t, bool on_device,
                   struct reference_tensor out[OP_MAX_TENSORS])
{
  memset(out, 0, OP_MAX_TENSORS * sizeof *out);
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    const struct trial_tensor *x = &t->tensor[i];
    const char *base = on_device ? x->pristine : x->image;
    out[i].present = x->shape.present;
    out[i].dtype = x->shape.dtype;
    out[i].rank = x->shape.rank;
    memcpy(out[i].extent, x->shape.extent, sizeof out[i].extent);
    memcpy(out[i].stride, x->shape.stride, sizeof out[i].stride);
    out[i].data = base ? base + x->offset : NULL;
  }
}

static void plan_reference(const struct trial *t, const struct reference *r,
                           bool on_device, void *plan)
{
  struct reference_tensor tensor[OP_MAX_TENSORS];
  const struct reference_call call = {&t->problem, tensor, t->attr};

  trial_tensors(t, on_device, tensor);
  r->plan(&call, plan);
}

static dd_status compute_reference(struct trial *t)
{
  struct reference_job job = {.trial = t};
  int64_t largest = 0;

  TRY(find_reference(t->problem.op->name, &job.reference));
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    TRY(allocate_reference(t, i));
    if (t->each[i] > largest) largest = t->each[i];
  }
  if (!largest) return DD_OK; /* nothing to compute */
  plan_reference(t, job.reference, false, job.plan);
  parallel_for(t->items, choose_grain(t->items, largest), compute_rows, &job);
  return DD_OK;
}

/* ---- Measuring ----------------------------------------------------------- */

static dd_status count_items(struct trial *t)
{
  const struct op *op = t->problem.op;

  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    const struct tensor_shape *s = &t->tensor[i].shape;
    if (op->tensors[i].role != TENSOR_OUT || !s->count) continue;
    t->reference_count[i] = (size_t)s->count;
    t->items = s->extent[0];
  }
  if (op->items) TRY(expr_eval(op->items, t->problem.value, &t->items));
  for (uint32_t i = 0; i < op->tensor_count && t->items > 0; ++i)
    t->each[i] = (int64_t)t->reference_count[i] / t->items;
  return DD_OK;
}

/* Whether two of its elements lie in one place, as rows that a host broadcasts
 * do: of a device's threads nobody knows who writes there last. */
static bool overlaps_itself(const struct tensor_shape *s)
{
  for (uint32_t d = 0; d < s->rank; ++d) {
    int64_t reach = 0; /* of the dims within this one */
    for (uint32_t e = 0; e < s->rank; ++e)
      if (e != d && (s->stride[e] < s->stride[d] ||
                     (s->stride[e] == s->stride[d] && e > d)))
        reach += (s->extent[e] - 1) * s->stride[e];
    if (s->extent[d] > 1 && s->stride[d] <= reach) return true;
  }
  return false;
}

static bool can_be_made(const struct trial *t)
{
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    const struct tensor_shape *s = &t->tensor[i].shape;
    if (s->present && s->count && overlaps_itself(s)) return false;
  }
  return t->tools->maker != NULL;
}

static dd_status measure_trial(struct trial *t, bool trial_attrs)
{
  const struct op *op = t->problem.op;
  size_t bytes = 0;

  for (uint32_t i = 0; i < op->attr_count; ++i)
    t->attr[i] = trial_attrs ? op->attrs[i].trial : op->attrs[i].otherwise;
  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    TRY(problem_shape(&t->problem, (int)i, &t->tensor[i].shape));
    measure_tensor(t, &t->tensor[i]);
    bytes += t->tensor[i].size;
  }
  find_outputs(t);
  TRY(count_items(t));
  t->made = bytes >= t->tools->make_from && can_be_made(t);
  return DD_OK;
}

static dd_status fill_trial(struct trial *t)
{
  double begun = seconds_now(), filled;

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i)
    TRY(fill_image(t, i));
  filled = seconds_now();
  if (!t->bare) TRY(compute_reference(t));
  t->phases.fill = filled - begun;
  t->phases.reference = seconds_now() - filled;
  return DD_OK;
}

/* All that the host can do for a trial that the device makes. */
static dd_status compile_reference(struct trial *t)
{
  double begun = seconds_now();
  const struct reference *r;
  dd_status status;

  TRY(find_reference(t->problem.op->name, &r));
  status = maker_compile(t->tools->maker, r);
  t->phases.reference = seconds_now() - begun;
  return status;
}

static dd_status prepare(struct trial *t)
{
  dd_status status = t->made && !t->bare ? compile_reference(t) : DD_OK;

  if (status == DD_COMPILE) t->made = false;
  else TRY(status);
  return t->made ? DD_OK : fill_trial(t);
}

void trial_phases_add(struct trial_phases *to, const struct trial_phases *more)
{
  to->fill += more->fill;
  to->reference += more->reference;
  to->upload += more->upload;
}

static dd_status prepare_new(const struct trial *as, bool trial_attrs,
                             struct trial **out)
{
  struct trial *t = mem_resize(NULL, NULL, 0, sizeof *t);
  dd_status status;

  *out = NULL;
  if (!t) return fail(DD_NO_MEMORY, "out of memory");
  *t = *as;
  status = measure_trial(t, trial_attrs);
  if (!status) status = prepare(t);
  if (status) trial_free(t);
  else *out = t;
  return status;
}

dd_status trial_prepare(struct device *d, const struct tools *tools,
                        const struct problem *p, enum fill_class class,
                        uint64_t seed, bool trial_attrs, struct trial **out)
{
  const struct trial as = {.device = d, .tools = tools, .problem = *p,
                           .class = class, .seed = seed};

  return prepare_new(&as, trial_attrs, out);
}

/* ---- Onto the device ----------------------------------------------------- */

enum { SENT = 4 << 20 }; /* bytes that a thread sends at a time */

struct sending {
  struct device *device;
  char *to;
  const char *from;
  _Atomic bool failed; /* in some thread, which has the words */
};

static void send_piece(void *user, int64_t first, int64_t last)
{
  struct sending *s = user;

  if (s->device->api->copy_in(s->device, s->to + first, s->from + first,
                              (size_t)(last - first)))
    s->failed = true;
}

/* Copying into what the device can read takes longer than the bus does, so all
 * cores copy.  What failed is sent again by this thread, whose words for it are
 * the caller's. */
static dd_status send_bytes(struct trial *t, void *to, const void *from,
                            size_t size)
{
  struct sending s = {t->device, to, from, false};

  parallel_for((int64_t)size, SENT, send_piece, &s);
  return s.failed ? t->device->api->copy_in(t->device, to, from, size) : DD_OK;
}

static dd_status send_new(struct trial *t, void **to, const void *from,
                          size_t size)
{
  TRY(t->device->api->allocate(t->device, size, to));
  return send_bytes(t, *to, from, size);
}

static dd_status send_tensor(struct trial *t, uint32_t i)
{
  struct trial_tensor *x = &t->tensor[i];

  if (!x->image) return DD_OK;
  TRY(t->device->api->allocate(t->device, x->size, (void **)&x->work));
  TRY(send_new(t, (void **)&x->pristine, x->image, x->size));
  t->buffer[i] = x->work + x->offset;
  return DD_OK;
}

static dd_status send_reference(struct trial *t, uint32_t i)
{
  size_t n = t->reference_count[i];

  if (!n || t->bare || !t->tools->on_device) return DD_OK;
  TRY(send_new(t, &t->device_value[i], t->value[i], n * 8));
  TRY(send_new(t, &t->device_slack[i], t->slack[i], n * 4));
  if (!t->problem.op->step_count) return DD_OK;
  return send_new(t, &t->device_split_slack[i], t->split_slack[i], n * 4);
}

static dd_status send_trial(struct trial *t)
{
  double begun = seconds_now();

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    TRY(send_tensor(t, i));
    TRY(send_reference(t, i));
  }
  TRY(trial_reset(t));
  t->phases.upload = seconds_now() - begun;
  return DD_OK;
}

/* ---- On the device ------------------------------------------------------- */

static dd_status make_tensor(struct trial *t, uint32_t i)
{
  const struct device_api *api = t->device->api;
  struct trial_tensor *x = &t->tensor[i];
  bool poisoned = t->problem.op->tensors[i].role != TENSOR_IN;
  struct fill_source source;

  if (!x->size) return DD_OK;
  TRY(api->allocate(t->device, x->size, (void **)&x->work));
  TRY(api->allocate(t->device, x->size, (void **)&x->pristine));
  t->buffer[i] = x->work + x->offset;
  TRY(api->fill(t->device, x->pristine, NAN_BYTE, x->size));
  TRY(trial_source(t, i, &source));
  return maker_fill(t->tools->maker, &source, &x->shape, poisoned,
                    x->pristine + x->offset);
}

static dd_status allocate_filled(struct trial *t, void **to, size_t size,
                                 uint8_t byte)
{
  TRY(t->device->api->allocate(t->device, size, to));
  return t->device->api->fill(t->device, *to, byte, size);
}

/* What is not computed stays a huge number that no output is, and its slack a
 * NaN: nothing is right beside them, an output's poison least. */
static dd_status make_room(struct trial *t, uint32_t i,
                           struct reference_out *out)
{
  size_t n = t->reference_count[i];

  if (!n) return DD_OK;
  TRY(allocate_filled(t, &t->device_value[i], n * 8, HUGE_BYTE));
  TRY(allocate_filled(t, &t->device_slack[i], n * 4, NAN_BYTE));
  TRY(allocate_filled(t, &t->device_split_slack[i], n * 4, NAN_BYTE));
  *out = (struct reference_out){t->device_value[i], t->device_slack[i],
                                t->device_split_slack[i]};
  return DD_OK;
}

/* Nobody asks for it, but the references write it. */
static void drop_split_slack(struct trial *t)
{
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i) {
    void **slack = &t->device_split_slack[i];
    size_t size = t->reference_count[i] * sizeof(float);
    if (*slack) t->device->api->deallocate(t->device, *slack, size);
    *slack = NULL;
  }
}

static dd_status make_reference(struct trial *t)
{
  _Alignas(16) char plan[REFERENCE_PLAN] = {0};
  struct reference_out out[OP_MAX_TENSORS] = {{0}};
  const struct reference *r;
  bool any = false;

  TRY(find_reference(t->problem.op->name, &r));
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    TRY(make_room(t, i, &out[i]));
    any |= t->each[i] > 0;
  }
  if (!any) return DD_OK; /* nothing to compute */
  plan_reference(t, r, true, plan);
  TRY(maker_compute(t->tools->maker, r, plan, out, t->each, t->items));
  TRY(t->device->api->wait(t->device));
  TRY(spot_check(t, r, out));
  if (!t->problem.op->step_count) drop_split_slack(t);
  return DD_OK;
}

static dd_status make_trial(struct trial *t)
{
  double begun = seconds_now(), filled;

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i)
    TRY(make_tensor(t, i));
  TRY(trial_reset(t));
  TRY(t->device->api->wait(t->device));
  filled = seconds_now();
  if (!t->bare) TRY(make_reference(t));
  t->phases.fill = filled - begun;
  t->phases.reference += seconds_now() - filled;
  return DD_OK;
}

dd_status trial_upload(struct trial *t)
{
  TRY(t->made ? make_trial(t) : send_trial(t));
  t->uploaded = true;
  return DD_OK;
}

static dd_status upload_new(struct trial **t)
{
  dd_status status = trial_upload(*t);

  if (!status) return DD_OK;
  trial_free(*t);
  *t = NULL;
  return status;
}

dd_status trial_make(struct device *d, const struct tools *tools,
                     const struct problem *p, enum fill_class class,
                     uint64_t seed, bool trial_attrs, struct trial **out)
{
  TRY(trial_prepare(d, tools, p, class, seed, trial_attrs, out));
  return upload_new(out);
}

dd_status trial_make_bare(struct device *d, const struct tools *tools,
                          const struct problem *p, uint64_t seed,
                          struct trial **out)
{
  const struct trial as = {.device = d, .tools = tools, .problem = *p,
                           .class = FILL_PLAIN, .seed = seed, .bare = true};

  TRY(prepare_new(&as, true, out));
  return upload_new(out);
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
    if (x->size)
      TRY(t->device->api->copy(t->device, x->work, x->pristine, x->size));
  }
  return DD_OK;
}

static uint32_t add_span(struct span *to, const void *at, size_t size)
{
  *to = (struct span){at, size};
  return at && size;
}

uint32_t trial_spans(const struct trial *t, struct span out[TRIAL_SPANS])
{
  const bool there = t->tools->on_device;
  uint32_t n = 0;

  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    const struct trial_tensor *x = &t->tensor[i];
    const size_t count = t->reference_count[i];
    const void *value = there ? t->device_value[i] : t->value[i];
    const void *slack = there ? t->device_slack[i] : t->slack[i];
    const void *split = there ? t->device_split_slack[i] : t->split_slack[i];
    n += add_span(&out[n], x->pristine, x->size);
    n += add_span(&out[n], there ? NULL : x->image, x->size);
    n += add_span(&out[n], value, count * 8);
    n += add_span(&out[n], slack, count * 4);
    n += add_span(&out[n], split, count * 4);
  }
  return n;
}

/* ---- Judging ------------------------------------------------------------- */

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

static void judge_elements(const struct trial *t, const struct trial_tensor *x,
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
  base += at * dtype_bytes(s->dtype);
  if (n < sizeof out->reason && judge_unwritten(s->dtype, base))
    n += (size_t)snprintf(out->reason + n, sizeof out->reason - n,
                          " was not written and");
  else if (n < sizeof out->reason)
    n += (size_t)snprintf(out->reason + n, sizeof out->reason - n, " is %.9g and",
                          dtype_load(s->dtype, base));
  if (n < sizeof out->reason)
    snprintf(out->reason + n, sizeof out->reason - n, " should be %.9g",
             t->value[x->output][j->first_wrong]);
}

static dd_status judge_tensor(struct trial *t, uint32_t i, bool split,
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
    judge_elements(t, x, after + x->offset, split, &j);
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

/* What the device made and the host has not yet. */
static dd_status fetch(const struct trial *t, void *to, const void *from,
                       size_t size)
{
  if (!to) return fail(DD_NO_MEMORY, "out of memory: %zu bytes", size);
  return t->device->api->copy_out(t->device, to, from, size);
}

static dd_status fetch_tensor(struct trial *t, uint32_t i)
{
  struct trial_tensor *x = &t->tensor[i];
  size_t n = t->reference_count[i];

  if (x->size && !x->image) {
    x->image = allocate_host(x->size);
    TRY(fetch(t, x->image, x->pristine, x->size));
  }
  if (!n || t->split_slack[i]) return DD_OK; /* the last that is allocated */
  TRY(allocate_reference(t, i));
  TRY(fetch(t, t->value[i], t->device_value[i], n * 8));
  TRY(fetch(t, t->slack[i], t->device_slack[i], n * 4));
  if (!t->device_split_slack[i]) return DD_OK;
  return fetch(t, t->split_slack[i], t->device_split_slack[i], n * 4);
}

static dd_status fetch_trial(struct trial *t)
{
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i)
    TRY(fetch_tensor(t, i));
  return DD_OK;
}

dd_status trial_judge(struct trial *t, bool split, struct verdict *out)
{
  memset(out, 0, sizeof *out);
  out->judgement = (struct judgement)JUDGEMENT_INIT;
  TRY(t->device->api->wait(t->device));
  if (t->made) TRY(fetch_trial(t));
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i)
    if (t->tensor[i].size) TRY(judge_tensor(t, i, split, out));
  if (out->judgement.wrong && out->judgement.error <= 1)
    out->judgement.error = INFINITY;
  return DD_OK;
}
