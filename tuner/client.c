/* client.c - the sweep's end of a device worker. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

extern char **environ;

/* ---- Starting and stopping ------------------------------------------------- */

static dd_status make_pipes(int to[2], int from[2])
{
  if (pipe2(to, O_CLOEXEC))
    return fail(DD_IO, "cannot make a pipe: %s", strerror(errno));
  if (pipe2(from, O_CLOEXEC)) {
    close(to[0]);
    close(to[1]);
    return fail(DD_IO, "cannot make a pipe: %s", strerror(errno));
  }
  return DD_OK;
}

/* Pipe ends above the two numbers that they become in the child, so that
 * neither dup2 overwrites the other's source. */
static int lift(int fd)
{
  int high = fcntl(fd, F_DUPFD_CLOEXEC, 16);

  if (high >= 0) close(fd);
  return high >= 0 ? high : fd;
}

static dd_status start(struct client *c)
{
  char program[] = "difftune", word[] = WORKER_DEVICE;
  char *argv[] = {program, word, NULL};
  posix_spawn_file_actions_t actions;
  int to[2], from[2], error;

  TRY(make_pipes(to, from));
  to[0] = lift(to[0]);
  from[1] = lift(from[1]);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], WORKER_IN);
  posix_spawn_file_actions_adddup2(&actions, from[1], WORKER_OUT);
  error = posix_spawn(&c->pid, "/proc/self/exe", &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  c->to = to[1];
  c->from = from[0];
  c->generation++;
  if (!error) return DD_OK;
  close(c->to);
  close(c->from);
  c->pid = 0;
  return fail(DD_IO, "cannot start a device worker: %s", strerror(error));
}

/* Returns what wait() says of its end. */
static int stop(struct client *c, bool kill_it)
{
  int how = 0;

  if (c->pid <= 0) return 0;
  close(c->to); /* a healthy worker ends at this */
  close(c->from);
  if (kill_it) kill(c->pid, SIGKILL);
  while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR) continue;
  c->pid = 0;
  return how;
}

void client_close(struct client *c)
{
  stop(c, false);
}

/* ---- Calls ------------------------------------------------------------------- */

static dd_status wait_readable(int fd, double seconds)
{
  double end = seconds_now() + seconds;
  struct pollfd p = {fd, POLLIN, 0};

  for (;;) {
    double left = end - seconds_now();
    int n = left <= 0 ? 0 : poll(&p, 1, left > 1e6 ? -1 : (int)(left * 1000) + 1);
    if (n > 0) return DD_OK;
    if (n == 0)
      return fail(DD_DEVICE, "the device worker did not answer within %.0f s",
                  seconds);
    if (errno != EINTR) return fail(DD_IO, "poll: %s", strerror(errno));
  }
}

/* One request and its answer; says nothing of what failed with it. */
static dd_status exchange(struct client *c, const struct bytes *request,
                          double seconds, struct bytes *reply)
{
  TRY(wire_send(c->to, request));
  TRY(wait_readable(c->from, seconds));
  return wire_receive(c->from, MESSAGE_MAX, reply);
}

/* Takes the status and the sentence off the front of an answer. */
static dd_status open_reply(struct bytes *reply)
{
  struct wire_reader r;
  struct arena a;
  dd_status status, read;
  const char *sentence;
  size_t used;

  arena_init(&a, NULL);
  wire_reader_init(&r, reply->data, reply->size);
  status = (dd_status)wire_u32(&r, "a status");
  sentence = wire_text(&r, &a, "a sentence");
  read = wire_status(&r, false, DD_BUG);
  used = (size_t)(r.at - (const uint8_t *)reply->data);
  if (!read && status) fail(status, "%s", sentence);
  if (!read && !status) {
    memmove(reply->data, reply->data + used, reply->size - used);
    reply->size -= used;
  }
  arena_release(&a);
  return read ? read : status;
}

static dd_status describe_end(int how)
{
  if (WIFSIGNALED(how))
    return fail(DD_DEVICE, "the device worker was ended by signal %d (%s)",
                WTERMSIG(how), strsignal(WTERMSIG(how)));
  return fail(DD_DEVICE, "the device worker ended with exit code %d",
              WEXITSTATUS(how));
}

static dd_status open_device(struct client *c)
{
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  wire_put_u32(&request, REQUEST_OPEN);
  wire_put_text(&request, c->kind);
  wire_put_u32(&request, (uint32_t)c->index);
  wire_put_bytes(&request, c->specs->data, c->specs->size);
  status = exchange(c, &request, 120, &reply);
  if (!status) status = open_reply(&reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    get_device_info(&r, &c->info);
    status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&request);
  bytes_release(&reply);
  return status;
}

/* After a failure: a fresh worker, and the failure's sentence kept. */
static dd_status replace(struct client *c, dd_status status, bool died)
{
  char sentence[512];
  int how = stop(c, !died);

  if (died) status = describe_end(how);
  snprintf(sentence, sizeof sentence, "%s", dd_last_error());
  TRY(start(c));
  TRY(open_device(c));
  return fail(status, "%s", sentence);
}

dd_status client_call(struct client *c, const struct bytes *request,
                      double seconds, struct bytes *reply)
{
  dd_status status;

  if (c->pid <= 0) {
    TRY(start(c));
    TRY(open_device(c));
  }
  status = exchange(c, request, seconds, reply);
  if (status) return replace(c, status, status == DD_IO);
  status = open_reply(reply);
  return status == DD_DEVICE ? replace(c, status, false) : status;
}

dd_status client_open(struct client *c, const char *kind, int index,
                      const struct bytes *specs)
{
  dd_status status;

  memset(c, 0, sizeof *c);
  snprintf(c->kind, sizeof c->kind, "%s", kind);
  c->index = index;
  c->specs = specs;
  signal(SIGPIPE, SIG_IGN); /* a worker may die while it is written to */
  TRY(start(c));
  status = open_device(c);
  if (status == DD_IO) status = describe_end(stop(c, false));
  else if (status) stop(c, true);
  return status;
}

dd_status client_list(const char *kind, struct device_info *infos,
                      size_t capacity, size_t *count)
{
  struct client c = {0};
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status = start(&c);

  *count = 0;
  wire_put_u32(&request, REQUEST_LIST);
  wire_put_text(&request, kind);
  if (!status) status = exchange(&c, &request, 60, &reply);
  if (!status) status = open_reply(&reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    *count = wire_count(&r, 4096, "devices");
    for (size_t i = 0; i < *count; ++i) {
      struct device_info info;
      get_device_info(&r, &info);
      if (i < capacity) infos[i] = info;
    }
    if (*count > capacity) *count = capacity;
    status = wire_status(&r, true, DD_BUG);
  }
  stop(&c, status != DD_OK);
  bytes_release(&request);
  bytes_release(&reply);
  return status;
}
