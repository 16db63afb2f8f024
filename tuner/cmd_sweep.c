/*
 * cmd_sweep.c - difftune sweep and difftune check: one story, with and without
 * the race.
 *
 * load the specs - choose a device - for each problem, its variants queued for
 * compiling before its turn: prove what compiled, race it, tell the database -
 * print.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "choose.h"
#include "command.h"
#include "fleet.h"
#include "incumbent.h"
#include "lock.h"
#include "resume.h"
#include "simulate.h"
#include "weigh.h"

/* What comes before a sweep, and when it was done. */
enum start { START_WORDS, START_DEVICES, START_PROBLEMS, START_DEVICE, STARTS };
static const char *const start_words[STARTS] = {
    "specs and words", "devices listed", "problems listed", "device waited for"};
struct beginning {
  double began, done[STARTS];
};

/* What the command line said. */
struct asked {
  const char *variants, *db, *gpu, *variant, *simulate;
  bool cpu, cover, json, quiet, verbose, cache, prune, incumbent, resume;
  struct texts ops, shapes;
  int64_t seed, sample, parts, jobs, batch, compile_limit;
  int l2, launch;
  const char *command; /* as typed */
  const char *budget;
  double began, seconds; /* of the budget */
  int argc;
  char **argv;
  const struct problems *problems;
  struct fleet_task *task; /* NULL: this process is not a board of several */
  struct beginning *beginning; /* of this process */
};

static const char *const l2_words[] = {"cold", "warm", NULL};
static const char *const launch_words[] = {"graph", "eager", NULL};
static const char *const policies[2][2] = {{"cold graph", "cold eager"},
                                           {"warm graph", "warm eager"}};

/* ---- Printing ---------------------------------------------------------------- */

static const struct entry *split_entry(const struct outcome *o)
{
  const struct entry *e = &o->entries[o->count];

  return o->has_split && e->raced ? e : NULL;
}

static void print_winner(struct columns *c, const struct outcome *o)
{
  const struct entry *best = o->best >= 0 ? &o->entries[o->best] : NULL;
  const struct entry *split = split_entry(o);
  double us = best ? best->standing.median_us : 0;

  columns_cell(c, "%s", o->spelling);
  columns_cell(c, best ? "%.2f" : "-", us);
  columns_cell(c, best ? "%.2f..%.2f" : "-", best ? best->standing.low_us : 0.0,
               best ? best->standing.high_us : 0.0);
  columns_cell(c, "%.2f", o->race.copy_us);
  columns_cell(c, best ? "%.3f" : "-", us > 0 ? o->race.copy_us / us : 0);
  if (split) columns_cell(c, "%.2f", split->standing.median_us);
  else columns_cell(c, "-");
  if (split && us > 0) columns_cell(c, "%.2f", split->standing.median_us / us);
  else columns_cell(c, "-");
  columns_cell(c, "%u/%u", o->proven, o->proven + o->refused);
  columns_cell(c, "%s", best ? best->label : "none"); /* last: it is long */
}

static void print_winners(const struct sweep *s)
{
  struct columns c;

  columns_init(&c, "problem", ">us", ">95 %", ">copy us", ">of copy",
               ">split us", ">x split", ">proven", "winner", NULL);
  for (uint32_t i = 0; i < s->count; ++i)
    if (s->outcomes[i].begun) print_winner(&c, &s->outcomes[i]);
  columns_print(&c, stdout, "");
  columns_release(&c);
}

static void print_checked(const struct sweep *s)
{
  struct columns c;

  columns_init(&c, "problem", ">proven", ">refused", ">worst error", NULL);
  for (uint32_t i = 0; i < s->count; ++i) {
    const struct outcome *o = &s->outcomes[i];
    double worst = 0;
    if (!o->begun) continue;
    for (uint32_t j = 0; j < o->count; ++j)
      if (o->entries[j].proven && o->entries[j].proof.error > worst)
        worst = o->entries[j].proof.error;
    columns_cell(&c, "%s", o->spelling);
    columns_cell(&c, "%u", o->proven);
    columns_cell(&c, "%u", o->refused);
    columns_cell(&c, "%.3f", worst);
  }
  columns_print(&c, stdout, "");
  columns_release(&c);
}

