/* op.c - read the specs' message, and check everything in it. */
#include "op.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { OP_MAX_OPS = 64, OP_MAX_LIST = 256, OP_MAX_VALUES = 64 };

/* What every read_ function works on. */
struct load {
  struct wire_reader wire;
  struct arena *arena;
  struct op *op;           /* the one being read */
  struct scheme *scheme;   /* or NULL: then tunables are not in scope */
  dd_status status;        /* the first failure */
};

/* ---- Names in scope --------------------------------------------------- */

static bool resolve_choice(const struct op *op, const char *name, const char *dot,
                           struct expr_name *out)
{
  for (uint32_t i = 0; i < op->symbol_count; ++i) {
    const struct symbol *s = &op->symbols[i];
    if (strlen(s->name) != (size_t)(dot - name) ||
        strncmp(s->name, name, (size_t)(dot - name)))
      continue;
    for (uint32_t j = 0; j < s->choice_count; ++j)
      if (strcmp(s->choices[j].word, dot + 1) == 0) {
        *out = (struct expr_name){true, s->choices[j].value};
        return true;
      }
  }
  return false;
}

static bool resolve_in_scheme(const struct load *l, const char *name,
                              struct expr_name *out)
{
  static const char *const device[] = {"arch", "sms", "occupancy"};
  int at = scheme_tunable_find(l->scheme, name);
  uint32_t first = l->op->symbol_count;

  if (at >= 0) {
    *out = (struct expr_name){false, (int64_t)first + at};
    return true;
  }
  for (size_t i = 0; i < COUNT_OF(device); ++i)
    if (strcmp(name, device[i]) == 0) {
      *out = (struct expr_name){
          false, (int64_t)(first + l->scheme->tunable_count + i)};
      return true;
    }
  return false;
}

static bool resolve(void *scope, const char *name, struct expr_name *out)
{
  const struct load *l = scope;
  const char *dot = strchr(name, '.');
  int at;

  if (dot) return resolve_choice(l->op, name, dot, out);
  at = op_symbol_find(l->op, name);
  if (at >= 0) {
    *out = (struct expr_name){false, at};
    return true;
  }
  if (dtype_parse(name)) {
    *out = (struct expr_name){true, dtype_parse(name)};
    return true;
  }
  return l->scheme && resolve_in_scheme(l, name, out);
}

/* ---- Small readers ------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void refuse(struct load *l,
                                                         const char *fmt, ...)
{
  char text[256];
  va_list args;

  if (l->status || l->wire.failed) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  l->status = fail(DD_BAD_SPEC, "op '%s': %s",
                   l->op && l->op->name ? l->op->name : "?", text);
}

static const char *text(struct load *l, const char *what)
{
  return wire_text(&l->wire, l->arena, what);
}

/* [A-Za-z_][A-Za-z0-9_]*, at most 63: safe in C++ text, paths and SQL. */
static bool is_name(const char *s)
{
  size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                       "0123456789_");

  return n > 0 && n < 64 && s[n] == 0 && !(*s >= '0' && *s <= '9');
}

static const char *name(struct load *l, const char *what)
{
  const char *s = text(l, what);

  if (!l->wire.failed && !is_name(s)) refuse(l, "'%.40s' is not a name (%s)", s, what);
  return s;
}

/* An expression, or NULL for an empty text where that is allowed. */
static const struct expr *expression(struct load *l, bool needed,
                                     const char *what)
{
  const char *s = text(l, what);
  const struct expr *e = NULL;

  if (l->status || l->wire.failed) return NULL;
  if (!*s) {
    if (needed) refuse(l, "%s is missing", what);
    return NULL;
  }
  l->status = expr_compile(l->arena, s, resolve, l, &e);
  if (l->status) fail_in(l->status, "op '%s', %s", l->op->name, what);
  return e;
}

static void *list(struct load *l, uint32_t *count, uint32_t limit, size_t size,
                  const char *what)
{
  void *rows;

  *count = wire_count(&l->wire, limit, what);
  rows = arena_alloc(l->arena, size * *count);
  if (!rows && !l->status) l->status = fail(DD_NO_MEMORY, "out of memory");
  if (!rows) *count = 0;
  return rows;
}
#define LIST(l, count, limit, type, what)                                      \
  ((type *)list(l, count, limit, sizeof(type), what))

