/*
 * test_farm.c - the compile farm: what it does when workers die.
 *
 * The workers are this program again.  Those of most tests have a compiler
 * that obeys the text of the unit ("echo 7", "crash", "hang"); those of the
 * sandbox's tests are real.
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "compiler.h"
#include "farm.h"
#include "output.h"
#include "sandbox.h"
#include "wire.h"

/* ---- The obedient compiler ------------------------------------------- */

static dd_status obey(const char *target, const char *text, struct bytes *code,
                      struct bytes *log)
{
  bytes_printf(log, "for %s", target);
  if (!strncmp(text, "echo ", 5)) {
    bytes_text(code, text + 5);
  } else if (!strcmp(text, "pid")) {
    bytes_printf(code, "%d", (int)getpid());
  } else if (!strcmp(text, "tmp")) {
    bytes_text(code, getenv("TMPDIR"));
    if (chdir(getenv("TMPDIR"))) _exit(4);
    close(open("left-behind", O_CREAT | O_WRONLY, 0600));
  } else if (!strcmp(text, "crash")) {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
  } else if (!strcmp(text, "hang")) {
    for (;;) pause();
  } else if (!strcmp(text, "exit")) {
    _exit(3);
  } else if (!strcmp(text, "huge")) {
    struct bytes head = BYTES_INIT;
    wire_put_u32(&head, UINT32_MAX);
    if (write(WORKER_OUT, head.data, head.size) < 0) _exit(4);
    for (;;) pause();
  } else if (!strcmp(text, "nonsense")) {
    struct bytes message = BYTES_INIT;
    bytes_text(&message, "nonsense");
    wire_send(WORKER_OUT, &message);
    for (;;) pause();
  }
  return *text ? DD_OK : fail(DD_COMPILE, "nothing to compile");
}

/* FARM_TEST: "" the obedient one, "open" the real one without a sandbox,
 * "real" the program's own. */
static int worker_main(void)
{
  const char *kind = getenv("FARM_TEST");

  if (kind && !strcmp(kind, "real"))
    return farm_worker_main(WORKER_IN, WORKER_OUT);
  if (kind && !strcmp(kind, "open"))
    return farm_worker_serve(WORKER_IN, WORKER_OUT, compile_unit);
  return farm_worker_serve(WORKER_IN, WORKER_OUT, obey);
}

/* ---- Helpers --------------------------------------------------------- */

static struct farm_result one(struct farm *f, int64_t id, const char *text)
{
  struct farm_result r;

  assert_ok(farm_submit(f, id, "cpu", text));
  assert_true(farm_next(f, &r, true));
  assert_int_equal(r.id, id);
  return r;
}

static void check_works(struct farm *f)
{
  struct farm_result r = one(f, 77, "echo it works");

  assert_int_equal(r.status, DD_OK);
  assert_string_equal(bytes_string(&r.code), "it works");
  assert_string_equal(bytes_string(&r.log), "for cpu");
  assert_true(r.seconds >= 0);
  farm_result_release(&r);
}

/* The unit fails with these words, and the farm goes on. */
static void check_costs_one(const char *text, dd_status status,
                            const char *sentence)
{
  struct farm *f;
  struct farm_result r;

  assert_ok(farm_open(1, &f));
  check_works(f);
  r = one(f, 5, text);
  assert_int_equal(r.status, status);
  assert_string_equal(bytes_string(&r.error), sentence);
  assert_int_equal(r.code.size, 0);
  farm_result_release(&r);
  check_works(f);
  assert_int_equal(farm_pending(f), 0);
  farm_close(f);
}

/* ---- Tests ----------------------------------------------------------- */

static void crashes_cost_one_unit(void **state)
{
  (void)state;
  check_costs_one("crash", DD_COMPILE, "the compiler crashed (signal 11)");
  check_costs_one("exit", DD_IO, /* not the unit's fault */
                  "the compile worker ended with exit code 3");
  check_costs_one("huge", DD_IO, "the compile worker's answer is too long");
  check_costs_one("nonsense", DD_IO, "cannot read code");
  check_costs_one("", DD_COMPILE, "nothing to compile");
}

enum { MANY = 200 };

