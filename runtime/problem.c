/* problem.c - the one spelling of problems, and what a problem says of tensors. */
#include "problem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Defaults and rules ------------------------------------------------- */

static const char *word_of(const struct symbol *s, int64_t value)
{
  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (s->choices[i].value == value) return s->choices[i].word;
  return NULL;
}

/* The value a symbol takes where nobody gave one. */
static dd_status take_default(const struct op *op, uint32_t i, int64_t *value)
{
  const struct symbol *s = &op->symbols[i];

  if (s->otherwise) return expr_eval(s->otherwise, value, &value[i]);
  if (s->choice_count) {
    value[i] = s->choices[0].value;
    return DD_OK;
  }
  return fail(DD_BAD_ARGUMENT, "'%s' needs %s=", op->name, s->name);
}

static dd_status check_value(const struct op *op, uint32_t i, int64_t value)
{
  const struct symbol *s = &op->symbols[i];

  if (s->choice_count && !word_of(s, value))
    return fail(DD_BAD_ARGUMENT, "'%s': %s has no choice %lld", op->name,
                s->name, (long long)value);
  if ((s->kind == SYMBOL_INT || s->kind == SYMBOL_STRIDE) &&
      (value < s->min || value > s->max))
    return fail(DD_BAD_ARGUMENT, "'%s': %s=%lld is not in %lld..%lld", op->name,
                s->name, (long long)value, (long long)s->min,
                (long long)s->max);
  return DD_OK;
}

/* Itself, or through a let, which is nothing that was asked for. */
static bool speaks_of(const struct op *op, const struct expr *e, uint32_t field)
{
  if (expr_uses(e, field)) return true;
  for (uint32_t i = 0; i < op->symbol_count; ++i)
    if (op->symbols[i].kind == SYMBOL_LET && expr_uses(e, i) &&
        speaks_of(op, op->symbols[i].otherwise, field))
      return true;
  return false;
}

/* Adds " head_dim=7 rope_dim=12": the fields that the rule speaks of. */
static void name_culprits(const struct problem *p, const struct expr *rule,
                          char *text, size_t size)
{
  size_t n = 0;

  text[0] = 0;
  for (uint32_t i = 0; i < p->op->symbol_count && n < size; ++i) {
    const struct symbol *s = &p->op->symbols[i];
    const char *word = word_of(s, p->value[i]);
    if (s->kind == SYMBOL_LET || !speaks_of(p->op, rule, i)) continue;
    if (word)
      n += (size_t)snprintf(text + n, size - n, " %s=%s", s->name, word);
    else
      n += (size_t)snprintf(text + n, size - n, " %s=%lld", s->name,
                            (long long)p->value[i]);
  }
}

static dd_status check_rules(const struct problem *p)
{
  char culprits[256];
  int64_t holds;

  for (uint32_t i = 0; i < p->op->rule_count; ++i) {
    const struct rule *r = &p->op->rules[i];
    TRY(expr_eval(r->expr, p->value, &holds));
    if (holds) continue;
    name_culprits(p, r->expr, culprits, sizeof culprits);
    return fail(DD_BAD_ARGUMENT, "'%s': %s, not%s", p->op->name, r->sentence,
                culprits);
  }
  return DD_OK;
}

/* The dtype of an operand that is not there: always its default, so that equal
 * problems have equal values. */
static bool is_dtype_of_none(const struct op *op, uint32_t i,
                             const int64_t *value)
{
  const char *word;

  if (op->symbols[i].kind != SYMBOL_SUFFIX) return false;
  word = word_of(&op->symbols[i - 1], value[i - 1]);
  return word && strcmp(word, "none") == 0;
}

dd_status problem_make(const struct op *op, const int64_t *value,
                       const bool *given, struct problem *out)
{
  memset(out, 0, sizeof *out);
  out->op = op;
  for (uint32_t n = 0; n < op->symbol_count; ++n) {
    uint32_t i = op->order[n];
    if (given[i] && op->symbols[i].kind != SYMBOL_LET &&
        !is_dtype_of_none(op, i, out->value))
      out->value[i] = value[i];
    else TRY(take_default(op, i, out->value));
    TRY(check_value(op, i, out->value[i]));
  }
  return check_rules(out);
}

