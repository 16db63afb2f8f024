/* race.c - who is fastest, and how sure that is. */
#include "race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct race_rule race_rule_default = {
    .screen_rounds = 3, .screen_ratio = 1.25, .narrow_rounds = 5,
    .narrow_errors = 2, .narrow_ratio = 1.02, .finalists = 8,
    .final_rounds = 24,
};

dd_status race_make(struct race *r, const struct race_rule *rule, int count,
                    uint64_t seed)
{
  memset(r, 0, sizeof *r);
  r->rule = *rule;
  r->random = seed * 2 + 1;
  r->count = count;
  r->entries = mem_resize(NULL, NULL, 0, sizeof *r->entries * (size_t)count);
  if (!r->entries) return fail(DD_NO_MEMORY, "out of memory");
  memset(r->entries, 0, sizeof *r->entries * (size_t)count);
  for (int i = 0; i < count; ++i) {
    r->entries[i].alive = true;
    r->entries[i].final_from = -1;
  }
  return DD_OK;
}

void race_release(struct race *r)
{
  for (int i = 0; r->entries && i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    mem_resize(NULL, e->us, 2 * sizeof *e->us * (size_t)e->capacity, 0);
  }
  mem_resize(NULL, r->entries, sizeof *r->entries * (size_t)r->count, 0);
  r->entries = NULL;
}

void race_keep(struct race *r, int entry)
{
  r->entries[entry].kept = true;
}

void race_wait(struct race *r, int entry)
{
  r->entries[entry].alive = false;
}

void race_enter(struct race *r, int entry)
{
  struct race_entry *e = &r->entries[entry];

  e->alive = e->kept = true;
  if (r->phase == RACE_FINAL) e->final_from = e->count;
}

/* xorshift64*: order only; nothing depends on its quality. */
static uint64_t next_random(struct race *r)
{
  r->random ^= r->random >> 12;
  r->random ^= r->random << 25;
  r->random ^= r->random >> 27;
  return r->random * 0x2545f4914f6cdd1du;
}