/* A reader of one row of a list stops the loop on failure. */
static bool going(const struct load *l)
{
  return !l->status && !l->wire.failed;
}

/* ---- Symbols ------------------------------------------------------------ */

static void read_choices(struct load *l, struct symbol *s)
{
  s->choices = LIST(l, &s->choice_count, OP_MAX_CHOICES, struct choice, "choices");
  for (uint32_t i = 0; i < s->choice_count && going(l); ++i) {
    s->choices[i].word = name(l, "a choice");
    s->choices[i].value = wire_i64(&l->wire, "a choice's value");
  }
}

/* The default may name symbols that come later: kept as text until all are
 * there.  `texts` has one per symbol. */
static void read_symbol(struct load *l, uint32_t i, const char **texts)
{
  struct symbol *s = &l->op->symbols[i];

  s->name = name(l, "a symbol's name");
  s->kind = (enum symbol_kind)wire_u32(&l->wire, "a symbol's kind");
  s->dynamic = wire_u32(&l->wire, "dynamic") != 0;
  s->min = wire_i64(&l->wire, "min");
  s->max = wire_i64(&l->wire, "max");
  texts[i] = text(l, "a default");
  s->cpp_type = text(l, "a C++ type");
  s->tensor = (int)(wire_u32(&l->wire, "a stride's tensor") - 1u);
  s->dim = (int)wire_u32(&l->wire, "a stride's dim");
  read_choices(l, s);
  if (s->kind > SYMBOL_SUFFIX) refuse(l, "symbol '%s' has kind %d", s->name, (int)s->kind);
  if ((s->kind == SYMBOL_IO) != (i == 0)) refuse(l, "symbol 0 must be io");
  if (i == 0 && strcmp(s->name, "io")) refuse(l, "symbol 0 must be io");
  if (s->kind == SYMBOL_SUFFIX && l->op->symbols[i ? i - 1 : 0].kind != SYMBOL_CHOICE)
    refuse(l, "'%s' does not follow a choice", s->name);
  if ((s->kind == SYMBOL_IO || s->kind == SYMBOL_CHOICE ||
       s->kind == SYMBOL_SUFFIX) && !s->choice_count)
    refuse(l, "'%s' has no choices", s->name);
  for (uint32_t j = 0; j < i; ++j)
    if (strcmp(l->op->symbols[j].name, s->name) == 0)
      refuse(l, "'%s' is defined twice", s->name);
}

static void compile_default(struct load *l, struct symbol *s, const char *value)
{
  if (!*value) {
    if (s->kind == SYMBOL_LET || s->kind == SYMBOL_STRIDE)
      refuse(l, "'%s' has no value", s->name);
    return;
  }
  l->status = expr_compile(l->arena, value, resolve, l, &s->otherwise);
  if (l->status) fail_in(l->status, "op '%s', %s", l->op->name, s->name);
}

/* Depth-first: a symbol goes into the order after those it needs. */
static void visit_symbol(struct load *l, uint32_t i, uint8_t *state, uint32_t *n)
{
  const struct symbol *s = &l->op->symbols[i];

  if (state[i] == 2 || l->status) return;
  if (state[i] == 1) {
    refuse(l, "the default of '%s' needs itself", s->name);
    return;
  }
  state[i] = 1;
  if (s->kind == SYMBOL_SUFFIX) visit_symbol(l, i - 1, state, n);
  for (uint32_t j = 0; s->otherwise && j < l->op->symbol_count; ++j)
    if (expr_uses(s->otherwise, j)) visit_symbol(l, j, state, n);
  state[i] = 2;
  l->op->order[(*n)++] = i;
}

