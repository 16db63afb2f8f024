/* farm.c - compile units in worker processes. */
#include "farm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "command.h"
#include "compiler.h"
#include "farm_folder.h"
#include "output.h"
#include "sandbox.h"
#include "wire.h"

extern char **environ;

enum {
  FOLDER_MAX = 256,
  REQUEST_LIMIT = 64 << 20, /* the largest unit seen is 200 kB */
  REPLY_LIMIT = 512 << 20,
  LOG_LIMIT = 1 << 20,
  LOOKS = 4, /* a turn, for units of others; each is a system call */
};

static const double LOOK_AGAIN = 0.02; /* seconds */

/* From the queue to a worker to the finished ones: one block all the way, so
 * that finishing a unit needs no memory. */
struct unit {
  struct farm_result result;
  struct bytes message; /* as it goes over the pipe, length first */
  bool urgent, elsewhere; /* not to be put off; another has claimed it */
  double believed;        /* that it compiles it: until then */
  struct unit *next;
};

struct list {
  struct unit *first, **end;
};

struct worker {
  struct child child;
  struct unit *unit; /* what it compiles; NULL: idle */
  size_t sent;
  struct bytes reply;
  double started;
  char folder[FOLDER_MAX];
};

struct farm {
  struct worker *worker;
  int count;
  struct list queue, done;
  size_t pending, queued;
  size_t elsewhere; /* in the queue, claimed by others */
  struct farm_peers peers; /* all zero: none */
  double deadline, end;
  struct farm_folder folder;
};

/* ---- Units ----------------------------------------------------------- */

static void list_init(struct list *l)
{
  l->first = NULL;
  l->end = &l->first;
}

static void list_add(struct list *l, struct unit *u)
{
  u->next = NULL;
  *l->end = u;
  l->end = &u->next;
}

static void list_add_first(struct list *l, struct unit *u)
{
  u->next = l->first;
  if (!l->first) l->end = &u->next;
  l->first = u;
}

/* `at` points to it. */
static struct unit *list_take_at(struct list *l, struct unit **at)
{
  struct unit *u = *at;

  *at = u->next;
  if (!*at) l->end = at;
  return u;
}

static struct unit *list_take(struct list *l)
{
  return l->first ? list_take_at(l, &l->first) : NULL;
}

void farm_result_release(struct farm_result *r)
{
  bytes_release(&r->code);
  bytes_release(&r->log);
  bytes_release(&r->error);
}

static void unit_free(struct unit *u)
{
  farm_result_release(&u->result);
  bytes_release(&u->message);
  mem_resize(NULL, u, sizeof *u, 0);
}

static void list_release(struct list *l)
{
  for (struct unit *u; (u = list_take(l));) unit_free(u);
}

/* ---- Starting and stopping a worker ---------------------------------- */

/* Our environment with TMPDIR set to `folder`; lives in the arena. */
static char **make_environment(const char *folder, struct arena *a)
{
  size_t n = 0, kept = 0;
  char **copy, *tmp = arena_printf(a, "TMPDIR=%s", folder);

  while (environ[n]) ++n;
  copy = ARENA_ARRAY(a, char *, n + 2);
  if (!copy || !tmp) return NULL;
  for (size_t i = 0; i < n; ++i)
    if (strncmp(environ[i], "TMPDIR=", 7)) copy[kept++] = environ[i];
  copy[kept] = tmp;
  return copy;
}

/* We read and write as far as the pipes go, and never wait in them. */
static dd_status worker_start(struct worker *w)
{
  struct arena a;
  char **environment;
  dd_status status;

  if (mkdir(w->folder, 0700) && errno != EEXIST)
    return fail(DD_IO, "cannot make the folder '%s': %s", w->folder,
                strerror(errno));
  arena_init(&a, NULL);
  environment = make_environment(w->folder, &a);
  status = environment ? child_start(&w->child, WORKER_COMPILE, environment)
                       : fail(DD_NO_MEMORY, "out of memory");
  arena_release(&a);
  TRY(status);
  if (!fcntl(w->child.to, F_SETFL, O_NONBLOCK) &&
      !fcntl(w->child.from, F_SETFL, O_NONBLOCK))
    return DD_OK;
  status = fail(DD_IO, "cannot set up a pipe: %s", strerror(errno));
  child_stop(&w->child, 0);
  return status;
}

