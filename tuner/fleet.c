/* fleet.c - several boards of one model share a sweep. */
#include "fleet.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "resume.h"
#include "sweep_inner.h"

/* To a board, after its task, and the number of the sweep with what comes: */
enum { ORDER_SWEEP, ORDER_FINISH };
/* From a board: */
enum { TOLD_ANCHOR, TOLD_DONE, TOLD_END };

enum { ARGS_MAX = 4096, FLEET_MESSAGE_MAX = 1 << 24, COMING_MAX = 1 << 20 };
enum { PIECES_AHEAD = 2 }; /* the one at hand and the next */

/* ---- The task, as bytes -------------------------------------------------- */

static void put_task(struct bytes *out, const struct fleet_task *t,
                     const struct device_info *info, int claims)
{
  wire_put_u32(out, (uint32_t)t->argc);
  for (int i = 0; i < t->argc; ++i) wire_put_text(out, t->argv[i]);
  put_device_info(out, info);
  wire_put_i64(out, t->jobs);
  wire_put_u32(out, t->boards);
  wire_put_f64(out, t->began);
  wire_put_u32(out, claims >= 0);
}

static void get_task(struct wire_reader *r, struct fleet_task *t)
{
  t->argc = (int)wire_count(r, ARGS_MAX, "arguments");
  t->argv = ARENA_ARRAY(&t->arena, char *, (size_t)t->argc + 1);
  for (int i = 0; t->argv && i < t->argc; ++i)
    t->argv[i] = (char *)wire_text(r, &t->arena, "an argument");
  get_device_info(r, &t->info);
  t->jobs = wire_i64(r, "a number of workers");
  t->boards = wire_u32(r, "a number of boards");
  t->began = wire_f64(r, "a time");
  claims_open(&t->claims,
              wire_u32(r, "whether there are claims") ? WORKER_SHARED : -1);
}

dd_status fleet_task_read(struct fleet_task *t, int in_fd, int out_fd)
{
  struct bytes message = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  memset(t, 0, sizeof *t);
  arena_init(&t->arena, NULL);
  t->in = in_fd;
  t->out = out_fd;
  status = wire_receive(in_fd, FLEET_MESSAGE_MAX, &message);
  if (!status) {
    wire_reader_init(&r, message.data, message.size);
    get_task(&r, t);
    status = t->argv ? wire_status(&r, true, DD_BUG)
                     : fail(DD_NO_MEMORY, "out of memory");
  }
  bytes_release(&message);
  return status;
}

static dd_status get_coming(struct wire_reader *r, struct fleet_task *t)
{
  t->coming_count = wire_count(r, COMING_MAX, "outcomes");
  t->coming = ARENA_ARRAY(&t->arena, uint32_t, t->coming_count + 1);
  if (!t->coming) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < t->coming_count; ++i)
    t->coming[i] = wire_u32(r, "an outcome");
  return DD_OK;
}

dd_status fleet_join(struct fleet_task *t)
{
  struct bytes message = BYTES_INIT;
  struct wire_reader r;
  dd_status status = wire_receive(t->in, FLEET_MESSAGE_MAX, &message);

  if (!status) {
    wire_reader_init(&r, message.data, message.size);
    t->sweep = wire_i64(&r, "a sweep");
    status = get_coming(&r, t);
    if (!status) status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&message);
  return status;
}

/* ---- A board: what it says ----------------------------------------------- */

static dd_status tell_done(const struct fleet_task *t, uint32_t outcome)
{
  struct bytes message = BYTES_INIT;
  dd_status status;

  wire_put_u32(&message, TOLD_DONE);
  wire_put_u32(&message, outcome);
  status = wire_send(t->out, &message);
  bytes_release(&message);
  return status;
}

static dd_status tell_anchor(const struct fleet_task *t, const struct anchor *a)
{
  struct bytes message = BYTES_INIT;
  dd_status status;

  wire_put_u32(&message, TOLD_ANCHOR);
  wire_put_f64(&message, a->median_us);
  wire_put_f64(&message, a->low_us);
  wire_put_f64(&message, a->high_us);
  wire_put_f64(&message, a->copy_us);
  wire_put_f64(&message, a->floor);
  status = wire_send(t->out, &message);
  bytes_release(&message);
  return status;
}