static void read_symbols(struct load *l)
{
  struct op *op = l->op;
  const char *texts[OP_MAX_SYMBOLS];
  uint8_t state[OP_MAX_SYMBOLS] = {0};
  uint32_t n = 0, count;

  op->symbols = LIST(l, &count, OP_MAX_SYMBOLS, struct symbol, "symbols");
  op->order = ARENA_ARRAY(l->arena, uint32_t, count + 1);
  if (!op->order) l->status = fail(DD_NO_MEMORY, "out of memory");
  if (!count) refuse(l, "it has no symbols");
  for (uint32_t i = 0; i < count && going(l); ++i) {
    read_symbol(l, i, texts);
    op->symbol_count = i + 1; /* those in scope so far */
  }
  for (uint32_t i = 0; i < count && going(l); ++i)
    compile_default(l, &op->symbols[i], texts[i]);
  for (uint32_t i = 0; i < count && going(l); ++i) visit_symbol(l, i, state, &n);
}

/* ---- Tensors, attributes, arguments ------------------------------------- */

static int tensor_index(struct load *l, const char *tensor, const char *what)
{
  int at = op_tensor_find(l->op, tensor);

  if (at < 0) refuse(l, "%s: no tensor is named '%.40s'", what, tensor);
  return at;
}

static void read_strides(struct load *l, struct tensor_spec *t, int self)
{
  uint32_t count = wire_count(&l->wire, OP_MAX_RANK - 1, "strides");

  for (uint32_t i = 0; i < OP_MAX_RANK; ++i) t->stride[i] = -1;
  if (count && count != t->rank - 1) refuse(l, "'%s' has %u strides", t->name, count);
  for (uint32_t i = 0; i < count && going(l); ++i) {
    const char *symbol = text(l, "a stride");
    int at = *symbol ? op_symbol_find(l->op, symbol) : -1;
    if (*symbol && (at < 0 || l->op->symbols[at].kind != SYMBOL_STRIDE ||
                    l->op->symbols[at].tensor != self ||
                    l->op->symbols[at].dim != (int)i))
      refuse(l, "'%s' is not stride %u of '%s'", symbol, i, t->name);
    t->stride[i] = at;
  }
}

static void read_tensor(struct load *l, uint32_t i)
{
  struct tensor_spec *t = &l->op->tensors[i];
  const char *alias;

  t->name = name(l, "a tensor's name");
  t->role = (enum tensor_role)wire_u32(&l->wire, "a role");
  t->fill = (enum tensor_fill)wire_u32(&l->wire, "a fill");
  t->dtype = expression(l, true, "a tensor's dtype");
  t->when = expression(l, false, "a tensor's condition");
  alias = text(l, "an alias");
  t->rank = wire_count(&l->wire, OP_MAX_RANK, "extents");
  for (uint32_t j = 0; j < t->rank && going(l); ++j)
    t->extent[j] = expression(l, true, "an extent");
  read_strides(l, t, (int)i);
  t->limit = expression(l, t->fill == FILL_POSITION, "a limit");
  if (!going(l)) return;
  if (t->role > TENSOR_SCRATCH || t->fill > FILL_OPERAND || !t->rank)
    refuse(l, "tensor '%s' is out of range", t->name);
  l->op->tensor_count = i; /* an alias comes before */
  t->alias = *alias ? tensor_index(l, alias, "alias") : -1;
  if (op_tensor_find(l->op, t->name) >= 0)
    refuse(l, "tensor '%s' is defined twice", t->name);
}

static void read_tensors(struct load *l)
{
  uint32_t count;

  l->op->tensors = LIST(l, &count, OP_MAX_TENSORS, struct tensor_spec, "tensors");
  for (uint32_t i = 0; i < count && going(l); ++i) read_tensor(l, i);
  if (going(l)) l->op->tensor_count = count;
}

static void read_attrs(struct load *l)
{
  struct op *op = l->op;

  op->attrs = LIST(l, &op->attr_count, OP_MAX_ATTRS, struct attr_spec, "attrs");
  for (uint32_t i = 0; i < op->attr_count && going(l); ++i) {
    op->attrs[i].name = name(l, "an attr");
    op->attrs[i].otherwise = wire_f64(&l->wire, "an attr's default");
    op->attrs[i].trial = wire_f64(&l->wire, "an attr's trial value");
  }
}

uint32_t arg_type_bytes(enum arg_type type)
{
  return type == ARG_I32 || type == ARG_F32 ? 4 : 8;
}