/* ---- Reading -------------------------------------------------------------- */

static dd_status read_number(const char *field, const char **at, int64_t *out)
{
  char *end;
  long long value;

  errno = 0;
  value = strtoll(*at, &end, 10);
  if (end == *at || isspace((unsigned char)**at) || errno)
    return fail(DD_BAD_ARGUMENT, "%s=%.40s is not a number that fits", field,
                *at);
  *at = end;
  *out = value;
  return DD_OK;
}

struct reading {
  const struct op *op;
  int64_t value[OP_MAX_SYMBOLS];
  bool given[OP_MAX_SYMBOLS];
};

static dd_status give(struct reading *r, int symbol, int64_t value)
{
  const struct symbol *s = &r->op->symbols[symbol];

  if (r->given[symbol])
    return fail(DD_BAD_ARGUMENT, "'%s' is given twice", s->name);
  r->given[symbol] = true;
  r->value[symbol] = value;
  return DD_OK;
}

static dd_status read_choice(struct reading *r, int symbol, const char *text)
{
  const struct symbol *s = &r->op->symbols[symbol];

  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (strcmp(s->choices[i].word, text) == 0)
      return give(r, symbol, s->choices[i].value);
  return fail(DD_BAD_ARGUMENT, "'%s': %s cannot be '%.40s'", r->op->name,
              s->name, text);
}

/* "scale=row:fp32": a choice, and the dtype of what was chosen. */
static dd_status read_suffixed(struct reading *r, int symbol, char *text)
{
  const struct op *op = r->op;
  char *suffix = strchr(text, ':');
  bool paired = (uint32_t)symbol + 1 < op->symbol_count &&
                op->symbols[symbol + 1].kind == SYMBOL_SUFFIX;

  if (!suffix || !paired) return read_choice(r, symbol, text);
  *suffix++ = 0;
  if (strcmp(text, "none") == 0)
    return fail(DD_BAD_ARGUMENT, "'%s': %s=none has no dtype '%.40s'", op->name,
                op->symbols[symbol].name, suffix);
  TRY(read_choice(r, symbol, text));
  return read_choice(r, symbol + 1, suffix);
}

/* "q_stride=6144,128": one number per outer dim of the tensor. */
static dd_status read_stride(struct reading *r, int tensor, const char *text)
{
  const struct tensor_spec *t = &r->op->tensors[tensor];
  char field[80];

  snprintf(field, sizeof field, "%s_stride", t->name);
  for (uint32_t i = 0; i + 1 < t->rank; ++i) {
    int64_t value;
    TRY(read_number(field, &text, &value));
    TRY(give(r, t->stride[i], value));
    if (i + 2 < t->rank && *text++ != ',')
      return fail(DD_BAD_ARGUMENT, "%s takes %u numbers, like %s=A,B", field,
                  t->rank - 1, field);
  }
  return *text ? fail(DD_BAD_ARGUMENT, "%s takes %u numbers, not more: '%s'",
                      field, t->rank - 1, text)
               : DD_OK;
}

static int find_strided(const struct op *op, const char *name)
{
  size_t n = strlen(name);

  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    const struct tensor_spec *t = &op->tensors[i];
    size_t m = strlen(t->name);
    if (t->rank > 1 && t->stride[0] >= 0 && n == m + 7 &&
        strncmp(name, t->name, m) == 0 && strcmp(name + m, "_stride") == 0)
      return (int)i;
  }
  return -1;
}

static dd_status unknown_field(const struct op *op, const char *name)
{
  char known[400];
  size_t n = 0;

  known[0] = 0;
  for (uint32_t i = 1; i < op->symbol_count && n < sizeof known; ++i)
    if (op->symbols[i].kind == SYMBOL_INT || op->symbols[i].kind == SYMBOL_CHOICE)
      n += (size_t)snprintf(known + n, sizeof known - n, " %s",
                            op->symbols[i].name);
  return fail(DD_BAD_ARGUMENT, "'%s' has no field '%.40s'; it has%s", op->name,
              name, known);
}

