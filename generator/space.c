/* space.c - see space.h.  The last tunable turns fastest, so the first point
 * is the one of all defaults. */
#include <stdlib.h>
#include <string.h>

#include "space.h"

static uint8_t tunables_used(const struct problem *problem,
                             const struct scheme *scheme,
                             const struct expr *rule)
{
  uint32_t n = scheme->tunable_count;

  while (n > 0 && !expr_uses(rule, (int64_t)problem->op->symbol_count + n - 1))
    n--;
  return (uint8_t)n;
}

static int by_used(const void *left, const void *right)
{
  const struct space_rule *a = left, *b = right;

  if (a->used != b->used) return a->used < b->used ? -1 : 1;
  return a->rule < b->rule ? -1 : 1;
}

static void sort_rules(struct space *s)
{
  const struct scheme *c = s->scheme;

  s->rule_count =
      c->rule_count < SPACE_MAX_RULES ? c->rule_count : SPACE_MAX_RULES;
  for (uint32_t i = 0; i < s->rule_count; i++)
    s->rules[i] = (struct space_rule){
        (uint16_t)i, tunables_used(s->problem, c, c->rules[i].expr)};
  qsort(s->rules, s->rule_count, sizeof s->rules[0], by_used);
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

/* The first rule that this point breaks, of those that may not hold still. */
static const struct space_rule *broken_rule(const struct space *s)
{
  int64_t holds;

  for (uint32_t i = 0; i < s->rule_count; i++) {
    const struct space_rule *r = &s->rules[i];
    if (r->used <= s->kept) continue;
    if (expr_eval(s->scheme->rules[r->rule].expr, s->slots, &holds) || !holds)
      return r;
  }
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