static void json_entry(struct json *j, const struct entry *e)
{
  json_object(j, NULL);
  json_text(j, "label", e->label);
  json_bool(j, "proven", e->proven);
  if (e->proven) {
    json_real(j, "error", e->proof.error);
    json_real(j, "bit_equal", e->proof.bit_equal);
  }
  if (e->rule) {
    json_text(j, "rule", e->rule);
    json_bool(j, "audited", e->audited);
  }
  if (e->twin) json_text(j, "same_as", e->twin->label);
  if (e->stage) {
    json_text(j, "stage", e->stage);
    json_text(j, "reason", e->reason);
  }
  if (e->raced) {
    json_real(j, "median_us", e->standing.median_us);
    json_real(j, "low_us", e->standing.low_us);
    json_real(j, "high_us", e->standing.high_us);
    json_bool(j, "final", e->standing.final);
  }
  json_end(j, '}');
}

static void print_json(const struct sweep *s)
{
  struct json j;

  json_init(&j, stdout);
  json_array(&j, NULL);
  for (uint32_t i = 0; i < s->count; ++i) {
    const struct outcome *o = &s->outcomes[i];
    json_object(&j, NULL);
    json_text(&j, "problem", o->spelling);
    json_text(&j, "winner", o->best >= 0 ? o->entries[o->best].label : NULL);
    if (o->restored) json_bool(&j, "restored", true);
    json_real(&j, "copy_us", o->race.copy_us);
    json_real(&j, "noise", o->race.noise);
    json_object(&j, "seconds");
    for (int k = 0; k < PHASE_COUNT; ++k)
      json_real(&j, phase_words[k], o->seconds[k]);
    json_end(&j, '}');
    json_array(&j, "candidates");
    for (uint32_t k = 0; k < o->count + (o->has_split ? 1u : 0u); ++k)
      if (o->entries[k].done) json_entry(&j, &o->entries[k]);
    json_end(&j, ']');
    json_end(&j, '}');
  }
  json_end(&j, ']');
  json_finish(&j);
}

static uint32_t count_pruned(const struct sweep *s)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < s->count; ++i) n += s->outcomes[i].pruned;
  return n;
}

static uint32_t count_twins(const struct sweep *s)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < s->count; ++i)
    for (uint32_t k = 0; k < s->outcomes[i].count; ++k)
      n += s->outcomes[i].entries[k].twin != NULL;
  return n;
}

static void tell_beginning_seconds(const struct beginning *b)
{
  struct bytes text = BYTES_INIT;
  double before = b->began;

  for (int i = 0; i < STARTS; ++i) {
    bytes_printf(&text, "%s %s %.2f", i ? "," : "", start_words[i],
                 b->done[i] - before);
    before = b->done[i];
  }
  say("%.2f s before it:%s", before - b->began, bytes_string(&text));
  bytes_release(&text);
}

/* Where the seconds went, and what the cache saved. */
static void tell_seconds(const struct sweep *s)
{
  double seconds[PHASE_COUNT], busy = sweep_seconds(s, seconds);
  const struct cache *cache = &s->build->cache;
  struct bytes text = BYTES_INIT;

  for (int i = 0; i < PHASE_COUNT; ++i)
    bytes_printf(&text, "%s %s %.2f", i ? "," : "", phase_words[i], seconds[i]);
  say("%.2f s:%s; the device was busy for %.0f %%", s->seconds,
      bytes_string(&text), 100 * busy);
  say("%u candidates were pruned, %u had the machine code of another",
      count_pruned(s), count_twins(s));
  say("%llu units from the cache, %llu put into it",
      (unsigned long long)cache->found, (unsigned long long)cache->stored);
  if (s->replaced.count)
    say("%u device workers were replaced; the next candidate began %.2f s after "
        "the end of one at most", s->replaced.count, s->replaced.longest);
  bytes_release(&text);
}

/* At most five reasons per problem: one bad scheme has hundreds. */
static uint32_t tell_refused(const struct sweep *s)
{
  uint32_t total = 0;

  for (uint32_t i = 0; i < s->count; ++i) {
    const struct outcome *o = &s->outcomes[i];
    uint32_t told = 0;
    for (uint32_t k = 0; k < o->count + (o->has_split ? 1u : 0u); ++k) {
      const struct entry *e = &o->entries[k];
      if (!e->stage) continue;
      if (told++ < 5) say("refused (%s): %s: %s", e->stage, e->label, e->reason);
    }
    if (told > 5) say("and %u more of %s", told - 5, o->spelling);
    total += told;
  }
  return total;
}

