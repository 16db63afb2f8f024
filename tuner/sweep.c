/* sweep.c - prove and race every candidate of a list of problems. */
#include "sweep.h"

#include <stdio.h>
#include <string.h>

#include "prune.h"
#include "twin.h"

/* ---- Adding problems ------------------------------------------------------- */

/* By the user, or at the end of the budget. */
static bool is_stopped(const struct sweep *s)
{
  return interrupted() || budget_is_over(&s->budget);
}

struct outcome *sweep_find(const struct sweep *s, const struct problem *p)
{
  for (uint32_t i = 0; i < s->count; ++i)
    if (problem_equal(&s->outcomes[i].problem, p)) return &s->outcomes[i];
  return NULL;
}

static dd_status new_outcome(struct sweep *s, const struct problem *p,
                             bool is_part, struct outcome **out)
{
  struct bytes text = BYTES_INIT;
  struct outcome *o;

  if (s->count == s->capacity) {
    uint32_t more = s->capacity ? s->capacity * 2 : 64;
    void *bigger = mem_resize(NULL, s->outcomes, s->capacity * sizeof *o,
                              more * sizeof *o);
    if (!bigger) return fail(DD_NO_MEMORY, "out of memory");
    s->outcomes = bigger;
    s->capacity = more;
  }
  o = &s->outcomes[s->count++];
  *o = (struct outcome){.problem = *p, .is_part = is_part, .best = -1,
                        .best_fused = -1};
  arena_init(&o->arena, NULL);
  problem_print(p, &text);
  o->spelling = arena_text(&s->arena, bytes_string(&text), text.size);
  bytes_release(&text);
  *out = o;
  return o->spelling ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* A word of a label: "op.scheme", "scheme" or "tunable=value". */
static bool label_has(const char *label, const char *word, size_t size)
{
  while (*label) {
    size_t n = strcspn(label, " ");
    const char *dot = memchr(label, '.', n);
    if (n == size && !memcmp(label, word, n)) return true;
    if (dot && n - (size_t)(dot + 1 - label) == size &&
        !memcmp(dot + 1, word, size))
      return true;
    label += n + strspn(label + n, " ");
  }
  return false;
}

/* How many of the words the label has; *all: each of them. */
static uint32_t count_words(const char *label, const char *words, bool *all)
{
  uint32_t n = 0;

  *all = true;
  for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
    size_t size = strcspn(words, " ");
    bool has = label_has(label, words, size);
    n += has;
    *all = *all && has;
    words += size;
  }
  return n;
}

static bool wants_split_only(const struct sweep *s)
{
  return s->options.only && strcmp(s->options.only, "split") == 0;
}

static bool is_wanted(const struct sweep *s, const struct outcome *o,
                      const char *label)
{
  bool all;

  if (!s->options.only || o->is_part) return true;
  count_words(label, s->options.only, &all);
  return all && !wants_split_only(s);
}

/* For the sentence that says that nothing was wanted. */
static void keep_nearest(struct sweep *s, const char *label)
{
  bool all;
  uint32_t words = count_words(label, s->options.only, &all);

  if (s->near && words <= s->near_words) return;
  s->near = arena_text(&s->arena, label, strlen(label));
  s->near_words = words;
}

dd_status sweep_wants_any(const struct sweep *s)
{
  if (!s->options.only || s->wanted) return DD_OK;
  if (wants_split_only(s))
    return fail(DD_BAD_ARGUMENT, "no problem that was asked for has a split "
                "form");
  return fail(DD_BAD_ARGUMENT, "no variant has the label '%s'; the nearest is "
              "'%s'", s->options.only, s->near ? s->near : "none");
}

static bool may_split(const struct outcome *o)
{
  return o->problem.op->step_count > 0;
}

/* Chooses the variants that its sweep looks at; they become entries when its
 * turn is near. */
static dd_status choose_points(struct sweep *s, struct outcome *o)
{
  const struct device_info *info = &s->client->info;
  uint32_t limit = o->is_part ? s->options.parts : s->options.sample, count;
  struct bytes label = BYTES_INIT;

  if (s->options.cover && !o->is_part)
    TRY(cover_points(&s->shown, NULL, &o->problem, info->arch, info->sms,
                     s->options.seed, &s->arena, &o->points, &count));
  else
    TRY(sample_points(&o->problem, info->arch, info->sms, limit,
                      s->options.seed, &o->arena, &o->points, &count));
  for (uint32_t i = 0; i < count; ++i) {
    bytes_clear(&label);
    variant_print(&o->points[i], &label);
    if (is_wanted(s, o, bytes_string(&label)))
      o->points[o->point_count++] = o->points[i];
    if (s->options.only && !o->is_part) keep_nearest(s, bytes_string(&label));
  }
  bytes_release(&label);
  s->total += o->point_count + may_split(o);
  if (!o->is_part)
    s->wanted += o->point_count + (wants_split_only(s) && may_split(o));
  return DD_OK;
}

