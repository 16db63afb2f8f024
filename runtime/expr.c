/*
 * expr.c - compile and evaluate the expressions of conditions and launches.
 *
 * A text becomes postfix code for a small stack machine.  Both arms of ?: and
 * of && and || are guarded by jumps, so that "b == 0 || a / b > 1" is safe.
 */
#include "expr.h"

#include <ctype.h>
#include <string.h>

enum code {
  PUSH, /* a number */
  LOAD, /* a slot */
  NEGATE, NOT, TRUTH,
  MULTIPLY, DIVIDE, REMAINDER, ADD, SUBTRACT,
  LESS, LESS_EQUAL, MORE, MORE_EQUAL, EQUAL, NOT_EQUAL,
  JUMP,          /* to an instruction */
  JUMP_IF_ZERO,  /* pops */
  AND_JUMP,      /* top is zero: jump and keep it; else pop */
  OR_JUMP,       /* top is not zero: jump and keep it; else pop */
  CEIL_DIV, MIN, MAX, POW2, BYTES_OF,
};

struct step {
  enum code code;
  int64_t number;
};

enum { EXPR_MAX_STEPS = 512, EXPR_MAX_DEPTH = 64, EXPR_MAX_NESTING = 64 };

struct expr {
  const char *text;
  uint32_t count;
  struct step steps[];
};

/* ---- Compiling ------------------------------------------------------- */

struct parser {
  const char *text, *at;
  expr_resolve *resolve;
  void *scope;
  uint32_t count;
  int depth, max_depth, nesting;
  dd_status status;
  struct step steps[EXPR_MAX_STEPS];
};

static void parse_choice(struct parser *p);

static void refuse(struct parser *p, const char *why)
{
  if (p->status) return;
  p->status = fail(DD_BAD_SPEC, "in the expression '%s' at '%.20s': %s",
                   p->text, p->at, why);
}

static uint32_t put(struct parser *p, enum code code, int64_t number, int pushed)
{
  p->depth += pushed;
  if (p->depth > p->max_depth) p->max_depth = p->depth;
  if (p->count == EXPR_MAX_STEPS || p->max_depth > EXPR_MAX_DEPTH) {
    refuse(p, "it is too long");
    return 0;
  }
  p->steps[p->count] = (struct step){code, number};
  return p->count++;
}

static void skip_space(struct parser *p)
{
  while (*p->at == ' ' || (*p->at >= '\t' && *p->at <= '\r')) p->at++;
}

/* Takes `word` if it comes next, and is not the start of "!=". */
static bool accept(struct parser *p, const char *word)
{
  size_t n = 0;

  skip_space(p);
  for (; word[n]; ++n)
    if (p->at[n] != word[n]) return false;
  if (*word == '!' && p->at[1] == '=') return false;
  p->at += n;
  return true;
}

static void expect(struct parser *p, const char *word)
{
  char why[32] = "expected ' '";

  if (accept(p, word)) return;
  why[10] = *word;
  refuse(p, why);
}

static void parse_number(struct parser *p)
{
  int64_t value = 0;

  for (; isdigit((unsigned char)*p->at); p->at++)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, *p->at - '0', &value)) {
      refuse(p, "the number is too large");
      return;
    }
  put(p, PUSH, value, 1);
}

static void parse_call(struct parser *p, const char *name)
{
  static const struct {
    const char *name;
    enum code code;
    int arguments;
  } functions[] = {{"ceil_div", CEIL_DIV, 2}, {"min", MIN, 2},
                   {"max", MAX, 2},           {"pow2", POW2, 1},
                   {"bytes_of", BYTES_OF, 1}};

  for (size_t i = 0; i < COUNT_OF(functions); ++i) {
    if (strcmp(name, functions[i].name)) continue;
    parse_choice(p);
    if (functions[i].arguments == 2) expect(p, ","), parse_choice(p);
    expect(p, ")");
    put(p, functions[i].code, 0, 1 - functions[i].arguments);
    return;
  }
  refuse(p, "there is no such function");
}