/* ---- Running -------------------------------------------------------------------- */

static dd_status read_problems(const struct specs *specs, const struct asked *q,
                               struct problems *out)
{
  TRY(problems_read(specs, &q->shapes, &q->ops, out));
  if (out->count) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "there is no problem to sweep; name one with "
              "--shapes");
}

/* The boards of a sweep that several share must agree on the order while rows
 * come in: for them what is left to gain does not count. */
static dd_status weigh(const struct sweep *s, const struct asked *q,
                       bool shared, struct weighed *w, size_t count)
{
  struct db *db = NULL;
  dd_status status = DD_OK;

  TRY(weigh_step(s->specs, w, count));
  if (!shared && q->db && !access(q->db, F_OK)) {
    status = db_open(q->db, DB_WRITE, &db);
    if (!status)
      status = weigh_gaps(db, &s->specs->ops, &s->client->info,
                          s->options.policy, w, count);
    db_close(db);
  }
  if (!status) weigh_sort(w, count);
  return status;
}

/* With a budget the heaviest come first: what is cut off at its end is light. */
static dd_status add_problems(struct sweep *s, const struct asked *q,
                              bool shared)
{
  const struct problems *problems = q->problems;
  struct arena a;
  struct weighed *w;
  dd_status status;

  arena_init(&a, NULL);
  w = ARENA_ARRAY(&a, struct weighed, problems->count);
  status = w ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
  for (size_t i = 0; w && i < problems->count; ++i)
    w[i] = (struct weighed){&problems->item[i], 1};
  if (!status && s->budget.end > 0)
    status = weigh(s, q, shared, w, problems->count);
  for (size_t i = 0; i < problems->count && !status; ++i)
    status = sweep_add(s, w[i].problem, false, w[i].weight);
  arena_release(&a);
  return status ? status : sweep_wants_any(s);
}

/* A board's share. */
static dd_status serve(struct sweep *s, const struct asked *q)
{
  struct recorder recorder = {0};
  dd_status status = fleet_join(q->task);

  if (!status)
    status = record_join(&recorder, q->db, s->build, &s->client->info,
                         q->task->sweep, s->options.seed, s->options.policy);
  s->recorder = &recorder;
  if (!status) status = incumbent_load(s);
  if (!status) status = fleet_serve(s, q->task);
  s->recorder = NULL;
  return record_end(&recorder, status);
}

static dd_status run(struct sweep *s, const struct asked *q)
{
  struct recorder recorder = {0};
  dd_status status = DD_OK;

  if (q->task) return serve(s, q);
  if (q->db) {
    status = record_begin(&recorder, q->db, s->build, &s->client->info,
                          q->command, s->options.seed, s->options.policy,
                          q->resume);
    s->recorder = &recorder;
    if (!status && recorder.resumed) status = resume_load(s, q->json);
    if (!status) status = incumbent_load(s);
  }
  if (!status) status = sweep_run(s);
  recorder.cut = budget_is_over(&s->budget) && sweep_left(s);
  s->recorder = NULL;
  return record_end(&recorder, status);
}

static void tell_left_out(const struct sweep *s)
{
  uint32_t problems = sweep_left(s);

  if (s->budget.end > 0 && (problems || s->left_out))
    say("for the budget %u problems are left out, and %u candidates of others",
        problems, s->left_out);
}

/* Of those that were asked for; --variant may leave a problem nothing. */
static uint32_t count_lost(const struct sweep *s)
{
  uint32_t lost = 0;

  for (uint32_t i = 0; i < s->count; ++i) {
    const struct outcome *o = &s->outcomes[i];
    if (o->is_part || o->best >= 0 || (s->options.only && !o->count)) continue;
    if (!o->begun && s->budget.end > 0) continue;
    say("no variant of %s could be timed", o->spelling);
    lost++;
  }
  return lost;
}

static int verdict(const struct sweep *s, uint32_t refused)
{
  if (interrupted()) return EXIT_INTERRUPTED;
  if (s->options.time) return count_lost(s) ? EX_DATAERR : 0;
  return refused ? EX_DATAERR : 0;
}

/* A board says what was refused; its parent prints what the database has. */
static int report_to_parent(const struct sweep *s, const struct asked *q,
                            dd_status status)
{
  tell_refused(s);
  if (q->verbose && !status) {
    say("%s:", s->client->info.uuid);
    tell_beginning_seconds(q->beginning);
    tell_seconds(s);
  }
  fleet_task_end(q->task, s, status);
  return 0;
}

