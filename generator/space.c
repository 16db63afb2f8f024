/* space.c - see space.h.  The last tunable turns fastest, so the first point
 * is the one of all defaults. */
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

void space_init(struct space *s, const struct scheme *scheme,
                const struct problem *problem, int arch, int sms)
{
  uint32_t i;

  memset(s, 0, sizeof *s);
  s->scheme = scheme;
  s->problem = problem;
  s->arch = arch;
  s->sms = sms;
  for (i = 0; i < scheme->tunable_count; i++)
    if (!scheme->tunables[i].value_count) s->done = true;
  for (i = 0; i < scheme->rule_count && i < SPACE_MAX_RULES; i++)
    s->used[i] = tunables_used(problem, scheme, scheme->rules[i].expr);
}

static void point(const struct space *s, struct variant *out)
{
  int64_t value[OP_MAX_TUNABLES] = {0};
  uint32_t i;

  for (i = 0; i < s->scheme->tunable_count; i++)
    value[i] = s->scheme->tunables[i].values[s->at[i]];
  variant_of(s->scheme, s->problem, value, out);
}

/* To the next point that differs in the first `n` tunables. */
static void advance(struct space *s, uint32_t n)
{
  uint32_t i;

  for (i = n; i < s->scheme->tunable_count; i++) s->at[i] = 0;
  while (n-- > 0) {
    if (++s->at[n] < s->scheme->tunables[n].value_count) return;
    s->at[n] = 0;
  }
  s->done = true;
}

/* How many of the first tunables the condition that failed depends on. */
static uint32_t blamed(const struct space *s, const char *misfit)
{
  uint32_t i;

  for (i = 0; i < s->scheme->rule_count && i < SPACE_MAX_RULES; i++)
    if (expr_text(s->scheme->rules[i].expr) == misfit) return s->used[i];
  return s->scheme->tunable_count;
}

bool space_next(struct space *s, struct variant *out)
{
  const char *misfit;

  while (!s->done) {
    point(s, out);
    misfit = variant_misfit(out, s->problem, s->arch, s->sms);
    advance(s, misfit ? blamed(s, misfit) : s->scheme->tunable_count);
    if (!misfit) return true;
  }
  return false;
}