static uint32_t attr_index(struct load *l, const char *attr)
{
  for (uint32_t i = 0; i < l->op->attr_count; ++i)
    if (strcmp(l->op->attrs[i].name, attr) == 0) return i;
  refuse(l, "no attr is named '%.40s'", attr);
  return 0;
}

static void read_arg(struct load *l, struct arg_spec *arg)
{
  uint32_t bytes;

  arg->name = name(l, "an argument");
  arg->kind = (enum arg_kind)wire_u32(&l->wire, "an argument's kind");
  arg->type = (enum arg_type)wire_u32(&l->wire, "an argument's type");
  if (arg->kind > ARG_ATTR || arg->type > ARG_F32 ||
      (arg->kind == ARG_TENSOR) != (arg->type == ARG_PTR))
    refuse(l, "argument '%s' is out of range", arg->name);
  if (arg->kind == ARG_VALUE)
    arg->value = expression(l, true, arg->name);
  else if (arg->kind == ARG_ATTR)
    arg->index = attr_index(l, text(l, "an attr"));
  else
    arg->index = (uint32_t)tensor_index(l, text(l, "a tensor"), "argument");
  bytes = arg_type_bytes(arg->type);
  arg->offset = (l->op->args_size + bytes - 1) / bytes * bytes;
  l->op->args_size = arg->offset + bytes;
}

static void read_args(struct load *l)
{
  struct op *op = l->op;

  op->args = LIST(l, &op->arg_count, OP_MAX_ARGS, struct arg_spec, "arguments");
  for (uint32_t i = 0; i < op->arg_count && going(l); ++i) read_arg(l, &op->args[i]);
  op->args_size = (op->args_size + 7) / 8 * 8; /* it starts with a pointer */
  if (op->args_size > OP_MAX_ARGS_SIZE) refuse(l, "its arguments are too many");
}

/* ---- Rules, split form, schemes ------------------------------------------- */

static void read_rules(struct load *l, uint32_t *count, struct rule **rules,
                       bool with_sentence)
{
  *rules = LIST(l, count, OP_MAX_LIST, struct rule, "rules");
  for (uint32_t i = 0; i < *count && going(l); ++i) {
    (*rules)[i].expr = expression(l, true, "a rule");
    (*rules)[i].sentence = with_sentence ? text(l, "a sentence") : "";
  }
}

static void read_step(struct load *l, struct step_spec *s)
{
  s->op = name(l, "a step's op");
  s->sets = LIST(l, &s->set_count, OP_MAX_SYMBOLS, struct step_set, "sets");
  for (uint32_t i = 0; i < s->set_count && going(l); ++i) {
    s->sets[i].field = name(l, "a field to set");
    s->sets[i].value = expression(l, true, s->sets[i].field);
  }
  s->tensors = list(l, &s->tensor_count, OP_MAX_TENSORS, sizeof *s->tensors,
                    "a step's tensors");
  for (uint32_t i = 0; i < s->tensor_count && going(l); ++i) {
    s->tensors[i].inner = name(l, "a step's tensor");
    s->tensors[i].outer = name(l, "a step's tensor");
    s->tensors[i].at = expression(l, false, s->tensors[i].inner);
    if (op_tensor_find(l->op, s->tensors[i].outer) >= 0) continue;
    attr_index(l, s->tensors[i].outer);
    if (going(l) && s->tensors[i].at)
      refuse(l, "split: '%s' is no tensor that '%s' could begin in",
             s->tensors[i].outer, s->tensors[i].inner);
  }
}

static void read_tunable(struct load *l, struct tunable *t)
{
  t->name = name(l, "a tunable");
  t->boolean = wire_u32(&l->wire, "boolean") != 0;
  t->values = LIST(l, &t->value_count, OP_MAX_VALUES, int64_t, "values");
  for (uint32_t i = 0; i < t->value_count && going(l); ++i)
    t->values[i] = wire_i64(&l->wire, "a tunable's value");
  if (going(l) && !t->value_count) refuse(l, "tunable '%s' has no values", t->name);
  if (op_symbol_find(l->op, t->name) >= 0)
    refuse(l, "tunable '%s' has the name of a symbol", t->name);
}

