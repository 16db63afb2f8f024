/* race.c - who is fastest, and how sure that is. */
#include "race.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct race_rule race_rule_default = {
    .first_look = 2, .screen_rounds = 8, .error = 0.01, .floor = 0.005,
    .finalists = 10, .final_rounds = 24, .final_look = 8, .final_more = 3,
    .screen_repeats = 2, .repeats = 12,
};

dd_status race_make(struct race *r, const struct race_rule *rule, int count,
                    uint64_t seed)
{
  memset(r, 0, sizeof *r);
  r->rule = *rule;
  r->random = seed * 2 + 1;
  r->count = count;
  r->twin = r->twin_of = -1;
  r->entries = mem_resize(NULL, NULL, 0, sizeof *r->entries * (size_t)count);
  if (!r->entries) return fail(DD_NO_MEMORY, "out of memory");
  memset(r->entries, 0, sizeof *r->entries * (size_t)count);
  for (int i = 0; i < count; ++i) {
    r->entries[i].alive = true;
    r->entries[i].preferred = i;
    r->entries[i].final_from = -1;
  }
  r->scratch = mem_resize(NULL, NULL, 0, sizeof *r->scratch * (size_t)count);
  r->sorted = mem_resize(NULL, NULL, 0, sizeof *r->sorted * (size_t)count);
  if (r->scratch && r->sorted) return DD_OK;
  race_release(r);
  return fail(DD_NO_MEMORY, "out of memory");
}

void race_release(struct race *r)
{
  for (int i = 0; r->entries && i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    mem_resize(NULL, e->us, 2 * sizeof *e->us * (size_t)e->capacity, 0);
  }
  mem_resize(NULL, r->sorted, sizeof *r->sorted * (size_t)r->count, 0);
  mem_resize(NULL, r->scratch, sizeof *r->scratch * (size_t)r->count, 0);
  mem_resize(NULL, r->entries, sizeof *r->entries * (size_t)r->count, 0);
  r->entries = NULL;
  r->scratch = NULL;
  r->sorted = NULL;
}

void race_keep(struct race *r, int entry)
{
  r->entries[entry].kept = true;
}

void race_prefer(struct race *r, int entry, int preferred)
{
  r->entries[entry].preferred = preferred;
}

void race_favour(struct race *r, int entry)
{
  struct race_entry *e = &r->entries[entry];

  e->kept = e->incumbent = true;
  e->preferred = -1;
}

void race_twin(struct race *r, int entry)
{
  r->twin = entry;
  r->entries[entry].alive = false;
}

void race_enter_twin(struct race *r, int twin_of)
{
  struct race_entry *e = &r->entries[r->twin];

  r->twin_of = twin_of;
  e->alive = e->kept = true;
  e->final_from = e->count;
}

/* ---- Rounds -------------------------------------------------------------- */

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

/* 3 % is far more than the noise of a quiet GPU; a noisy one sets its own.  In
 * the first round it is not known yet, and 1 % is no rarity. */
bool race_calm(const struct race *r, double before_us, double after_us)
{
  double noise = r->noise > 0 ? r->noise : 0.01;
  double limit = 6 * noise > 0.03 ? 6 * noise : 0.03;

  return fabs(log(before_us / after_us)) <= limit;
}

/* Fewer while many are screened, whose rounds take longest and need not be as
 * good. */
bool race_repeats(struct race *r)
{
  int most =
      r->phase == RACE_SCREEN ? r->rule.screen_repeats : r->rule.repeats;

  if (r->repeated >= most) return false;
  r->repeated++;
  return true;
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

  if (!(us > 0) || !(reference_us > 0))
    return fail(DD_DEVICE, "the device's clock gave %g and %g us", us,
                reference_us);
  if (e->count == SAMPLES_MAX)
    return fail(DD_BUG, "a race has too many rounds");
  if (e->count == e->capacity) TRY(grow(e));
  e->us[e->count] = us;
  e->ratio[e->count] = us / reference_us;
  e->count++;
  return DD_OK;
}

struct race_view race_samples(const struct race *r, int entry)
{
  const struct race_entry *e = &r->entries[entry];
  int from = e->final_from < 0 ? 0 : e->final_from;

  return (struct race_view){e->us + from, e->ratio + from, e->count - from,
                            e->final_from >= 0};
}

/* ---- Scores -------------------------------------------------------------- */

