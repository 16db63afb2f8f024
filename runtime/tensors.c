/*
 * tensors.c - dd_launch(): any op, its problem read off tensors as DLPack has
 * them.
 *
 * What tensors say (sizes, strides, alignment) goes into the key as numbers,
 * what they cannot say as the bytes of the op's text.  Only a call with a new
 * key looks at the specs.
 */
#include "entry.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DL_INT = 0, DL_FLOAT = 2, DL_BFLOAT = 4, TEXT_WORDS = 32 };

struct call {
  const char *text;
  const dd_tensor *const *tensors;
  size_t count;
};

/* ---- The key ------------------------------------------------------------ */

static int64_t tensor_dtype(const dd_tensor *t)
{
  if (t->lanes != 1) return 0;
  if (t->type_code == DL_BFLOAT) return t->type_bits == 16 ? DD_BF16 : 0;
  if (t->type_code == DL_FLOAT)
    return t->type_bits == 32 ? DD_F32 : t->type_bits == 16 ? DD_F16 : 0;
  if (t->type_code != DL_INT) return 0;
  return t->type_bits == 32 ? DD_I32 : t->type_bits == 64 ? DD_I64 : 0;
}

static char *tensor_data(const dd_tensor *t)
{
  return (char *)t->data + t->byte_offset;
}

/* The trailing zeros of these bits are those of the least aligned row. */
static uint64_t row_bits(const dd_tensor *t)
{
  uint64_t bits = (uintptr_t)tensor_data(t), bytes = t->type_bits / 8u;
  uint64_t inner = 1;

  for (int i = t->rank - 1; i >= 0; --i) {
    uint64_t stride = t->strides ? (uint64_t)t->strides[i] : inner;
    if (i < t->rank - 1) bits |= stride * bytes;
    inner *= (uint64_t)t->shape[i];
  }
  return bits;
}

static void key_tensor(const dd_tensor *t, struct key *key, uint64_t *bits)
{
  size_t size = (size_t)t->rank * sizeof *t->shape;

  key->word[key->words++] = 1 | (int64_t)t->rank << 8 |
                            (int64_t)t->type_code << 16 |
                            (int64_t)t->type_bits << 24 |
                            (int64_t)t->lanes << 32 |
                            (int64_t)(t->strides != NULL) << 48;
  memcpy(key->word + key->words, t->shape, size);
  key->words += (uint32_t)t->rank;
  if (t->strides) {
    memcpy(key->word + key->words, t->strides, size);
    key->words += (uint32_t)t->rank;
  }
  if (t->type_code != DL_INT) *bits |= row_bits(t); /* lists: one by one */
}

static dd_status check_call(const struct call *c)
{
  if (!c->text) return fail(DD_BAD_ARGUMENT, "dd_launch: no op was given");
  if (strlen(c->text) >= TEXT_WORDS * 8)
    return fail(DD_BAD_ARGUMENT, "dd_launch: an op of %zu bytes is too long",
                strlen(c->text));
  if (c->count > OP_MAX_TENSORS || (c->count && !c->tensors))
    return fail(DD_BAD_ARGUMENT, "dd_launch: %zu tensors%s", c->count,
                c->tensors ? " are too many" : ", but no list of them");
  for (size_t i = 0; i < c->count; ++i) {
    const dd_tensor *t = c->tensors[i];
    if (t && (t->rank < 0 || t->rank > OP_MAX_RANK || (t->rank && !t->shape)))
      return fail(DD_BAD_ARGUMENT, "dd_launch: tensor %zu has rank %d", i,
                  t->rank);
  }
  return DD_OK;
}

static void make_key(const struct call *c, struct key *key, int64_t *align)
{
  size_t length = strlen(c->text);
  uint64_t bits = 16;

  key->words = (uint32_t)(length / 8 + 1);
  key->word[key->words - 1] = 0;
  memcpy(key->word, c->text, length);
  for (size_t i = 0; i < c->count; ++i) {
    if (c->tensors[i]) key_tensor(c->tensors[i], key, &bits);
    else key->word[key->words++] = 0;
  }
  *align = (int64_t)(bits & -bits);
  key->word[key->words++] = *align;
  key_end(key);
}