static dd_status read_field(struct reading *r, char *word)
{
  char *value = strchr(word, '=');
  int symbol, tensor;

  if (!value)
    return fail(DD_BAD_ARGUMENT, "'%.40s' is not name=value", word);
  *value++ = 0;
  tensor = find_strided(r->op, word);
  if (tensor >= 0) return read_stride(r, tensor, value);
  symbol = op_symbol_find(r->op, word);
  if (symbol <= 0 || (r->op->symbols[symbol].kind != SYMBOL_INT &&
                      r->op->symbols[symbol].kind != SYMBOL_CHOICE))
    return unknown_field(r->op, word);
  if (r->op->symbols[symbol].kind == SYMBOL_CHOICE)
    return read_suffixed(r, symbol, value);
  {
    const char *at = value;
    int64_t number;
    TRY(read_number(word, &at, &number));
    if (*at)
      return fail(DD_BAD_ARGUMENT, "%s=%.40s is not a number", word, value);
    return give(r, symbol, number);
  }
}

static dd_status read_fields(struct reading *r, char *text)
{
  char *save = NULL;

  for (char *word = strtok_r(text, " \t\n", &save); word;
       word = strtok_r(NULL, " \t\n", &save))
    TRY(read_field(r, word));
  return DD_OK;
}

static dd_status find_op(const struct op_set *set, const char *name,
                         const struct op **out)
{
  char known[400];
  size_t n = 0;

  TRY(op_need(set, name, out));
  if (*out) return DD_OK;
  known[0] = 0;
  for (uint32_t i = 0; i < set->count && n < sizeof known; ++i)
    n += (size_t)snprintf(known + n, sizeof known - n, " %s", set->ops[i].name);
  return fail(DD_BAD_ARGUMENT, "no op is named '%.40s'; known ops:%s", name,
              known);
}

enum { SPELLING_MAX = 4096 };

static dd_status copy_spelling(const char *spelling, char *text)
{
  size_t n = strlen(spelling);

  if (n >= SPELLING_MAX)
    return fail(DD_BAD_ARGUMENT, "a spelling of %zu bytes is too long", n);
  memcpy(text, spelling, n + 1);
  return DD_OK;
}

dd_status problem_parse(const struct op_set *set, const char *spelling,
                        struct problem *out)
{
  char text[SPELLING_MAX], *io, *rest, *start;
  struct reading r;

  memset(&r, 0, sizeof r);
  TRY(copy_spelling(spelling, text));
  start = text + strspn(text, " \t\n");
  rest = start + strcspn(start, " \t\n");
  if (*rest) *rest++ = 0;
  io = strchr(start, ':');
  if (io) *io++ = 0;
  TRY(find_op(set, start, &r.op));
  if (!io)
    return fail(DD_BAD_ARGUMENT, "'%s' needs an io dtype, like %s:bf16", start,
                start);
  TRY(read_choice(&r, 0, io));
  TRY(read_fields(&r, rest));
  return problem_make(r.op, r.value, r.given, out);
}

/* Whether symbol i of p has the value it would take by itself. */
static bool at_default(const struct problem *p, uint32_t i)
{
  const struct symbol *s = &p->op->symbols[i];
  int64_t value;

  if (i == 0) return false;
  if (!s->otherwise)
    return s->choice_count && s->choices[0].value == p->value[i];
  return !expr_eval(s->otherwise, p->value, &value) && value == p->value[i];
}

dd_status problem_override(const struct problem *base, const char *fields,
                           struct problem *out)
{
  char text[SPELLING_MAX];
  struct reading r;