static void units_come_back_once_in_any_order(void **state)
{
  char text[32], seen[MANY] = {0};
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(3, &f));
  assert_int_equal(farm_workers(f), 3);
  for (int i = 0; i < MANY; ++i) {
    snprintf(text, sizeof text, i % 50 == 7 ? "crash" : "echo %d", i);
    assert_ok(farm_submit(f, i, "cpu", text));
  }
  assert_int_equal(farm_pending(f), MANY);
  for (int i = 0; i < MANY; ++i) {
    assert_true(farm_next(f, &r, true));
    assert_in_range(r.id, 0, MANY - 1);
    assert_false(seen[r.id]);
    seen[r.id] = 1;
    snprintf(text, sizeof text, "%d", (int)r.id);
    assert_int_equal(r.status, r.id % 50 == 7 ? DD_COMPILE : DD_OK);
    assert_string_equal(bytes_string(&r.code), r.status ? "" : text);
    farm_result_release(&r);
  }
  assert_false(farm_next(f, &r, true));
  farm_close(f);
}

/* The one worker has the first unit; of those that wait it takes the urgent. */
static void an_urgent_unit_goes_before_those_that_wait(void **state)
{
  static const int order[] = {0, 3, 1, 2};
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(1, &f));
  for (int i = 0; i < 3; ++i) assert_ok(farm_submit(f, i, "cpu", "echo it"));
  assert_ok(farm_submit_first(f, 3, "cpu", "echo it"));
  for (int i = 0; i < 4; ++i) {
    assert_true(farm_next(f, &r, true));
    assert_int_equal(r.id, order[i]);
    farm_result_release(&r);
  }
  assert_ok(farm_submit_first(f, 4, "cpu", "echo it")); /* nobody waits */
  assert_ok(farm_submit(f, 5, "cpu", "echo it"));
  for (int i = 4; i < 6; ++i) {
    assert_true(farm_next(f, &r, true));
    assert_int_equal(r.id, i);
    farm_result_release(&r);
  }
  farm_close(f);
}

/* ---- Peers ----------------------------------------------------------- */

struct others {
  uint32_t claimed, has; /* units, a bit each */
  int claims[32], kept[32];
};

static bool claim(void *user, int64_t id)
{
  struct others *o = user;

  o->claims[id]++;
  return !(o->claimed >> id & 1);
}

static bool find(void *user, int64_t id, struct bytes *code)
{
  const struct others *o = user;

  if (!(o->has >> id & 1)) return false;
  bytes_text(code, "found");
  return !code->failed;
}

static void keep(void *user, int64_t id, const struct bytes *code)
{
  struct others *o = user;

  o->kept[id]++;
  assert_true(code->size > 0);
}

static struct farm *open_among(struct others *o, int workers, double patience)
{
  const struct farm_peers peers = {claim, find, keep, o, patience};
  struct farm *f;

  assert_ok(farm_open(workers, &f));
  farm_set_peers(f, &peers);
  return f;
}

static void check_next(struct farm *f, int64_t id, const char *code)
{
  struct farm_result r;

  assert_true(farm_next(f, &r, true));
  assert_int_equal(r.id, id);
  assert_string_equal(bytes_string(&r.code), code);
  assert_int_equal(r.kept, r.status == DD_OK);
  farm_result_release(&r);
}

/* Though nobody has it in the end: who claimed it may have died.  An urgent one
 * is not put off. */
static void a_unit_claimed_elsewhere_is_taken_last(void **state)
{
  static const int order[] = {0, 4, 2, 3, 1};
  struct others o = {.claimed = 1 << 1 | 1 << 4};
  struct farm *f = open_among(&o, 1, 3600);

  (void)state;
  for (int i = 0; i < 4; ++i) assert_ok(farm_submit(f, i, "cpu", "echo it"));
  assert_ok(farm_submit_first(f, 4, "cpu", "echo it"));
  assert_int_equal(farm_queued(f), 4);
  for (int i = 0; i < 5; ++i) {
    check_next(f, order[i], "it");
    if (i == 1) assert_int_equal(farm_queued(f), 1); /* 3: 1 is another's */
  }
  for (int i = 0; i < 5; ++i) {
    assert_int_equal(o.claims[i], 1);
    assert_int_equal(o.kept[i], 1);
  }
  assert_int_equal(farm_queued(f), 0);
  assert_int_equal(farm_pending(f), 0);
  farm_close(f);
}