/* ---- The problem -------------------------------------------------------- */

/* Whether the text, or what was added to it, has the field. */
static bool has_field(const struct bytes *text, const char *name)
{
  size_t n = strlen(name);

  for (const char *at = bytes_string(text); (at = strchr(at, ' ')); ++at)
    if (!strncmp(at + 1, name, n) && at[n + 1] == '=') return true;
  return false;
}

/* A size that is a field of its own: "tokens", not "tokens + 1". */
static void spell_sizes(const struct op *op, const struct tensor_spec *spec,
                        const dd_tensor *t, struct bytes *out)
{
  for (uint32_t d = 0; d < spec->rank && d < (uint32_t)t->rank; ++d) {
    int at = op_symbol_find(op, expr_text(spec->extent[d]));
    if (at < 0 || op->symbols[at].kind != SYMBOL_INT) continue;
    if (!has_field(out, op->symbols[at].name))
      bytes_printf(out, " %s=%" PRId64, op->symbols[at].name, t->shape[d]);
  }
}

static void spell_strides(const struct tensor_spec *spec, const dd_tensor *t,
                          struct bytes *out)
{
  if (!t->strides || spec->rank < 2 || spec->stride[0] < 0) return;
  bytes_printf(out, " %s_stride=", spec->name);
  for (uint32_t d = 0; d + 1 < spec->rank && d + 1 < (uint32_t)t->rank; ++d)
    bytes_printf(out, "%s%" PRId64, d ? "," : "", t->strides[d]);
}

static void spell(const struct op *op, const struct call *c, int64_t align,
                  struct bytes *out)
{
  bytes_text(out, c->text);
  for (uint32_t i = 0; i < op->tensor_count && i < c->count; ++i)
    if (c->tensors[i]) spell_sizes(op, &op->tensors[i], c->tensors[i], out);
  if (align < 16) bytes_printf(out, " align=%" PRId64, align);
  for (uint32_t i = 0; i < op->tensor_count && i < c->count; ++i)
    if (c->tensors[i]) spell_strides(&op->tensors[i], c->tensors[i], out);
}

static const struct op *find_op(struct dd_context *ctx, const char *text,
                                const struct op_set **set)
{
  size_t n = strcspn(text, ": ");
  char name[64];
  const struct op *op = NULL;

  if (n >= sizeof name) return NULL;
  memcpy(name, text, n);
  name[n] = 0;
  *set = &ctx->floor.ops;
  op = op_find(*set, name);
  if (op || !ctx->matcher.table) return op;
  *set = &ctx->matcher.table->ops;
  return op_find(*set, name);
}

/* ---- Whether the tensors are the problem's ------------------------------ */

static bool is_contiguous(const dd_tensor *t)
{
  int64_t inner = 1;

  for (int i = t->rank - 1; t->strides && i >= 0; --i) {
    if (t->shape[i] > 1 && t->strides[i] != inner) return false;
    inner *= t->shape[i];
  }
  return true;
}

static bool same_shape(const dd_tensor *t, const struct tensor_shape *shape)
{
  if ((uint32_t)t->rank != shape->rank) return false;
  for (uint32_t d = 0; d < shape->rank; ++d)
    if (t->shape[d] != shape->extent[d]) return false;
  return !t->strides || t->shape[t->rank - 1] <= 1 ||
         t->strides[t->rank - 1] == 1;
}

/* A table of angles may be longer than is read of it. */
static bool large_enough(const dd_tensor *t, const struct tensor_shape *shape)
{
  int64_t count = 1;

  for (int i = 0; i < t->rank; ++i) count *= t->shape[i];
  return is_contiguous(t) && count >= shape->count;
}