void fleet_task_end(struct fleet_task *t, const struct sweep *s,
                    dd_status status)
{
  struct bytes message = BYTES_INIT;

  wire_put_u32(&message, TOLD_END);
  wire_put_u32(&message, status);
  wire_put_u32(&message, s->left_out);
  wire_put_text(&message, status ? dd_last_error() : "");
  wire_send(t->out, &message);
  bytes_release(&message);
  arena_release(&t->arena);
}

/* ---- A board: what it is given ------------------------------------------- */

struct board {
  struct sweep *sweep;
  const struct fleet_task *task;
  uint32_t *place; /* of each outcome in task->coming; else its length */
  bool finished; /* there will be nothing more */
  dd_status status;
  char sentence[600]; /* of the status */
};

/* What is handed out again stands before others that have been given. */
static void note_given(struct board *b, uint32_t outcome)
{
  struct sweep_turns *t = &b->sweep->turns;
  uint32_t place = b->place[outcome];

  if (place < t->coming_count && place >= t->coming_at)
    t->coming_at = place + 1;
}

static dd_status take_piece(struct board *b, struct wire_reader *r)
{
  uint32_t count = wire_count(r, b->sweep->count, "outcomes");

  for (uint32_t i = 0; i < count; ++i) {
    uint32_t outcome = wire_u32(r, "an outcome");
    TRY(wire_status(r, false, DD_BUG));
    TRY(sweep_turn(b->sweep, outcome));
    note_given(b, outcome);
    TRY(resume_outcome(b->sweep, &b->sweep->outcomes[outcome]));
  }
  return DD_OK;
}

static dd_status take_order(struct board *b)
{
  struct bytes message = BYTES_INIT;
  struct wire_reader r;
  dd_status status = wire_receive(b->task->in, FLEET_MESSAGE_MAX, &message);

  if (!status) {
    wire_reader_init(&r, message.data, message.size);
    b->finished = wire_u32(&r, "an order") != ORDER_SWEEP;
    if (!b->finished) status = take_piece(b, &r);
    if (!status) status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&message);
  return status;
}

static bool has_word(const struct board *b)
{
  struct pollfd p = {b->task->in, POLLIN, 0};

  return poll(&p, 1, 0) > 0;
}

/* At once: the sentence is the next failure's soon. */
static bool went_well(struct board *b, dd_status status)
{
  b->status = status;
  if (status) snprintf(b->sentence, sizeof b->sentence, "%s", dd_last_error());
  return !status;
}

static bool take(void *user, bool wait)
{
  struct board *b = user;

  if (b->finished || b->status) return false;
  while (wait && !has_word(b))
    if (!sweep_idle(b->sweep, b->task->in)) {
      went_well(b, b->sweep->ahead_status);
      return false;
    }
  return has_word(b) && went_well(b, take_order(b)) && !b->finished;
}

static dd_status done(void *user, uint32_t outcome)
{
  struct board *b = user;

  if (b->status) return fail(b->status, "%s", b->sentence);
  return tell_done(b->task, outcome);
}

/* The default variant of the first problem that was asked for. */
static dd_status sweep_anchor(struct sweep *s, struct sweep *one)
{
  uint32_t first = 0;

  while (first + 1 < s->count && s->outcomes[first].is_part) ++first;
  one->specs = s->specs;
  one->build = s->build;
  one->client = s->client;
  one->options = s->options;
  one->options.sample = one->options.parts = 1;
  one->options.cover = one->options.prune = false;
  one->options.only = NULL;
  one->budget = (struct budget){.end = s->budget.end, .stop = s->budget.stop,
                                .guess = s->budget.guess};
  TRY(sweep_add(one, &s->outcomes[first].problem, false, 1));
  for (uint32_t i = 0; i < one->count; ++i)
    TRY(sweep_open_now(one, &one->outcomes[i]));
  sweep_open_ahead(s); /* for compile workers that the anchor leaves idle */
  TRY(s->ahead_status);
  return sweep_run(one);
}

