/* match.c - choose variants for a problem; the rules are in match.h. */
#include "match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Device and code -------------------------------------------------- */

/* The SMs count too: a slice of a GPU has the name of its whole. */
enum match_device match_device(const struct table *t,
                               const struct device_info *device)
{
  if (strcmp(t->device_kind, device->kind) || t->arch != device->arch)
    return MATCH_FOREIGN;
  if (strcmp(t->device_name, device->name) || t->sms != device->sms)
    return MATCH_SAME_ARCH;
  return MATCH_SAME;
}

const struct table_code *match_code(const struct table_variant *v,
                                    const struct device_info *device)
{
  const struct table_code *best = NULL;
  int best_arch = -1;

  if (!strcmp(device->kind, "cpu")) return table_code_find(v, "cpu");
  for (uint32_t i = 0; i < v->code_count; ++i) {
    int arch = strncmp(v->codes[i].target, "sm_", 3)
                   ? -1
                   : atoi(v->codes[i].target + 3);
    if (arch / 10 != device->arch / 10 || arch > device->arch) continue;
    if (arch <= best_arch) continue;
    best = &v->codes[i];
    best_arch = arch;
  }
  return best;
}

/* Why the variant cannot run p on this device, or NULL. */
static const char *misfit(const struct matcher *m,
                          const struct table_variant *v,
                          const struct problem *p)
{
  const struct device_info *d = m->device;
  const char *why = variant_misfit(&v->variant, p, d->arch, d->sms);
  struct geometry g;

  if (why) return why;
  if (!match_code(v, d)) return "code for this device";
  if (variant_geometry(&v->variant, p, d->arch, d->sms, 1, &g))
    return "a launch shape for these sizes";
  return NULL;
}

/* ---- One plan of the table -------------------------------------------- */

const struct symbol *match_static_difference(const struct problem *plan,
                                             const struct problem *p)
{
  for (uint32_t i = 0; i < p->op->symbol_count; ++i) {
    const struct symbol *s = &p->op->symbols[i];
    if (s->dynamic || s->kind == SYMBOL_LET || s->kind == SYMBOL_STRIDE)
      continue;
    if (plan->value[i] != p->value[i]) return s;
  }
  return NULL;
}

static double log_size(int64_t value)
{
  return log2(value > 1 ? (double)value : 1.0);
}

double match_distance(const struct problem *plan, const struct problem *p)
{
  double sum = 0;

  for (uint32_t i = 0; i < p->op->symbol_count; ++i) {
    const struct symbol *s = &p->op->symbols[i];
    double d = log_size(plan->value[i]) - log_size(p->value[i]);
    if (s->dynamic && s->kind == SYMBOL_INT) sum += d * d;
  }
  return sqrt(sum);
}

static void fused_step(const struct table_variant *v, const struct problem *p,
                       struct match_step *step)
{
  step->variant = v;
  step->problem = *p;
  for (int j = 0; j < OP_MAX_TENSORS; ++j)
    step->bind[j] = j < (int)p->op->tensor_count ? j : -1;
}

/* As match_misfit(), for steps that are a plan's or an interval's. */
static const char *steps_misfit(const struct matcher *m, bool split,
                                uint32_t count, const uint32_t *steps,
                                const struct problem *p, struct match *out)
{
  const struct table *t = m->table;

  out->step_count = count;
  if (!split) {
    fused_step(&t->variants[steps[0]], p, &out->step[0]);
    return misfit(m, out->step[0].variant, p);
  }
  for (uint32_t i = 0; i < count; ++i) {
    struct match_step *s = &out->step[i];
    const char *why;
    s->variant = &t->variants[steps[i]];
    if (problem_step(&t->ops, p, i, &s->problem, s->bind))
      return "a split form for this problem";
    why = misfit(m, s->variant, &s->problem);
    if (why) return why;
  }
  return NULL;
}

const char *match_misfit(const struct matcher *m, const struct table_plan *plan,
                         const struct problem *p, struct match *out)
{
  return steps_misfit(m, plan->split, plan->step_count, plan->steps, p, out);
}

static const char *interval_misfit(const struct matcher *m,
                                   const struct table_interval *v,
                                   const struct problem *p, struct match *out)
{
  return steps_misfit(m, v->split, v->step_count, v->steps, p, out);
}