/* The one worker is busy all the time. */
static void what_others_have_needs_no_worker(void **state)
{
  struct others o = {.claimed = 1 << 1 | 1 << 2};
  struct farm *f = open_among(&o, 1, 3600);
  struct farm_result r;

  (void)state;
  for (int i = 0; i < 3; ++i) assert_ok(farm_submit(f, i, "cpu", "echo it"));
  assert_ok(farm_submit(f, 3, "cpu", "hang"));
  check_next(f, 0, "it");
  assert_int_not_equal(farm_worker_of(f, 3), 0);
  assert_false(farm_next(f, &r, false));
  o.has = 1 << 2;
  check_next(f, 2, "found");
  o.has = 1 << 1;
  check_next(f, 1, "found");
  kill(farm_worker_of(f, 3), SIGKILL);
  check_next(f, 3, "");
  assert_int_equal(o.kept[0], 1);
  for (int i = 1; i < 4; ++i) assert_int_equal(o.kept[i], 0);
  assert_int_equal(farm_pending(f), 0);
  farm_close(f);
}

/* A wait is not for others: one worker takes the first, the rest stay free. */
static void one_worker_takes_what_others_have_claimed(void **state)
{
  struct others o = {.claimed = 7};
  struct farm *f = open_among(&o, 3, 3600);
  struct farm_result r;

  (void)state;
  for (int i = 0; i < 3; ++i) assert_ok(farm_submit(f, i, "cpu", "hang"));
  farm_turn(f);
  assert_int_equal(farm_worker_of(f, 0), 0);
  for (int waits = 0; waits < 2; waits += farm_worker_of(f, 0) != 0) {
    farm_set_end(f, seconds_now() + 0.01); /* may be over before it begins */
    assert_false(farm_next(f, &r, true));
  }
  assert_int_equal(farm_worker_of(f, 1), 0);
  assert_int_equal(farm_worker_of(f, 2), 0);
  assert_ok(farm_submit(f, 3, "cpu", "hang"));
  assert_int_not_equal(farm_worker_of(f, 3), 0);
  farm_close(f);
}

static void a_claim_is_not_believed_for_ever(void **state)
{
  struct others o = {.claimed = 3};
  struct farm *f = open_among(&o, 2, -1);

  (void)state;
  for (int i = 0; i < 2; ++i) assert_ok(farm_submit(f, i, "cpu", "hang"));
  farm_turn(f);
  for (int i = 0; i < 2; ++i) assert_int_not_equal(farm_worker_of(f, i), 0);
  farm_close(f);
}

enum { SHARED = 32 };

/* Some are found in time, some too late or never; some crash. */
static void units_come_back_once_whoever_has_them(void **state)
{
  struct others o = {.claimed = 0x5a5af0f0};
  struct farm *f = open_among(&o, 3, 0.01);
  int seen[SHARED] = {0};
  struct farm_result r;

  (void)state;
  for (int i = 0; i < SHARED; ++i)
    assert_ok(farm_submit(f, i, "cpu", i % 7 == 3 ? "crash" : "echo it"));
  for (int i = 0; i < SHARED; ++i) {
    assert_true(farm_next(f, &r, true));
    assert_int_equal(seen[r.id]++, 0);
    o.has |= 1u << (r.id * 5 % SHARED);
    farm_result_release(&r);
  }
  assert_false(farm_next(f, &r, true));
  farm_close(f);
}

/* ---- Sizes and ends -------------------------------------------------- */

/* 3 MB each way: many times what a pipe holds. */
static void large_units_pass(void **state)
{
  size_t size = 3 << 20;
  char *text = malloc(size + 1);
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_non_null(text);
  memset(text, 'x', size);
  memcpy(text, "echo ", 5);
  text[size] = 0;
  assert_ok(farm_open(2, &f));
  assert_ok(farm_submit(f, 1, "cpu", text));
  assert_ok(farm_submit(f, 2, "cpu", text));
  for (int i = 0; i < 2; ++i) {
    assert_true(farm_next(f, &r, true));
    assert_int_equal(r.code.size, size - 5);
    assert_string_equal(r.code.data, text + 5);
    farm_result_release(&r);
  }
  farm_close(f);
  free(text);
}