static void parse_name(struct parser *p)
{
  char name[64];
  size_t n = 0;
  struct expr_name found;
  const char *start = p->at;

  while (isalnum((unsigned char)*p->at) || *p->at == '_' || *p->at == '.') {
    if (n == sizeof name - 1) {
      refuse(p, "the name is too long");
      return;
    }
    name[n++] = *p->at++;
  }
  name[n] = 0;
  if (accept(p, "(")) {
    parse_call(p, name);
  } else if (p->resolve(p->scope, name, &found)) {
    put(p, found.constant ? PUSH : LOAD, found.value, 1);
  } else {
    p->at = start;
    refuse(p, "there is no such name");
  }
}

static void parse_primary(struct parser *p)
{
  if (++p->nesting > EXPR_MAX_NESTING) refuse(p, "it is nested too deep");
  skip_space(p);
  if (p->status) {
    /* stop here */
  } else if (accept(p, "(")) {
    parse_choice(p);
    expect(p, ")");
  } else if (accept(p, "-")) {
    parse_primary(p);
    put(p, NEGATE, 0, 0);
  } else if (accept(p, "!")) {
    parse_primary(p);
    put(p, NOT, 0, 0);
  } else if (isdigit((unsigned char)*p->at)) {
    parse_number(p);
  } else if (isalpha((unsigned char)*p->at) || *p->at == '_') {
    parse_name(p);
  } else {
    refuse(p, "expected a value");
  }
  p->nesting--;
}

/* The binary operators, the longer of two that begin alike first; a higher
 * level binds closer. */
struct operator {
  char word[3];
  uint8_t level;
  enum code code;
};
static const struct operator operators[] = {
    {"==", 0, EQUAL},      {"!=", 0, NOT_EQUAL}, {"<=", 1, LESS_EQUAL},
    {">=", 1, MORE_EQUAL}, {"<", 1, LESS},       {">", 1, MORE},
    {"+", 2, ADD},         {"-", 2, SUBTRACT},   {"*", 3, MULTIPLY},
    {"/", 3, DIVIDE},      {"%", 3, REMAINDER},
};

static const struct operator *next_operator(struct parser *p)
{
  skip_space(p);
  for (size_t i = 0; i < COUNT_OF(operators); ++i) {
    const struct operator *o = &operators[i];
    if (p->at[0] == o->word[0] && (!o->word[1] || p->at[1] == o->word[1]))
      return o;
  }
  return NULL;
}

/* Operators of this level and closer ones. */
static void parse_binary(struct parser *p, int level)
{
  parse_primary(p);
  while (!p->status) {
    const struct operator *o = next_operator(p);
    if (!o || o->level < level) return;
    p->at += strlen(o->word);
    parse_binary(p, o->level + 1);
    put(p, o->code, 0, -1);
  }
}

static void parse_logic(struct parser *p, bool either)
{
  uint32_t jump;

  if (either) parse_logic(p, false);
  else parse_binary(p, 0);
  while (!p->status && accept(p, either ? "||" : "&&")) {
    put(p, TRUTH, 0, 0);
    jump = put(p, either ? OR_JUMP : AND_JUMP, 0, -1);
    if (either) parse_logic(p, false);
    else parse_binary(p, 0);
    put(p, TRUTH, 0, 0);
    p->steps[jump].number = p->count;
  }
}

static void parse_choice(struct parser *p)
{
  uint32_t to_else, to_end;

  if (++p->nesting > EXPR_MAX_NESTING) refuse(p, "it is nested too deep");
  if (!p->status) parse_logic(p, true);
  if (!p->status && accept(p, "?")) {
    to_else = put(p, JUMP_IF_ZERO, 0, -1);
    parse_choice(p);
    expect(p, ":");
    to_end = put(p, JUMP, 0, -1); /* only one of the arms pushes */
    p->steps[to_else].number = p->count;
    parse_choice(p);
    p->steps[to_end].number = p->count;
  }
  p->nesting--;
}