/* A step that is no legal problem (rows of an input that overlap) leaves the
 * problem without a split plan; make_split() says so. */
/* A part has half of the weight: its best only serves the split plan. */
static dd_status add_parts(struct sweep *s, const struct problem *p,
                           double weight)
{
  for (uint32_t i = 0; i < p->op->step_count; ++i) {
    struct problem step;
    int bind[OP_MAX_TENSORS];
    if (problem_step(&s->specs->ops, p, i, &step, bind)) continue;
    TRY(sweep_add(s, &step, true, weight / 2));
  }
  return DD_OK;
}

dd_status sweep_add(struct sweep *s, const struct problem *p, bool is_part,
                    double weight)
{
  struct outcome *o = sweep_find(s, p);

  if (o) { /* somebody's part, and now asked for itself, or asked for twice */
    o->is_part = o->is_part && is_part;
    return DD_OK;
  }
  TRY(add_parts(s, p, weight));
  TRY(new_outcome(s, p, is_part, &o));
  o->weight = weight;
  budget_add(&s->budget, weight);
  return choose_points(s, o);
}

/* ---- Opening problems ------------------------------------------------------ */

static dd_status add_entry(struct sweep *s, struct entry *e, struct variant *v)
{
  TRY(build_add(s->build, v, &e->part[0]));
  e->candidate.step_count = 1;
  e->candidate.steps[0] = v->hash;
  e->label = s->build->parts[e->part[0]]->label;
  return DD_OK;
}