/* Before the final's first round the screening's samples must do. */
static void score(struct race *r, struct race_entry *e)
{
  struct race_view v = race_samples(r, (int)(e - r->entries));
  struct summary s;

  if (v.count) summarise(v.ratio, v.count, &s);
  else summarise(e->ratio, e->count, &s);
  e->score = e->count ? s.median : INFINITY;
}

int race_best(struct race *r)
{
  int best = -1;

  for (int i = 0; i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    score(r, e);
    if (i == r->twin) continue;
    if (e->alive && e->count && (best < 0 || e->score < r->entries[best].score))
      best = i;
  }
  return best;
}

/* The one that has won before, if it is in the final. */
static int find_incumbent(const struct race *r)
{
  for (int i = 0; i < r->count; ++i)
    if (r->entries[i].incumbent && r->entries[i].final_from >= 0) return i;
  return -1;
}

/* Whose time matters most: the incumbent's, that a slow load of its code may not
 * cost it its place, else the fastest's. */
int race_original(struct race *r)
{
  int incumbent = find_incumbent(r);

  return incumbent < 0 ? race_best(r) : incumbent;
}

/* How much one ratio scatters: by how much each candidate's last one differs
 * from its last but one, which no drift and no gap between candidates enters.
 * Few candidates say little, so the round's figure is blended with the past. */
static void update_noise(struct race *r)
{
  double now;
  int n = 0;

  for (int i = 0; i < r->count; ++i) {
    const struct race_entry *e = &r->entries[i];
    if (!e->alive || e->count < 2) continue;
    r->scratch[n++] =
        fabs(log(e->ratio[e->count - 1] / e->ratio[e->count - 2]));
  }
  if (!n) return;
  now = median_of(r->scratch, n) / 0.9539; /* median of |x - y| over sigma */
  r->noise = r->noise > 0 ? sqrt((r->noise * r->noise + now * now) / 2) : now;
}

/* ---- Elimination --------------------------------------------------------- */

/* By how many standard errors a candidate must lie behind: no normal variable
 * of those that are looked at exceeds it but with the chance of `error`. */
static double limit_of(const struct race *r)
{
  int rounds = r->rule.screen_rounds + r->rule.final_rounds;

  return sqrt(2 * log((double)r->count * rounds / r->rule.error));
}

/* The median of few rounds can be moved by one spike: there the round that is
 * kindest to the candidate counts. */
static bool is_behind(const struct race *r, int entry, int best)
{
  struct race_view a = race_samples(r, entry), b = race_samples(r, best);
  int n = a.count < b.count ? a.count : b.count;
  double deviation = 1.4142 * r->noise, behind, error;
  struct comparison c;

  compare(a.ratio, b.ratio, n, &c);
  if (n > 4 && c.deviation > deviation) deviation = c.deviation;
  behind = n > 4 ? c.median : c.low;
  error = 1.2533 * deviation / sqrt(n); /* of a median */
  return behind - limit_of(r) * error > r->rule.floor;
}

/* How many are left, but for those that are kept whatever they do. */
static int drop_slower(struct race *r)
{
  int best = race_best(r), left = 0;

  for (int i = 0; i < r->count && best >= 0; ++i) {
    struct race_entry *e = &r->entries[i];
    if (!e->alive || e->kept) continue;
    if (is_behind(r, i, best)) e->alive = false;
    else left++;
  }
  return left;
}

/* Of those that are not finalists yet, the first by score or by preference;
 * NULL: none. */
static struct race_entry *next_finalist(const struct race *r, double limit,
                                        bool preferred)
{
  struct race_entry *next = NULL;

  for (int i = 0; i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    if (!e->alive || e->kept || e->finalist || e->score > limit) continue;
    if (!next || (preferred ? e->preferred < next->preferred
                            : e->score < next->score))
      next = e;
  }
  return next;
}

/* Half of the places go to the fastest.  The others go to those that would win
 * a tie, so that two races that find the same tie set take the same winner. */
static void take_finalists(struct race *r)
{
  int best = race_best(r);
  double tie = best < 0 ? 0 : r->entries[best].score * (1 + r->rule.floor);

  for (int n = 0; n < r->rule.finalists; ++n) {
    struct race_entry *e = NULL;
    if (n >= r->rule.finalists / 2) e = next_finalist(r, tie, true);
    if (!e) e = next_finalist(r, INFINITY, false);
    if (e) e->finalist = true;
  }
}

static void begin_final(struct race *r)
{
  take_finalists(r);
  for (int i = 0; i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    e->survivor = e->alive;
    e->alive = e->alive && (e->finalist || e->kept);
    if (e->alive) e->final_from = e->count;
  }
  r->phase = RACE_FINAL;
  r->round = 0;
}