static void read_facts(struct load *l, struct scheme *s)
{
  s->facts = LIST(l, &s->fact_count, OP_MAX_SYMBOLS, uint32_t, "facts");
  for (uint32_t i = 0; i < s->fact_count && going(l); ++i) {
    const char *symbol = text(l, "a fact");
    int at = op_symbol_find(l->op, symbol);
    if (at < 0 || l->op->symbols[at].dynamic)
      refuse(l, "fact '%.40s' is not a static symbol", symbol);
    s->facts[i] = at < 0 ? 0 : (uint32_t)at;
  }
}

static void read_scheme(struct load *l, struct scheme *s)
{
  uint32_t count;

  s->name = name(l, "a scheme");
  s->file = text(l, "a file");
  s->function = name(l, "a kernel");
  s->params = name(l, "a struct of tunables");
  s->fits_all = wire_u32(&l->wire, "fits_all") != 0;
  read_facts(l, s);
  s->tunables = LIST(l, &count, OP_MAX_TUNABLES, struct tunable, "tunables");
  for (uint32_t i = 0; i < count && going(l); ++i) read_tunable(l, &s->tunables[i]);
  s->tunable_count = going(l) ? count : 0;
  l->scheme = s;
  read_rules(l, &s->rule_count, &s->rules, false);
  for (int i = 0; i < 3; ++i) s->grid[i] = expression(l, i == 0, "grid");
  s->block = expression(l, true, "block");
  s->shared_bytes = expression(l, false, "shared");
  s->min_blocks = expression(l, false, "min_blocks");
  l->scheme = NULL;
}

static void read_schemes(struct load *l)
{
  struct op *op = l->op;

  op->schemes = LIST(l, &op->scheme_count, OP_MAX_LIST, struct scheme, "schemes");
  for (uint32_t i = 0; i < op->scheme_count && going(l); ++i)
    read_scheme(l, &op->schemes[i]);
  if (going(l) && (!op->scheme_count || !op->schemes[0].fits_all))
    refuse(l, "it has no default scheme");
}

static void read_op(struct load *l)
{
  struct op *op = l->op;

  op->name = name(l, "an op's name");
  op->facts_type = name(l, "a facts type");
  op->args_type = name(l, "an arguments type");
  read_symbols(l);
  read_tensors(l);
  read_attrs(l);
  read_args(l);
  read_rules(l, &op->rule_count, &op->rules, true);
  op->steps = LIST(l, &op->step_count, OP_MAX_STEPS, struct step_spec, "steps");
  for (uint32_t i = 0; i < op->step_count && going(l); ++i) read_step(l, &op->steps[i]);
  op->items = expression(l, false, "items");
  op->read_bytes = expression(l, true, "read_bytes");
  op->write_bytes = expression(l, true, "write_bytes");
  op->awkward = LIST(l, &op->awkward_count, OP_MAX_LIST, const char *, "awkward");
  for (uint32_t i = 0; i < op->awkward_count && going(l); ++i)
    op->awkward[i] = text(l, "an awkward problem");
  op->corpus = LIST(l, &op->corpus_count, 2, const char *, "corpus");
  for (uint32_t i = 0; i < op->corpus_count && going(l); ++i)
    op->corpus[i] = text(l, "a corpus");
  if (going(l) && op->corpus_count == 1) refuse(l, "its corpus is half");
  read_schemes(l);
}

static bool has_attr(const struct op *op, const char *attr)
{
  for (uint32_t i = 0; i < op->attr_count; ++i)
    if (strcmp(op->attrs[i].name, attr) == 0) return true;
  return false;
}

/* A step's op, fields and tensors exist: known only when all ops are. */
static void check_steps(struct load *l, const struct op_set *set)
{
  for (uint32_t i = 0; i < l->op->step_count && going(l); ++i) {
    const struct step_spec *s = &l->op->steps[i];
    const struct op *inner = op_find(set, s->op);
    if (!inner) {
      refuse(l, "split: no op is named '%s'", s->op);
      return;
    }
    for (uint32_t j = 0; j < s->set_count; ++j)
      if (op_symbol_find(inner, s->sets[j].field) < 0)
        refuse(l, "split: '%s' has no field '%s'", s->op, s->sets[j].field);
    for (uint32_t j = 0; j < s->tensor_count; ++j)
      if (op_tensor_find(inner, s->tensors[j].inner) < 0 &&
          !has_attr(inner, s->tensors[j].inner))
        refuse(l, "split: '%s' has no tensor '%s'", s->op, s->tensors[j].inner);
  }
}

