/* space.c - see space.h.  The last tunable turns fastest, so the first point
 * is the one of all defaults. */
#include <stdlib.h>
#include <string.h>

#include "space.h"

enum { UNKNOWN, HOLDS, FAILS };

static uint32_t tunables_named(const struct space *s, const struct expr *rule)
{
  uint32_t named = 0;

  for (uint32_t t = 0; t < s->scheme->tunable_count; t++)
    if (expr_uses(rule, (int64_t)s->problem->op->symbol_count + t))
      named |= 1u << t;
  return named;
}

static uint8_t last_named(uint32_t named)
{
  return (uint8_t)(named ? 32 - __builtin_clz(named) : 0);
}

static int by_used(const void *left, const void *right)
{
  const struct space_rule *a = left, *b = right;

  if (a->used != b->used) return a->used < b->used ? -1 : 1;
  return a->rule < b->rule ? -1 : 1;
}

/* Where its answers are kept, one for each combination of the values of the
 * tunables that it names; -1 where they find no room. */
static int32_t place_truth(const struct space *s, uint32_t named,
                           uint32_t *room)
{
  uint64_t places = 1;
  uint32_t start = *room;

  for (; named && places <= SPACE_TRUTHS; named &= named - 1)
    places *= s->scheme->tunables[__builtin_ctz(named)].value_count;
  if (places > SPACE_TRUTHS - start) return -1;
  *room += (uint32_t)places;
  return (int32_t)start;
}

static void find_first_asked(struct space *s)
{
  uint32_t first = 0;

  for (uint32_t kept = 0; kept <= s->scheme->tunable_count; kept++) {
    while (first < s->rule_count && s->rules[first].used <= kept) first++;
    s->asked[kept + 1] = (uint16_t)first;
  }
}

static void sort_rules(struct space *s)
{
  const struct scheme *c = s->scheme;
  uint32_t room = 0;

  s->rule_count =
      c->rule_count < SPACE_MAX_RULES ? c->rule_count : SPACE_MAX_RULES;
  for (uint32_t i = 0; i < s->rule_count; i++) {
    uint32_t named = tunables_named(s, c->rules[i].expr);
    s->rules[i] = (struct space_rule){(uint16_t)i, last_named(named), named,
                                      place_truth(s, named, &room)};
  }
  qsort(s->rules, s->rule_count, sizeof s->rules[0], by_used);
  find_first_asked(s);
}

static int64_t *tunable_slots(struct space *s)
{
  return s->slots + s->problem->op->symbol_count;
}

static void put_tunable(struct space *s, uint32_t i)
{
  tunable_slots(s)[i] = s->scheme->tunables[i].values[s->at[i]];
}

void space_init(struct space *s, const struct scheme *scheme,
                const struct problem *problem, int arch, int sms)
{
  uint32_t symbols = problem->op->symbol_count;

  memset(s, 0, sizeof *s);
  s->scheme = scheme;
  s->problem = problem;
  s->arch = arch;
  s->sms = sms;
  s->kept = -1;
  sort_rules(s);
  variant_device_slots(arch, sms, 1,
                       s->slots + symbols + scheme->tunable_count);
  memcpy(s->slots, problem->value, sizeof s->slots[0] * symbols);
  for (uint32_t i = 0; i < scheme->tunable_count; i++)
    if (!scheme->tunables[i].value_count) s->done = true;
  for (uint32_t i = 0; i < scheme->tunable_count && !s->done; i++)
    put_tunable(s, i);
}

/* To the next point that differs in the first `n` tunables. */
static void advance(struct space *s, uint32_t n)
{
  for (uint32_t i = n; i < s->scheme->tunable_count; i++) {
    s->at[i] = 0;
    put_tunable(s, i);
  }
  while (n-- > 0) {
    bool turned = ++s->at[n] < s->scheme->tunables[n].value_count;
    if (!turned) s->at[n] = 0;
    put_tunable(s, n);
    s->kept = (int)n;
    if (turned) return;
  }
  s->done = true;
}

static uint8_t evaluate(struct space *s, const struct space_rule *r)
{
  int64_t holds;

  s->evaluated++;
  return expr_eval(s->scheme->rules[r->rule].expr, s->slots, &holds) || !holds
             ? FAILS
             : HOLDS;
}

static bool holds(struct space *s, const struct space_rule *r)
{
  uint32_t at = 0;
  uint8_t *truth;

  if (r->truth < 0) return evaluate(s, r) == HOLDS;
  for (uint32_t named = r->named; named; named &= named - 1) {
    int t = __builtin_ctz(named);
    at = at * s->scheme->tunables[t].value_count + s->at[t];
  }
  truth = &s->truth[(uint32_t)r->truth + at];
  if (*truth == UNKNOWN) *truth = evaluate(s, r);
  return *truth == HOLDS;
}

/* The first rule that this point breaks, of those that may not hold still. */
static const struct space_rule *broken_rule(struct space *s)
{
  for (uint32_t i = s->asked[s->kept + 1]; i < s->rule_count; i++)
    if (!holds(s, &s->rules[i])) return &s->rules[i];
  return NULL;
}

bool space_next(struct space *s, struct variant *out)
{
  uint32_t all = s->scheme->tunable_count;

  while (!s->done) {
    const struct space_rule *r = broken_rule(s);
    if (!r) variant_of(s->scheme, s->problem, tunable_slots(s), out);
    advance(s, r ? r->used : all);
    if (!r && (s->rule_count == s->scheme->rule_count ||
               !variant_misfit(out, s->problem, s->arch, s->sms)))
      return true;
  }
  return false;
}