  memset(&r, 0, sizeof r);
  r.op = base->op;
  TRY(copy_spelling(fields, text));
  TRY(read_fields(&r, text));
  for (uint32_t i = 0; i < r.op->symbol_count; ++i) {
    if (r.given[i] || at_default(base, i)) continue;
    r.given[i] = true;
    r.value[i] = base->value[i];
  }
  return problem_make(r.op, r.value, r.given, out);
}

/* ---- Printing ------------------------------------------------------------- */

/* A table prints each problem that it reads, and printf is slow at it. */
static void put_int(struct bytes *out, int64_t value)
{
  char text[24], *at = text + sizeof text;
  uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;

  do *--at = (char)('0' + left % 10);
  while (left /= 10);
  if (value < 0) *--at = '-';
  bytes_add(out, at, (size_t)(text + sizeof text - at));
}

static void put_field(struct bytes *out, const char *field)
{
  bytes_text(out, " ");
  bytes_text(out, field);
  bytes_text(out, "=");
}

static void print_stride(const struct problem *p, const struct tensor_spec *t,
                         struct bytes *out)
{
  bool spelled = false;

  if (t->rank < 2 || t->stride[0] < 0) return;
  for (uint32_t i = 0; i + 1 < t->rank; ++i)
    if (!at_default(p, (uint32_t)t->stride[i])) spelled = true;
  if (!spelled) return;
  bytes_printf(out, " %s_stride=", t->name);
  for (uint32_t i = 0; i + 1 < t->rank; ++i)
    bytes_printf(out, "%s%lld", i ? "," : "", (long long)p->value[t->stride[i]]);
}

static void print_field(const struct problem *p, uint32_t i, struct bytes *out)
{
  const struct symbol *s = &p->op->symbols[i];

  bool suffix = i + 1 < p->op->symbol_count && s[1].kind == SYMBOL_SUFFIX &&
                !at_default(p, i + 1);

  if (s->kind != SYMBOL_INT && s->kind != SYMBOL_CHOICE) return;
  if (at_default(p, i) && !suffix) return;
  put_field(out, s->name);
  if (s->kind == SYMBOL_CHOICE) bytes_text(out, word_of(s, p->value[i]));
  else put_int(out, p->value[i]);
  if (!suffix) return;
  bytes_text(out, ":");
  bytes_text(out, word_of(s + 1, p->value[i + 1]));
}

static void print(const struct problem *p, bool dynamic, uint32_t but,
                  struct bytes *out)
{
  bytes_text(out, p->op->name);
  bytes_text(out, ":");
  bytes_text(out, word_of(&p->op->symbols[0], p->value[0]));
  for (uint32_t i = 1; i < p->op->symbol_count; ++i)
    if (i != but && (dynamic || !p->op->symbols[i].dynamic))
      print_field(p, i, out);
  for (uint32_t i = 0; dynamic && i < p->op->tensor_count; ++i)
    print_stride(p, &p->op->tensors[i], out);
}

void problem_print(const struct problem *p, struct bytes *out)
{
  print(p, true, UINT32_MAX, out);
}

void problem_print_static(const struct problem *p, struct bytes *out)
{
  print(p, false, UINT32_MAX, out);
}

void problem_print_but(const struct problem *p, uint32_t field,
                       struct bytes *out)
{
  print(p, true, field, out);
}

bool problem_equal(const struct problem *a, const struct problem *b)
{
  return a->op == b->op && memcmp(a->value, b->value,
                                  sizeof *a->value * a->op->symbol_count) == 0;
}

/* Whether b's field of the same name has the same word, or number. */
static bool same_field(const struct problem *a, uint32_t i,
                       const struct problem *b)
{
  const struct symbol *s = &a->op->symbols[i];
  int at = op_symbol_find(b->op, s->name);
  const char *word = word_of(s, a->value[i]), *other;

  if (s->kind == SYMBOL_LET || s->kind == SYMBOL_STRIDE) return true;
  if (at < 0) return at_default(a, i);
  other = word_of(&b->op->symbols[at], b->value[at]);
  if (word && other) return !strcmp(word, other);
  return word == other && a->value[i] == b->value[at];
}