static void a_killed_worker_is_replaced(void **state)
{
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(1, &f));
  assert_ok(farm_submit(f, 1, "cpu", "hang"));
  assert_ok(farm_submit(f, 2, "cpu", "echo next"));
  assert_int_not_equal(farm_worker_of(f, 1), 0);
  assert_int_equal(farm_worker_of(f, 2), 0);
  kill(farm_worker_of(f, 1), SIGKILL);
  assert_true(farm_next(f, &r, true));
  assert_int_equal(r.id, 1);
  assert_string_equal(bytes_string(&r.error),
                      "the compiler crashed (signal 9)");
  farm_result_release(&r);
  assert_true(farm_next(f, &r, true));
  assert_int_equal(r.status, DD_OK);
  assert_string_equal(bytes_string(&r.code), "next");
  farm_result_release(&r);
  farm_close(f);
}

static void a_worker_that_dies_idle_costs_nothing(void **state)
{
  struct farm_result r;
  struct farm *f;
  siginfo_t info;
  pid_t pid;

  (void)state;
  assert_ok(farm_open(1, &f));
  r = one(f, 1, "pid");
  pid = atoi(bytes_string(&r.code));
  farm_result_release(&r);
  kill(pid, SIGKILL);
  assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  check_works(f);
  farm_close(f);
}

static void a_deadline_costs_one_unit(void **state)
{
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(1, &f));
  farm_set_deadline(f, 0.001);
  r = one(f, 1, "hang");
  assert_int_equal(r.status, DD_COMPILE);
  assert_string_equal(bytes_string(&r.error),
                      "the compiler took longer than 0.001 s");
  farm_result_release(&r);
  farm_set_deadline(f, 120);
  check_works(f);
  farm_close(f);
}

/* What is pending then is not lost. */
static void an_end_ends_the_wait(void **state)
{
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(1, &f));
  assert_ok(farm_submit(f, 1, "cpu", "hang"));
  assert_ok(farm_submit(f, 2, "cpu", "echo later"));
  assert_int_equal(farm_queued(f), 1);
  assert_false(farm_is_over(f));
  farm_set_end(f, seconds_now() + 0.01);
  assert_false(farm_next(f, &r, true));
  assert_true(farm_is_over(f));
  assert_int_equal(farm_pending(f), 2);
  farm_set_end(f, 0);
  kill(farm_worker_of(f, 1), SIGKILL);
  assert_true(farm_next(f, &r, true));
  farm_result_release(&r);
  assert_true(farm_next(f, &r, true));
  assert_string_equal(bytes_string(&r.code), "later");
  assert_int_equal(farm_queued(f), 0);
  farm_result_release(&r);
  farm_close(f);
}

static void on_alarm(int number)
{
  (void)number;
}

static void a_signal_ends_the_wait(void **state)
{
  struct sigaction action = {.sa_handler = on_alarm};
  struct itimerval tick = {{0, 10000}, {0, 10000}}, stop = {{0, 0}, {0, 0}};
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(1, &f));
  assert_ok(farm_submit(f, 1, "cpu", "hang"));
  assert_false(farm_next(f, &r, false));
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &tick, NULL);
  assert_false(farm_next(f, &r, true));
  setitimer(ITIMER_REAL, &stop, NULL);
  assert_int_equal(farm_pending(f), 1);
  farm_close(f);
}

static void poll_rows_are_those_of_busy_workers(void **state)
{
  struct pollfd fds[8];
  struct farm_result r;
  struct farm *f;

  (void)state;
  assert_ok(farm_open(2, &f));
  assert_int_equal(farm_poll(f, fds, 8), 0);
  assert_ok(farm_submit(f, 1, "cpu", "echo a"));
  assert_in_range(farm_poll(f, fds, 8), 1, 2);
  assert_int_equal(farm_poll(f, fds, 0), 0);
  while (!farm_next(f, &r, false))
    assert_true(poll(fds, farm_poll(f, fds, 8), -1) >= 0);
  assert_string_equal(bytes_string(&r.code), "a");
  farm_result_release(&r);
  assert_int_equal(farm_poll(f, fds, 8), 0);
  farm_close(f);
}

