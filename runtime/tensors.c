/*
 * tensors.c - any op, its problem read off tensors as DLPack has them: what
 * dd_launch() and the entry points of ops.c share where a call's key is new, or
 * its plan is not plain; and dd_launch().
 */
#include "call.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

int64_t tensor_dtype(const dd_tensor *t)
{
  if (t->lanes != 1) return 0;
  if (t->type_code == DL_BFLOAT) return t->type_bits == 16 ? DD_BF16 : 0;
  if (t->type_code == DL_FLOAT)
    return t->type_bits == 32 ? DD_F32 : t->type_bits == 16 ? DD_F16 : 0;
  if (t->type_code != DL_INT) return 0;
  return t->type_bits == 32 ? DD_I32 : t->type_bits == 64 ? DD_I64 : 0;
}

static const char *who(const struct call *c)
{
  return c->entry ? c->entry->op : "launch";
}

static dd_status check_call(const struct call *c)
{
  if (c->length >= TEXT_WORDS * 8)
    return fail(DD_BAD_ARGUMENT, "dd_%s: a text of %zu bytes is too long",
                who(c), c->length);
  for (size_t i = 0; i < c->count; ++i) {
    const dd_tensor *t = c->tensors[i];
    if (t && !has_rank(t))
      return fail(DD_BAD_ARGUMENT, "dd_%s: tensor %zu has rank %d", who(c), i,
                  t->rank);
  }
  return DD_OK;
}

/* ---- The problem -------------------------------------------------------- */

/* The trailing zeros of these bits are those of the least aligned row: where
 * rows lie one after another, of the second. */
static uint64_t row_bits(const dd_tensor *t)
{
  uint64_t bits = (uintptr_t)tensor_data(t), bytes = t->type_bits / 8u;

  if (t->rank < 2) return bits;
  if (!t->strides) return bits | (uint64_t)t->shape[t->rank - 1] * bytes;
  for (int i = 0; i < t->rank - 1; ++i) bits |= (uint64_t)t->strides[i] * bytes;
  return bits;
}

static int64_t align_of(const struct call *c)
{
  uint64_t bits = 16;

  for (size_t i = 0; i < c->count; ++i) {
    const dd_tensor *t = c->tensors[i];
    if (t && t->type_code != DL_INT) bits |= row_bits(t); /* lists: by one */
  }
  return (int64_t)(bits & -bits);
}

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

static bool has_word(const struct symbol *s, const char *word)
{
  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (!strcmp(s->choices[i].word, word)) return true;
  return false;
}

/* A field that is a tensor's dtype or "none": weight=fp32, positions=i32. */
static void spell_dtype(const struct op *op, const char *field,
                        const dd_tensor *t, struct bytes *out)
{
  int at = op_symbol_find(op, field);
  const char *word = t ? dtype_name(tensor_dtype(t)) : "none";

  if (at < 0 || op->symbols[at].kind != SYMBOL_CHOICE) return;
  if (has_word(&op->symbols[at], word) && !has_field(out, field))
    bytes_printf(out, " %s=%s", field, word);
}

/* Outputs that may stand on an input are there, or the problem is in place. */
static void spell_inplace(const struct op *op, const dd_tensor *const *tensors,
                          struct bytes *out)
{
  bool given = false;

  if (op_symbol_find(op, "inplace") < 0 || has_field(out, "inplace")) return;
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    given |= op->tensors[i].role == TENSOR_OUT && op->tensors[i].alias >= 0 &&
             tensors[i];
  bytes_printf(out, " inplace=%d", !given);
}

/* `tensors` are in the op's order. */
static void spell(const struct op *op, const struct call *c,
                  const dd_tensor *const *tensors, struct bytes *out)
{
  int64_t align = align_of(c);

  if (c->entry)
    bytes_printf(out, "%s:%s ", op->name,
                 tensors[0] ? dtype_name(tensor_dtype(tensors[0])) : "?");
  bytes_text(out, c->text);
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    if (tensors[i]) spell_sizes(op, &op->tensors[i], tensors[i], out);
  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    if (op->tensors[i].role == TENSOR_SCRATCH) continue;
    spell_dtype(op, op->tensors[i].name, tensors[i], out);
    spell_dtype(op, expr_text(op->tensors[i].dtype), tensors[i], out);
  }
  spell_inplace(op, tensors, out);
  if (align < 16) bytes_printf(out, " align=%" PRId64, align);
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    if (tensors[i]) spell_strides(&op->tensors[i], tensors[i], out);
}

static dd_status find_op(struct dd_context *ctx, const char *text,
                         const struct op_set **set, const struct op **op)
{
  size_t n = strcspn(text, ": ");
  char name[64];

  *op = NULL;
  if (n >= sizeof name) n = 0;
  memcpy(name, text, n);
  name[n] = 0;
  *set = &ctx->floor.ops;
  TRY(op_need(*set, name, op));
  if (!*op && ctx->matcher.table) {
    *set = &ctx->matcher.table->ops;
    TRY(op_need(*set, name, op));
  }
  if (*op) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "no op is named '%.60s'", text);
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

static dd_status check_tensors(const struct op_set *set,
                               const dd_tensor *const *tensors,
                               const char *spelling)
{
  struct problem p;

  TRY(problem_parse(set, spelling, &p));
  for (uint32_t i = 0; i < p.op->tensor_count; ++i)
    TRY(check_tensor(&p, i, tensors[i]));
  return DD_OK;
}

