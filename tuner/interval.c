/* interval.c - one choice for many sizes, where the races say that it does. */
#include "interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A problem on a line. */
struct point {
  uint32_t plan;
  int64_t size;
  const char *line; /* the problem without the field */
};

struct search {
  struct interval_job *job;
  const struct op *op;
  uint32_t field;
  uint32_t *first; /* of plan i: races[first[i]] to races[first[i + 1] - 1] */
  struct point *points; /* room for one per plan */
  double *least;        /* and for one per gap; INFINITY: nothing serves it */
  uint32_t count;
  struct table_interval *found;
  uint32_t *place; /* the plan that each stands in */
  uint32_t found_count, room;
};

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

/* ---- What one candidate did on one problem ------------------------------ */

static const struct raced *find_raced(const struct search *s, uint32_t plan,
                                      int64_t candidate)
{
  for (uint32_t i = s->first[plan]; i < s->first[plan + 1]; ++i)
    if (s->job->races[i].candidate == candidate) return &s->job->races[i];
  return NULL;
}

/* How the choice of one plan did on the problem of another. */
struct result {
  double loss, gain;
  bool split_known; /* and with it the gain; a split form has none */
};

static double loss_of(const struct search *s, const struct raced *r)
{
  const struct table_plan *p = &s->job->plans[r->plan];
  double loss = r->us * (1 + p->loss) / p->us - 1;

  return loss > 0 ? loss : 0;
}

/* False: it did not race there. */
static bool result_of(const struct search *s, uint32_t from, uint32_t at,
                      struct result *out)
{
  const struct interval_job *job = s->job;
  const struct raced *r = find_raced(s, at, job->candidates[from]);
  double low = job->split_low_us[at];

  *out = (struct result){0};
  if (!r) return false;
  out->loss = loss_of(s, r);
  out->split_known = !job->plans[from].split && low > 0;
  if (out->split_known)
    out->gain = low / (r->high_us > r->us ? r->high_us : r->us) - 1;
  return true;
}

static bool gains(const struct search *s, const struct result *r)
{
  return !r->split_known || r->gain > s->job->margin;
}

/* ---- Gaps --------------------------------------------------------------- */

/* By how many measured sizes on each side a gap is judged. */
enum { REACH = 2 };

/* What a choice does in a gap, and in a run of them. */
struct outlook {
  double loss;     /* to expect; of a run, where it is most */
  double gain;     /* on the split form at the ends; the least */
  bool gain_known; /* at one end at least */
};

static void add_outlook(struct outlook *sum, const struct outlook *o)
{
  if (o->loss > sum->loss) sum->loss = o->loss;
  if (o->gain_known && (!sum->gain_known || o->gain < sum->gain))
    sum->gain = o->gain;
  sum->gain_known |= o->gain_known;
}

static double log_size(const struct point *p)
{
  return log(p->size > 1 ? (double)p->size : 1.0);
}

/* At one end of a gap: false where it did not race or hardly gains. */
static bool holds(const struct search *s, const struct result *r,
                  struct outlook *o)
{
  struct outlook end = {.gain = r->gain, .gain_known = r->split_known};

  if (!gains(s, r)) return false;
  add_outlook(o, &end);
  return true;
}

/* What the choice of plan `from` will lose between points i and i + 1: the mean of
 * what it lost at the sizes around, by the inverse square of their distances to
 * the middle, on a log scale (Shepard 1968).  Neighbours farther away count as
 * times do not change steadily: blocks come in waves.  False: not for this gap. */
static bool expect(const struct search *s, const struct point *p, uint32_t n,
                   uint32_t from, uint32_t i, struct outlook *out)
{
  double middle = (log_size(&p[i]) + log_size(&p[i + 1])) / 2;
  double sum = 0, weights = 0;
  uint32_t first = i + 1 > REACH ? i + 1 - REACH : 0;

  *out = (struct outlook){0};
  for (uint32_t j = first; j < n && j <= i + REACH; ++j) {
    bool is_end = j == i || j == i + 1, raced;
    double distance = log_size(&p[j]) - middle;
    double weight = 1 / (distance * distance);
    struct result r;
    raced = result_of(s, from, p[j].plan, &r);
    if (is_end && (!raced || !holds(s, &r, out))) return false;
    if (!raced) continue;
    sum += weight * log1p(r.loss);
    weights += weight;
  }
  out->loss = expm1(sum / weights);
  return true;
}