/* Ends a worker, gives its wait status, removes what it left behind. */
static int worker_stop(struct worker *w)
{
  int how = child_stop(&w->child, 0);

  w->sent = 0;
  bytes_clear(&w->reply);
  remove_folder(w->folder);
  return how;
}

/* A worker that died while it had nothing to do. */
static void bury_idle(struct worker *w)
{
  if (child_has_ended(&w->child)) worker_stop(w);
}

/* ---- A unit's end ---------------------------------------------------- */

static void finish(struct farm *f, struct worker *w)
{
  w->unit->result.seconds = seconds_now() - w->started;
  list_add(&f->done, w->unit);
  w->unit = NULL;
  w->sent = 0;
  bytes_clear(&w->reply);
}

/* At once: its caller may look at what is done much later. */
static void keep(struct farm *f, struct farm_result *r)
{
  if (r->status || !f->peers.keep) return;
  f->peers.keep(f->peers.user, r->id, &r->code);
  r->kept = true;
}

static void lose(struct farm *f, struct worker *w, dd_status status,
                 const char *sentence)
{
  struct farm_result *r = &w->unit->result;

  bytes_clear(&r->code);
  bytes_clear(&r->log);
  bytes_clear(&r->error);
  bytes_text(&r->error, sentence);
  r->status = status;
  finish(f, w);
}

/* The worker is gone while it had a unit: says how it ended.  A signal is the
 * compiler's crash; one that ends by itself could not begin (no sandbox, no
 * memory), which says nothing about the unit. */
static void lose_to_death(struct farm *f, struct worker *w)
{
  int end = worker_stop(w);
  bool crashed = WIFSIGNALED(end);
  char sentence[80];

  if (crashed)
    snprintf(sentence, sizeof sentence, "the compiler crashed (signal %d)",
             WTERMSIG(end));
  else
    snprintf(sentence, sizeof sentence,
             "the compile worker ended with exit code %d", WEXITSTATUS(end));
  lose(f, w, crashed ? DD_COMPILE : DD_IO, sentence);
}

static void lose_to_deadline(struct farm *f, struct worker *w)
{
  char sentence[80];

  worker_stop(w);
  snprintf(sentence, sizeof sentence, "the compiler took longer than %g s",
           f->deadline);
  lose(f, w, DD_COMPILE, sentence);
}

/* ---- Moving bytes ---------------------------------------------------- */

