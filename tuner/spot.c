/* spot.c - a trial that a device made, held against the host in some items. */
#include "spot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fill_element.h"

enum {
  FIRST_ITEMS = 3,   /* special fills have a NaN in one, an infinity in one */
  RANDOM_ITEMS = 16, /* besides them and the last */
  WINDOW = 1 << 16,  /* bytes of a tensor that are fetched at once */
  FLIPS = 4,         /* elements whose roundings may go the other way */
};

struct window { /* on a tensor */
  struct spot *spot;
  uint32_t tensor;
  struct fill_source source;
  int64_t from, to; /* bytes */
  char bytes[WINDOW];
};

struct spot {
  const struct trial *trial;
  const struct reference *reference;
  struct window window[OP_MAX_TENSORS];
  _Alignas(16) char plan[REFERENCE_PLAN];
  struct reference_out host[OP_MAX_TENSORS], device[OP_MAX_TENSORS];
  int flips;
  dd_status status; /* of what is read */
};

/* ---- Inputs -------------------------------------------------------------- */

/* The dim of the largest stride below `limit`, of those that have one. */
static int next_dim(const struct tensor_shape *s, int64_t limit)
{
  int best = -1;

  for (int d = 0; d < (int)s->rank; ++d)
    if (s->extent[d] > 1 && s->stride[d] < limit &&
        (best < 0 || s->stride[d] > s->stride[best]))
      best = d;
  return best;
}

/* The row and the column of the element at an offset. */
static void find_element(const struct tensor_shape *s, int64_t at, int64_t *row,
                         int64_t *column)
{
  int64_t index[OP_MAX_RANK] = {0}, limit = INT64_MAX;
  int d;

  while ((d = next_dim(s, limit)) >= 0) {
    index[d] = at / s->stride[d];
    at %= s->stride[d];
    limit = s->stride[d];
  }
  *row = 0;
  for (d = 0; d + 1 < (int)s->rank; ++d)
    *row = *row * s->extent[d] + index[d];
  *column = index[s->rank - 1];
}

static dd_status fetch(struct window *w, int64_t at)
{
  const struct trial *t = w->spot->trial;
  const struct trial_tensor *x = &t->tensor[w->tensor];
  const char *from = x->pristine + x->offset + at;
  int64_t end = at + WINDOW < x->shape.span ? at + WINDOW : x->shape.span;

  w->from = w->to = at;
  TRY(t->device->api->copy_out(t->device, w->bytes, from, (size_t)(end - at)));
  w->to = end;
  return DD_OK;
}

static dd_status refuse(const struct window *w, int64_t row, int64_t column,
                        const void *got, const void *want)
{
  const struct trial *t = w->spot->trial;
  const int64_t dtype = w->source.dtype;

  return fail(DD_DEVICE, "the device made %.9g of element %lld of '%s', the "
              "host %.9g; is the driver whole?", dtype_load(dtype, got),
              (long long)(row * w->source.width + column),
              t->problem.op->tensors[w->tensor].name, dtype_load(dtype, want));
}

/* Elements of one row, which are in the window. */
static dd_status check_elements(struct window *w, int64_t at, int64_t n,
                                double *to)
{
  const struct fill_source *f = &w->source;
  const size_t bytes = (size_t)dtype_bytes(f->dtype);
  const char *got = w->bytes + (at * (int64_t)bytes - w->from);
  int64_t row, column;
  struct fill_row kind;

  find_element(&w->spot->trial->tensor[w->tensor].shape, at, &row, &column);
  kind = fill_row_of(f, row);
  for (int64_t i = 0; i < n; ++i, ++column, got += bytes) {
    const double value = fill_number(f, &kind, row, column);
    const uint64_t bits = fill_bits(f->dtype, value);
    if (memcmp(got, &bits, bytes)) return refuse(w, row, column, got, &bits);
    to[i] = dtype_load(f->dtype, got);
  }
  return DD_OK;
}

/* A reference reads a few elements of a row at a time. */
static void read_elements(const struct reference_tensor *tensor, int64_t at,
                          int64_t n, double *to)
{
  struct window *w = tensor->user;
  dd_status *status = &w->spot->status;
  const int64_t bytes = dtype_bytes(tensor->dtype);

  for (int64_t m; n > 0; at += m, to += m, n -= m) {
    m = n * bytes < WINDOW ? n : WINDOW / bytes;
    if (!*status && (at * bytes < w->from || (at + m) * bytes > w->to))
      *status = fetch(w, at * bytes);
    if (!*status) *status = check_elements(w, at, m, to);
    if (*status) memset(to, 0, (size_t)m * sizeof *to);
  }
}

/* ---- Results ------------------------------------------------------------- */

static bool agree(double host, double device, double room)
{
  if (isnan(host) || isnan(device)) return isnan(host) && isnan(device);
  if (isinf(host) || isinf(device)) return host == device;
  return host == device || fabs(host - device) <= room;
}

static dd_status differ(const struct spot *s, uint32_t tensor, int64_t element,
                        const char *what, double host, double device)
{
  return fail(DD_DEVICE, "the device computed %.17g as the %s of element %lld "
              "of '%s', the host %.17g; is the driver whole?", device, what,
              (long long)element, s->trial->problem.op->tensors[tensor].name,
              host);
}

/* Where a reference rounds, the last bit of a double may decide which way: in
 * fp32 that of one element in 10^9.  The rule is then that of a kernel, and a
 * slack, which says how far a rounding moves, is off by an ulp of the value. */