/* ---- Who may be chosen --------------------------------------------------- */

/* Of a table's plans and intervals. */
struct choosing {
  bool fused_only;
  bool same_bits; /* what agrees with the lead */
  const struct table_plan *lead; /* NULL: nothing does */
};

/* What makes the result: of a plan or of an interval. */
struct making {
  uint32_t count;
  const uint32_t *steps;
  uint64_t bits;
};

/* The default gives a row more threads where rows are few. */
static bool minds_rows(const struct table *t, const struct making *a)
{
  for (uint32_t i = 0; i < a->count; ++i)
    if (t->variants[a->steps[i]].variant.scheme->fits_all) return true;
  return false;
}

static bool agree(const struct table *t, const struct making *a,
                  const struct making *b)
{
  if (minds_rows(t, a) || a->bits == BITS_DIFFER) return false;
  if (a->bits && a->bits == b->bits) return true;
  return a->count == b->count &&
         !memcmp(a->steps, b->steps, a->count * sizeof *a->steps);
}

static struct making making_of(const struct table_plan *plan)
{
  return (struct making){plan->step_count, plan->steps, plan->bits};
}

bool match_agrees(const struct table *t, const struct table_plan *lead,
                  const struct table_plan *plan)
{
  struct making a = making_of(plan), b = making_of(lead);

  return agree(t, &a, &b);
}

static bool may_choose(const struct table *t, const struct choosing *c,
                       bool split, const struct making *a)
{
  struct making lead;

  if (c->fused_only && split) return false;
  if (!c->same_bits) return true;
  if (!c->lead) return false;
  lead = making_of(c->lead);
  return agree(t, a, &lead);
}

static bool may_choose_plan(const struct table *t, const struct choosing *c,
                            const struct table_plan *plan)
{
  struct making a = making_of(plan);

  return may_choose(t, c, plan->split, &a);
}

static bool may_choose_interval(const struct table *t, const struct choosing *c,
                                const struct table_interval *v)
{
  struct making a = {v->step_count, v->steps, v->bits};

  return may_choose(t, c, v->split, &a);
}

/* Of equally long ones the first by spelling: the table's order. */
static dd_status find_lead(const struct matcher *m, const struct problem *p,
                           const char *fixed, const struct table_plan **out)
{
  uint32_t first, count;

  *out = NULL;
  TRY(table_plans_like(m->table, fixed, &first, &count));
  for (uint32_t i = first; i < first + count; ++i) {
    const struct table_plan *plan = &m->table->plans[i];
    struct making a = making_of(plan);
    if (plan->problem.op != p->op || !agree(m->table, &a, &a) ||
        match_static_difference(&plan->problem, p))
      continue;
    if (!*out || plan->us > (*out)->us) *out = plan;
  }
  return DD_OK;
}

dd_status match_lead(const struct matcher *m, const struct problem *p,
                     const struct table_plan **out)
{
  struct bytes fixed = BYTES_INIT;
  dd_status status;

  problem_print_static(p, &fixed);
  status = bytes_status(&fixed);
  *out = NULL;
  if (!status) status = find_lead(m, p, bytes_string(&fixed), out);
  bytes_release(&fixed);
  return status;
}

/* ---- Exact, interval, near --------------------------------------------- */

/* A problem as the table sorts it. */
struct name {
  struct bytes fixed, spelling;
};

static dd_status name_of(const struct problem *p, struct name *n)
{
  *n = (struct name){BYTES_INIT, BYTES_INIT};
  problem_print_static(p, &n->fixed);
  problem_print(p, &n->spelling);
  TRY(bytes_status(&n->fixed));
  return bytes_status(&n->spelling);
}

static void name_release(struct name *n)
{
  bytes_release(&n->fixed);
  bytes_release(&n->spelling);
}

static dd_status find_exact(const struct matcher *m, const struct name *n,
                            const struct table_plan **out)
{
  return table_plan_find(m->table, bytes_string(&n->fixed),
                         bytes_string(&n->spelling), out);
}

static void take_plan(const struct table_plan *plan, double distance,
                      dd_match how, struct match *out)
{
  out->how = how;
  out->plan = plan;
  out->interval = NULL;
  out->us = plan->us;
  out->distance = distance;
  out->loss = how == DD_MATCH_EXACT ? plan->loss
              : plan->away > 0     ? 1 / plan->away - 1
                                   : MATCH_LOSS_UNKNOWN;
}

