/* jury.c - judges all trials of a problem at once, on the device. */
#include "jury.h"

#include <math.h>
#include <string.h>

/* ---- As tuner/kernels/judge.cuh has it ----------------------------------- */

enum {
  THREADS = 256,
  BLOCK_ELEMENTS = 256 * 16,
  VECTOR = 16,
  BLOCK_VECTORS = 256 * 4,
};

struct tally {
  uint64_t judged, wrong, equal, compared, stray;
  uint32_t worst, unused;
};

struct elements {
  char *work;
  const char *pristine;
  char *rounded;
  const void *value, *slack, *split_slack;
  int64_t count, extent[OP_MAX_RANK], stride[OP_MAX_RANK];
  int32_t rank, dtype, bytes, tally;
  uint32_t first_block;
  int32_t vectors;
};

struct judge_args {
  const void *parts;
  void *tally;
  int32_t count, split;
};

struct range {
  char *work;
  const char *pristine;
  int64_t count;
  uint32_t first_block;
  int32_t tally;
};

struct stray_args {
  const void *parts;
  void *tally;
  int64_t count;
};

/* ---- Launches ------------------------------------------------------------ */

static dd_status launch(const struct jury *j, const struct kernel *k,
                        uint32_t blocks, const void *args, size_t size)
{
  struct launch l = {*k, {blocks, 1, 1}, THREADS, 0, args, size};

  return j->device->api->launch(j->device, &l, NULL);
}

static dd_status launch_elements(const struct jury *j, const struct kernel *k,
                                 bool split)
{
  struct judge_args args = {j->parts, j->tally, (int32_t)j->part_count, split};

  return launch(j, k, j->part_blocks, &args, sizeof args);
}

static dd_status launch_ranges(const struct jury *j)
{
  struct stray_args args = {j->ranges, j->tally, j->range_count};

  return launch(j, &j->tools->stray, j->range_blocks, &args, sizeof args);
}

static size_t tally_size(const struct jury *j)
{
  return (size_t)j->trials * sizeof(struct tally);
}

static dd_status clear_tally(const struct jury *j)
{
  return j->device->api->fill(j->device, j->tally, 0, tally_size(j));
}

/* Waits.  A launch that did nothing would find nothing wrong, so that what was
 * looked at is counted too. */
static dd_status read_tally(const struct jury *j, bool ranges,
                            struct tally tally[MAX_TRIALS])
{
  const struct device_api *api = j->device->api;

  TRY(api->wait(j->device));
  TRY(api->copy_out(j->device, tally, j->tally, tally_size(j)));
  for (int t = 0; t < j->trials; ++t) {
    int64_t vectors = ranges ? j->vectors[t] : 0;
    if ((int64_t)tally[t].judged != j->elements[t] ||
        (int64_t)tally[t].compared != vectors)
      return fail(DD_DEVICE, "the judge kernels looked at %llu of %lld "
                  "elements and %llu of %lld vectors; is the driver whole?",
                  (unsigned long long)tally[t].judged,
                  (long long)j->elements[t],
                  (unsigned long long)tally[t].compared, (long long)vectors);
  }
  return DD_OK;
}

static struct judgement judgement_of(const struct tally *t, int64_t elements)
{
  float worst;

  memcpy(&worst, &t->worst, sizeof worst);
  return (struct judgement){worst, elements, (int64_t)t->wrong,
                            (int64_t)t->equal, -1};
}

/* ---- Making -------------------------------------------------------------- */

enum {
  MAX_PARTS = MAX_TRIALS * OP_MAX_TENSORS,
  APART = 1 << 16, /* bytes between two guards that are ranges of their own */
};

struct plan { /* of the parts, before they go to the device */
  struct jury *jury;
  struct elements parts[MAX_PARTS];
  size_t rounded_at[MAX_PARTS]; /* in rounded_bits */
  struct range ranges[2 * MAX_PARTS];
};

