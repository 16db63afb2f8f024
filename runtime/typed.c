/* typed.c - dd_qknorm_rope(): the arguments as a key, a spelling, buffers. */
#include "entry.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- qknorm_rope ------------------------------------------------------ */

typedef dd_qknorm_rope_args qk_args;

static const char *const qk_names[] = {
    "q",        "k",   "q_out", "k_out",     "q_weight",
    "k_weight", "cos", "sin",   "positions", NULL};

static bool contiguous(const int64_t stride[2])
{
  return !stride[0] && !stride[1];
}

/* An output that is its input, spelled out, is in place as well. */
static bool is_inplace(const void *in, const void *out,
                       const int64_t in_stride[2], const int64_t out_stride[2])
{
  return !out || (out == in && in_stride[0] == out_stride[0] &&
                  in_stride[1] == out_stride[1]);
}

static bool io_known(int32_t dtype)
{
  return dtype == DD_BF16 || dtype == DD_F16 || dtype == DD_F32;
}

/* What the key and the attributes rely on; the rest is the spec's to refuse. */
static dd_status check_qk(const qk_args *a, bool *in_place)
{
  const int64_t far = INT64_C(1) << 53; /* a double holds all below it */
  bool q = is_inplace(a->q, a->q_out, a->q_stride, a->q_out_stride);
  bool k = is_inplace(a->k, a->k_out, a->k_stride, a->k_out_stride);

  if (q != k && a->tokens)
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: q_out and k_out must both be "
                "given or both be in place");
  if (!io_known(a->io) || (a->table_dtype && !io_known(a->table_dtype)))
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: io is %d and table_dtype %d, "
                "not DD_BF16, DD_F16 or DD_F32", a->io, a->table_dtype);
  if (a->neox & ~1)
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: neox is %d, not 0 or 1",
                a->neox);
  if (a->position_type && a->position_type != DD_I64 &&
      a->position_type != DD_I32)
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: position_type is %d, not "
                "DD_I64 or DD_I32", a->position_type);
  if (a->position_offset > far || a->position_offset < -far)
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: position_offset is %" PRId64
                ", beyond 2^53", a->position_offset);
  if (!isfinite(a->eps))
    return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: eps is %g", a->eps);
  *in_place = q && k;
  return DD_OK;
}

/* The trailing zeros of these words are those of the least aligned row. */
static uint64_t row_bits(const void *tensor, const int64_t stride[2],
                         int64_t row, int64_t bytes)
{
  uint64_t step = contiguous(stride) ? (uint64_t)row
                                     : (uint64_t)(stride[0] | stride[1]);

  return (uintptr_t)tensor | step * (uint64_t)bytes;
}

static int64_t qk_align(const qk_args *a, bool in_place)
{
  int64_t bytes = a->io == DD_F32 ? 4 : 2, row = a->head_dim;
  uint64_t bits = 16 | (uintptr_t)a->q_weight | (uintptr_t)a->k_weight |
                  (uintptr_t)a->cos | (uintptr_t)a->sin;

  bits |= row_bits(a->q, a->q_stride, row, bytes);
  bits |= row_bits(a->k, a->k_stride, row, bytes);
  if (!in_place) {
    bits |= row_bits(a->q_out, a->q_out_stride, row, bytes);
    bits |= row_bits(a->k_out, a->k_out_stride, row, bytes);
  }
  return (int64_t)(bits & -bits);
}

static void key_stride(struct key *key, const int64_t stride[2])
{
  if (contiguous(stride)) return;
  key->word[key->words++] = stride[0];
  key->word[key->words++] = stride[1];
}

/* Strides that are contiguous are a bit, for they are what most calls have. */
static int64_t qk_contiguous(const qk_args *a)
{
  return (int64_t)contiguous(a->q_stride) |
         (int64_t)contiguous(a->k_stride) << 1 |
         (int64_t)contiguous(a->q_out_stride) << 2 |
         (int64_t)contiguous(a->k_out_stride) << 3;
}

static void qk_key(const qk_args *a, bool in_place, int64_t align,
                   struct key *key)
{
  int64_t *w = key->word;

  w[0] = (int64_t)a->io | (int64_t)a->neox << 8 |
         (int64_t)a->table_dtype << 16 |
         (int64_t)a->position_type << 24 | (int64_t)in_place << 32 |
         (int64_t)!a->sin << 33 | (int64_t)!a->positions << 34 |
         qk_contiguous(a) << 35 | align << 40;
  w[1] = a->tokens;
  w[2] = a->q_heads;
  w[3] = a->kv_heads;
  w[4] = a->head_dim;
  w[5] = a->rope_dim;
  w[6] = a->seq;
  key->words = 7;
  key_stride(key, a->q_stride);
  key_stride(key, a->k_stride);
  key_stride(key, a->q_out_stride);
  key_stride(key, a->k_out_stride);
  key_end(key);
}