static bool try_exact(const struct matcher *m, const struct problem *p,
                      const struct table_plan *plan, const struct choosing *c,
                      struct match *out)
{
  if (!plan || !may_choose_plan(m->table, c, plan)) return false;
  if (match_misfit(m, plan, p, out)) return false;
  take_plan(plan, 0, DD_MATCH_EXACT, out);
  return true;
}

/* Whether another size that follows none differs: most problems with the same
 * static fields are told apart by one, and need not be printed. */
static bool differs_beside(const struct problem *a, const struct problem *b,
                           uint32_t field)
{
  for (uint32_t i = 0; i < a->op->symbol_count; ++i) {
    const struct symbol *s = &a->op->symbols[i];
    if (i != field && s->kind == SYMBOL_INT && !s->otherwise &&
        a->value[i] != b->value[i])
      return true;
  }
  return false;
}

/* Whether the two problems differ in this field only. */
static dd_status differ_in(const struct problem *a, const struct problem *b,
                           uint32_t field, bool *out)
{
  struct bytes first = BYTES_INIT, second = BYTES_INIT;
  dd_status status;

  *out = false;
  if (differs_beside(a, b, field)) return DD_OK;
  problem_print_but(a, field, &first);
  problem_print_but(b, field, &second);
  *out = !strcmp(bytes_string(&first), bytes_string(&second));
  status = bytes_status(&first);
  if (!status) status = bytes_status(&second);
  bytes_release(&first);
  bytes_release(&second);
  return status;
}

dd_status match_inside(const struct table_plan *plan,
                       const struct table_interval *v, const struct problem *p,
                       bool *inside)
{
  *inside = false;
  if (plan->problem.op != p->op || p->value[v->field] < v->first ||
      p->value[v->field] > v->last)
    return DD_OK;
  return differ_in(&plan->problem, p, v->field, inside);
}

/* Whether interval v of this plan serves, and better than the one so far. */
static dd_status is_better(const struct matcher *m, const struct table_plan *at,
                           const struct table_interval *v,
                           const struct choosing *c, const struct problem *p,
                           const struct table_interval *so_far, bool *out)
{
  struct match scratch;

  *out = false;
  if ((so_far && v->loss >= so_far->loss) ||
      !may_choose_interval(m->table, c, v))
    return DD_OK;
  TRY(match_inside(at, v, p, out));
  if (*out && interval_misfit(m, v, p, &scratch)) *out = false;
  return DD_OK;
}

/* The plan of a measured size in the interval that begins at `from`, the
 * nearest to p. */
static dd_status nearest_in(const struct matcher *m,
                            const struct table_plan *from,
                            const struct table_interval *v,
                            const struct problem *p, uint32_t first,
                            uint32_t count, const struct table_plan **out)
{
  *out = from;
  for (uint32_t i = first; i < first + count; ++i) {
    const struct table_plan *plan = &m->table->plans[i];
    bool inside;
    if (match_distance(&plan->problem, p) >=
        match_distance(&(*out)->problem, p))
      continue;
    TRY(match_inside(from, v, &plan->problem, &inside));
    if (inside) *out = plan;
  }
  return DD_OK;
}

/* Of intervals that lost equally little the first in the table's order. */
static dd_status try_interval(const struct matcher *m, const struct problem *p,
                              const struct name *n, const struct choosing *c,
                              struct match *out, bool *found)
{
  const struct table_plan *from = NULL, *plan;
  const struct table_interval *best = NULL;
  uint32_t first, count;
  bool better;

  *found = false;
  TRY(table_plans_like(m->table, bytes_string(&n->fixed), &first, &count));
  for (uint32_t i = first; i < first + count; ++i) {
    plan = &m->table->plans[i];
    for (uint32_t j = 0; j < plan->interval_count; ++j) {
      const struct table_interval *v = &plan->intervals[j];
      TRY(is_better(m, plan, v, c, p, best, &better));
      if (!better) continue;
      best = v;
      from = plan;
    }
  }
  if (!best) return DD_OK;
  TRY(nearest_in(m, from, best, p, first, count, &plan));
  interval_misfit(m, best, p, out);
  take_plan(plan, match_distance(&plan->problem, p), DD_MATCH_INTERVAL, out);
  out->interval = best;
  out->loss = best->loss;
  *found = true;
  return DD_OK;
}