static dd_status fix_entry(struct sweep *s, struct entry *e,
                           const struct fixed *f)
{
  struct bytes label = BYTES_INIT;
  struct part *const *parts = s->build->parts;

  if (f->split) bytes_text(&label, "split:");
  e->candidate.split = f->split;
  e->candidate.step_count = f->step_count;
  for (uint32_t i = 0; i < f->step_count; ++i) {
    e->part[i] = f->part[i];
    e->candidate.steps[i] = parts[f->part[i]]->variant.hash;
    bytes_printf(&label, "%s%s%s", i ? "," : "", f->split ? " " : "",
                 parts[f->part[i]]->label);
  }
  e->label = arena_text(&s->arena, bytes_string(&label), label.size);
  bytes_release(&label);
  return e->label ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

dd_status sweep_add_fixed(struct sweep *s, const struct problem *p,
                          const struct fixed *candidates, uint32_t count)
{
  struct outcome *o;

  TRY(new_outcome(s, p, false, &o));
  o->opened = true;
  o->entries = ARENA_ARRAY(&s->arena, struct entry, count + 1);
  if (!o->entries) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < count; ++i)
    TRY(fix_entry(s, &o->entries[o->count++], &candidates[i]));
  s->total += count;
  return DD_OK;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
  uint64_t x = *state += 0x9e3779b97f4a7c15u;

  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* Where the budget is too short for all: the default, then random ones. */
static void fit_points(struct sweep *s, struct outcome *o)
{
  uint32_t fits = budget_fits(&s->budget, o->weight, o->point_count);
  uint64_t random = s->options.seed;

  if (fits >= o->point_count) return;
  for (uint32_t i = 1; i < fits; ++i) {
    uint32_t j = i + (uint32_t)(next_random(&random) % (o->point_count - i));
    struct variant v = o->points[i];
    o->points[i] = o->points[j];
    o->points[j] = v;
  }
  s->total -= o->point_count - fits;
  s->left_out += o->point_count - fits;
  o->point_count = fits;
}

/* Makes the entries and queues their variants for compiling. */
static dd_status open_outcome(struct sweep *s, struct outcome *o)
{
  dd_status status = DD_OK;

  o->opened = true;
  o->entries = ARENA_ARRAY(&s->arena, struct entry, o->point_count + 1);
  if (!o->entries) return fail(DD_NO_MEMORY, "out of memory");
  o->has_split = may_split(o);
  fit_points(s, o);
  for (uint32_t i = 0; i < o->point_count && !status; ++i)
    status = add_entry(s, &o->entries[o->count++], &o->points[i]);
  arena_release(&o->arena);
  o->points = NULL;
  return status ? status : build_submit(s->build);
}

/* Units wait for each worker, however long the device takes; but not those of
 * the whole sweep, whose text would be hundreds of megabytes. */
enum { UNITS_AHEAD = 4, PROBLEMS_AHEAD = 64 };

static bool is_hungry(const struct sweep *s)
{
  const struct farm *farm = s->build->farm;

  return s->ahead < s->turn_count &&
         s->ahead < s->current + PROBLEMS_AHEAD &&
         farm_queued(farm) < UNITS_AHEAD * (size_t)farm_workers(farm);
}

static void open_ahead(struct sweep *s)
{
  while (!s->ahead_status && is_hungry(s)) {
    struct outcome *o = &s->outcomes[s->order[s->ahead++]];
    if (!o->restored && !o->opened) s->ahead_status = open_outcome(s, o);
  }
}

/* ---- Storing ------------------------------------------------------------- */

/* Who hands out the turns may forget what is stored, and only that. */
static dd_status tell_stored(struct sweep *s, uint32_t outcome)
{
  return s->turns.done ? s->turns.done(s->turns.user, outcome) : DD_OK;
}

/* A problem's rows are one transaction, with the code of its winner, which is
 * compiled alone meanwhile: the next problem does not wait for it. */
static dd_status record_finished(struct sweep *s, bool wait)
{
  for (; s->stored < s->turn_count; ++s->stored) {
    uint32_t outcome = s->order[s->stored];
    struct outcome *o = &s->outcomes[outcome];
    if (!o->unstored && s->stored >= s->current) return DD_OK;
    if (o->unstored) {
      if (!wait && !record_is_ready(s->recorder, o)) return DD_OK;
      o->unstored = false;
      TRY(record_outcome(s->recorder, o));
    } else if (!o->restored) {
      continue;
    }
    TRY(tell_stored(s, outcome));
  }
  return DD_OK;
}

/* After one that failed there is none: parts would remember rows that were
 * taken back. */
static void record_more(struct sweep *s, bool wait)
{
  const char *why;

  if (!s->recorder || s->record_status) return;
  s->record_status = record_finished(s, wait);
  if (!s->record_status) return;
  why = arena_text(&s->arena, dd_last_error(), strlen(dd_last_error()));
  s->record_error = why ? why : "out of memory";
}

/* A transaction waits for the disk several times, as long as for a small race:
 * it has its turn while the device is at work. */
static void record_beside(struct sweep *s)
{
  if (s->may_record) record_more(s, false);
}

static dd_status record_trouble(const struct sweep *s)
{
  return s->record_status ? fail(s->record_status, "%s", s->record_error)
                          : DD_OK;
}

/* While the device is at work: the compile workers are not to wait for it. */
static void turn_farm(void *user)
{
  struct sweep *s = user;

  farm_turn(s->build->farm);
  if (s->turns.take) s->turns.take(s->turns.user, false);
  open_ahead(s);
  record_beside(s);
}

/* One that takes the worker long enough for a transaction. */
static dd_status call_at_length(struct sweep *s, const struct bytes *request,
                                double seconds, struct bytes *reply)
{
  dd_status status;

  s->may_record = true;
  status = client_call(s->client, request, seconds, reply);
  s->may_record = false;
  return status;
}

static size_t farm_rows(void *user, struct pollfd *fds, size_t capacity)
{
  return farm_poll(((struct sweep *)user)->build->farm, fds, capacity);
}

void sweep_release(struct sweep *s)
{
  for (uint32_t i = 0; i < s->count; ++i) arena_release(&s->outcomes[i].arena);
  mem_resize(NULL, s->outcomes, s->capacity * sizeof *s->outcomes, 0);
  arena_release(&s->arena);
  s->outcomes = NULL;
  s->count = s->capacity = 0;
}

/* ---- Where the time goes --------------------------------------------------- */

#define PHASE_WORD(name, word) [PHASE_##name] = word,
const char *const phase_words[PHASE_COUNT] = {PHASE_MAP(PHASE_WORD)};
#undef PHASE_WORD

/* `began` is when `status` was not known yet. */
static dd_status spent(struct outcome *o, enum phase phase, double began,
                       dd_status status)
{
  o->seconds[phase] += seconds_now() - began;
  return status;
}

double sweep_seconds(const struct sweep *s, double seconds[PHASE_COUNT])
{
  static const enum phase busy[] = {PHASE_LOAD, PHASE_PROVE, PHASE_RACE};
  double sum = 0;

  memset(seconds, 0, PHASE_COUNT * sizeof *seconds);
  for (uint32_t i = 0; i < s->count; ++i)
    for (int k = 0; k < PHASE_COUNT; ++k)
      seconds[k] += s->outcomes[i].seconds[k];
  for (size_t i = 0; i < COUNT_OF(busy); ++i) sum += seconds[busy[i]];
  return s->seconds > 0 ? sum / s->seconds : 0;
}

/* ---- Progress ----------------------------------------------------------------- */

static void tell(struct sweep *s, const struct outcome *o, const char *doing)
{
  budget_predict(&s->budget, s->total - s->done, &s->progress.low,
                 &s->progress.high);
  progress_at(&s->progress, s->done, s->total, "%s %s", doing, o->spelling);
}

/* ---- Proving -------------------------------------------------------------------- */

static const char *keep_text_of(struct sweep *s, const char *text)
{
  const char *kept = arena_text(&s->arena, text, strlen(text));

  return kept ? kept : "out of memory";
}

static void refuse(struct sweep *s, struct outcome *o, struct entry *e,
                   const char *stage, const char *reason)
{
  e->done = true;
  e->stage = stage;
  e->reason = keep_text_of(s, reason);
  o->refused++;
  s->done++;
}

/* A problem that the device cannot hold, or that breaks it before a candidate
 * ran, costs its own candidates and no other problem's. */
static bool is_problems(dd_status status)
{
  return status == DD_DEVICE || status == DD_NO_MEMORY;
}

static bool is_candidates(dd_status status)
{
  return is_problems(status) || status == DD_UNSUPPORTED;
}

static void refuse_problem(struct sweep *s, struct outcome *o)
{
  o->broken = keep_text_of(s, dd_last_error());
  say("%s: it cannot be set up: %s", o->spelling, o->broken);
  for (uint32_t i = 0; i < o->count; ++i)
    if (!o->entries[i].done)
      refuse(s, o, &o->entries[i], "check", o->broken);
}

static void put_problem(const struct sweep *s, const struct outcome *o,
                        enum request what, struct bytes *request)
{
  wire_put_u32(request, what);
  wire_put_text(request, o->spelling);
  wire_put_i64(request, (int64_t)s->options.seed);
}

/* NULL: none that anybody knows of yet. */
static const struct outcome *next_outcome(const struct sweep *s)
{
  for (uint32_t i = s->current + 1; i < s->turn_count; ++i)
    if (!s->outcomes[s->order[i]].restored) return &s->outcomes[s->order[i]];
  return NULL;
}

/* While this problem is proven and raced the worker's host makes the next one's
 * inputs and references.  What fails is made when its turn comes; not even that
 * is tried again where the worker died of it. */
static void prepare_next(struct sweep *s)
{
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  const struct outcome *next = next_outcome(s);

  if (!next || s->no_ahead) return;
  put_problem(s, next, REQUEST_PREPARE, &request);
  s->no_ahead = client_call(s->client, &request, 60, &reply) != DD_OK;
  bytes_release(&request);
  bytes_release(&reply);
}

static dd_status set_problem(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  put_problem(s, o, REQUEST_PROBLEM, &request);
  status = call_at_length(s, &request, 600, &reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    o->traffic = wire_i64(&r, "a problem's traffic");
    o->effort = wire_f64(&r, "seconds");
    status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&request);
  bytes_release(&reply);
  return spent(o, PHASE_SET_UP, began, status);
}

static dd_status load_steps(struct sweep *s, struct outcome *o,
                            const struct entry *e)
{
  double began = seconds_now();
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < e->candidate.step_count && !status; ++i)
    status = build_load(s->build, e->part[i], s->client);
  return spent(o, PHASE_LOAD, began, status);
}