/* Also after a failure: what was measured until then is worth seeing. */
static int report(const struct sweep *s, const struct asked *q, dd_status status)
{
  int code = status ? say_failure(status) : 0;
  uint32_t refused = tell_refused(s);

  if (status && (!s->count || !s->outcomes[0].begun)) return code;
  if (q->json) print_json(s);
  else if (s->options.time) print_winners(s);
  else print_checked(s);
  if (q->verbose && s->seconds > 0) {
    tell_beginning_seconds(q->beginning);
    tell_seconds(s);
  }
  tell_left_out(s);
  return code ? code : verdict(s, refused);
}

/* Before the start, from what candidates cost elsewhere. */
static void tell_beginning(const struct sweep *s,
                           const struct device_info *info, size_t boards)
{
  char low_text[32], high_text[32], times[32] = "";
  double low, high;

  budget_predict(&s->budget, s->total / (double)boards, &low, &high);
  print_seconds(low, low_text);
  print_seconds(high, high_text);
  if (boards > 1) snprintf(times, sizeof times, "%zu x ", boards);
  say("%s begins on %s%s: %u problems, %.0f candidates, %s to %s",
      s->options.time ? "sweep" : "check", times, info->name, s->count,
      s->total, low < high ? low_text : "up", high_text);
}

static dd_status open_build(struct build *b, const struct asked *q,
                            struct specs *specs, const struct device_info *info)
{
  char target[16];

  device_target(info, target);
  TRY(build_open(b, specs, target, (int)(q->task ? q->task->jobs : q->jobs),
                 (uint32_t)(q->batch ? q->batch : 16)));
  farm_set_deadline(b->farm, (double)q->compile_limit);
  if (q->cache && cache_open(&b->cache)) say("%s", dd_last_error());
  if (q->task) build_share(b, &q->task->claims);
  return DD_OK;
}

/* Problems are listed while the device opens; again where that has fewer SMs
 * than were listed: conditions may ask. */
static dd_status list_and_open(struct sweep *s, const struct asked *q,
                               const struct device_info *info)
{
  TRY(add_problems(s, q, q->task != NULL));
  q->beginning->done[START_PROBLEMS] = seconds_now();
  TRY(client_wait(s->client));
  q->beginning->done[START_DEVICE] = seconds_now();
  if (s->client->info.sms == info->sms) return DD_OK;
  sweep_forget(s);
  return add_problems(s, q, q->task != NULL);
}

static dd_status open_and_run(struct sweep *s, const struct asked *q,
                              const struct device_info *info)
{
  TRY(client_begin(s->client, info, &s->specs->message));
  TRY(open_build(s->build, q, s->specs, info));
  TRY(list_and_open(s, q, info));
  if (!q->task) tell_beginning(s, info, 1);
  return run(s, q);
}

/* ---- Several boards ------------------------------------------------------ */

static int64_t processors(void)
{
  long count = sysconf(_SC_NPROCESSORS_ONLN);

  return count > 0 ? count : 1;
}

static dd_status conduct(struct sweep *s, const struct asked *q,
                         struct fleet *f)
{
  double told = seconds_now(), ended;
  dd_status status = s->recorder->complete ? DD_OK : fleet_run(f);
  char sentence[1024];

  ended = seconds_now();
  snprintf(sentence, sizeof sentence, "%s", dd_last_error());
  if (status) {
    resume_load(s, q->json); /* what was stored until then is worth seeing */
    return fail(status, "%s", sentence);
  }
  status = resume_load(s, q->json);
  if (q->verbose && !s->recorder->complete)
    say("%.2f s before boards were told what to sweep, %.2f s until all of "
        "them had ended, %.2f s to read what they stored", told - q->began,
        ended - told, seconds_now() - ended);
  return status;
}

static dd_status conduct_recorded(struct sweep *s, const struct asked *q,
                                  const struct device_info *info,
                                  struct fleet *f)
{
  struct recorder recorder = {0};
  dd_status status;

  s->client->info = *info;
  TRY(add_problems(s, q, true));
  tell_beginning(s, info, f->member_count);
  status = record_begin(&recorder, q->db, s->build, info, q->command,
                        s->options.seed, s->options.policy, q->resume);
  s->recorder = &recorder;
  if (!status) status = conduct(s, q, f);
  recorder.cut = budget_is_over(&s->budget) && sweep_left(s);
  s->recorder = NULL;
  return record_end(&recorder, status);
}

