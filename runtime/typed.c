/* typed.c - dd_qknorm_rope(): the arguments as a key, a spelling, buffers. */
#include "entry.h"
#include "launch.h"

#include <inttypes.h>
#include <string.h>

/* ---- qknorm_rope ------------------------------------------------------ */

typedef dd_qknorm_rope_args qk_args;

static const char *const qk_tensors[] = {
    "q",        "k",   "q_out", "k_out",     "q_weight",
    "k_weight", "cos", "sin",   "positions", NULL};
#define PLACE(field) offsetof(qk_args, field)
_Static_assert(sizeof(qk_args) <= UINT8_MAX, "a place is one byte");
static const uint8_t qk_places[] = {
    PLACE(q),        PLACE(k),   PLACE(q_out), PLACE(k_out),    PLACE(q_weight),
    PLACE(k_weight), PLACE(cos), PLACE(sin),   PLACE(positions)};
static const char *const qk_attrs[] = {"eps", "position_offset", NULL};

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

/* What the spelling relies on; the rest is the spec's to refuse. */
static dd_status check_qk(const qk_args *a, bool *in_place)
{
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

/* ---- The key ------------------------------------------------------------ */

enum { SIZES = 8, STRIDES = 8 };
_Static_assert(offsetof(qk_args, q) - offsetof(qk_args, io) == SIZES * 8 &&
                   offsetof(qk_args, q_weight) - offsetof(qk_args, q_stride) ==
                       STRIDES * 8,
               "sizes and strides stand together");

static inline void say(uint64_t *bits, bool bit)
{
  *bits += *bits + bit;
}

/* What pointers say: which are there, which are the same, and what they are all
 * a multiple of. */
static ALWAYS_INLINE int64_t qk_pointers(const qk_args *a)
{
  uint64_t bits = 16 | (uintptr_t)a->q | (uintptr_t)a->k |
                  (uintptr_t)a->q_out | (uintptr_t)a->k_out |
                  (uintptr_t)a->q_weight | (uintptr_t)a->k_weight |
                  (uintptr_t)a->cos | (uintptr_t)a->sin;
  uint64_t said = 0;

  say(&said, !a->q_out);
  say(&said, !a->k_out);
  say(&said, a->q_out == a->q);
  say(&said, a->k_out == a->k);
  say(&said, !a->sin);
  say(&said, !a->positions);
  return (int64_t)((bits & -bits) | said << 8);
}

/* No bit where eight words are the same. */
static inline int64_t differ(const void *given, const int64_t *word)
{
  typedef int64_t pair
      __attribute__((vector_size(16), aligned(8), may_alias));
  const pair *a = given, *b = (const pair *)word;
  pair away = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);

  return away[0] | away[1];
}

static ALWAYS_INLINE bool is_made_for(struct entry *e, const void *args)
{
  const qk_args *a = args;

  _Static_assert(SIZES == 8 && STRIDES == 8, "differ() is of eight");
  return !(differ(&a->io, e->word) | differ(a->q_stride, e->word + SIZES) |
           (qk_pointers(a) ^ e->word[SIZES + STRIDES]));
}

static void qk_key(const qk_args *a, uint32_t hash, struct key *key)
{
  memcpy(key->word, &a->io, SIZES * 8);
  memcpy(key->word + SIZES, a->q_stride, STRIDES * 8);
  key->word[SIZES + STRIDES] = qk_pointers(a);
  key->words = SIZES + STRIDES + 1;
  key->hash = hash;
  key->match = is_made_for;
  key->args = a;
}

static inline uint32_t qk_hash(const qk_args *a)
{
  uint64_t forms = (uint64_t)a->io | (uint64_t)a->neox << 8;

  return key_hash(key_mix(key_mix(key_mix((uint64_t)a->head_dim, a->q_heads),
                                  a->tokens), (int64_t)forms));
}

/* ---- The problem -------------------------------------------------------- */

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