/* How long the device may take for a candidate: a hundred times as long as for
 * those before it, or, for the first, as for the references that it is compared
 * with, which take far longer.  The least is for a host that is busy; without a
 * GPU the kernel itself runs there. */
static double patience(const struct sweep *s, const struct outcome *o)
{
  double least = strcmp(s->client->info.kind, "cpu") ? 2 : 10, most = 120;
  double known = o->longest > 0 ? o->longest : o->effort;

  return 100 * known < least ? least : 100 * known < most ? 100 * known : most;
}

static dd_status ask_check(struct sweep *s, struct outcome *o,
                           const struct entry *e, struct proof *proof)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  wire_put_u32(&request, REQUEST_CHECK);
  put_candidate(&request, &e->candidate);
  status = client_call(s->client, &request, patience(s, o), &reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    get_proof(&r, &a, proof);
    status = wire_status(&r, true, DD_BUG);
  }
  arena_release(&a);
  bytes_release(&request);
  bytes_release(&reply);
  if (!status && seconds_now() - began > o->longest)
    o->longest = seconds_now() - began;
  return spent(o, PHASE_PROVE, began, status);
}

static struct entry *first_proven(const struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i)
    if (o->entries[i].proven && !o->entries[i].twin) return &o->entries[i];
  return NULL;
}

/* A new worker first shows that what was right is still right: otherwise a
 * device that is broken would be held against every candidate to come. */