static bool is_flip(struct spot *s, uint32_t i, int64_t e)
{
  const struct trial *t = s->trial;
  const double host = s->host[i].value[e], device = s->device[i].value[e];
  const double ulp = dtype_ulp(t->tensor[i].shape.dtype, host);
  const double slack = (double)s->host[i].slack[e];

  if (problem_get(&t->problem, "rounding") == 0) return false;
  if (!(fabs(host - device) <= ulp + slack)) return false;
  if (!(fabs(slack - (double)s->device[i].slack[e]) <= ulp + slack))
    return false;
  return ++s->flips <= FLIPS;
}

static dd_status compare_slacks(struct spot *s, uint32_t i, int64_t e,
                                int64_t element)
{
  const double slack = (double)s->host[i].slack[e];
  const double split = (double)s->host[i].split_slack[e];
  const double other = (double)s->device[i].slack[e];
  const double other_split = (double)s->device[i].split_slack[e];

  if (!agree(slack, other, 1e-6 * slack) && !is_flip(s, i, e))
    return differ(s, i, element, "slack", slack, other);
  if (!agree(split, other_split, 1e-6 * split))
    return differ(s, i, element, "split slack", split, other_split);
  return DD_OK;
}

static dd_status compare(struct spot *s, uint32_t i, int64_t first)
{
  const struct reference_out *h = &s->host[i], *d = &s->device[i];

  for (int64_t e = 0; e < s->trial->each[i]; ++e) {
    const double value = h->value[e], slack = (double)h->slack[e];
    const double millionth = isfinite(slack) ? 1e-6 * slack : 0;
    if (agree(value, d->value[e], 1e-12 * fabs(value) + millionth))
      TRY(compare_slacks(s, i, e, first + e));
    else if (!is_flip(s, i, e))
      return differ(s, i, first + e, "value", value, d->value[e]);
  }
  return DD_OK;
}

static dd_status check_output(struct spot *s, uint32_t i, int64_t item,
                              const struct reference_out *from)
{
  struct device *d = s->trial->device;
  const struct reference_out *to = &s->device[i];
  const int64_t at = item * s->trial->each[i];
  const size_t n = (size_t)s->trial->each[i];

  TRY(d->api->copy_out(d, to->value, from->value + at, n * 8));
  TRY(d->api->copy_out(d, to->slack, from->slack + at, n * 4));
  TRY(d->api->copy_out(d, to->split_slack, from->split_slack + at, n * 4));
  return compare(s, i, at);
}

static dd_status check_item(struct spot *s, int64_t item,
                            const struct reference_out device[OP_MAX_TENSORS])
{
  s->reference->items(s->plan, item, item + 1, s->host);
  TRY(s->status);
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i)
    if (s->host[i].value) TRY(check_output(s, i, item, &device[i]));
  return DD_OK;
}

/* ---- Both ---------------------------------------------------------------- */

static void release_out(struct reference_out *o, int64_t each)
{
  mem_resize(NULL, o->value, (size_t)each * 8, 0);
  mem_resize(NULL, o->slack, (size_t)each * 4, 0);
  mem_resize(NULL, o->split_slack, (size_t)each * 4, 0);
}

static dd_status allocate_out(struct reference_out *o, int64_t each)
{
  o->value = mem_resize(NULL, NULL, 0, (size_t)each * 8);
  o->slack = mem_resize(NULL, NULL, 0, (size_t)each * 4);
  o->split_slack = mem_resize(NULL, NULL, 0, (size_t)each * 4);
  if (o->value && o->slack && o->split_slack) return DD_OK;
  return fail(DD_NO_MEMORY, "out of memory");
}

static dd_status open_windows(struct spot *s)
{
  struct reference_tensor tensor[OP_MAX_TENSORS];
  const struct trial *t = s->trial;

  trial_tensors(t, false, tensor);
  for (uint32_t i = 0; i < t->problem.op->tensor_count; ++i) {
    struct window *w = &s->window[i];
    w->spot = s;
    w->tensor = i;
    TRY(trial_source(t, i, &w->source));
    tensor[i].read = read_elements;
    tensor[i].user = w;
  }
  s->reference->plan(&(struct reference_call){&t->problem, tensor, t->attr},
                     s->plan);
  return DD_OK;
}

static dd_status check_items(struct spot *s,
                             const struct reference_out device[OP_MAX_TENSORS])
{
  const int64_t items = s->trial->items;

  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i) {
    if (!device[i].value) continue;
    TRY(allocate_out(&s->host[i], s->trial->each[i]));
    TRY(allocate_out(&s->device[i], s->trial->each[i]));
  }
  TRY(open_windows(s));
  for (int64_t item = 0; item < FIRST_ITEMS && item + 1 < items; ++item)
    TRY(check_item(s, item, device));
  TRY(check_item(s, items - 1, device));
  for (int k = 0; k < RANDOM_ITEMS && k < items; ++k) {
    const uint64_t random = fill_mix(s->trial->seed + (uint64_t)k);
    TRY(check_item(s, (int64_t)(random % (uint64_t)items), device));
  }
  return DD_OK;
}

dd_status spot_check(const struct trial *t, const struct reference *r,
                     const struct reference_out device[OP_MAX_TENSORS])
{
  struct spot *s = mem_resize(NULL, NULL, 0, sizeof *s);
  dd_status status;

  if (!s) return fail(DD_NO_MEMORY, "out of memory");
  memset(s, 0, sizeof *s);
  s->trial = t;
  s->reference = r;
  status = check_items(s, device);
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i) {
    release_out(&s->host[i], t->each[i]);
    release_out(&s->device[i], t->each[i]);
  }
  mem_resize(NULL, s, sizeof *s, 0);
  return status;
}