static bool would_block(ssize_t n)
{
  return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* False: the worker no longer reads. */
static bool move_request(struct worker *w)
{
  const struct bytes *m = &w->unit->message;

  while (w->sent < m->size) {
    ssize_t n = write(w->child.to, m->data + w->sent, m->size - w->sent);
    if (would_block(n)) return true;
    if (n < 0) return false;
    w->sent += (size_t)n;
  }
  return true;
}

static size_t reply_size(const struct worker *w)
{
  struct wire_reader r;

  if (w->reply.size < 4) return SIZE_MAX;
  wire_reader_init(&r, w->reply.data, 4);
  return (size_t)wire_u32(&r, "a reply's length") + 4;
}

enum moved { MOVED_PART, MOVED_ALL, MOVED_BAD, MOVED_BROKEN };

static enum moved move_reply(struct worker *w)
{
  char part[65536];

  for (;;) {
    size_t size = reply_size(w);
    ssize_t n;
    if (w->reply.failed || (size != SIZE_MAX && size > REPLY_LIMIT))
      return MOVED_BAD;
    if (w->reply.size >= size) return MOVED_ALL;
    n = read(w->child.from, part, sizeof part);
    if (would_block(n)) return MOVED_PART;
    if (n <= 0) return MOVED_BROKEN;
    bytes_add(&w->reply, part, (size_t)n);
  }
}

static void read_part(struct wire_reader *r, struct bytes *to, const char *what)
{
  size_t size;
  const void *data = wire_bytes(r, &size, what);

  if (size) bytes_add(to, data, size);
}

static void lose_to_nonsense(struct farm *f, struct worker *w,
                             const char *sentence)
{
  worker_stop(w);
  lose(f, w, DD_IO, sentence);
}

static void take_reply(struct farm *f, struct worker *w)
{
  struct farm_result *r = &w->unit->result;
  struct wire_reader in;

  wire_reader_init(&in, w->reply.data + 4, w->reply.size - 4);
  r->status = (dd_status)wire_u32(&in, "a status");
  read_part(&in, &r->code, "code");
  read_part(&in, &r->log, "a log");
  read_part(&in, &r->error, "a sentence");
  if (wire_status(&in, true, DD_IO) || bytes_status(&r->code) ||
      bytes_status(&r->log) || bytes_status(&r->error)) {
    lose_to_nonsense(f, w, dd_last_error());
    return;
  }
  keep(f, r);
  finish(f, w);
}

static void move(struct farm *f, struct worker *w)
{
  enum moved moved = move_request(w) ? move_reply(w) : MOVED_BROKEN;

  if (moved == MOVED_ALL)
    take_reply(f, w);
  else if (moved == MOVED_BAD)
    lose_to_nonsense(f, w, "the compile worker's answer is too long");
  else if (moved == MOVED_BROKEN)
    lose_to_death(f, w);
  else if (seconds_now() - w->started > f->deadline)
    lose_to_deadline(f, w);
}

static void move_all(struct farm *f)
{
  for (int i = 0; i < f->count; ++i)
    if (f->worker[i].unit) move(f, &f->worker[i]);
}

/* ---- The queue ------------------------------------------------------- */

static struct unit *take_queued(struct farm *f, struct unit **at)
{
  struct unit *u = list_take_at(&f->queue, at);

  if (u->elsewhere) f->elsewhere--;
  else f->queued--;
  return u;
}

/* Nobody else is at it, as far as is known. */
static bool is_free(struct farm *f, struct unit *u)
{
  if (u->elsewhere) return seconds_now() > u->believed;
  if (!f->peers.claim || f->peers.claim(f->peers.user, u->result.id) ||
      u->urgent)
    return true;
  u->elsewhere = true;
  u->believed = seconds_now() + f->peers.patience;
  f->queued--;
  f->elsewhere++;
  return false;
}

static struct unit *choose(struct farm *f)
{
  struct unit **at = &f->queue.first;

  while (*at && !is_free(f, *at)) at = &(*at)->next;
  return *at ? take_queued(f, at) : NULL;
}

/* The worker is idle; it is started if it is missing. */
static void give(struct farm *f, struct worker *w, struct unit *u)
{
  bury_idle(w);
  w->unit = u;
  w->started = seconds_now();
  if (!w->child.pid && worker_start(w))
    lose(f, w, DD_IO, dd_last_error());
  else
    move(f, w);
}

/* Gives queued units to idle workers. */
static void feed(struct farm *f)
{
  for (int i = 0; i < f->count && f->queue.first; ++i) {
    struct unit *u = f->worker[i].unit ? NULL : choose(f);
    if (u) give(f, &f->worker[i], u);
  }
}

/* What others have compiled meanwhile, of the first `looks` that are theirs. */
static void find(struct farm *f, size_t looks)
{
  struct unit **at = &f->queue.first;

  while (*at && looks) {
    struct farm_result *r = &(*at)->result;
    if (!(*at)->elsewhere) {
      at = &(*at)->next;
    } else if (f->peers.find(f->peers.user, r->id, &r->code)) {
      r->kept = true;
      list_add(&f->done, take_queued(f, at));
    } else {
      bytes_clear(&r->code);
      at = &(*at)->next;
      looks--;
    }
  }
}

/* ---- The farm -------------------------------------------------------- */

static int processors(void)
{
  cpu_set_t set;

  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  return CPU_COUNT(&set);
}

static dd_status farm_fill(struct farm *f, int workers)
{
  size_t size = (size_t)workers * sizeof *f->worker;

  f->worker = mem_resize(NULL, NULL, 0, size);
  if (!f->worker) return fail(DD_NO_MEMORY, "out of memory");
  memset(f->worker, 0, size);
  f->count = workers;
  TRY(farm_folder_open(&f->folder));
  for (int i = 0; i < workers; ++i)
    snprintf(f->worker[i].folder, FOLDER_MAX, "%s/%d", f->folder.path, i);
  return DD_OK;
}

dd_status farm_open(int workers, struct farm **out)
{
  struct farm *f = mem_resize(NULL, NULL, 0, sizeof *f);
  dd_status status;

  *out = NULL;
  if (!f) return fail(DD_NO_MEMORY, "out of memory");
  memset(f, 0, sizeof *f);
  list_init(&f->queue);
  list_init(&f->done);
  f->deadline = 120;
  signal(SIGPIPE, SIG_IGN);
  status = farm_fill(f, workers > 0 ? workers : processors());
  if (status)
    farm_close(f);
  else
    *out = f;
  return status;
}

void farm_close(struct farm *f)
{
  if (!f) return;
  for (int i = 0; i < f->count; ++i) {
    struct worker *w = &f->worker[i];
    if (w->child.pid) worker_stop(w);
    if (w->unit) unit_free(w->unit);
    bytes_release(&w->reply);
  }
  list_release(&f->queue);
  list_release(&f->done);
  farm_folder_close(&f->folder);
  mem_resize(NULL, f->worker, (size_t)f->count * sizeof *f->worker, 0);
  mem_resize(NULL, f, sizeof *f, 0);
}

int farm_workers(const struct farm *f)
{
  return f->count;
}

void farm_set_deadline(struct farm *f, double seconds)
{
  f->deadline = seconds;
}

void farm_set_end(struct farm *f, double end)
{
  f->end = end;
}

void farm_set_peers(struct farm *f, const struct farm_peers *peers)
{
  f->peers = *peers;
}

bool farm_is_over(const struct farm *f)
{
  return f->end > 0 && seconds_now() >= f->end;
}

size_t farm_pending(const struct farm *f)
{
  return f->pending;
}

static dd_status make_unit(int64_t id, const char *target, const char *text,
                           struct unit **out)
{
  struct unit *u = mem_resize(NULL, NULL, 0, sizeof *u);
  size_t size = 8 + strlen(target) + strlen(text);

  *out = u;
  if (!u) return fail(DD_NO_MEMORY, "out of memory");
  memset(u, 0, sizeof *u);
  u->result.id = id;
  wire_put_u32(&u->message, (uint32_t)size);
  wire_put_text(&u->message, target);
  wire_put_text(&u->message, text);
  if (u->message.failed || size > REQUEST_LIMIT) {
    unit_free(u);
    return fail(DD_NO_MEMORY, "a unit of %zu bytes is too large", size);
  }
  return DD_OK;
}

static dd_status submit(struct farm *f, int64_t id, const char *target,
                        const char *text, bool urgent)
{
  struct unit *u;

  TRY(make_unit(id, target, text, &u));
  u->urgent = urgent;
  (urgent ? list_add_first : list_add)(&f->queue, u);
  f->pending++;
  f->queued++;
  feed(f);
  return DD_OK;
}

dd_status farm_submit(struct farm *f, int64_t id, const char *target,
                      const char *text)
{
  return submit(f, id, target, text, false);
}

dd_status farm_submit_first(struct farm *f, int64_t id, const char *target,
                            const char *text)
{
  return submit(f, id, target, text, true);
}

size_t farm_queued(const struct farm *f)
{
  return f->queued;
}

static bool take_done(struct farm *f, struct farm_result *out)
{
  static const struct farm_result empty;
  struct unit *u = list_take(&f->done);

  if (!u) return false;
  *out = u->result;
  u->result = empty;
  unit_free(u);
  f->pending--;
  return true;
}

size_t farm_poll(const struct farm *f, struct pollfd *fds, size_t capacity)
{
  size_t n = 0;

  for (int i = 0; i < f->count && n < capacity; ++i) {
    const struct worker *w = &f->worker[i];
    if (!w->unit) continue;
    fds[n++] = (struct pollfd){w->child.from, POLLIN, 0};
    if (w->sent < w->unit->message.size && n < capacity)
      fds[n++] = (struct pollfd){w->child.to, POLLOUT, 0};
  }
  return n;
}

/* Milliseconds to the first deadline, the end, or another look for what others
 * have compiled, of which nothing tells us. */
static int poll_timeout(const struct farm *f)
{
  double now = seconds_now();
  double least = f->end > 0 ? f->end - now : 3600;

  if (f->elsewhere && least > LOOK_AGAIN) least = LOOK_AGAIN;
  for (int i = 0; i < f->count; ++i) {
    double left = f->worker[i].started + f->deadline - now;
    if (f->worker[i].unit && left < least) least = left;
  }
  return least > 0 ? (int)(least * 1e3) + 1 : 0;
}

/* False: a signal came. */
static bool wait_for_one(const struct farm *f)
{
  size_t capacity = 2 * (size_t)f->count;
  struct pollfd *fds =
      mem_resize(NULL, NULL, 0, capacity * sizeof(struct pollfd));
  int n = -1;

  if (fds)
    n = poll(fds, farm_poll(f, fds, capacity), poll_timeout(f));
  mem_resize(NULL, fds, capacity * sizeof(struct pollfd), 0);
  return n >= 0;
}

void farm_turn(struct farm *f)
{
  move_all(f);
  find(f, LOOKS);
  feed(f);
}

/* An idle worker, unless one is already at what another has claimed. */
static struct worker *worker_for_others(struct farm *f)
{
  struct worker *idle = NULL;

  for (int i = f->count; i-- > 0;)
    if (!f->worker[i].unit) idle = &f->worker[i];
    else if (f->worker[i].unit->elsewhere) return NULL;
  return idle;
}

/* Before a wait: what others have claimed is all that is left for an idle
 * worker.  One takes the first, so that the wait ends whatever the others do;
 * more would be in the way of what is submitted next. */
static void feed_one_of_others(struct farm *f)
{
  struct worker *w;

  find(f, SIZE_MAX);
  if (f->done.first || !f->queue.first) return;
  w = worker_for_others(f);
  if (w) give(f, w, take_queued(f, &f->queue.first));
}

bool farm_next(struct farm *f, struct farm_result *out, bool wait)
{
  static const struct farm_result empty;

  *out = empty;
  for (;;) {
    farm_turn(f);
    if (take_done(f, out)) return true;
    if (!f->pending || !wait || farm_is_over(f)) return false;
    feed_one_of_others(f);
    if (!f->done.first && !wait_for_one(f)) return false;
  }
}

int farm_worker_of(const struct farm *f, int64_t id)
{
  for (int i = 0; i < f->count; ++i) {
    const struct worker *w = &f->worker[i];
    if (w->unit && w->unit->result.id == id) return (int)w->child.pid;
  }
  return 0;
}

/* ---- The other side -------------------------------------------------- */

static void answer(dd_status status, const struct bytes *code,
                   const struct bytes *log, struct bytes *reply)
{
  wire_put_u32(reply, status);
  wire_put_bytes(reply, code->data, status ? 0 : code->size);
  wire_put_bytes(reply, log->data,
                 log->size < LOG_LIMIT ? log->size : LOG_LIMIT);
  wire_put_text(reply, status ? dd_last_error() : "");
}

static dd_status serve_one(const struct bytes *request, int out_fd,
                           farm_compile *compile)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT, reply = BYTES_INIT;
  const char *target, *text;
  struct wire_reader r;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  wire_reader_init(&r, request->data, request->size);
  target = wire_text(&r, &a, "a target");
  text = wire_text(&r, &a, "a unit's text");
  status = wire_status(&r, true, DD_IO);
  if (!status) status = compile(target, text, &code, &log);
  answer(status, &code, &log, &reply);
  status = wire_send(out_fd, &reply);
  bytes_release(&reply);
  bytes_release(&log);
  bytes_release(&code);
  arena_release(&a);
  return status;
}