/* The least that any winner of the line will lose in each gap. */
static void find_least(struct search *s, const struct point *p, uint32_t n)
{
  for (uint32_t i = 0; i + 1 < n; ++i) {
    s->least[i] = INFINITY;
    for (uint32_t c = 0; c < n; ++c) {
      struct outlook o;
      if (expect(s, p, n, p[c].plan, i, &o) && o.loss < s->least[i])
        s->least[i] = o.loss;
    }
  }
}

/* ---- Runs --------------------------------------------------------------- */

/* A choice, and the points from begin to end between which it serves. */
struct run {
  uint32_t from, begin, end;
  double sum; /* of what it will lose in each gap */
  struct outlook outlook;
};

static struct run reach(const struct search *s, const struct point *p,
                        uint32_t n, uint32_t from, uint32_t begin)
{
  struct run r = {.from = from, .begin = begin, .end = begin};

  for (; r.end + 1 < n; ++r.end) {
    struct outlook o;
    if (!expect(s, p, n, from, r.end, &o) ||
        o.loss > s->least[r.end] + s->job->loss)
      break;
    r.sum += o.loss;
    add_outlook(&r.outlook, &o);
  }
  return r;
}

/* The longest from `begin` on; of equals what loses least, then the first. */
static struct run longest(const struct search *s, const struct point *p,
                          uint32_t n, uint32_t begin)
{
  struct run best = {.begin = begin, .end = begin};

  for (uint32_t c = 0; c < n; ++c) {
    struct run r = reach(s, p, n, p[c].plan, begin);
    if (r.end > best.end || (r.end == best.end && r.sum < best.sum)) best = r;
  }
  return best;
}

static dd_status make_room(struct search *s)
{
  uint32_t room = s->room ? 2 * s->room : 64;
  struct table_interval *found =
      ARENA_ARRAY(s->job->arena, struct table_interval, room);
  uint32_t *place = ARENA_ARRAY(s->job->arena, uint32_t, room);

  if (!found || !place) return no_memory();
  if (s->room) memcpy(found, s->found, s->room * sizeof *found);
  if (s->room) memcpy(place, s->place, s->room * sizeof *place);
  s->found = found;
  s->place = place;
  s->room = room;
  return DD_OK;
}

/* An interval of the plan at its first point. */
static dd_status keep(struct search *s, const struct point *p,
                      const struct run *r)
{
  const struct table_plan *plan = &s->job->plans[r->from];
  struct table_interval *v;

  if (s->found_count == s->room) TRY(make_room(s));
  s->place[s->found_count] = p[r->begin].plan;
  v = &s->found[s->found_count++];
  *v = (struct table_interval){.field = s->field,
                               .first = p[r->begin].size,
                               .last = p[r->end].size,
                               .sizes = r->end - r->begin + 1,
                               .split = plan->split,
                               .step_count = plan->step_count,
                               .bits = plan->bits,
                               .loss = r->outlook.loss,
                               .gain = r->outlook.gain};
  memcpy(v->steps, plan->steps, sizeof v->steps);
  return DD_OK;
}

/* ---- Lines -------------------------------------------------------------- */

/* Going as far as one can each time leaves the fewest runs. */
static dd_status cut_line(struct search *s, const struct point *p, uint32_t n)
{
  find_least(s, p, n);
  for (uint32_t i = 0; i + 1 < n;) {
    struct run r = longest(s, p, n, i);
    if (r.end > i) TRY(keep(s, p, &r));
    i = r.end > i ? r.end : i + 1;
  }
  return DD_OK;
}

/* What a choice lost on the problems next to its own on this line. */
static void look_beside(const struct search *s, const struct point *p,
                        uint32_t n)
{
  for (uint32_t i = 0; i < n; ++i) {
    struct table_plan *plan = &s->job->plans[p[i].plan];
    for (uint32_t j = i ? i - 1 : 1; j < n && j <= i + 1; j += 2) {
      const struct raced *r =
          find_raced(s, p[j].plan, s->job->candidates[p[i].plan]);
      double speed = r ? 1 / (1 + loss_of(s, r)) : 0;
      if (r && (plan->away == 0 || speed < plan->away)) plan->away = speed;
    }
  }
}