static void look_at_screening(struct race *r)
{
  int left = r->count;

  if (r->round >= r->rule.first_look) left = drop_slower(r);
  if (left <= r->rule.finalists || r->round >= r->rule.screen_rounds)
    begin_final(r);
}

static bool compare_twin(const struct race *r, struct comparison *out)
{
  if (r->twin_of < 0) return false;
  race_compare(r, r->twin, r->twin_of, out);
  return true;
}

/* Two times of the same code that are apart say that the rounds were too few. */
static bool needs_more(const struct race *r)
{
  struct comparison c;

  return r->round <= r->rule.final_rounds * r->rule.final_more &&
         compare_twin(r, &c) && r->entries[r->twin_of].alive &&
         fabs(c.median) > r->rule.floor;
}

/* Nobody is out in the rounds that are more: the stated error is that of as
 * many looks as there are without them. */
static void look_at_final(struct race *r)
{
  int rounds = r->rule.final_rounds;

  if (r->round >= r->rule.final_look && r->round <= rounds) drop_slower(r);
  if (r->round % rounds == 0 && !needs_more(r)) r->phase = RACE_OVER;
}

void race_round_end(struct race *r)
{
  r->round++;
  update_noise(r);
  if (r->phase == RACE_SCREEN) look_at_screening(r);
  else look_at_final(r);
}

/* ---- The verdict --------------------------------------------------------- */

void race_compare(const struct race *r, int a, int b, struct comparison *out)
{
  struct race_view x = race_samples(r, a), y = race_samples(r, b);

  if (!x.final) y.ratio = r->entries[b].ratio;
  compare(x.ratio, y.ratio, x.count < y.count ? x.count : y.count, out);
}

static void find_ties(struct race *r, const struct race_verdict *v)
{
  for (int i = 0; i < r->count; ++i) {
    struct race_entry *e = &r->entries[i];
    struct comparison c;
    if (!e->survivor || i == r->twin) continue;
    race_compare(r, i, v->fastest, &c);
    e->tied = c.low <= v->floor;
    e->equal = e->final_from >= 0 &&
               (e->incumbent ? e->tied
                             : (c.median + c.low) / 2 <= r->rule.floor);
  }
}

#define BY(a, b)                                                               \
  do {                                                                         \
    if ((a) != (b)) return (a) < (b) ? -1 : 1;                                 \
  } while (0)

static int by_position(const void *left, const void *right)
{
  const struct race_entry *a = *(struct race_entry *const *)left;
  const struct race_entry *b = *(struct race_entry *const *)right;

  BY(a->final_from < 0, b->final_from < 0);
  BY(b->equal, a->equal);
  if (!a->equal) BY(a->score, b->score);
  BY(a->preferred, b->preferred);
  return 0;
}

static void place_all(struct race *r, int *winner)
{
  int n = 0;

  for (int i = 0; i < r->count; ++i)
    if (i != r->twin) r->sorted[n++] = &r->entries[i];
  qsort(r->sorted, (size_t)n, sizeof *r->sorted, by_position);
  for (int i = 0; i < n; ++i) r->sorted[i]->position = i + 1;
  if (n && r->sorted[0]->final_from >= 0)
    *winner = (int)(r->sorted[0] - r->entries);
}

/* Who would win may be behind the fastest, as who is equal may be: an incumbent
 * that is no further behind is not given up for it. */
static void keep_incumbent(struct race *r, struct race_verdict *v)
{
  int incumbent = find_incumbent(r);
  struct comparison c;

  if (incumbent < 0 || v->winner < 0 || incumbent == v->winner) return;
  race_compare(r, incumbent, v->winner, &c);
  if (c.low > v->floor) return;
  r->entries[incumbent].tied = r->entries[incumbent].equal = true;
  place_all(r, &v->winner);
}

void race_judge(struct race *r, struct race_verdict *out)
{
  struct comparison c;

  *out = (struct race_verdict){.fastest = -1, .winner = -1};
  if (compare_twin(r, &c)) {
    out->noise = fabs(c.median);
    out->apart = fmax(0, fmax(c.low, -c.high));
  }
  out->floor = r->rule.floor + out->noise;
  out->fastest = race_best(r);
  if (out->fastest >= 0 && r->entries[out->fastest].final_from >= 0)
    find_ties(r, out);
  place_all(r, &out->winner);
  keep_incumbent(r, out);
}