/* The call's tensors by the op's order, which an entry point's list need not
 * have: `names` are those of the call's. */
static dd_status order_tensors(const struct op *op, const struct call *c,
                               const char **names, const dd_tensor **tensors)
{
  uint32_t n = c->entry ? c->entry->tensor_count : op->tensor_count;

  for (uint32_t i = 0; i < n; ++i)
    names[i] = c->entry ? c->entry->tensors[i] : op->tensors[i].name;
  names[n] = NULL;
  memset(tensors, 0, OP_MAX_TENSORS * sizeof *tensors);
  for (uint32_t i = 0; i < c->count; ++i) {
    int at = i < n ? op_tensor_find(op, names[i]) : -1;
    if (at >= 0) tensors[at] = c->tensors[i];
    else if (c->tensors[i])
      return fail(DD_BAD_ARGUMENT, "'%s' has no tensor %u", op->name, i);
  }
  return DD_OK;
}

static dd_status resolve_op(struct dd_context *ctx, const struct op_set *set,
                            const struct op *op, const struct call *c,
                            const struct key *key, void *stream,
                            struct entry **out)
{
  static const char *const none[] = {NULL};
  const char *names[OP_MAX_TENSORS + 1];
  struct entry_names by_name = {names, c->entry ? c->entry->attrs : none, NULL};
  const dd_tensor *tensors[OP_MAX_TENSORS];
  struct bytes text = BYTES_INIT;
  dd_status status;

  TRY(order_tensors(op, c, names, tensors));
  spell(op, c, tensors, &text);
  status = bytes_status(&text);
  if (!status) status = check_tensors(set, tensors, bytes_string(&text));
  if (!status)
    status = entry_make(ctx, key, bytes_string(&text), &by_name, stream, out);
  bytes_release(&text);
  return status;
}

dd_status call_make(struct dd_context *ctx, const struct call *c, uint32_t hash,
                    entry_match *match, void *stream, struct entry **out)
{
  const char *name = c->entry ? c->entry->op : c->text;
  struct key key = {.match = match, .args = c, .hash = hash};
  const struct op_set *set;
  const struct op *op;

  TRY(context_check(ctx));
  TRY(check_call(c));
  key.words = (uint32_t)(call_walk(c, key.word, true) - key.word);
  TRY(find_op(ctx, name, &set, &op));
  return resolve_op(ctx, set, op, c, &key, stream, out);
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

dd_status call_closer(const struct entry *e, const struct call *c,
                      const double *attr, void *stream)
{
  const struct dd_plan *plan = e->plan;
  void *buffers[OP_MAX_TENSORS];

  if (plan->workspace_size > c->workspace_size)
    return fail(DD_BAD_ARGUMENT, "dd_%s: the plan takes a workspace of %zu "
                "bytes, not %zu; workspace_needed asks for the size", who(c),
                plan->workspace_size, c->workspace_size);
  for (uint32_t i = 0; i < plan->buffer_count; ++i)
    buffers[i] = tensor_data(c->tensors[e->source[i]]);
  return plan_launch(plan, buffers, c->workspace, attr, stream);
}

dd_status call_attrs(const struct entry *e, const struct call *c,
                     double attr[OP_MAX_ATTRS])
{
  TRY(plan_check(e->plan));
  if (c->given) return entry_attrs(e, c->given, attr);
  return read_attrs(e->plan->op, c->attrs, c->attr_count, attr);
}

/* Of dd_launch() and dd_call_launch(). */
static HOT dd_status launch(struct dd_context *ctx, struct call *c,
                            void *stream)
{
  if (c->attr_count && !c->attrs)
    return fail(DD_BAD_ARGUMENT, "%zu attributes, but no list of them",
                c->attr_count);
  if (!c->text) return fail(DD_BAD_ARGUMENT, "dd_launch: no op was given");
  c->length = strlen(c->text);
  if (c->count > OP_MAX_TENSORS || (c->count && !c->tensors))
    return fail(DD_BAD_ARGUMENT, "dd_%s: %zu tensors%s", who(c), c->count,
                c->tensors ? " are too many" : ", but no list of them");
  return call_run(ctx, c, stream);
}

dd_status dd_launch(dd_context *ctx, const char *op,
                    const dd_tensor *const *tensors, size_t count,
                    const dd_attr *attrs, size_t attr_count,
                    struct CUstream_st *stream)
{
  struct call c = {.text = op, .tensors = tensors, .count = count,
                   .attrs = attrs, .attr_count = attr_count};

  TRY(context_check(ctx));
  return launch(ctx, &c, stream);
}

dd_status dd_call_launch(dd_context *ctx, const dd_call *call,
                         struct CUstream_st *stream)
{
  struct call c = {0};
  dd_call given;

  TRY(context_check(ctx));
  TRY(struct_read("dd_call", call,
                  offsetof(dd_call, count) + sizeof given.count, &given,
                  sizeof given));
  c.text = given.op;
  c.tensors = given.tensors;
  c.count = given.count;
  c.workspace = given.workspace;
  c.workspace_size = given.workspace_size;
  c.workspace_needed = given.workspace_needed;
  c.attrs = given.attrs;
  c.attr_count = given.attr_count;
  return launch(ctx, &c, stream);
}