static int entries(const char *path)
{
  DIR *folder = opendir(path);
  int n = 0;

  assert_non_null(folder);
  while (readdir(folder)) ++n;
  closedir(folder);
  return n - 2;
}

static void temporary_files_go_away(void **state)
{
  char folder[64], *before = getenv("TMPDIR");
  struct farm_result r;
  struct farm *f;

  (void)state;
  if (before) before = strdup(before);
  test_folder(folder, sizeof folder);
  setenv("TMPDIR", folder, 1);
  assert_ok(farm_open(1, &f));
  r = one(f, 1, "tmp");
  assert_memory_equal(bytes_string(&r.code), folder, strlen(folder));
  assert_int_equal(entries(folder), 1);
  farm_result_release(&r);
  farm_close(f);
  assert_int_equal(entries(folder), 0);

  setenv("TMPDIR", "/nowhere/at/all", 1);
  assert_fails(DD_IO, "/nowhere/at/all", farm_open(1, &f));
  assert_null(f);
  if (before)
    setenv("TMPDIR", before, 1);
  else
    unsetenv("TMPDIR");
  free(before);
  test_folder_remove(folder);
}

/* A farm that is killed cannot remove its folder; the next one does. */
static void a_killed_farm_is_cleaned_up_after(void **state)
{
  char folder[64], *before = getenv("TMPDIR");
  struct farm *f, *other;
  pid_t child;

  (void)state;
  if (before) before = strdup(before);
  test_folder(folder, sizeof folder);
  setenv("TMPDIR", folder, 1);
  child = fork();
  if (!child) {
    if (!farm_open(1, &f)) check_works(f);
    raise(SIGKILL);
  }
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_int_equal(entries(folder), 1);
  assert_ok(farm_open(1, &f));
  assert_int_equal(entries(folder), 1);
  assert_ok(farm_open(1, &other)); /* one that lives is left alone */
  assert_int_equal(entries(folder), 2);
  check_works(f);
  farm_close(f);
  assert_int_equal(entries(folder), 1);
  check_works(other);
  farm_close(other);
  assert_int_equal(entries(folder), 0);
  if (before)
    setenv("TMPDIR", before, 1);
  else
    unsetenv("TMPDIR");
  free(before);
  test_folder_remove(folder);
}

/* ---- Memory ---------------------------------------------------------- */

/* Some of everything, in a farm that may be out of memory at any point. */
static void use_a_farm(void)
{
  static const char *const texts[] = {"echo a", "crash", "echo b", ""};
  struct others o = {.claimed = 6, .has = 4};
  const struct farm_peers peers = {claim, find, keep, &o, 3600};
  struct farm_result r;
  struct farm *f;

  if (farm_open(2, &f)) return;
  farm_set_peers(f, &peers);
  for (size_t i = 0; i < COUNT_OF(texts); ++i)
    if (farm_submit(f, (int64_t)i, "cpu", texts[i])) break;
  while (farm_next(f, &r, true)) farm_result_release(&r);
  farm_close(f);
}

static void memory_is_freed_whatever_fails(void **state)
{
  struct allocator before = default_allocator;
  struct test_memory m;

  (void)state;
  for (long n = 1;; ++n) {
    test_memory_init(&m);
    m.fail_at = n;
    default_allocator = m.allocator;
    use_a_farm();
    default_allocator = before;
    assert_int_equal(m.live, 0);
    if (m.calls < n) break;
  }
}

/* ---- Sandbox --------------------------------------------------------- */

#define CANARY "a_secret_that_no_log_may_hold"

/* What compiling `#include "path"` for `target` says, by workers of `kind`. */
static struct bytes log_of_include(const char *kind, const char *target,
                                   const char *path)
{
  struct bytes text = BYTES_INIT, said = BYTES_INIT;
  struct farm_result r;
  struct farm *f;

  setenv("FARM_TEST", kind, 1);
  bytes_printf(&text, "#include \"%s\"\n", path);
  assert_ok(farm_open(1, &f));
  assert_ok(farm_submit(f, 1, target, text.data));
  assert_true(farm_next(f, &r, true));
  assert_int_equal(r.status, DD_COMPILE);
  bytes_printf(&said, "%s\n%s", bytes_string(&r.log), bytes_string(&r.error));
  farm_result_release(&r);
  farm_close(f);
  bytes_release(&text);
  unsetenv("FARM_TEST");
  return said;
}