dd_status expr_compile(struct arena *a, const char *text, expr_resolve *resolve,
                       void *scope, const struct expr **out)
{
  struct parser p;
  struct expr *e;

  *out = NULL;
  memset(&p, 0, offsetof(struct parser, steps)); /* 8 kB that need no zeros */
  p.text = p.at = text;
  p.resolve = resolve;
  p.scope = scope;
  parse_choice(&p);
  skip_space(&p);
  if (!p.status && *p.at) refuse(&p, "expected an operator");
  if (p.status) return p.status;
  e = arena_alloc(a, sizeof *e + sizeof *p.steps * p.count);
  if (!e) return fail(DD_NO_MEMORY, "out of memory");
  e->text = text;
  e->count = p.count;
  memcpy(e->steps, p.steps, sizeof *p.steps * p.count);
  *out = e;
  return DD_OK;
}

const char *expr_text(const struct expr *e)
{
  return e->text;
}

bool expr_uses(const struct expr *e, int64_t slot)
{
  for (uint32_t i = 0; i < e->count; ++i)
    if (e->steps[i].code == LOAD && e->steps[i].number == slot) return true;
  return false;
}

/* ---- Evaluating ------------------------------------------------------ */

static bool divide(enum code code, int64_t a, int64_t b, int64_t *out)
{
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *out = code == REMAINDER ? a % b : a / b;
  if (code == CEIL_DIV && a % b != 0 && (a < 0) == (b < 0)) ++*out;
  return true;
}

static int64_t lowest_bit(int64_t a)
{
  return (int64_t)((uint64_t)a & -(uint64_t)a);
}

/* False on overflow or division by zero. */
static bool binary(enum code code, int64_t a, int64_t b, int64_t *out)
{
  switch (code) {
  case ADD: return !__builtin_add_overflow(a, b, out);
  case SUBTRACT: return !__builtin_sub_overflow(a, b, out);
  case MULTIPLY: return !__builtin_mul_overflow(a, b, out);
  case DIVIDE:
  case REMAINDER:
  case CEIL_DIV: return divide(code, a, b, out);
  case LESS: *out = a < b; return true;
  case LESS_EQUAL: *out = a <= b; return true;
  case MORE: *out = a > b; return true;
  case MORE_EQUAL: *out = a >= b; return true;
  case EQUAL: *out = a == b; return true;
  case NOT_EQUAL: *out = a != b; return true;
  case MIN: *out = a < b ? a : b; return true;
  case MAX: *out = a > b ? a : b; return true;
  default: return false;
  }
}

static bool unary(enum code code, int64_t a, int64_t *out)
{
  switch (code) {
  case NEGATE: return !__builtin_sub_overflow((int64_t)0, a, out);
  case NOT: *out = !a; return true;
  case TRUTH: *out = a != 0; return true;
  case POW2: *out = a ? lowest_bit(a) : INT64_C(1) << 62; return true;
  case BYTES_OF: *out = dtype_bytes(a); return true;
  default: return false;
  }
}

dd_status expr_eval(const struct expr *e, const int64_t *values, int64_t *out)
{
  int64_t stack[EXPR_MAX_DEPTH + 1];
  int top = 0; /* how many are on it */
  bool fine = true;

  for (uint32_t i = 0; i < e->count && fine; ++i) {
    const struct step *s = &e->steps[i];
    switch (s->code) {
    case PUSH: stack[top++] = s->number; break;
    case LOAD: stack[top++] = values[s->number]; break;
    case JUMP: i = (uint32_t)s->number - 1; break;
    case JUMP_IF_ZERO:
      if (!stack[--top]) i = (uint32_t)s->number - 1;
      break;
    case AND_JUMP:
    case OR_JUMP:
      if ((stack[top - 1] != 0) == (s->code == OR_JUMP))
        i = (uint32_t)s->number - 1;
      else top--;
      break;
    case NEGATE:
    case NOT:
    case TRUTH:
    case POW2:
    case BYTES_OF:
      fine = unary(s->code, stack[top - 1], &stack[top - 1]);
      break;
    default:
      top--;
      fine = binary(s->code, stack[top - 1], stack[top], &stack[top - 1]);
    }
  }
  *out = fine ? stack[0] : 0;
  if (fine) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "'%s' divides by zero or overflows", e->text);
}