static dd_status try_canary(struct sweep *s, struct outcome *o)
{
  struct entry *canary = first_proven(o);
  struct proof proof;
  dd_status status;

  if (!canary) return DD_OK;
  status = load_steps(s, o, canary);
  if (!status) status = ask_check(s, o, canary, &proof);
  if (!status && !proof.right)
    status = fail(DD_DEVICE, "%s", proof.reason);
  if (!is_candidates(status)) return status;
  return fail_in(status, "the device no longer runs '%s'", canary->label);
}

/* The worker was replaced: its problem is to be set again. */
static dd_status keep_problem(struct sweep *s, struct outcome *o, int *generation)
{
  while (*generation != s->client->generation) {
    TRY(set_problem(s, o));
    TRY(try_canary(s, o));
    *generation = s->client->generation;
    prepare_next(s);
  }
  return DD_OK;
}

/* The end of the budget ended the call: nobody has failed. */
static bool was_cut(const struct sweep *s, dd_status status)
{
  return budget_is_over(&s->budget) &&
         (is_candidates(status) || status == DD_NO_DEVICE);
}

/* A failure of the device is the candidate's; everything else is ours. */
static dd_status prove(struct sweep *s, struct outcome *o, struct entry *e,
                       int *generation)
{
  const char *stage = "load";
  dd_status status;

  status = keep_problem(s, o, generation);
  if (was_cut(s, status)) return DD_OK;
  if (is_problems(status)) {
    refuse_problem(s, o);
    if (!e->done) refuse(s, o, e, "check", o->broken);
    return DD_OK;
  }
  TRY(status);
  status = load_steps(s, o, e);
  if (!status) {
    stage = "check";
    status = ask_check(s, o, e, &e->proof);
  }
  if (was_cut(s, status)) return DD_OK;
  if (is_candidates(status)) {
    refuse(s, o, e, stage, dd_last_error());
    return DD_OK;
  }
  TRY(status);
  if (!e->proof.right) {
    refuse(s, o, e, "check", e->proof.reason);
    return DD_OK;
  }
  e->done = e->proven = true;
  o->proven++;
  s->done++;
  return DD_OK;
}

/* One that a device would run in the very same way costs nothing; what is wrong
 * or refused is so for both. */
static void follow_twin(struct sweep *s, struct outcome *o, struct entry *e,
                        struct entry *twin)
{
  e->done = true;
  e->twin = twin;
  e->proven = twin->proven;
  e->proof = twin->proof;
  e->stage = twin->stage;
  e->reason = twin->reason;
  *(e->proven ? &o->proven : &o->refused) += 1;
  s->done++;
}

/* Which pruning compares with: the choice must not depend on who compiles
 * first. */
static bool waits_for_default(const struct sweep *s, const struct outcome *o)
{
  return s->options.prune &&
         s->build->parts[o->entries[0].part[0]]->state == PART_WAITING;
}

static bool read_need(const struct sweep *s, const struct outcome *o,
                      const struct entry *e, struct need *n)
{
  const struct part *p = s->build->parts[e->part[0]];
  const struct device_info *info = &s->client->info;

  *n = (struct need){.registers = p->registers, .local_bytes = p->local_bytes,
                     .shared_bytes = p->shared_bytes};
  return p->has_machine && !variant_geometry(&p->variant, &o->problem,
                                             info->arch, info->sms, 1,
                                             &n->geometry);
}

/* The default variant comes first and is never pruned. */
static bool prune(struct sweep *s, struct outcome *o, struct entry *e)
{
  struct need need, usual;

  if (!s->options.prune || e == o->entries || e->audited) return false;
  if (!read_need(s, o, e, &need) || !read_need(s, o, o->entries, &usual))
    return false;
  e->rule = prune_rule(&need, &usual, &s->client->info);
  if (!e->rule) return false;
  e->audited = prune_is_audited(&e->candidate.steps[0], s->options.seed);
  if (e->audited) return false;
  e->done = true;
  o->pruned++;
  s->done++;
  return true;
}

/* A rule was wrong where what it refuses is as fast as the best. */
static void audit(const struct outcome *o)
{
  double best = o->best < 0 ? 0 : o->entries[o->best].standing.median_us;

  for (uint32_t i = 0; i < o->count; ++i) {
    const struct entry *e = &o->entries[i];
    if (e->audited && e->raced &&
        e->standing.median_us <= best * (1 + o->race.noise))
      say("%s: the rule '%s' would have left out '%s', %.2f us of %.2f; "
          "--no-prune races all", o->spelling, e->rule, e->label,
          e->standing.median_us, best);
  }
}

/* Its share is spent, as far as proving goes: as long again is for the race.
 * One candidate must be proven, or the time was spent on nothing. */