static dd_status time_anchor(struct sweep *s, const struct fleet_task *t)
{
  struct sweep one = {0};
  struct outcome *o;
  struct anchor a = {0};
  dd_status status;

  arena_init(&one.arena, NULL);
  status = sweep_anchor(s, &one);
  o = one.count ? &one.outcomes[one.count - 1] : NULL;
  if (!status && o && o->count && o->entries[0].raced) {
    const struct standing *e = &o->entries[0].standing;
    a = (struct anchor){e->median_us, e->low_us, e->high_us, o->race.copy_us,
                        o->race.floor};
    status = record_anchor(s->recorder, o);
  }
  sweep_release(&one);
  return status ? status : tell_anchor(t, &a);
}

static dd_status find_places(struct board *b)
{
  const struct fleet_task *t = b->task;

  b->place = ARENA_ARRAY(&b->sweep->arena, uint32_t, b->sweep->count + 1);
  if (!b->place) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < b->sweep->count; ++i) b->place[i] = t->coming_count;
  for (uint32_t i = 0; i < t->coming_count; ++i) {
    if (t->coming[i] >= b->sweep->count)
      return fail(DD_BUG, "outcome %u of %u is to come", t->coming[i],
                  b->sweep->count);
    b->place[t->coming[i]] = i;
  }
  return DD_OK;
}

dd_status fleet_serve(struct sweep *s, const struct fleet_task *t)
{
  struct board b = {.sweep = s, .task = t};
  dd_status status;

  s->budget.weight /= t->boards; /* the others' share is not its own */
  TRY(find_places(&b));
  s->turns = (struct sweep_turns){.take = take, .done = done, .user = &b};
  if (build_is_shared(s->build)) {
    s->turns.coming = t->coming;
    s->turns.coming_count = t->coming_count;
  }
  status = time_anchor(s, t);
  if (!status) status = sweep_run(s);
  s->turns = (struct sweep_turns){.take = NULL};
  return status || !b.status ? status : fail(b.status, "%s", b.sentence);
}

/* ---- The parent: pieces -------------------------------------------------- */

/* Outcomes that belong together, in their order. */
struct piece {
  uint32_t first, count; /* of fleet.outcome */
  double cost;
  int holder;    /* the member that has it; -1: nobody */
  uint32_t left; /* outcomes that nobody has told done */
};

struct member {
  struct child child;
  const struct device_info *info;
  bool alive, finishing;
  uint32_t pieces; /* that it has and has not done */
  struct anchor anchor;
};

static uint32_t root_of(const uint32_t *parent, uint32_t i)
{
  while (parent[i] != i) i = parent[i];
  return i;
}

/* A problem and its parts are one piece, and so are two that share a part. */
static void join_parts(struct fleet *f, uint32_t i)
{
  const struct problem *p = &f->sweep->outcomes[i].problem;

  for (uint32_t k = 0; k < p->op->step_count; ++k) {
    struct problem step;
    int bind[OP_MAX_TENSORS];
    const struct outcome *part;
    uint32_t a, b;
    if (problem_step(&f->sweep->specs->ops, p, k, &step, bind)) continue;
    part = sweep_find(f->sweep, &step);
    if (!part) continue;
    a = root_of(f->piece_of, i);
    b = root_of(f->piece_of, (uint32_t)(part - f->sweep->outcomes));
    f->piece_of[a > b ? a : b] = a > b ? b : a;
  }
}

/* Proving and racing take as long as the bytes, once there are many. */
static double cost_of(const struct outcome *o)
{
  const double few_bytes = 16e6;
  int64_t reads = 0, writes = 0;

  if (problem_traffic(&o->problem, &reads, &writes)) return 1;
  return (o->point_count + 1) * (1 + (double)(reads + writes) / few_bytes);
}

static int costlier(const void *a, const void *b)
{
  const struct piece *x = a, *y = b;

  if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
  return (x->first > y->first) - (x->first < y->first);
}

/* Those of one root; a piece that is stored as a whole is none. */
static void add_piece(struct fleet *f, uint32_t root, uint32_t *placed)
{
  struct piece p = {.first = *placed, .holder = -1};

  for (uint32_t i = root; i < f->sweep->count; ++i) {
    if (root_of(f->piece_of, i) != root) continue;
    f->outcome[p.first + p.count++] = i;
    if (f->stored[i]) continue;
    p.left++;
    p.cost += cost_of(&f->sweep->outcomes[i]);
  }
  if (!p.left) return;
  *placed += p.count;
  f->pieces[f->piece_count++] = p;
}