static dd_status check_tensor(const struct problem *p, uint32_t i,
                              const dd_tensor *t)
{
  const struct tensor_spec *spec = &p->op->tensors[i];
  bool strided = spec->rank > 1 && spec->stride[0] >= 0;
  struct tensor_shape shape;

  TRY(problem_shape(p, (int)i, &shape));
  if (spec->role == TENSOR_SCRATCH) shape.present = false;
  if (shape.present != (t != NULL))
    return fail(DD_BAD_ARGUMENT, "'%s': tensor %u, '%s', is %s", p->op->name, i,
                spec->name, t ? "given, and this problem has none" : "missing");
  if (!t) return DD_OK;
  if (tensor_dtype(t) != shape.dtype)
    return fail(DD_BAD_ARGUMENT, "'%s': '%s' must be %s", p->op->name,
                spec->name, dtype_name(shape.dtype));
  if (strided ? same_shape(t, &shape) : large_enough(t, &shape)) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "'%s': '%s' has another shape or other strides "
              "than this problem's", p->op->name, spec->name);
}

static dd_status check_tensors(const struct op_set *set, const struct call *c,
                               const char *spelling)
{
  struct problem p;

  TRY(problem_parse(set, spelling, &p));
  for (uint32_t i = 0; i < p.op->tensor_count; ++i)
    TRY(check_tensor(&p, i, i < c->count ? c->tensors[i] : NULL));
  return DD_OK;
}

static void list_names(const struct op *op, const char **names)
{
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    names[i] = op->tensors[i].name;
  names[op->tensor_count] = NULL;
}

static dd_status resolve(struct dd_context *ctx, const struct call *c,
                         const struct key *key, int64_t align, void *stream,
                         struct entry **out)
{
  const char *names[OP_MAX_TENSORS + 1];
  struct bytes text = BYTES_INIT;
  const struct op_set *set;
  const struct op *op = find_op(ctx, c->text, &set);
  dd_status status;

  if (!op) return fail(DD_BAD_ARGUMENT, "no op is named '%.60s'", c->text);
  spell(op, c, align, &text);
  list_names(op, names);
  status = bytes_status(&text);
  if (!status) status = check_tensors(set, c, bytes_string(&text));
  if (!status)
    status = entry_make(ctx, key, bytes_string(&text), names, stream, NULL,
                        NULL, out);
  bytes_release(&text);
  return status;
}

/* ---- Launching ---------------------------------------------------------- */

static dd_status read_attrs(const struct op *op, const dd_attr *attrs,
                            size_t count, double *out)
{
  for (uint32_t i = 0; i < op->attr_count; ++i)
    out[i] = op->attrs[i].otherwise;
  for (size_t j = 0; j < count; ++j) {
    uint32_t i = 0;
    while (i < op->attr_count && attrs[j].name &&
           strcmp(op->attrs[i].name, attrs[j].name)) ++i;
    if (i == op->attr_count || !attrs[j].name ||
        !(fabs(attrs[j].value) <= 9007199254740992.0)) /* a NaN is not */
      return fail(DD_BAD_ARGUMENT, "'%s' has no attribute '%.40s' that is %g",
                  op->name, attrs[j].name ? attrs[j].name : "(NULL)",
                  attrs[j].value);
    out[i] = attrs[j].value;
  }
  return DD_OK;
}

dd_status dd_launch(dd_context *ctx, const char *op,
                    const dd_tensor *const *tensors, size_t count,
                    const dd_attr *attrs, size_t attr_count,
                    struct CUstream_st *stream)
{
  struct call c = {op, tensors, count};
  void *buffers[OP_MAX_TENSORS];
  double attr[OP_MAX_ATTRS];
  struct entry *e;
  struct key key;
  int64_t align;

  if (!ctx) return fail(DD_BAD_ARGUMENT, "no context was given");
  if (context_forked(ctx)) return refuse_forked();
  if (attr_count && !attrs)
    return fail(DD_BAD_ARGUMENT, "%zu attributes, but no list of them",
                attr_count);
  TRY(check_call(&c));
  make_key(&c, &key, &align);
  e = entry_find(ctx, &key);
  if (!e) TRY(resolve(ctx, &c, &key, align, stream, &e));
  for (uint32_t i = 0; i < e->plan->buffer_count; ++i)
    buffers[i] = tensor_data(tensors[e->source[i]]);
  TRY(read_attrs(e->plan->op, attrs, attr_count, attr));
  return plan_launch(e->plan, buffers, NULL, attr, stream);
}