static bool same_memory(const struct tensor_shape *a,
                        const struct tensor_shape *b)
{
  if (a->present != b->present) return false;
  return !a->present ||
         (a->dtype == b->dtype && a->rank == b->rank &&
          !memcmp(a->extent, b->extent, sizeof a->extent) &&
          !memcmp(a->stride, b->stride, sizeof a->stride));
}

static const char *alias_of(const struct op *op, int tensor)
{
  int alias = op->tensors[tensor].alias;

  return alias < 0 ? "" : op->tensors[alias].name;
}

/* One that b has not is the same if a does not have it here either. */
static bool same_tensor(const struct problem *a, int i,
                        const struct problem *b)
{
  int at = op_tensor_find(b->op, a->op->tensors[i].name);
  struct tensor_shape shape = {0}, other = {0};

  if (problem_shape(a, i, &shape)) return false;
  if (at >= 0 && problem_shape(b, at, &other)) return false;
  if (at >= 0 && (a->op->tensors[i].role != b->op->tensors[at].role ||
                  strcmp(alias_of(a->op, i), alias_of(b->op, at))))
    return false;
  return same_memory(&shape, &other) ||
         (at < 0 && a->op->tensors[i].role == TENSOR_SCRATCH);
}

static bool same_attr(const struct attr_spec *a, const struct op *op)
{
  for (uint32_t i = 0; i < op->attr_count; ++i)
    if (!strcmp(op->attrs[i].name, a->name))
      return op->attrs[i].otherwise == a->otherwise;
  return false;
}

static const char *tensor_difference(const struct problem *a,
                                     const struct problem *b)
{
  for (uint32_t i = 0; i < a->op->tensor_count; ++i)
    if (!same_tensor(a, (int)i, b)) return a->op->tensors[i].name;
  return NULL;
}

const char *problem_difference(const struct problem *a,
                               const struct problem *b)
{
  const char *name;

  if (a->op == b->op) return NULL; /* the same specs */
  for (uint32_t i = 0; i < a->op->symbol_count; ++i)
    if (!same_field(a, i, b)) return a->op->symbols[i].name;
  name = tensor_difference(a, b);
  if (!name) name = tensor_difference(b, a);
  for (uint32_t i = 0; i < a->op->attr_count && !name; ++i)
    if (!same_attr(&a->op->attrs[i], b->op)) name = a->op->attrs[i].name;
  return name;
}

int64_t problem_get(const struct problem *p, const char *name)
{
  int i = op_symbol_find(p->op, name);

  return i < 0 ? 0 : p->value[i];
}

/* ---- Tensors ---------------------------------------------------------------- */

static dd_status too_large(const struct problem *p, const struct tensor_spec *t)
{
  return fail(DD_BAD_ARGUMENT, "'%s': tensor '%s' is too large", p->op->name,
              t->name);
}

/* Elements, and from the first byte to past the last. */
static dd_status measure(const struct problem *p, const struct tensor_spec *t,
                         struct tensor_shape *s)
{
  int64_t last = 0, reach;

  s->count = 1;
  for (uint32_t i = 0; i < s->rank; ++i) {
    if (s->extent[i] < 0) return too_large(p, t);
    if (__builtin_mul_overflow(s->count, s->extent[i], &s->count))
      return too_large(p, t);
    if (s->extent[i] &&
        (__builtin_mul_overflow(s->extent[i] - 1, s->stride[i], &reach) ||
         __builtin_add_overflow(last, reach, &last)))
      return too_large(p, t);
  }
  if (__builtin_mul_overflow(last + 1, dtype_bytes(s->dtype), &s->span))
    return too_large(p, t);
  if (!s->count) s->span = 0;
  return DD_OK;
}

dd_status problem_shape(const struct problem *p, int tensor,
                        struct tensor_shape *out)
{
  const struct tensor_spec *t = &p->op->tensors[tensor];
  int64_t present = 1, inner = 1;