static void name_pieces(struct fleet *f)
{
  for (uint32_t k = 0; k < f->piece_count; ++k)
    for (uint32_t i = 0; i < f->pieces[k].count; ++i)
      f->piece_of[f->outcome[f->pieces[k].first + i]] = k;
}

static dd_status find_stored(struct fleet *f)
{
  struct db *db = f->sweep->recorder->db;
  dd_status status;

  TRY(db_batch_begin(db));
  status = DD_OK;
  for (uint32_t i = 0; i < f->sweep->count && !status; ++i)
    status = resume_is_stored(f->sweep, &f->sweep->outcomes[i], &f->stored[i]);
  if (!status) return db_batch_commit(db);
  db_batch_cancel(db);
  return status;
}

/* With a budget the order is the weights'. */
static dd_status make_pieces(struct fleet *f)
{
  struct sweep *s = f->sweep;
  uint32_t placed = 0;

  f->pieces = ARENA_ARRAY(&s->arena, struct piece, s->count + 1);
  f->outcome = ARENA_ARRAY(&s->arena, uint32_t, s->count + 1);
  f->piece_of = ARENA_ARRAY(&s->arena, uint32_t, s->count + 1);
  f->stored = ARENA_ARRAY(&s->arena, bool, s->count + 1);
  if (!f->pieces || !f->outcome || !f->piece_of || !f->stored)
    return fail(DD_NO_MEMORY, "out of memory");
  TRY(find_stored(f));
  for (uint32_t i = 0; i < s->count; ++i) f->piece_of[i] = i;
  for (uint32_t i = 0; i < s->count; ++i) join_parts(f, i);
  for (uint32_t i = 0; i < s->count; ++i)
    if (f->piece_of[i] == i) add_piece(f, i, &placed);
  if (s->budget.end <= 0)
    qsort(f->pieces, f->piece_count, sizeof *f->pieces, costlier);
  name_pieces(f);
  f->undone = f->piece_count;
  return DD_OK;
}

/* ---- The parent: members ------------------------------------------------- */

static dd_status start_member(struct fleet *f, const struct fleet_task *task,
                              const struct device_info *info, int claims)
{
  struct member *m = &f->members[f->member_count++];
  struct bytes message = BYTES_INIT;
  dd_status status;

  m->info = info;
  TRY(child_start_sharing(&m->child, WORKER_SWEEP, claims, NULL));
  m->alive = true;
  put_task(&message, task, info, claims);
  status = wire_send(m->child.to, &message);
  bytes_release(&message);
  return status;
}

/* One that has ended is noticed when it is read from. */
static void send_piece(struct fleet *f, struct member *m, struct piece *p)
{
  struct bytes message = BYTES_INIT;

  p->holder = (int)(m - f->members);
  m->pieces++;
  wire_put_u32(&message, ORDER_SWEEP);
  wire_put_u32(&message, p->count);
  for (uint32_t i = 0; i < p->count; ++i)
    wire_put_u32(&message, f->outcome[p->first + i]);
  wire_send(m->child.to, &message);
  bytes_release(&message);
}

static struct piece *next_piece(struct fleet *f)
{
  for (uint32_t i = 0; i < f->piece_count; ++i)
    if (f->pieces[i].left && f->pieces[i].holder < 0) return &f->pieces[i];
  return NULL;
}

/* Everybody has one before anybody has two. */
static void hand_out(struct fleet *f)
{
  for (uint32_t full = 1; full <= PIECES_AHEAD; ++full)
    for (uint32_t i = 0; i < f->member_count; ++i) {
      struct member *m = &f->members[i];
      struct piece *p = m->alive && m->pieces < full ? next_piece(f) : NULL;
      if (p) send_piece(f, m, p);
    }
}

/* What it had goes to the others; `why` is the sentence of its end. */
static void lose_member(struct fleet *f, struct member *m, dd_status status,
                        const char *why)
{
  for (uint32_t i = 0; i < f->piece_count; ++i)
    if (f->pieces[i].holder == m - f->members) f->pieces[i].holder = -1;
  child_stop(&m->child, 10);
  m->alive = false;
  m->pieces = 0;
  if (!status) return;
  f->status = status;
  snprintf(f->sentence, sizeof f->sentence, "%s (%s): %s", m->info->name,
           m->info->uuid, why);
  say("%s", f->sentence);
}