static void check_hidden(const char *target, const char *path,
                         const char *secret)
{
  struct bytes said = log_of_include("open", target, path);

  /* Without the sandbox the secret is told: this test can fail. */
  if (!strstr(said.data, secret))
    fail_msg("%s without a sandbox does not tell '%s': %s", target, secret,
             said.data);
  bytes_release(&said);
  said = log_of_include("real", target, path);
  if (strstr(said.data, secret)) fail_msg("%s tells: %s", target, said.data);
  if (!strstr(said.data, path)) fail_msg("%s says: %s", target, said.data);
  bytes_release(&said);
}

static void check_compiles(const char *target, const char *text)
{
  struct farm_result r;
  struct farm *f;

  setenv("FARM_TEST", "real", 1);
  assert_ok(farm_open(1, &f));
  assert_ok(farm_submit(f, 1, target, text));
  assert_true(farm_next(f, &r, true));
  if (r.status) fail_msg("%s: %s", target, bytes_string(&r.error));
  assert_true(r.code.size > 0);
  farm_result_release(&r);
  farm_close(f);
  unsetenv("FARM_TEST");
}

static bool have_landlock(void)
{
  int status;
  bool enforced;
  pid_t child = fork();

  if (!child) _exit(!sandbox_files(NULL, NULL, &enforced) && enforced ? 0 : 1);
  waitpid(child, &status, 0);
  return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void includes_cannot_read_files(void **state)
{
  static const char kernel[] =
      "extern \"C\" __global__ void k(float *x) { x[threadIdx.x] = 1.f; }\n";
  static const char *const targets[] = {"sm_90", "cpu"};
  struct bytes identity = BYTES_INIT;
  char folder[64], canary[128];
  int tried = 0;

  (void)state;
  if (!have_landlock()) skip();
  test_folder(folder, sizeof folder);
  snprintf(canary, sizeof canary, "%s/canary", folder);
  assert_ok(file_write(canary, CANARY "\n", sizeof CANARY));
  for (size_t i = 0; i < COUNT_OF(targets); ++i) {
    if (compiler_identity(targets[i], &identity)) continue;
    check_compiles(targets[i], kernel);
    check_hidden(targets[i], canary, CANARY);
    check_hidden(targets[i], "/etc/passwd", "root");
    tried++;
  }
  bytes_release(&identity);
  test_folder_remove(folder);
  assert_true(tried > 0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crashes_cost_one_unit),
      cmocka_unit_test(units_come_back_once_in_any_order),
      cmocka_unit_test(an_urgent_unit_goes_before_those_that_wait),
      cmocka_unit_test(a_unit_claimed_elsewhere_is_taken_last),
      cmocka_unit_test(what_others_have_needs_no_worker),
      cmocka_unit_test(one_worker_takes_what_others_have_claimed),
      cmocka_unit_test(a_claim_is_not_believed_for_ever),
      cmocka_unit_test(units_come_back_once_whoever_has_them),
      cmocka_unit_test(large_units_pass),
      cmocka_unit_test(a_killed_worker_is_replaced),
      cmocka_unit_test(a_worker_that_dies_idle_costs_nothing),
      cmocka_unit_test(a_deadline_costs_one_unit),
      cmocka_unit_test(an_end_ends_the_wait),
      cmocka_unit_test(a_signal_ends_the_wait),
      cmocka_unit_test(poll_rows_are_those_of_busy_workers),
      cmocka_unit_test(temporary_files_go_away),
      cmocka_unit_test(a_killed_farm_is_cleaned_up_after),
      cmocka_unit_test(memory_is_freed_whatever_fails),
      cmocka_unit_test(includes_cannot_read_files),
  };

  if (argc > 1 && !strcmp(argv[1], WORKER_COMPILE)) return worker_main();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