/* Merges dims that lie densely in one another: a contiguous tensor has one. */
static void merge_dims(const struct tensor_shape *s, struct elements *e)
{
  int n = 0; /* so far, from the last dim on, in reverse */
  int64_t extent[OP_MAX_RANK], stride[OP_MAX_RANK];

  for (int d = (int)s->rank - 1; d >= 0; --d) {
    if (s->extent[d] == 1 && n) continue;
    if (n && s->stride[d] == extent[n - 1] * stride[n - 1]) {
      extent[n - 1] *= s->extent[d];
      continue;
    }
    extent[n] = s->extent[d];
    stride[n++] = s->stride[d];
  }
  e->rank = n;
  for (int d = 0; d < n; ++d) {
    e->extent[d] = extent[n - 1 - d];
    e->stride[d] = stride[n - 1 - d];
  }
}

static void add_elements(struct plan *p, const struct trial *t, int trial,
                         const struct trial_tensor *x,
                         const struct tensor_shape *s)
{
  struct jury *j = p->jury;
  struct elements *e = &p->parts[j->part_count++];
  int o = x->output;
  bool poisoned = t->problem.op->tensors[x - t->tensor].role != TENSOR_IN;

  *e = (struct elements){.work = x->work + x->offset,
                         .pristine = poisoned ? NULL : x->pristine + x->offset,
                         .count = s->count,
                         .dtype = (int32_t)s->dtype,
                         .bytes = (int32_t)dtype_bytes(s->dtype),
                         .tally = trial,
                         .first_block = j->part_blocks};
  if (x->written) {
    e->value = t->device_value[o];
    e->slack = t->device_slack[o];
    e->split_slack = t->device_split_slack[o];
    p->rounded_at[e - p->parts] = j->rounded_size;
    j->rounded_size += ((size_t)(e->count * e->bytes) + 255) / 256 * 256;
    j->elements[trial] += s->count;
  }
  merge_dims(s, e);
  e->vectors = e->value && e->rank == 1 && x->offset % VECTOR == 0 &&
               e->count * e->bytes % VECTOR == 0;
  j->part_blocks +=
      (uint32_t)((e->count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS);
}

/* Bytes [from, to) of an allocation, both multiples of a vector. */
static void add_range(struct plan *p, int trial, const struct trial_tensor *x,
                      size_t from, size_t to)
{
  struct jury *j = p->jury;
  struct range *r = &p->ranges[j->range_count++];

  *r = (struct range){x->work + from, x->pristine + from,
                      (int64_t)((to - from) / VECTOR), j->range_blocks, trial};
  j->vectors[trial] += r->count;
  j->range_blocks += (uint32_t)((r->count + BLOCK_VECTORS - 1) / BLOCK_VECTORS);
}

/* dt_judge has put the elements back, so that a range may hold some: of a
 * tensor without gaps, only the vectors at its ends. */
static void add_ranges(struct plan *p, int trial, const struct trial_tensor *x,
                       bool dense)
{
  size_t from = (x->offset + VECTOR - 1) / VECTOR * VECTOR;
  size_t to = (x->offset + (size_t)x->shape.span) / VECTOR * VECTOR;

  if (dense && from + APART < to) {
    add_range(p, trial, x, 0, from);
    add_range(p, trial, x, to, x->size);
  } else {
    add_range(p, trial, x, 0, x->size);
  }
}

static void add_tensor(struct plan *p, const struct trial *t, int trial,
                       uint32_t i)
{
  const struct trial_tensor *x = &t->tensor[i];
  bool scratch = t->problem.op->tensors[i].role == TENSOR_SCRATCH;
  const struct tensor_shape *s = x->written ? &x->outputs : &x->shape;
  bool dense = false;

  if (!x->size) return;
  if ((x->written || scratch) && s->count) {
    add_elements(p, t, trial, x, s);
    dense = p->parts[p->jury->part_count - 1].rank == 1 &&
            s->count == x->shape.count;
  }
  add_ranges(p, trial, x, dense);
}

static dd_status send(struct jury *j, const void *from, size_t size, void **to)
{
  TRY(j->device->api->allocate(j->device, size, to));
  return j->device->api->copy_in(j->device, *to, from, size);
}

static dd_status send_plan(struct plan *p)
{
  struct jury *j = p->jury;
  const struct device_api *api = j->device->api;

  TRY(api->allocate(j->device, j->rounded_size, &j->rounded_bits));
  for (uint32_t i = 0; i < j->part_count; ++i)
    if (p->parts[i].value)
      p->parts[i].rounded = (char *)j->rounded_bits + p->rounded_at[i];
  TRY(send(j, p->parts, j->part_count * sizeof p->parts[0], &j->parts));
  TRY(send(j, p->ranges, j->range_count * sizeof p->ranges[0], &j->ranges));
  return api->allocate(j->device, tally_size(j), &j->tally);
}

/* What a kernel would be found to be that leaves the rounded reference. */
static dd_status judge_rounded(struct jury *j)
{
  struct tally tally[MAX_TRIALS];

  for (int split = 0; split < 2; ++split) {
    TRY(clear_tally(j));
    TRY(launch_elements(j, &j->tools->round, split));
    TRY(read_tally(j, false, tally));
    for (int t = 0; t < j->trials; ++t)
      j->rounded[split][t] = judgement_of(&tally[t], j->elements[t]);
  }
  return DD_OK;
}

dd_status jury_make(struct trial *const *trials, int count, struct jury *out)
{
  struct plan *p = mem_resize(NULL, NULL, 0, sizeof *p);
  dd_status status;

  memset(out, 0, sizeof *out);
  if (!p) return fail(DD_NO_MEMORY, "out of memory");
  memset(p, 0, sizeof *p);
  p->jury = out;
  out->device = trials[0]->device;
  out->tools = trials[0]->tools;
  out->trials = count;
  for (int t = 0; t < count; ++t)
    for (uint32_t i = 0; i < trials[t]->problem.op->tensor_count; ++i)
      add_tensor(p, trials[t], t, i);
  status = send_plan(p);
  mem_resize(NULL, p, sizeof *p, 0);
  if (!status) status = judge_rounded(out);
  if (status) jury_release(out);
  return status;
}

void jury_release(struct jury *j)
{
  struct device *d = j->device;

  if (j->parts)
    d->api->deallocate(d, j->parts, j->part_count * sizeof(struct elements));
  if (j->ranges)
    d->api->deallocate(d, j->ranges, j->range_count * sizeof(struct range));
  if (j->tally) d->api->deallocate(d, j->tally, tally_size(j));
  if (j->rounded_bits)
    d->api->deallocate(d, j->rounded_bits, j->rounded_size);
  memset(j, 0, sizeof *j);
}

uint32_t jury_spans(const struct jury *j, struct span out[JURY_SPANS])
{
  out[0] = (struct span){j->parts, j->part_count * sizeof(struct elements)};
  out[1] = (struct span){j->ranges, j->range_count * sizeof(struct range)};
  out[2] = (struct span){j->rounded_bits, j->rounded_size};
  return JURY_SPANS;
}

/* ---- Judging ------------------------------------------------------------- */

/* Where an element is the rounded reference, its error is that of dt_round; at
 * any other it is not less: so the worst is the larger of the two. */
static struct finding finding_of(const struct judgement *rounded,
                                 const struct tally *t)
{
  struct finding f = {judgement_of(t, rounded->elements), t->stray != 0};
  struct judgement *j = &f.judgement;

  j->wrong += rounded->wrong;
  j->bit_equal += rounded->bit_equal;
  if (rounded->error > j->error) j->error = rounded->error;
  if (j->wrong && j->error <= 1) j->error = INFINITY;
  return f;
}

dd_status jury_judge(struct jury *j, bool split,
                     struct finding findings[MAX_TRIALS])
{
  struct tally tally[MAX_TRIALS];

  TRY(clear_tally(j));
  TRY(launch_elements(j, &j->tools->judge, split));
  TRY(launch_ranges(j));
  TRY(read_tally(j, true, tally));
  for (int t = 0; t < j->trials; ++t)
    findings[t] = finding_of(&j->rounded[split][t], &tally[t]);
  return DD_OK;
}