dd_status op_set_read(struct op_set *set, const void *message, size_t size,
                      const struct allocator *allocator)
{
  struct hash hash = hash_of(message, size);

  return op_set_read_known(set, message, size, &hash, allocator);
}

/* All of a message before its first op. */
static void read_head(struct load *l, struct op_set *set, const void *message,
                      size_t size, const struct hash *hash,
                      const struct allocator *allocator)
{
  memset(set, 0, sizeof *set);
  arena_init(&set->arena, allocator);
  set->hash = *hash;
  wire_reader_init(&l->wire, message, size);
  if (wire_u32(&l->wire, "the specs") != OP_WIRE_MAGIC ||
      wire_u32(&l->wire, "the specs' version") != OP_WIRE_VERSION)
    l->status = fail(DD_BAD_SPEC, "these are not specs of version %d",
                     OP_WIRE_VERSION);
  if (!l->status) set->ops = LIST(l, &set->count, OP_MAX_OPS, struct op, "ops");
}

dd_status op_set_read_known(struct op_set *set, const void *message,
                            size_t size, const struct hash *hash,
                            const struct allocator *allocator)
{
  struct load l = {.arena = &set->arena};

  read_head(&l, set, message, size, hash, allocator);
  for (uint32_t i = 0; i < set->count && going(&l); ++i) {
    l.op = &set->ops[i];
    read_op(&l);
  }
  for (uint32_t i = 0; i < set->count && going(&l); ++i) {
    l.op = &set->ops[i];
    check_steps(&l, set);
  }
  if (!l.status) l.status = wire_status(&l.wire, true, DD_BAD_SPEC);
  if (l.status) op_set_release(set);
  return l.status;
}

/* ---- Reading later -------------------------------------------------------- */

struct op_later {
  pthread_mutex_t lock;
  struct arena arena; /* under the lock */
  struct part {
    const uint8_t *at, *end;
    atomic_bool ready;
  } parts[];
};

/* Goes past one thing: t a text, u a u32, w an i64 or f64, [...] a list.
 * Returns what follows in the form. */
static const char *skip_list(struct wire_reader *r, const char *form);

static const char *skip(struct wire_reader *r, const char *form)
{
  size_t size;

  if (*form == '[') return skip_list(r, form + 1);
  if (*form == 't') wire_bytes(r, &size, "a text");
  else if (*form == 'u') wire_u32(r, "a number");
  else wire_i64(r, "a number");
  return form + 1;
}

static const char *skip_list(struct wire_reader *r, const char *form)
{
  uint32_t count = wire_count(r, UINT32_MAX, "a list");
  const char *end = form;

  for (int depth = 1; depth; ++end) depth += (*end == '[') - (*end == ']');
  for (uint32_t i = 0; i < count && !r->failed; ++i)
    for (const char *at = form; *at != ']';) at = skip(r, at);
  return end;
}

/* An op behind its name, as op.h has it. */
static const char op_form[] =
    "tt[tuuwwttuu[tw]][tuuttt[t][t]t][tww][tuut][tt][t[tt][ttt]]ttt[t][t]"
    "[ttttu[t][tu[w]][t]tttttt]";

static void find_part(struct load *l, struct part *p)
{
  p->at = l->wire.at;
  l->op->name = name(l, "an op's name");
  for (const char *at = op_form; *at;) at = skip(&l->wire, at);
  p->end = l->wire.at;
}

static struct op_later *new_later(struct op_set *set,
                                  const struct allocator *allocator)
{
  struct op_later *later = arena_alloc(
      &set->arena, sizeof *later + set->count * sizeof *later->parts);

  if (!later) return NULL;
  pthread_mutex_init(&later->lock, NULL); /* glibc's never fails */
  arena_init(&later->arena, allocator);
  return later;
}