  memset(out, 0, sizeof *out);
  if (t->when) TRY(expr_eval(t->when, p->value, &present));
  out->present = present != 0;
  TRY(expr_eval(t->dtype, p->value, &out->dtype));
  out->rank = t->rank;
  for (uint32_t i = t->rank; i-- > 0;) {
    TRY(expr_eval(t->extent[i], p->value, &out->extent[i]));
    out->stride[i] = t->stride[i] >= 0 ? p->value[t->stride[i]] : inner;
    if (__builtin_mul_overflow(inner, out->extent[i], &inner))
      return too_large(p, t);
  }
  return measure(p, t, out);
}

dd_status problem_traffic(const struct problem *p, int64_t *read_bytes,
                          int64_t *write_bytes)
{
  TRY(expr_eval(p->op->read_bytes, p->value, read_bytes));
  return expr_eval(p->op->write_bytes, p->value, write_bytes);
}

/* ---- Split form ----------------------------------------------------------- */

/* The step's strides are those of the tensors it stands on. */
static dd_status copy_strides(const struct problem *p, const struct op *inner,
                              const int bind[OP_MAX_TENSORS], int64_t *value,
                              bool *given)
{
  for (uint32_t j = 0; j < inner->tensor_count; ++j) {
    const struct tensor_spec *t = &inner->tensors[j];
    struct tensor_shape shape;
    if (bind[j] < 0) continue;
    TRY(problem_shape(p, bind[j], &shape));
    for (uint32_t d = 0; d + 1 < t->rank && d + 1 < shape.rank; ++d)
      if (t->stride[d] >= 0) {
        value[t->stride[d]] = shape.stride[d];
        given[t->stride[d]] = true;
      }
  }
  return DD_OK;
}

dd_status problem_step(const struct op_set *set, const struct problem *p,
                       uint32_t i, struct problem *out,
                       int bind[OP_MAX_TENSORS])
{
  const struct step_spec *s = &p->op->steps[i];
  const struct op *inner;
  int64_t value[OP_MAX_SYMBOLS] = {0};
  bool given[OP_MAX_SYMBOLS] = {false};

  TRY(op_need(set, s->op, &inner));
  if (!inner) return fail(DD_BUG, "no op is named '%s'", s->op);
  for (uint32_t j = 0; j < inner->symbol_count; ++j) {
    int outer = op_symbol_find(p->op, inner->symbols[j].name);
    if (outer < 0 || inner->symbols[j].kind == SYMBOL_STRIDE) continue;
    given[j] = true;
    value[j] = p->value[outer];
  }
  for (uint32_t j = 0; j < s->set_count; ++j) {
    int at = op_symbol_find(inner, s->sets[j].field);
    TRY(expr_eval(s->sets[j].value, p->value, &value[at]));
    given[at] = true;
  }
  for (uint32_t j = 0; j < inner->tensor_count; ++j)
    bind[j] = op_tensor_find(p->op, step_outer_name(s, inner->tensors[j].name));
  TRY(copy_strides(p, inner, bind, value, given));
  return problem_make(inner, value, given, out);
}

dd_status problem_step_offset(const struct problem *p, uint32_t i,
                              const char *inner, int64_t *bytes)
{
  const struct step_spec *s = &p->op->steps[i];
  struct tensor_shape shape;

  *bytes = 0;
  for (uint32_t j = 0; j < s->tensor_count; ++j) {
    if (strcmp(s->tensors[j].inner, inner) || !s->tensors[j].at) continue;
    TRY(problem_shape(p, op_tensor_find(p->op, s->tensors[j].outer), &shape));
    TRY(expr_eval(s->tensors[j].at, p->value, bytes));
    if (*bytes < 0 ||
        __builtin_mul_overflow(*bytes, dtype_bytes(shape.dtype), bytes))
      return fail(DD_BAD_SPEC, "'%s': tensor '%s' of step %u begins outside "
                  "'%s'", p->op->name, inner, i + 1, s->tensors[j].outer);
  }
  return DD_OK;
}