int race_round(struct race *r, int *order)
{
  int n = 0;

  if (r->phase == RACE_OVER) return 0;
  for (int i = 0; i < r->count; ++i)
    if (r->entries[i].alive) order[n++] = i;
  for (int i = n - 1; i > 0; --i) {
    int j = (int)(next_random(r) % (uint64_t)(i + 1)), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  return n;
}

/* One block for both kinds of samples, so that both grow or neither. */
static dd_status grow(struct race_entry *e)
{
  int more = e->capacity ? e->capacity * 2 : 8;
  double *us = mem_resize(NULL, NULL, 0, 2 * sizeof *us * (size_t)more);

  if (!us) return fail(DD_NO_MEMORY, "out of memory");
  if (e->count) {
    memcpy(us, e->us, sizeof *us * (size_t)e->count);
    memcpy(us + more, e->ratio, sizeof *us * (size_t)e->count);
  }
  mem_resize(NULL, e->us, 2 * sizeof *us * (size_t)e->capacity, 0);
  e->us = us;
  e->ratio = us + more;
  e->capacity = more;
  return DD_OK;
}

dd_status race_sample(struct race *r, int entry, double us, double reference_us)
{
  struct race_entry *e = &r->entries[entry];

  if (e->count == e->capacity) TRY(grow(e));
  e->us[e->count] = us;
  e->ratio[e->count] = reference_us > 0 ? us / reference_us : us;
  e->count++;
  return DD_OK;
}

/* ---- Statistics ----------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

/* Linear between the neighbours, as NumPy does. */
static double quantile(const double *sorted, int count, double q)
{
  double at = q * (count - 1);
  int i = (int)at;

  if (i + 1 >= count) return sorted[count - 1];
  return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

dd_status summarise(const double *samples, int count, struct summary *out)
{
  size_t size = sizeof(double) * (size_t)count;
  double *sorted, deviation, error;

  memset(out, 0, sizeof *out);
  if (count <= 0) return fail(DD_BUG, "there are no samples");
  sorted = mem_resize(NULL, NULL, 0, size);
  if (!sorted) return fail(DD_NO_MEMORY, "out of memory");
  memcpy(sorted, samples, size);
  qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
  out->median = quantile(sorted, count, 0.5);
  out->q1 = quantile(sorted, count, 0.25);
  out->q3 = quantile(sorted, count, 0.75);
  for (int i = 0; i < count; ++i) sorted[i] = fabs(samples[i] - out->median);
  qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
  deviation = 1.4826 * quantile(sorted, count, 0.5);
  error = 1.2533 * deviation / sqrt(count);
  out->low = out->median - 1.96 * error;
  out->high = out->median + 1.96 * error;
  mem_resize(NULL, sorted, size, 0);
  return DD_OK;
}

/* The median of the ratios; out of memory reads as very slow. */
static double score(const struct race_entry *e)
{
  struct summary s;

  return summarise(e->ratio, e->count, &s) ? INFINITY : s.median;
}

int race_best(const struct race *r)
{
  int best = -1;
  double best_score = INFINITY;

  for (int i = 0; i < r->count; ++i) {
    double s = r->entries[i].alive ? score(&r->entries[i]) : INFINITY;
    if (s < best_score) best_score = s, best = i;
  }
  return best;
}

/* ---- Elimination ----------------------------------------------------------- */

static void end_screening(struct race *r)
{
  int best = race_best(r);
  double limit;

  if (best < 0) return;
  limit = score(&r->entries[best]) * r->rule.screen_ratio;
  for (int i = 0; i < r->count; ++i)
    if (!r->entries[i].kept && score(&r->entries[i]) > limit)
      r->entries[i].alive = false;
}

/* Within the noise of the best, by the paired differences of the rounds. */
static bool is_close(const struct race *r, const struct race_entry *e,
                     const struct race_entry *best)
{
  double difference[256];
  struct summary s;
  int n = e->count < best->count ? e->count : best->count;
  double error;

  if (n > (int)COUNT_OF(difference)) n = COUNT_OF(difference);
  for (int i = 0; i < n; ++i) difference[i] = e->ratio[i] - best->ratio[i];
  if (summarise(difference, n, &s)) return false;
  error = (s.high - s.median) / 1.96;
  return s.median <= r->rule.narrow_errors * error ||
         score(e) <= score(best) * r->rule.narrow_ratio;
}

static void end_narrowing(struct race *r)
{
  int best = race_best(r), left;

  if (best < 0) return;
  for (int i = 0; i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    if (e->alive && !e->kept && !is_close(r, e, &r->entries[best]))
      e->alive = false;
  }
  for (;;) { /* the slowest go until few enough are left */
    int worst = -1;
    left = 0;
    for (int i = 0; i < r->count; ++i) {
      if (!r->entries[i].alive || r->entries[i].kept) continue;
      left++;
      if (worst < 0 || score(&r->entries[i]) > score(&r->entries[worst])) worst = i;
    }
    if (left <= r->rule.finalists) break;
    r->entries[worst].alive = false;
  }
}

static void begin_final(struct race *r)
{
  for (int i = 0; i < r->count; ++i)
    if (r->entries[i].alive) r->entries[i].final_from = r->entries[i].count;
}

void race_round_end(struct race *r)
{
  const int rounds[] = {r->rule.screen_rounds, r->rule.narrow_rounds,
                        r->rule.final_rounds};

  if (++r->round < rounds[r->phase]) return;
  r->round = 0;
  if (r->phase == RACE_SCREEN) end_screening(r);
  if (r->phase == RACE_NARROW) {
    end_narrowing(r);
    begin_final(r);
  }
  r->phase++;
}

const double *race_samples(const struct race *r, int entry, int *count,
                           bool *final)
{
  const struct race_entry *e = &r->entries[entry];

  *final = e->final_from >= 0;
  *count = *final ? e->count - e->final_from : e->count;
  return *final ? e->us + e->final_from : e->us;
}