static dd_status sweep_shared(struct sweep *s, const struct asked *q,
                              const struct device_info *infos, size_t count)
{
  int64_t jobs = (q->jobs ? q->jobs : processors()) / (int64_t)count;
  struct fleet_task task = {.argc = q->argc, .argv = q->argv,
                            .jobs = jobs > 0 ? jobs : 1,
                            .boards = (uint32_t)count, .began = q->began};
  struct fleet fleet;
  dd_status status;

  TRY(open_build(s->build, q, s->specs, infos));
  status = fleet_start(&fleet, s, &task, infos, count);
  if (!status) status = conduct_recorded(s, q, infos, &fleet);
  fleet_stop(&fleet);
  return status;
}

static struct sweep_options options_of(const struct asked *q, bool time,
                                       bool cpu)
{
  return (struct sweep_options){
      .time = time, .sample = (uint32_t)q->sample, .cover = q->cover,
      .parts = (uint32_t)(q->parts >= 0 ? q->parts : cpu ? 2 : 0),
      .seed = (uint64_t)q->seed, .only = q->variant,
      .quiet = q->quiet || q->task,
      .prune = time && q->prune && !q->variant,
      .incumbent = time && q->incumbent,
      .policy = policies[q->l2][q->launch]};
}

static dd_status sweep_locked(struct sweep *s, const struct asked *q,
                              const struct device_info *info)
{
  struct device_lock lock;
  dd_status status;

  TRY(device_lock(&lock, info));
  status = open_and_run(s, q, info);
  device_unlock(&lock);
  return status;
}

static int sweep_devices(const struct asked *q, bool time, struct specs *specs,
                         const struct device_info *infos, size_t count)
{
  struct build build = {0};
  struct client client = {0};
  struct sweep s = {.specs = specs, .build = &build, .client = &client};
  bool cpu = strcmp(infos->kind, "cpu") == 0;
  dd_status status;
  int code;

  arena_init(&s.arena, NULL);
  budget_init(&s.budget, q->began, q->seconds, cpu ? 0.1 : 0.003);
  s.options = options_of(q, time, cpu);
  status = count > 1 ? sweep_shared(&s, q, infos, count)
                     : sweep_locked(&s, q, infos);
  client_dismiss(&client);
  code = q->task ? report_to_parent(&s, q, status) : report(&s, q, status);
  build_close(&build);
  client_close(&client);
  sweep_release(&s);
  return code;
}

/* Only a sweep has what several need: a database where their shares meet. */
static dd_status choose(const struct asked *q, bool time,
                        struct device_info *infos, size_t *count)
{
  *count = 1;
  if (q->task) {
    infos[0] = q->task->info;
    return DD_OK;
  }
  TRY(choose_devices(q->gpu, q->cpu, infos, count));
  if (time || *count == 1) return DD_OK;
  *count = 1;
  return q->cpu ? DD_OK : fail(DD_BAD_ARGUMENT, "check wants one GPU, not "
                               "'%s'", q->gpu);
}

/* What can be wrong with the words comes before a device is opened. */
static int sweep_asked(struct asked *q, bool time)
{
  struct specs specs = {0};
  struct problems problems = {0};
  struct device_info infos[DEVICES_MAX];
  struct beginning beginning = {.began = seconds_now()};
  size_t count;
  dd_status status = specs_load(&specs, q->variants);
  int code;

  q->problems = &problems;
  q->beginning = &beginning;
  if (!status) status = read_problems(&specs, q, &problems);
  beginning.done[START_WORDS] = seconds_now();
  if (!status) status = choose(q, time, infos, &count);
  beginning.done[START_DEVICES] = seconds_now();
  code = status ? say_failure(status)
                : sweep_devices(q, time, &specs, infos, count);
  problems_release(&problems);
  specs_release(&specs);
  return code;
}

/* The database is a habit of sweep; check writes one only where it is named. */
#define DB_OPTION(time, value)                                                 \
  OPT_TEXT("db", 0, value, "FILE",                                             \
           (time) ? "the tuning database ($DIFFTUNE_DB, else ./difftune.db)"   \
                  : "store the proofs there (without it nothing is stored)")