/* Of equally near plans the first by spelling is taken: the table's order. */
static dd_status try_near(const struct matcher *m, const struct problem *p,
                          const struct name *n, const struct choosing *c,
                          struct match *out, bool *found)
{
  const struct table_plan *best = NULL;
  double best_distance = INFINITY;
  double far = c->same_bits ? INFINITY : MATCH_NEAR_OCTAVES;
  uint32_t first, count;

  TRY(table_plans_like(m->table, bytes_string(&n->fixed), &first, &count));
  for (uint32_t i = first; i < first + count; ++i) {
    const struct table_plan *plan = &m->table->plans[i];
    double distance;
    if (plan->problem.op != p->op || !may_choose_plan(m->table, c, plan))
      continue;
    if (match_static_difference(&plan->problem, p)) continue;
    distance = match_distance(&plan->problem, p);
    if (distance > far || distance >= best_distance) continue;
    if (match_misfit(m, plan, p, out)) continue;
    best = plan;
    best_distance = distance;
  }
  *found = best != NULL;
  if (!best) return DD_OK;
  match_misfit(m, best, p, out); /* its steps again: later tries wrote there */
  take_plan(best, best_distance, DD_MATCH_NEAR, out);
  if (best_distance > MATCH_NEAR_OCTAVES) out->loss = MATCH_LOSS_UNKNOWN;
  return DD_OK;
}

/* ---- Split ------------------------------------------------------------- */

static dd_status find_part(const struct matcher *m, const struct problem *p,
                           struct match *part, bool *found)
{
  const struct choosing fused = {.fused_only = true};
  const struct table_plan *exact = NULL;
  struct name n;
  dd_status status = name_of(p, &n);

  if (!status) status = find_exact(m, &n, &exact);
  *found = !status && try_exact(m, p, exact, &fused, part);
  if (!status && !*found) status = try_interval(m, p, &n, &fused, part, found);
  if (!status && !*found) status = try_near(m, p, &n, &fused, part, found);
  name_release(&n);
  return status;
}

static dd_status try_split(const struct matcher *m, const struct problem *p,
                           struct match *out, bool *found)
{
  struct match part;
  double us = 0;

  *found = p->op->step_count > 0;
  for (uint32_t i = 0; i < p->op->step_count && *found; ++i) {
    struct match_step *s = &out->step[i];
    if (problem_step(&m->table->ops, p, i, &s->problem, s->bind)) {
      *found = false;
      break;
    }
    TRY(find_part(m, &s->problem, &part, found));
    if (!*found) break;
    s->variant = part.step[0].variant;
    us += part.us;
  }
  if (!*found) return DD_OK;
  out->how = DD_MATCH_SPLIT;
  out->step_count = p->op->step_count;
  out->plan = NULL;
  out->interval = NULL;
  out->us = us;
  out->distance = 0;
  out->loss = MATCH_LOSS_UNKNOWN;
  return DD_OK;
}

/* ---- The rules in their order ------------------------------------------ */

int match_rank(dd_match how)
{
  if (how == DD_MATCH_INTERVAL) return 1;
  return how == DD_MATCH_EXACT ? 0 : 1 + (int)how;
}

static dd_status find_named_whole(const struct matcher *m,
                                  const struct problem *p, const struct name *n,
                                  struct match *out, bool *found)
{
  struct choosing c = {.same_bits = m->same_bits};
  const struct table_plan *exact = NULL;

  if (m->same_bits) TRY(find_lead(m, p, bytes_string(&n->fixed), &c.lead));
  TRY(find_exact(m, n, &exact));
  *found = try_exact(m, p, exact, &c, out);
  if (*found || m->exact_only) return DD_OK;
  TRY(try_interval(m, p, n, &c, out, found));
  return *found ? DD_OK : try_near(m, p, n, &c, out, found);
}

static dd_status find_whole(const struct matcher *m, const struct problem *p,
                            struct match *out, bool *found)
{
  struct name n;
  dd_status status = name_of(p, &n);

  if (!status) status = find_named_whole(m, p, &n, out, found);
  name_release(&n);
  return status;
}

/* Whether the plan was hardly faster than the split form where it was measured:
 * then it may be slower for another size, or on another device.  No interval
 * has such a choice. */
