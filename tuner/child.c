/* child.c - this program again, as a worker at the other end of two pipes. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

extern char **environ;

/* ---- Pipes ----------------------------------------------------------- */

static void close_pipe(int end[2])
{
  for (int i = 0; i < 2; ++i)
    if (end[i] >= 0) close(end[i]);
  end[0] = end[1] = -1;
}

/* Descriptors from 10 up: none is in the way of WORKER_IN and WORKER_OUT. */
static dd_status make_pipe(int end[2])
{
  int low[2], error = 0;

  if (pipe2(low, O_CLOEXEC))
    return fail(DD_IO, "cannot make a pipe: %s", strerror(errno));
  for (int i = 0; i < 2; ++i) {
    end[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
    if (end[i] < 0) error = errno;
    close(low[i]);
  }
  if (!error) return DD_OK;
  close_pipe(end);
  return fail(DD_IO, "cannot make a pipe: %s", strerror(error));
}

/* ---- Starting -------------------------------------------------------- */

static void set_signals(posix_spawnattr_t *attr)
{
  sigset_t defaults, none;

  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGTERM);
  posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP |
                                     POSIX_SPAWN_SETSIGDEF |
                                     POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(attr, 0);
  posix_spawnattr_setsigdefault(attr, &defaults);
  posix_spawnattr_setsigmask(attr, &none);
}

static int spawn(pid_t *pid, const char *word, int in, int out, int shared,
                 char *const *environment)
{
  char self[] = "/proc/self/exe", argument[64] = "";
  char *argv[] = {self, argument, NULL};
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attr;
  int error;

  memcpy(argument, word, strnlen(word, sizeof argument - 1));
  posix_spawnattr_init(&attr);
  set_signals(&attr);
  posix_spawn_file_actions_init(&files);
  if (shared >= 0) /* first of all: it may have the number of one of these */
    posix_spawn_file_actions_adddup2(&files, shared, WORKER_SHARED);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, 2, 1);
  posix_spawn_file_actions_adddup2(&files, in, WORKER_IN);
  posix_spawn_file_actions_adddup2(&files, out, WORKER_OUT);
  error = posix_spawn(pid, self, &files, &attr, argv, environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attr);
  return error;
}

static dd_status start_with(struct child *c, const char *word, int shared,
                            char *const *environment, int to[2], int from[2])
{
  int error;

  TRY(make_pipe(to));
  TRY(make_pipe(from));
  error = spawn(&c->pid, word, to[0], from[1], shared,
                environment ? environment : environ);
  if (!error) return DD_OK;
  c->pid = 0;
  return fail(DD_IO, "cannot start a worker: %s", strerror(error));
}

dd_status child_start_sharing(struct child *c, const char *word, int shared,
                              char *const *environment)
{
  int to[2] = {-1, -1}, from[2] = {-1, -1};
  dd_status status = start_with(c, word, shared, environment, to, from);

  if (status) {
    close_pipe(to);
    close_pipe(from);
    return status;
  }
  c->to = to[1];
  c->from = from[0];
  close(to[0]);
  close(from[1]);
  return DD_OK;
}

dd_status child_start(struct child *c, const char *word,
                      char *const *environment)
{
  return child_start_sharing(c, word, -1, environment);
}

/* ---- Stopping -------------------------------------------------------- */

bool child_has_ended(const struct child *c)
{
  siginfo_t info = {0};

  return c->pid > 0 &&
         !waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
         info.si_pid == c->pid;
}

/* Until it closes its end of the pipe, which it does last of all. */
static void wait_for_end(int fd, double seconds)
{
  double end = seconds_now() + seconds, left;
  struct pollfd p = {fd, POLLIN, 0};
  char unread[4096];

  while ((left = end - seconds_now()) > 0) {
    int n = poll(&p, 1, (int)(left * 1000) + 1);
    if (n < 0 && errno != EINTR) return;
    if (n > 0 && read(fd, unread, sizeof unread) <= 0) return;
  }
}

int child_stop(struct child *c, double seconds)
{
  int how = 0;

  if (c->pid <= 0) return 0;
  if (c->to >= 0) close(c->to); /* a healthy worker ends at this */
  wait_for_end(c->from, seconds);
  close(c->from);
  kill(-c->pid, SIGKILL); /* its children too; one that has ended is no more */
  while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR) continue;
  c->pid = 0;
  return how;
}