int farm_worker_serve(int in_fd, int out_fd, farm_compile *compile)
{
  struct bytes request = BYTES_INIT;
  int code = EX_OK;

  while (!code && !wire_receive(in_fd, REQUEST_LIMIT, &request))
    if (serve_one(&request, out_fd, compile)) code = EX_IOERR;
  bytes_release(&request);
  return code;
}

/* What a compiler reads: where toolkits, NVRTC and the system's C++ compiler
 * live, and wherever the environment says that more of them are. */
struct folders {
  struct arena arena;
  const char *item[64]; /* NULL at the end */
  size_t count;
};

static void folders_add(struct folders *f, const char *path, size_t size)
{
  char *copy = size ? arena_text(&f->arena, path, size) : NULL;

  if (copy && *copy == '/' && copy[1] && !access(copy, F_OK) &&
      f->count + 1 < COUNT_OF(f->item))
    f->item[f->count++] = copy;
}

static void folders_add_variable(struct folders *f, const char *variable)
{
  const char *list = getenv(variable);

  while (list && *list) {
    size_t n = strcspn(list, ":");
    folders_add(f, list, n);
    list += n + (list[n] == ':');
  }
}

/* The folder NVRTC was loaded from: its other half, libnvrtc-builtins, is
 * loaded from there when the first unit is compiled. */