static bool is_doubtful(const struct match *m)
{
  const struct table_plan *t = m->plan;

  return (m->distance > 0 || m->how == DD_MATCH_DEVICE) && !m->interval &&
         !t->split && t->split_us > 0 && t->gain < MATCH_MARGIN;
}

static dd_status prefer_split(const struct matcher *m, const struct problem *p,
                              struct match *out)
{
  struct match split = *out;
  bool found;

  TRY(try_split(m, p, &split, &found));
  if (found) *out = split;
  return DD_OK;
}

static dd_status find_tuned(const struct matcher *m, const struct problem *p,
                            struct match *out, bool *found)
{
  bool same = match_device(m->table, m->device) == MATCH_SAME;

  out->table = m->table;
  out->problem = *p;
  *found = false;
  if (m->exact_only && !same) return DD_OK;
  TRY(find_whole(m, p, out, found));
  if (m->exact_only) return DD_OK;
  if (!*found) return m->same_bits ? DD_OK : try_split(m, p, out, found);
  if (!same) {
    out->how = DD_MATCH_DEVICE;
    out->loss = MATCH_LOSS_UNKNOWN;
  }
  return !m->same_bits && is_doubtful(out) ? prefer_split(m, p, out) : DD_OK;
}

static dd_status try_default(const struct matcher *m, struct table *t,
                             const struct problem *p, struct match *out,
                             bool *found)
{
  const struct table_variant *v;

  TRY(table_default(t, p, &v));
  *found = v && !misfit(m, v, p);
  if (!*found) return DD_OK;
  out->how = DD_MATCH_DEFAULT;
  out->table = t;
  out->plan = NULL;
  out->interval = NULL;
  out->us = out->distance = 0;
  out->loss = MATCH_LOSS_UNKNOWN;
  out->problem = *p;
  out->step_count = 1;
  fused_step(v, p, &out->step[0]);
  return DD_OK;
}

/* Whether the set has the op that a spelling begins with. */
static bool set_knows(const struct op_set *set, const char *spelling)
{
  char name[80];
  const char *at = spelling + strspn(spelling, " \t\n");
  size_t n = strcspn(at, ": \t\n");

  if (n >= sizeof name) return false;
  memcpy(name, at, n);
  name[n] = 0;
  return op_find(set, name) != NULL;
}

/* The problem in the ops of both tables: they may be of different specs.  It
 * is a failure if neither can read it.  A table that makes another problem of
 * it than the library does is not used for it. */
struct readings {
  struct problem host, floor;
  bool in_host, in_floor;
};

static dd_status read_both(const struct matcher *m, const char *spelling,
                           struct readings *r)
{
  bool host_first = m->table && set_knows(&m->table->ops, spelling);
  dd_status status = DD_OK;

  r->in_host = r->in_floor = false;
  if (host_first) {
    status = problem_parse(&m->table->ops, spelling, &r->host);
    r->in_host = !status;
  }
  /* Where only the host's table knows the op, its sentence stands. */
  if (host_first && !set_knows(&m->floor->ops, spelling)) return status;
  status = problem_parse(&m->floor->ops, spelling, &r->floor);
  r->in_floor = !status;
  /* What a caller passes is what the library reads. */
  if (r->in_host && r->in_floor && problem_difference(&r->floor, &r->host))
    r->in_host = false;
  return r->in_host ? DD_OK : status;
}

static dd_status refuse(const struct matcher *m, const char *spelling)
{
  char target[24] = "cpu";

  if (strcmp(m->device->kind, "cpu"))
    snprintf(target, sizeof target, "sm_%d", m->device->arch);
  return fail(DD_UNSUPPORTED, "no variant of this library or its table can run "
              "'%.300s' on %s", spelling, target);
}

/* A better match of the table that lies under; what is wrong with that table
 * is nobody's failure. */
static void look_under(const struct matcher *m, const char *spelling,
                       const struct problem *read, struct match *out,
                       bool *found)
{
  struct problem p;
  struct match other;
  bool has = false;

  if (*found && out->how == DD_MATCH_EXACT) return;
  if (!m || match_device(m->table, m->device) == MATCH_FOREIGN) return;
  if (problem_parse(&m->table->ops, spelling, &p)) return;
  if (problem_difference(read, &p)) return;
  memset(&other, 0, sizeof other);
  if (find_tuned(m, &p, &other, &has) || !has) return;
  if (*found && match_rank(other.how) >= match_rank(out->how)) return;
  *out = other;
  *found = true;
}