static int sweep_or_check(int argc, char **argv, bool time,
                          struct fleet_task *task)
{
  struct asked q = {.seed = 1, .parts = -1, .compile_limit = 120, .cache = true,
                    .prune = true, .incumbent = true,
                    .began = task ? task->began : seconds_now(),
                    .argc = argc, .argv = argv, .task = task};
  int code;
  const struct option incumbent = OPT_FLAG(
      "incumbent", 0, &q.incumbent,
      "who has won before wins while it is tied (or --no-incumbent)");
  const struct option simulation = OPT_TEXT(
      "simulate", 0, &q.simulate, "DB",
      "no device: the races of this database again, by several rules");
  const struct option table[] = {
      OPT_TEXT("gpu", 0, &q.gpu, "NAME",
               time ? "a GPU by part of its name, index or UUID; a list; all"
                    : "a GPU by part of its name, index or UUID"),
      OPT_FLAG("cpu", 0, &q.cpu, "the CPU device"),
      OPT_OPS(&q.ops),
      OPT_SHAPES(&q.shapes),
      OPT_TEXT("variant", 0, &q.variant, "LABEL",
               "only variants with these words in their label, or split"),
      DB_OPTION(time, &q.db),
      OPT_INT("seed", 0, &q.seed, 0, INT64_MAX, "N", "for inputs, samples and order (1)"),
      OPT_INT("sample", 0, &q.sample, 0, 65536, "N",
              "at most N variants per problem, as many tunable values as N allows"),
      OPT_FLAG("cover", 0, &q.cover,
               "of each problem one, and every value of every tunable once"),
      OPT_INT("parts", 0, &q.parts, 0, 65536, "N",
              "the same for each part of split forms, 0: all (0; cpu: 2)"),
      OPT_CHOICE("l2", 0, &q.l2, l2_words, "cold|warm", "the L2 cache (cold)"),
      OPT_CHOICE("launch", 0, &q.launch, launch_words, "graph|eager",
                 "replays of a graph, or launches one by one (graph)"),
      OPT_INT("jobs", 'j', &q.jobs, 0, 1024, "N", "compile workers (one per core)"),
      OPT_INT("batch", 0, &q.batch, 0, 256, "N", "variants per compile unit (16)"),
      OPT_VARIANTS(&q.variants),
      OPT_JSON(&q.json),
      OPT_INT("compile-limit", 0, &q.compile_limit, 1, 86400, "SECONDS",
              "for one unit, then the compiler is killed (120)"),
      OPT_TEXT("budget", 0, &q.budget, "TIME",
               "be done within 90s, 5m, 1h30m; heavy problems first"),
      OPT_FLAG("resume", 0, &q.resume,
               "go on where the same command was stopped or killed"),
      OPT_FLAG("prune", 0, &q.prune,
               "do not race what must be slow (or --no-prune)"),
      OPT_FLAG("cache", 0, &q.cache,
               "keep compiled units for the next time (or --no-cache)"),
      OPT_FLAG("quiet", 'q', &q.quiet, "no progress"),
      OPT_FLAG("verbose", 'v', &q.verbose, "say where the time went"),
      time ? incumbent : (struct option)OPT_END,
      time ? simulation : (struct option)OPT_END,
      OPT_END};

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  if (q.simulate) return simulate(q.simulate, (uint64_t)q.seed, q.json);
  if (q.cover && q.sample) return say_usage("--cover goes without --sample");
  if (q.budget && budget_parse(q.budget, &q.seconds))
    return say_failure(DD_BAD_ARGUMENT);
  q.command = command_line(argc, argv);
  if (time) q.db = db_path_or_default(q.db);
  if (q.resume && !time)
    return say_usage("--resume goes with sweep: a check stores no race to go on "
                     "with");
  interrupt_watch();
  return sweep_asked(&q, time);
}

int cmd_sweep(int argc, char **argv)
{
  return sweep_or_check(argc, argv, true, NULL);
}

int cmd_check(int argc, char **argv)
{
  return sweep_or_check(argc, argv, false, NULL);
}

/* Its parent's end is its own at once: who resumes must be the only one. */
int sweep_worker_main(int in_fd, int out_fd)
{
  struct fleet_task task;
  int code;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (fleet_task_read(&task, in_fd, out_fd)) return say_failure(DD_IO);
  code = sweep_or_check(task.argc, task.argv, true, &task);
  claims_close(&task.claims);
  return code;
}