static bool is_spent(const struct sweep *s, const struct outcome *o)
{
  double now = seconds_now();

  return is_stopped(s) ||
         (o->end > 0 && o->proven && now >= o->began + (o->end - o->began) / 2);
}

/* The part that decides: the first that is not there, else the first. */
static const struct part *slowest_part(const struct sweep *s,
                                       const struct entry *e)
{
  for (uint32_t i = 0; i < e->candidate.step_count; ++i) {
    const struct part *p = s->build->parts[e->part[i]];
    if (p->state != PART_COMPILED) return p;
  }
  return s->build->parts[e->part[0]];
}

/* Proves what is compiled; false in *waiting when no entry is left. */
static dd_status prove_ready(struct sweep *s, struct outcome *o,
                             int *generation, bool *waiting)
{
  *waiting = false;
  for (uint32_t i = 0; i < o->count && !is_spent(s, o); ++i) {
    struct entry *e = &o->entries[i], *twin;
    const struct part *p = slowest_part(s, e);
    if (e->done) continue;
    if (p->state == PART_WAITING || waits_for_default(s, o)) {
      *waiting = true;
      continue;
    }
    if (p->state == PART_FAILED)
      refuse(s, o, e, "compile", p->reason ? p->reason : "out of memory");
    else if (prune(s, o, e))
      continue;
    else if (!e->candidate.split &&
             (twin = twin_find(s->build, &s->client->info, o, e)))
      follow_twin(s, o, e, twin);
    else
      TRY(prove(s, o, e, generation));
    tell(s, o, "proving");
  }
  return DD_OK;
}

static dd_status wait_for_code(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  dd_status status;

  tell(s, o, "compiling");
  farm_set_end(s->build->farm, o->end > 0 && o->proven ? o->end
                                                       : s->budget.stop);
  status = build_pump(s->build, true);
  farm_set_end(s->build->farm, s->budget.end);
  return spent(o, PHASE_COMPILE, began, status);
}

static dd_status prove_all(struct sweep *s, struct outcome *o, int *generation)
{
  bool waiting = true;

  while (waiting && !is_spent(s, o)) {
    open_ahead(s);
    TRY(s->ahead_status);
    TRY(build_pump(s->build, false));
    TRY(prove_ready(s, o, generation, &waiting));
    if (waiting) TRY(wait_for_code(s, o));
  }
  return DD_OK;
}

/* ---- The split plan ---------------------------------------------------------------- */

/* The winner of a part that an earlier run has swept is not built yet. */
static dd_status build_restored(struct sweep *s, struct outcome *o)
{
  struct entry *e = &o->entries[o->best_fused];
  struct bytes label = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < o->point_count && !e->candidate.step_count; ++i) {
    bytes_clear(&label);
    variant_print(&o->points[i], &label);
    if (strcmp(bytes_string(&label), e->label)) continue;
    status = add_entry(s, e, &o->points[i]);
    break;
  }
  bytes_release(&label);
  if (!status && !e->candidate.step_count)
    status = fail(DD_UNSUPPORTED, "'%s' is no longer a variant", e->label);
  if (!status) status = build_submit(s->build);
  while (!status && s->build->parts[e->part[0]]->state == PART_WAITING &&
         !is_stopped(s))
    status = wait_for_code(s, o);
  if (!status && s->build->parts[e->part[0]]->state != PART_COMPILED)
    status = fail(DD_UNSUPPORTED, "'%s' was not compiled again", e->label);
  return status;
}

/* The best of each part; none where a part has no winner. */
static dd_status make_split(struct sweep *s, const struct outcome *o,
                            struct entry *e)
{
  struct bytes label = BYTES_INIT;

  bytes_text(&label, "split:");
  for (uint32_t i = 0; i < o->problem.op->step_count; ++i) {
    struct problem step;
    int bind[OP_MAX_TENSORS];
    struct outcome *part;
    dd_status status = problem_step(&s->specs->ops, &o->problem, i, &step, bind);
    part = status ? NULL : sweep_find(s, &step);
    if (!part || part->best_fused < 0) {
      bytes_release(&label);
      return fail(DD_UNSUPPORTED, "part %u of the split form has no variant "
                  "that was proven", i + 1);
    }
    if (part->restored) TRY(build_restored(s, part));
    e->part[i] = part->entries[part->best_fused].part[0];
    e->candidate.steps[i] = part->entries[part->best_fused].candidate.steps[0];
    bytes_printf(&label, "%s %s", i ? "," : "",
                 part->entries[part->best_fused].label);
  }
  e->candidate.split = true;
  e->candidate.step_count = o->problem.op->step_count;
  e->label = arena_text(&s->arena, bytes_string(&label), label.size);
  bytes_release(&label);
  return e->label ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

static dd_status prove_split(struct sweep *s, struct outcome *o, int *generation)
{
  struct entry *e = &o->entries[o->count];

  if (!o->has_split || is_stopped(s)) return DD_OK;
  if (o->broken || make_split(s, o, e)) {
    if (!o->broken)
      say("%s: no split plan: %s", o->spelling, dd_last_error());
    o->has_split = false;
    s->done++;
    return DD_OK;
  }
  return prove(s, o, e, generation);
}

static uint32_t entry_count(const struct outcome *o)
{
  return o->count + (o->has_split ? 1 : 0);
}

/* ---- The race ----------------------------------------------------------------------- */

static bool races(const struct entry *e)
{
  return e->proven && !e->stage && !e->twin;
}

static uint32_t count_racers(const struct outcome *o)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < entry_count(o); ++i) n += races(&o->entries[i]);
  return n;
}