static bool is_strict(const struct matcher *m)
{
  return m->exact_only || m->same_bits;
}

dd_status match_find(const struct matcher *m, const char *spelling,
                     struct match *out)
{
  struct readings r;
  bool found = false;

  memset(out, 0, sizeof *out);
  TRY(read_both(m, spelling, &r));
  if (r.in_host && match_device(m->table, m->device) != MATCH_FOREIGN) {
    dd_status status = find_tuned(m, &r.host, out, &found);
    if (status && (status != DD_BAD_TABLE || is_strict(m))) return status;
    found = found && !status;
  }
  if (!m->same_bits) look_under(m->under, spelling,
                                r.in_floor ? &r.floor : &r.host, out, &found);
  if (found) return DD_OK;
  if (m->same_bits)
    return fail(DD_UNTUNED, "'%.300s': the host's table has no plan with these "
                "static fields, or none that agrees with the longest fits, and "
                "DD_OPEN_SAME_BITS takes no other", spelling);
  if (m->exact_only)
    return fail(DD_UNTUNED, "'%.300s' was not measured on this device",
                spelling);
  if (r.in_floor) TRY(try_default(m, m->floor, &r.floor, out, &found));
  if (!found && r.in_host)
    TRY(try_default(m, m->table, &r.host, out, &found));
  return found ? DD_OK : refuse(m, spelling);
}

/* ---- By name ------------------------------------------------------------- */

static dd_status find_named(const struct matcher *m, const struct table *t,
                            const struct problem *p, const char *name,
                            size_t length, const struct table_variant **out)
{
  const struct table_variant *found = NULL;
  struct bytes text = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < t->variant_count && !found && !status; ++i) {
    const struct table_variant *v = &t->variants[i];
    if (strcmp(v->variant.op->name, p->op->name)) continue;
    bytes_clear(&text);
    variant_print(&v->variant, &text);
    if (text.size == length && !memcmp(bytes_string(&text), name, length) &&
        !misfit(m, v, p))
      found = v;
    status = bytes_status(&text);
  }
  bytes_release(&text);
  *out = found;
  return status;
}

static uint32_t count_parts(const char *variants)
{
  uint32_t n = 1;

  while ((variants = strstr(variants, " + "))) {
    variants += 3;
    n++;
  }
  return n;
}

static dd_status named_in(const struct matcher *m, struct table *t,
                          const char *spelling, const char *variants,
                          struct match *out, bool *found)
{
  uint32_t parts = count_parts(variants);
  struct problem read;

  memset(out, 0, sizeof *out);
  if (problem_parse(&t->ops, spelling, &out->problem)) return DD_OK;
  if (!problem_parse(&m->floor->ops, spelling, &read) &&
      problem_difference(&read, &out->problem))
    return DD_OK;
  if (parts > 1 && parts != out->problem.op->step_count) return DD_OK;
  TRY(table_read_plans(t));
  for (uint32_t i = 0; i < parts; ++i) {
    struct match_step *s = &out->step[i];
    const char *end = strstr(variants, " + ");
    size_t length = end ? (size_t)(end - variants) : strlen(variants);
    if (parts == 1) fused_step(NULL, &out->problem, s);
    else if (problem_step(&t->ops, &out->problem, i, &s->problem, s->bind))
      return DD_OK;
    TRY(find_named(m, t, &s->problem, variants, length, &s->variant));
    if (!s->variant) return DD_OK;
    variants += length + 3 * (end != NULL);
  }
  out->how = DD_MATCH_PINNED;
  out->loss = MATCH_LOSS_UNKNOWN;
  out->table = t;
  out->step_count = parts;
  *found = true;
  return DD_OK;
}

dd_status match_named(const struct matcher *m, const char *spelling,
                      const char *variants, struct match *out, bool *found)
{
  struct table *tables[] = {m->table, m->under ? m->under->table : NULL,
                            m->floor};

  *found = false;
  for (size_t i = 0; i < COUNT_OF(tables) && !*found; ++i)
    if (tables[i]) TRY(named_in(m, tables[i], spelling, variants, out, found));
  return DD_OK;
}