static void lose_silently(struct fleet *f, struct member *m)
{
  char why[128] = "its process has ended without a word";
  int how = child_stop(&m->child, 0);

  if (WIFSIGNALED(how))
    snprintf(why, sizeof why, "its process was ended by signal %d (%s)",
             WTERMSIG(how), strsignal(WTERMSIG(how)));
  lose_member(f, m, DD_DEVICE, why);
}

static void mark_done(struct fleet *f, struct member *m, uint32_t outcome)
{
  struct piece *p = &f->pieces[f->piece_of[outcome]];

  if (f->stored[outcome]) return;
  f->stored[outcome] = true;
  f->sweep->done += f->sweep->outcomes[outcome].point_count;
  if (--p->left) return;
  f->undone--;
  m->pieces--;
}

static void hear_end(struct fleet *f, struct member *m, struct wire_reader *r)
{
  struct arena a;
  dd_status status = (dd_status)wire_u32(r, "a status");
  const char *why;

  arena_init(&a, NULL);
  f->sweep->left_out += wire_u32(r, "candidates left out");
  why = wire_text(r, &a, "a sentence");
  lose_member(f, m, status, why);
  arena_release(&a);
}

static void hear_anchor(struct member *m, struct wire_reader *r)
{
  m->anchor.median_us = wire_f64(r, "a median");
  m->anchor.low_us = wire_f64(r, "a bound");
  m->anchor.high_us = wire_f64(r, "a bound");
  m->anchor.copy_us = wire_f64(r, "a copy's time");
  m->anchor.floor = wire_f64(r, "a floor");
}

static void hear(struct fleet *f, struct member *m)
{
  struct bytes message = BYTES_INIT;
  struct wire_reader r;
  uint32_t what = TOLD_END, outcome;

  if (wire_receive(m->child.from, FLEET_MESSAGE_MAX, &message)) {
    bytes_release(&message);
    lose_silently(f, m);
    return;
  }
  wire_reader_init(&r, message.data, message.size);
  what = wire_u32(&r, "what it is");
  if (what == TOLD_ANCHOR) hear_anchor(m, &r);
  else if (what == TOLD_END) hear_end(f, m, &r);
  else if ((outcome = wire_u32(&r, "an outcome")) < f->sweep->count)
    mark_done(f, m, outcome);
  bytes_release(&message);
}

/* ---- The parent: until the end ------------------------------------------- */

/* A board's process has a group of its own, so Ctrl-C does not reach it. */
static void finish(struct fleet *f, bool stop)
{
  struct bytes message = BYTES_INIT;

  wire_put_u32(&message, ORDER_FINISH);
  for (uint32_t i = 0; i < f->member_count; ++i) {
    struct member *m = &f->members[i];
    if (m->alive && !m->finishing) wire_send(m->child.to, &message);
    if (m->alive && stop && !f->stopping) kill(m->child.pid, SIGINT);
    m->finishing = true;
  }
  f->stopping = stop;
  bytes_release(&message);
}

static uint32_t count_alive(const struct fleet *f)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < f->member_count; ++i) n += f->members[i].alive;
  return n;
}

static void listen_to_all(struct fleet *f, struct pollfd *fds)
{
  const int tick = 500; /* ms: for the progress and the budget's end */

  for (uint32_t i = 0; i < f->member_count; ++i)
    fds[i] = (struct pollfd){f->members[i].alive ? f->members[i].child.from
                                                 : -1, POLLIN, 0};
  if (poll(fds, f->member_count, tick) <= 0) return;
  for (uint32_t i = 0; i < f->member_count; ++i)
    if (f->members[i].alive && fds[i].revents) hear(f, &f->members[i]);
}