static void put_racers(const struct outcome *o, struct bytes *request)
{
  wire_put_u32(request, count_racers(o));
  for (uint32_t i = 0; i < entry_count(o); ++i)
    if (races(&o->entries[i])) put_candidate(request, &o->entries[i].candidate);
}

/* The nth of those that race; NULL: nobody's. */
static struct entry *racer(const struct outcome *o, uint32_t n)
{
  for (uint32_t i = 0; i < entry_count(o); ++i)
    if (races(&o->entries[i]) && n-- == 0) return &o->entries[i];
  return NULL;
}

static dd_status read_results(struct sweep *s, struct outcome *o,
                              const struct bytes *reply)
{
  struct wire_reader r;
  uint32_t n;

  wire_reader_init(&r, reply->data, reply->size);
  get_race_summary(&r, &o->race);
  n = wire_count(&r, CANDIDATES_MAX, "standings");
  for (uint32_t i = 0; i < entry_count(o) && n; ++i) {
    struct entry *e = &o->entries[i];
    if (!races(e)) continue;
    get_standing(&r, &s->arena, &e->standing);
    e->raced = !r.failed;
    n--;
  }
  return wire_status(&r, true, DD_BUG);
}

static void find_best(struct outcome *o)
{
  for (uint32_t i = 0; i < entry_count(o); ++i) {
    const struct entry *e = &o->entries[i];
    int *best[] = {&o->best, &o->best_fused};
    if (!e->raced || !e->standing.final) continue;
    for (int k = 0; k < (e->candidate.split ? 1 : 2); ++k)
      if (*best[k] < 0 ||
          e->standing.position < o->entries[*best[k]].standing.position)
        *best[k] = (int)i;
  }
}

/* Without a race the first that was proven serves the split plan. */
static void take_first(struct outcome *o)
{
  for (uint32_t i = 0; i < o->count && o->best_fused < 0; ++i)
    if (o->entries[i].proven) o->best_fused = (int)i;
}

static dd_status ask_race(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status;

  wire_put_u32(&request, REQUEST_RACE);
  wire_put_text(&request, s->options.policy);
  wire_put_i64(&request, (int64_t)s->options.seed);
  put_racers(o, &request);
  s->client->between = patience(s, o);
  status = call_at_length(s, &request, 120, &reply);
  s->client->between = 0;
  if (!status) status = read_results(s, o, &reply);
  bytes_release(&request);
  bytes_release(&reply);
  return spent(o, PHASE_RACE, began, status);
}

/* Where it fails, *culprit is the candidate that it failed of, or NULL. */
static dd_status race_once(struct sweep *s, struct outcome *o, int *generation,
                           struct entry **culprit)
{
  dd_status status;

  TRY(keep_problem(s, o, generation));
  for (uint32_t i = 0; i < entry_count(o); ++i) {
    *culprit = &o->entries[i];
    if (races(*culprit)) TRY(load_steps(s, o, *culprit));
  }
  status = ask_race(s, o);
  *culprit = racer(o, s->client->noted);
  return status;
}

/* Its proof stands; it just cannot be timed. */
static void refuse_timed(struct sweep *s, struct outcome *o, struct entry *e,
                         const char *reason)
{
  e->stage = "time";
  e->reason = keep_text_of(s, reason);
  o->proven--;
  o->refused++;
}

static void refuse_race(struct sweep *s, struct outcome *o)
{
  say("%s: the race failed: %s", o->spelling, dd_last_error());
  for (uint32_t i = 0; i < entry_count(o); ++i)
    if (races(&o->entries[i]))
      refuse_timed(s, o, &o->entries[i], dd_last_error());
}

/* A candidate that crashes or hangs while it is timed is out, and the others
 * race again; a device that breaks again and again is not worth the hours. */
enum { RACE_TRIES = 8 };