/* ---- The lines of an op ------------------------------------------------- */

static int by_line(const void *a, const void *b)
{
  const struct point *x = a, *y = b;
  int order = strcmp(x->line, y->line);

  return order ? order : (x->size > y->size) - (x->size < y->size);
}

static dd_status add_point(struct search *s, uint32_t i, struct bytes *text)
{
  const struct problem *p = &s->job->plans[i].problem;
  struct point *point = &s->points[s->count];

  bytes_clear(text);
  problem_print_but(p, s->field, text);
  TRY(bytes_status(text));
  point->plan = i;
  point->size = p->value[s->field];
  point->line = arena_text(s->job->arena, text->data, text->size);
  if (!point->line) return no_memory();
  s->count++;
  return DD_OK;
}

static dd_status list_points(struct search *s)
{
  struct bytes text = BYTES_INIT;
  dd_status status = DD_OK;

  s->count = 0;
  for (uint32_t i = 0; i < s->job->plan_count && !status; ++i)
    if (s->job->plans[i].problem.op == s->op) status = add_point(s, i, &text);
  bytes_release(&text);
  if (s->count) qsort(s->points, s->count, sizeof *s->points, by_line);
  return status;
}

static dd_status search_field(struct search *s)
{
  uint32_t end;

  TRY(list_points(s));
  for (uint32_t i = 0; i < s->count; i = end) {
    for (end = i + 1; end < s->count; ++end)
      if (strcmp(s->points[i].line, s->points[end].line)) break;
    TRY(cut_line(s, s->points + i, end - i));
    look_beside(s, s->points + i, end - i);
  }
  return DD_OK;
}

static dd_status search_op(struct search *s)
{
  for (uint32_t i = 0; i < s->op->symbol_count; ++i) {
    s->field = i;
    if (s->op->symbols[i].dynamic && s->op->symbols[i].kind == SYMBOL_INT)
      TRY(search_field(s));
  }
  return DD_OK;
}

/* ---- All of them -------------------------------------------------------- */

static dd_status index_races(struct search *s)
{
  const struct interval_job *job = s->job;
  uint32_t at = 0;

  s->first = ARENA_ARRAY(job->arena, uint32_t, job->plan_count + 1);
  s->points = ARENA_ARRAY(job->arena, struct point, job->plan_count);
  s->least = ARENA_ARRAY(job->arena, double, job->plan_count);
  if (!s->first || !s->points || !s->least) return no_memory();
  for (uint32_t i = 0; i < job->plan_count; ++i) {
    s->first[i] = at;
    while (at < job->race_count && job->races[at].plan == i) at++;
  }
  s->first[job->plan_count] = at;
  return DD_OK;
}

/* Each plan's own, next to each other. */
static dd_status hand_out(struct search *s)
{
  for (uint32_t i = 0; i < s->job->plan_count; ++i) {
    struct table_plan *p = &s->job->plans[i];
    uint32_t n = 0;
    p->interval_count = 0;
    for (uint32_t j = 0; j < s->found_count; ++j) n += s->place[j] == i;
    if (!n) continue;
    p->intervals = ARENA_ARRAY(s->job->arena, struct table_interval, n);
    if (!p->intervals) return no_memory();
    for (uint32_t j = 0; j < s->found_count; ++j)
      if (s->place[j] == i) p->intervals[p->interval_count++] = s->found[j];
  }
  s->job->interval_count = s->found_count;
  return DD_OK;
}

dd_status intervals_find(struct interval_job *job)
{
  struct search s = {.job = job};

  TRY(index_races(&s));
  for (uint32_t i = 0; i < job->plan_count; ++i) {
    bool seen = false;
    s.op = job->plans[i].problem.op;
    for (uint32_t j = 0; j < i && !seen; ++j)
      seen = job->plans[j].problem.op == s.op;
    if (!seen) TRY(search_op(&s));
  }
  return hand_out(&s);
}
