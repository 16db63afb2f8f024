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
  double us, loss, gain;
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
  out->us = r->us;
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

/* How badly one choice did on the sizes so far. */
struct worst {
  double loss, gain;
  bool gain_known; /* at one size at least */
};

static void note(struct worst *w, const struct result *r)
{
  if (r->loss > w->loss) w->loss = r->loss;
  if (r->split_known && (!w->gain_known || r->gain < w->gain))
    w->gain = r->gain;
  w->gain_known |= r->split_known;
}

/* Whether the choice of plan `from` serves the problem of plan `at`, too. */
static bool serves(const struct search *s, uint32_t from, uint32_t at,
                   struct worst *w)
{
  struct result r;

  if (!result_of(s, from, at, &r) || r.loss > s->job->loss || !gains(s, &r))
    return false;
  note(w, &r);
  return true;
}

/* ---- Runs --------------------------------------------------------------- */

/* The last point that the choice of `from` serves, going up from `i`; i - 1,
 * which may be one below nothing: not even that. */
static uint32_t reach(const struct search *s, const struct point *p, uint32_t n,
                      uint32_t from, uint32_t i, struct worst *w)
{
  uint32_t at = i;

  memset(w, 0, sizeof *w);
  for (; at < n; ++at) {
    struct worst next = *w;
    if (!serves(s, from, p[at].plan, &next)) break;
    *w = next;
  }
  return at - 1;
}

/* A choice, and the points from begin to end that it serves. */
struct run {
  uint32_t from, begin, end;
  struct worst worst;
};

/* The longest from `i` on; of equals what lost least, then the first. */
static struct run longest(const struct search *s, const struct point *p,
                          uint32_t n, uint32_t i)
{
  struct run best = {p[i].plan, i, i, {0, 0, false}};

  for (uint32_t c = 0; c < n; ++c) {
    struct worst w;
    uint32_t end = reach(s, p, n, p[c].plan, i, &w);
    if (end == UINT32_MAX || end <= i || end < best.end) continue;
    if (end == best.end && w.loss >= best.worst.loss) continue;
    best = (struct run){p[c].plan, i, end, w};
  }
  return best;
}

static void grow_left(const struct search *s, const struct point *p,
                      struct run *r)
{
  if (r->begin == r->end && !serves(s, r->from, p[r->end].plan, &r->worst))
    return; /* not even its own size: it hardly gains */
  while (r->begin > 0) {
    struct worst next = r->worst;
    if (!serves(s, r->from, p[r->begin - 1].plan, &next)) return;
    r->worst = next;
    r->begin--;
  }
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

/* An interval of the plan at this point, for the choice of plan `from`. */
static dd_status keep(struct search *s, const struct point *at, uint32_t from,
                      int64_t first, int64_t last, uint32_t sizes,
                      const struct worst *w)
{
  const struct table_plan *plan = &s->job->plans[from];
  struct table_interval *v;

  if (s->found_count == s->room) TRY(make_room(s));
  s->place[s->found_count] = at->plan;
  v = &s->found[s->found_count++];
  *v = (struct table_interval){.field = s->field,
                               .first = first,
                               .last = last,
                               .sizes = sizes,
                               .split = plan->split,
                               .step_count = plan->step_count,
                               .bits = plan->bits,
                               .loss = w->loss,
                               .gain = w->gain};
  memcpy(v->steps, plan->steps, sizeof v->steps);
  return DD_OK;
}

static dd_status keep_run(struct search *s, const struct point *p,
                          const struct run *r)
{
  if (r->begin == r->end) return DD_OK;
  return keep(s, &p[r->begin], r->from, p[r->begin].size, p[r->end].size,
              r->end - r->begin + 1, &r->worst);
}

/* ---- Gaps --------------------------------------------------------------- */

/* Two choices, `own` the better one at its end of the gap. */
struct side {
  struct result own, other; /* at its own end, and at the other's */
  struct worst worst;
};

/* False: it did not race at both ends, or is no faster than the split form. */
static bool side_of(const struct search *s, uint32_t from, uint32_t own,
                    uint32_t other, struct side *out)
{
  memset(out, 0, sizeof *out);
  if (!result_of(s, from, own, &out->own) ||
      !result_of(s, from, other, &out->other) || !gains(s, &out->own) ||
      !gains(s, &out->other))
    return false;
  note(&out->worst, &out->own);
  note(&out->worst, &out->other);
  return true;
}

/* How far into the gap, from 0 to 1, the left choice is the faster one; and
 * what it is expected to lose there.  False: one is faster at both ends. */
static bool cross(const struct side *left, const struct side *right, double *at,
                  double *loss)
{
  double lead = log(right->other.us / left->own.us);
  double lag = log(left->other.us / right->own.us);

  if (!(lead > 0 && lag > 0)) return false;
  *at = lead / (lead + lag);
  *loss = exp((1 - *at) * log1p(left->own.loss) +
              *at * log1p(left->other.loss)) - 1;
  return true;
}

/* The last size of the left choice's part. */
static int64_t size_at(const struct point *a, const struct point *b, double at)
{
  double low = log(a->size > 1 ? (double)a->size : 1.0);
  double high = log((double)b->size);
  int64_t size = (int64_t)exp(low + (high - low) * at);

  if (size < a->size) return a->size;
  return size < b->size ? size : b->size - 1;
}

static dd_status bridge(struct search *s, const struct point *p,
                        const struct run *left, const struct run *right)
{
  const struct point *a = &p[left->end], *b = &p[right->begin];
  struct side l, r;
  double at, loss;
  int64_t size;

  if (!side_of(s, left->from, a->plan, b->plan, &l) ||
      !side_of(s, right->from, b->plan, a->plan, &r) ||
      !cross(&l, &r, &at, &loss))
    return DD_OK;
  l.worst.loss = r.worst.loss = loss;
  size = size_at(a, b, at);
  if (size > a->size)
    TRY(keep(s, a, left->from, a->size, size, 1, &l.worst));
  if (size + 1 < b->size)
    TRY(keep(s, b, right->from, size + 1, b->size, 1, &r.worst));
  return DD_OK;
}

/* ---- Lines -------------------------------------------------------------- */

/* Going as far as one can each time leaves the fewest runs. */
static dd_status cut_line(struct search *s, const struct point *p, uint32_t n)
{
  struct run last = {0}, r;

  for (uint32_t i = 0; i < n; i = r.end + 1) {
    r = longest(s, p, n, i);
    grow_left(s, p, &r);
    TRY(keep_run(s, p, &r));
    if (i && r.begin == i) TRY(bridge(s, p, &last, &r));
    last = r;
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
  if (!s->first || !s->points) return no_memory();
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