static void spell_stride(struct bytes *b, const char *name,
                         const int64_t stride[2])
{
  if (!contiguous(stride))
    bytes_printf(b, " %s_stride=%" PRId64 ",%" PRId64, name, stride[0],
                 stride[1]);
}

static void qk_spell(const qk_args *a, bool in_place, int64_t align,
                     struct bytes *b)
{
  const char *cache_dtype = dtype_name(a->table_dtype ? a->table_dtype
                                                      : DD_F32);

  bytes_printf(b, "qknorm_rope:%s tokens=%" PRId64 " q_heads=%" PRId64
               " kv_heads=%" PRId64 " head_dim=%" PRId64, dtype_name(a->io),
               a->tokens, a->q_heads, a->kv_heads, a->head_dim);
  if (a->rope_dim) bytes_printf(b, " rope_dim=%" PRId64, a->rope_dim);
  if (a->neox) bytes_text(b, " layout=neox");
  if (!a->positions) bytes_text(b, " positions=none");
  else if (a->position_type == DD_I32) bytes_text(b, " positions=i32");
  if (a->seq) bytes_printf(b, " seq=%" PRId64, a->seq);
  bytes_printf(b, " cache=%s cache_dtype=%s inplace=%d",
               a->sin ? "separate" : "joint", cache_dtype, in_place);
  if (align < 16) bytes_printf(b, " align=%" PRId64, align);
  spell_stride(b, "q", a->q_stride);
  spell_stride(b, "k", a->k_stride);
  if (in_place) return;
  spell_stride(b, "q_out", a->q_out_stride);
  spell_stride(b, "k_out", a->k_out_stride);
}

/* The attributes that the entry point has; looked up by name once. */
enum { QK_OTHER, QK_EPS, QK_OFFSET };

static dd_status qk_finish(struct entry *e, const void *args)
{
  const struct op *op = e->plan->op;

  (void)args;
  for (uint32_t i = 0; i < op->attr_count; ++i) {
    const char *name = op->attrs[i].name;
    e->attr[i] = !strcmp(name, "eps")               ? QK_EPS
                 : !strcmp(name, "position_offset") ? QK_OFFSET
                                                    : QK_OTHER;
  }
  return DD_OK;
}

static dd_status qk_resolve(struct dd_context *ctx, const qk_args *a,
                            bool in_place, const struct key *key,
                            int64_t align, void *stream, struct entry **out)
{
  struct bytes spelling = BYTES_INIT;
  dd_status status;

  qk_spell(a, in_place, align, &spelling);
  status = bytes_status(&spelling);
  if (!status)
    status = entry_make(ctx, key, bytes_string(&spelling), qk_names, stream,
                        qk_finish, NULL, out);
  bytes_release(&spelling);
  return status;
}

static void qk_attrs(const struct entry *e, const qk_args *a,
                     double attr[OP_MAX_ATTRS])
{
  const struct op *op = e->plan->op;

  for (uint32_t i = 0; i < op->attr_count; ++i) {
    attr[i] = op->attrs[i].otherwise;
    if (e->attr[i] == QK_EPS && a->eps != 0) attr[i] = a->eps;
    if (e->attr[i] == QK_OFFSET) attr[i] = (double)a->position_offset;
  }
}

static dd_status qk_launch(const struct entry *e, const qk_args *a,
                           void *stream)
{
  const void *const tensors[] = {a->q,        a->k,        a->q_out,
                                 a->k_out,    a->q_weight, a->k_weight,
                                 a->cos,      a->sin,      a->positions};
  uint32_t count = e->plan->buffer_count;
  void *buffers[OP_MAX_TENSORS];
  double attr[OP_MAX_ATTRS];

  for (uint32_t i = 0; i < count; ++i)
    memcpy(&buffers[i], &tensors[e->source[i]], sizeof buffers[i]);
  qk_attrs(e, a, attr);
  return plan_launch(e->plan, buffers, NULL, attr, stream);
}

static dd_status qk_run(struct dd_context *ctx, const qk_args *a, void *stream)
{
  struct entry *e;
  struct key key;
  int64_t align;
  bool in_place;

  TRY(check_qk(a, &in_place));
  align = qk_align(a, in_place);
  qk_key(a, in_place, align, &key);
  e = entry_find(ctx, &key);
  if (!e) TRY(qk_resolve(ctx, a, in_place, &key, align, stream, &e));
  return qk_launch(e, a, stream);
}

dd_status dd_qknorm_rope(dd_context *ctx, const dd_qknorm_rope_args *args,
                         struct CUstream_st *stream)
{
  qk_args a;

  if (!ctx) return fail(DD_BAD_ARGUMENT, "no context was given");
  if (context_forked(ctx)) return refuse_forked();
  if (args && args->struct_size == sizeof a) return qk_run(ctx, args, stream);
  TRY(struct_read("dd_qknorm_rope_args", args,
                  offsetof(qk_args, eps) + sizeof(double), &a, sizeof a));
  return qk_run(ctx, &a, stream);
}