static void folders_add_loaded(struct folders *f, const char *library)
{
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[4096];

  while (maps && fgets(line, sizeof line, maps)) {
    const char *path = strchr(line, '/'), *name = strrchr(line, '/');
    if (!path || !strstr(name, library)) continue;
    folders_add(f, path, (size_t)(name - path));
    break;
  }
  if (maps) fclose(maps);
}

static void folders_find(struct folders *f)
{
  static const char *const always[] = {
      "/usr",       "/lib",      "/lib64", "/etc/ld.so.cache",
      "/proc/self", "/dev/null", "/opt/cuda"};
  static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH",
                                          "LD_LIBRARY_PATH"};

  memset(f, 0, sizeof *f);
  arena_init(&f->arena, NULL);
  for (size_t i = 0; i < COUNT_OF(always); ++i)
    folders_add(f, always[i], strlen(always[i]));
  for (size_t i = 0; i < COUNT_OF(variables); ++i)
    folders_add_variable(f, variables[i]);
  folders_add_loaded(f, "libnvrtc");
}

/* NVRTC is loaded first, because afterwards it could not be looked for. */
static dd_status restrict_worker(void)
{
  struct rlimit no_core = {0, 0};
  const char *writable[] = {getenv("TMPDIR"), "/dev/null", NULL};
  struct bytes identity = BYTES_INIT;
  struct folders readable;
  bool enforced;
  dd_status status;

  if (!writable[0]) return fail(DD_IO, "a compile worker has no TMPDIR");
  compiler_identity("sm_90", &identity);
  bytes_release(&identity);
  folders_find(&readable);
  setrlimit(RLIMIT_CORE, &no_core);
  status = sandbox_files(readable.item, writable, &enforced);
  arena_release(&readable.arena);
  return status;
}

int farm_worker_main(int in_fd, int out_fd)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpriority(PRIO_PROCESS, 0, 5); /* the process that times goes first */
  if (restrict_worker()) {
    say("compile worker: %s", dd_last_error());
    return EX_OSERR;
  }
  return farm_worker_serve(in_fd, out_fd, compile_unit);
}