static void conduct(struct fleet *f, struct pollfd *fds)
{
  struct sweep *s = f->sweep;

  progress_begin(&s->progress, "sweep", s->options.quiet);
  while (count_alive(f)) {
    if (interrupted()) finish(f, true);
    else if (!f->undone || budget_is_over(&s->budget)) finish(f, false);
    else hand_out(f);
    progress_at(&s->progress, s->done, s->total, "%u of %u pieces, %u boards",
                f->piece_count - f->undone, f->piece_count, count_alive(f));
    listen_to_all(f, fds);
  }
  progress_end(&s->progress);
}

double anchor_slower(const struct anchor *a, const struct anchor *b,
                     double *noise)
{
  *noise = (a->high_us - a->low_us) / (2 * a->median_us) + a->floor +
           (b->high_us - b->low_us) / (2 * b->median_us) + b->floor;
  return a->median_us / b->median_us - 1;
}

/* Each is held against the fastest. */
static void compare_anchors(const struct fleet *f)
{
  const struct member *fastest = NULL;

  for (uint32_t i = 0; i < f->member_count; ++i) {
    const struct member *m = &f->members[i];
    if (m->anchor.median_us > 0 &&
        (!fastest || m->anchor.median_us < fastest->anchor.median_us))
      fastest = m;
  }
  for (uint32_t i = 0; fastest && i < f->member_count; ++i) {
    const struct member *m = &f->members[i];
    double noise, slower;
    if (!(m->anchor.median_us > 0)) continue;
    slower = anchor_slower(&m->anchor, &fastest->anchor, &noise);
    if (slower > noise)
      say("%s takes %.2f us for the anchor, %.1f %% more than %s; noise "
          "explains %.1f %%", m->info->uuid, m->anchor.median_us, 100 * slower,
          fastest->info->uuid, 100 * noise);
  }
}

/* Those that are left do what the others have not; with none left it failed. */
static dd_status ending(const struct fleet *f)
{
  if (!f->undone || interrupted() || budget_is_over(&f->sweep->budget))
    return DD_OK;
  return f->status ? fail(f->status, "no board is left; %s", f->sentence)
                   : fail(DD_BUG, "the boards ended before the sweep");
}

dd_status fleet_start(struct fleet *f, struct sweep *s,
                      const struct fleet_task *task,
                      const struct device_info *infos, size_t count)
{
  dd_status status = DD_OK;
  int claims;

  *f = (struct fleet){.sweep = s};
  f->members = ARENA_ARRAY(&s->arena, struct member, count);
  if (!f->members) return fail(DD_NO_MEMORY, "out of memory");
  claims = claims_make();
  for (size_t i = 0; i < count && !status; ++i)
    status = start_member(f, task, &infos[i], claims);
  if (claims >= 0) close(claims);
  return status;
}

/* What has a budget is opened when its turn is near: how many of its candidates
 * fit is known then. */
static void put_coming(const struct fleet *f, struct bytes *out)
{
  uint32_t count = 0, known = 0;
  uint32_t end = f->sweep->budget.end > 0 ? 0 : f->piece_count;

  while (known < end && count + f->pieces[known].left <= COMING_MAX)
    count += f->pieces[known++].left;
  wire_put_u32(out, count);
  for (uint32_t k = 0; k < known; ++k)
    for (uint32_t i = 0; i < f->pieces[k].count; ++i) {
      uint32_t outcome = f->outcome[f->pieces[k].first + i];
      if (!f->stored[outcome]) wire_put_u32(out, outcome);
    }
}

/* One that has ended is noticed when it is read from. */
static void tell_sweep(struct fleet *f)
{
  struct bytes message = BYTES_INIT;

  wire_put_i64(&message, f->sweep->recorder->sweep);
  put_coming(f, &message);
  for (uint32_t i = 0; i < f->member_count; ++i)
    wire_send(f->members[i].child.to, &message);
  bytes_release(&message);
}

dd_status fleet_run(struct fleet *f)
{
  struct pollfd *fds =
      ARENA_ARRAY(&f->sweep->arena, struct pollfd, f->member_count);

  if (!fds) return fail(DD_NO_MEMORY, "out of memory");
  TRY(make_pieces(f));
  if (!f->undone) return DD_OK;
  tell_sweep(f);
  conduct(f, fds);
  compare_anchors(f);
  return ending(f);
}

void fleet_stop(struct fleet *f)
{
  for (uint32_t i = 0; i < f->member_count; ++i)
    child_stop(&f->members[i].child, 0);
}