dd_status op_set_read_later(struct op_set *set, const void *message,
                            size_t size, const struct hash *hash,
                            const struct allocator *allocator)
{
  struct load l = {.arena = &set->arena};
  const void *kept;

  read_head(&l, set, message, size, hash, allocator);
  kept = arena_text(&set->arena, message, size);
  set->later = l.status ? NULL : new_later(set, allocator);
  if (!l.status && (!kept || !set->later))
    l.status = fail(DD_NO_MEMORY, "out of memory");
  if (!l.status) {
    size_t head = (size_t)(l.wire.at - (const uint8_t *)message);
    wire_reader_init(&l.wire, (const char *)kept + head, size - head);
  }
  for (uint32_t i = 0; i < set->count && going(&l); ++i) {
    l.op = &set->ops[i];
    find_part(&l, &set->later->parts[i]);
  }
  if (!l.status) l.status = wire_status(&l.wire, true, DD_BAD_SPEC);
  if (l.status) op_set_release(set);
  return l.status;
}

/* Under the lock.  The name stays: others are looking at it. */
static dd_status read_part(struct op_later *later, struct part *p,
                           struct op *op)
{
  const size_t after_name = offsetof(struct op, facts_type);
  struct op fresh = {0};
  struct load l = {.arena = &later->arena, .op = &fresh};

  if (atomic_load_explicit(&p->ready, memory_order_relaxed)) return DD_OK;
  wire_reader_init(&l.wire, p->at, (size_t)(p->end - p->at));
  read_op(&l);
  if (!l.status) l.status = wire_status(&l.wire, true, DD_BAD_SPEC);
  if (l.status) return l.status;
  memcpy((char *)op + after_name, (char *)&fresh + after_name,
         sizeof *op - after_name);
  atomic_store_explicit(&p->ready, true, memory_order_release);
  return DD_OK;
}

dd_status op_need(const struct op_set *set, const char *op_name,
                  const struct op **out)
{
  struct op_later *later = set->later;
  dd_status status;
  uint32_t i;

  *out = op_find(set, op_name);
  if (!*out || !later) return DD_OK;
  i = (uint32_t)(*out - set->ops);
  if (atomic_load_explicit(&later->parts[i].ready, memory_order_acquire))
    return DD_OK;
  pthread_mutex_lock(&later->lock);
  status = read_part(later, &later->parts[i], &set->ops[i]);
  pthread_mutex_unlock(&later->lock);
  if (status) *out = NULL;
  return status;
}

void op_set_release(struct op_set *set)
{
  if (set->later) {
    arena_release(&set->later->arena);
    pthread_mutex_destroy(&set->later->lock);
  }
  arena_release(&set->arena);
  set->count = 0;
  set->ops = NULL;
  set->later = NULL;
}

/* ---- Finding ------------------------------------------------------------ */

const struct op *op_find(const struct op_set *set, const char *op)
{
  for (uint32_t i = 0; i < set->count; ++i)
    if (set->ops[i].name && strcmp(set->ops[i].name, op) == 0)
      return &set->ops[i];
  return NULL;
}

int op_symbol_find(const struct op *op, const char *symbol)
{
  for (uint32_t i = 0; i < op->symbol_count; ++i)
    if (*op->symbols[i].name == *symbol &&
        strcmp(op->symbols[i].name, symbol) == 0)
      return (int)i;
  return -1;
}

int op_tensor_find(const struct op *op, const char *tensor)
{
  for (uint32_t i = 0; i < op->tensor_count; ++i)
    if (strcmp(op->tensors[i].name, tensor) == 0) return (int)i;
  return -1;
}

const struct scheme *op_scheme_find(const struct op *op, const char *scheme)
{
  for (uint32_t i = 0; i < op->scheme_count; ++i)
    if (strcmp(op->schemes[i].name, scheme) == 0) return &op->schemes[i];
  return NULL;
}

const char *step_outer_name(const struct step_spec *s, const char *inner)
{
  for (uint32_t i = 0; i < s->tensor_count; ++i)
    if (strcmp(s->tensors[i].inner, inner) == 0) return s->tensors[i].outer;
  return inner;
}

int scheme_tunable_find(const struct scheme *s, const char *tunable)
{
  for (uint32_t i = 0; i < s->tunable_count; ++i)
    if (strcmp(s->tunables[i].name, tunable) == 0) return (int)i;
  return -1;
}