static dd_status race(struct sweep *s, struct outcome *o, int *generation)
{
  for (int tries = 1; count_racers(o) && !is_stopped(s); ++tries) {
    struct entry *culprit = NULL;
    dd_status status = race_once(s, o, generation, &culprit);
    if (was_cut(s, status)) return DD_OK;
    if (!status) find_best(o);
    if (!is_candidates(status)) return status;
    if (culprit) refuse_timed(s, o, culprit, dd_last_error());
    if (!culprit || tries == RACE_TRIES) refuse_race(s, o);
  }
  return DD_OK;
}

/* ---- A problem, from top to bottom ------------------------------------------------------ */

/* What has not been stored beside, which is waited for; the seconds are the
 * last problem's.  Also after a failure, whose sentence is the one to tell. */
static dd_status record_rest(struct sweep *s, dd_status status)
{
  char sentence[1024];
  double began = seconds_now();

  snprintf(sentence, sizeof sentence, "%s", status ? dd_last_error() : "");
  record_more(s, true);
  if (s->count) spent(&s->outcomes[s->count - 1], PHASE_RECORD, began, DD_OK);
  return status ? fail(status, "%s", sentence) : record_trouble(s);
}

/* What the end of the budget cut short is as if it had not begun: that its
 * device worker was killed is no verdict on a candidate. */
static dd_status abandon(struct outcome *o)
{
  if (interrupted()) return DD_OK;
  o->begun = o->has_split = false;
  o->count = 0;
  return DD_OK;
}

static dd_status sweep_problem(struct sweep *s, struct outcome *o)
{
  int generation = 0;

  if (o->restored) return DD_OK;
  if (!o->opened) {
    s->ahead = s->current + 1;
    TRY(open_outcome(s, o));
  }
  o->begun = true;
  o->began = seconds_now();
  o->end = budget_begin(&s->budget, o->weight);
  TRY(prove_all(s, o, &generation));
  TRY(prove_split(s, o, &generation));
  if (is_stopped(s)) return abandon(o);
  if (s->options.time) {
    tell(s, o, "racing");
    TRY(race(s, o, &generation));
  } else {
    take_first(o);
  }
  if (is_stopped(s) && s->options.time && o->best < 0) return abandon(o);
  for (uint32_t i = 0; i < o->count; ++i) s->left_out += !o->entries[i].done;
  budget_end(&s->budget, seconds_now() - o->began, o->proven + o->refused);
  audit(o);
  if (!s->recorder) return DD_OK;
  o->unstored = true;
  TRY(record_prepare(s->recorder, o));
  return record_trouble(s);
}

uint32_t sweep_left(const struct sweep *s)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < s->count; ++i)
    n += !s->outcomes[i].begun && !s->outcomes[i].is_part;
  return n;
}

/* ---- Whose turn it is ---------------------------------------------------- */

static dd_status make_order(struct sweep *s)
{
  s->order = ARENA_ARRAY(&s->arena, uint32_t, s->count + 1);
  return s->order ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

dd_status sweep_turn(struct sweep *s, uint32_t outcome)
{
  if (!s->order) TRY(make_order(s));
  if (outcome >= s->count || s->turn_count == s->count)
    return fail(DD_BUG, "outcome %u of %u has no turn", outcome, s->count);
  s->order[s->turn_count++] = outcome;
  return DD_OK;
}

static dd_status give_all_turns(struct sweep *s)
{
  for (uint32_t i = 0; i < s->count; ++i) TRY(sweep_turn(s, i));
  return DD_OK;
}

/* There may be nothing more until all is told that there is to tell. */
static bool wait_for_turn(struct sweep *s)
{
  if (s->turns.take(s->turns.user, false)) return true;
  record_more(s, true);
  return !s->record_status && s->turns.take(s->turns.user, true);
}

static bool has_turn(struct sweep *s)
{
  if (is_stopped(s)) return false;
  while (s->turns.take && s->current == s->turn_count)
    if (!wait_for_turn(s)) return false;
  return s->current < s->turn_count;
}

dd_status sweep_run(struct sweep *s)
{
  dd_status status = s->turns.take ? DD_OK : give_all_turns(s);

  s->started = seconds_now();
  progress_begin(&s->progress, s->options.time ? "sweep" : "check",
                 s->options.quiet);
  s->client->beside = (struct client_beside){farm_rows, turn_farm, s};
  s->client->end = s->budget.stop;
  farm_set_end(s->build->farm, s->budget.end);
  for (; !status && has_turn(s); ++s->current)
    status = sweep_problem(s, &s->outcomes[s->order[s->current]]);
  status = record_rest(s, status);
  s->client->beside = (struct client_beside){NULL, NULL, NULL};
  s->client->end = 0;
  progress_end(&s->progress);
  s->seconds = seconds_now() - s->started;
  return status;
}