static dd_status check_offset(const qk_args *a)
{
  const int64_t far = INT64_C(1) << 53; /* a double holds all below it */

  if (a->position_offset <= far && a->position_offset >= -far) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "dd_qknorm_rope: position_offset is %" PRId64
              ", beyond 2^53", a->position_offset);
}

static NOINLINE dd_status qk_resolve(struct dd_context *ctx, const qk_args *a,
                            uint32_t hash, void *stream, struct entry **out)
{
  static const struct entry_names names = {qk_tensors, qk_attrs, qk_places};
  struct bytes spelling = BYTES_INIT;
  struct problem read;
  dd_status status;
  struct key key;
  bool in_place;

  TRY(context_check(ctx));
  TRY(check_offset(a));
  TRY(check_qk(a, &in_place));
  qk_key(a, hash, &key);
  qk_spell(a, in_place, qk_align(a, in_place), &spelling);
  status = bytes_status(&spelling);
  if (!status) /* what a table alone can read has other tensors */
    status = problem_parse(&ctx->floor.ops, bytes_string(&spelling), &read);
  if (!status)
    status = entry_make(ctx, &key, bytes_string(&spelling), &names, stream,
                        out);
  bytes_release(&spelling);
  return status;
}

static ALWAYS_INLINE void *qk_at(const void *from, uint32_t place)
{
  void *tensor;

  memcpy(&tensor, (const char *)from + place, sizeof tensor);
  return tensor;
}

static NOINLINE dd_status qk_closer(const struct entry *e, const qk_args *a,
                                    const double *attr, void *stream)
{
  void *buffers[OP_MAX_TENSORS];

  for (uint32_t i = 0; i < e->plan->buffer_count; ++i)
    buffers[i] = qk_at(a, e->source[i]);
  return plan_launch(e->plan, buffers, NULL, attr, stream);
}

static NOINLINE dd_status find_attrs(const struct entry *e, const qk_args *a,
                                   double attr[OP_MAX_ATTRS])
{
  const double given[] = {a->eps, (double)a->position_offset};

  TRY(plan_check(e->plan));
  TRY(check_offset(a));
  return entry_attrs(e, given, attr);
}

/* Whether one is not the default, with which the plan was made. */
static inline bool qk_attrs_given(const qk_args *a)
{
  return a->eps != 0 || a->position_offset; /* a NaN too */
}

static ALWAYS_INLINE dd_status
qk_run(struct dd_context *ctx, const qk_args *a, void *stream)
{
  double values[OP_MAX_ATTRS], *attr = NULL;
  uint32_t hash = qk_hash(a);
  struct entry *e = entry_find(ctx, hash, is_made_for, a);
  dd_status status;

  if (!LIKELY(e)) TRY(qk_resolve(ctx, a, hash, stream, &e));
  if (!LIKELY(!qk_attrs_given(a))) TRY(find_attrs(e, a, attr = values));
  status = launch_plain(e->plan, entry_pointers(e), e->pointers, qk_at, a, attr,
                        stream);
  if (LIKELY(status != LOOK_CLOSER)) return status;
  return qk_closer(e, a, attr, stream);
}

/* Of a host with another header, or not right; apart, for its copy takes a
 * large frame. */
static NOINLINE dd_status
qk_other(struct dd_context *ctx, const qk_args *args, void *stream)
{
  qk_args a;

  TRY(context_check(ctx));
  TRY(struct_read("dd_qknorm_rope_args", args,
                  offsetof(qk_args, eps) + sizeof(double), &a, sizeof a));
  return qk_run(ctx, &a, stream);
}

/* A fork is seen at the plan. */
HOT dd_status dd_qknorm_rope(dd_context *ctx, const dd_qknorm_rope_args *args,
                             struct CUstream_st *stream)
{
  if (LIKELY(ctx && args && args->struct_size == sizeof *args))
    return qk_run(ctx, args, stream);
  return qk_other(ctx, args, stream);
}
