/* client.c - the sweep's end of a device worker. */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

enum { OPEN_TRIES = 3 };
static const double grace = 2; /* seconds that a healthy worker has to end */

void client_dismiss(struct client *c)
{
  if (c->child.pid > 0) close(c->child.to);
  c->child.to = -1;
}

/* A worker that is still opening its device would not listen. */
void client_close(struct client *c)
{
  child_stop(&c->child, c->opening ? 0 : grace);
}

/* Who has listed the devices has the driver up, and opens the first of them. */
static struct child lister;

static dd_status start_worker(struct child *c)
{
  if (!lister.pid) return child_start(c, WORKER_DEVICE, NULL);
  *c = lister;
  lister.pid = 0;
  return DD_OK;
}

/* ---- Calls ------------------------------------------------------------------- */

/* 0: never. */
static double earlier(double end, double limit)
{
  return limit > 0 && limit < end ? limit : end;
}

/* Waits for the worker's bytes; does what is beside it meanwhile.  One look is
 * always taken: what is done beside may outlast the deadline. */
static dd_status wait_readable(struct client *c, double seconds)
{
  double end = earlier(seconds_now() + seconds, c->end);
  struct pollfd fds[1 + BESIDE_MAX];

  for (;;) {
    const struct client_beside *b = &c->beside;
    double left = end - seconds_now();
    size_t count = b->turn ? b->rows(b->user, fds + 1, BESIDE_MAX) : 0;
    int n;
    fds[0] = (struct pollfd){c->child.from, POLLIN, 0};
    n = poll(fds, 1 + count, left <= 0 ? 0
                             : left > 1e6 ? -1 : (int)(left * 1000) + 1);
    if (n > 0 && fds[0].revents) return DD_OK;
    if (n > 0 && left > 0) b->turn(b->user);
    else if (n >= 0)
      return fail(DD_DEVICE, "the device worker did not answer within %.0f s",
                  seconds);
    else if (errno != EINTR) return fail(DD_IO, "poll: %s", strerror(errno));
  }
}

static bool take_note(struct client *c, const struct bytes *message)
{
  struct wire_reader r;

  wire_reader_init(&r, message->data, message->size);
  if (wire_u32(&r, "a status") != ANSWER_NOTE) return false;
  c->noted = wire_u32(&r, "a note");
  return !wire_status(&r, true, DD_BUG);
}

/* A request and its answer; they say nothing of what failed with it. */
static dd_status send_request(struct client *c, const struct bytes *request)
{
  c->noted = NO_CANDIDATE;
  TRY(wire_send(c->child.to, request));
  if (c->beside.turn) c->beside.turn(c->beside.user);
  return DD_OK;
}

static dd_status hear_answer(struct client *c, double seconds,
                             struct bytes *reply)
{
  do {
    TRY(wait_readable(c, seconds));
    TRY(wire_receive(c->child.from, MESSAGE_MAX, reply));
    if (c->between > 0) seconds = c->between;
  } while (take_note(c, reply));
  return DD_OK;
}

static dd_status exchange(struct client *c, const struct bytes *request,
                          double seconds, struct bytes *reply)
{
  TRY(send_request(c, request));
  return hear_answer(c, seconds, reply);
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

static dd_status ask_open(struct client *c)
{
  struct bytes request = BYTES_INIT;
  dd_status status;

  wire_put_u32(&request, REQUEST_OPEN);
  wire_put_text(&request, c->kind);
  wire_put_u32(&request, (uint32_t)c->index);
  wire_put_bytes(&request, c->specs->data, c->specs->size);
  status = send_request(c, &request);
  bytes_release(&request);
  return status;
}

static dd_status hear_open(struct client *c)
{
  struct bytes reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status = hear_answer(c, 120, &reply);

  if (!status) status = open_reply(&reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    get_device_info(&r, &c->info);
    status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&reply);
  return status;
}

/* Ends the worker after a failure.  A pipe that broke (DD_IO) means that it
 * has ended already: how is what its caller wants to know. */
static dd_status stop_after(struct client *c, dd_status status)
{
  int how = child_stop(&c->child, status == DD_IO ? grace : 0);

  return status == DD_IO ? describe_end(how) : status;
}

static dd_status begin(struct client *c)
{
  dd_status status;

  TRY(start_worker(&c->child));
  status = ask_open(c);
  c->opening = !status;
  return status ? stop_after(c, status) : DD_OK;
}

dd_status client_wait(struct client *c)
{
  dd_status status;

  if (!c->opening) return DD_OK;
  status = hear_open(c);
  c->opening = false;
  return status ? stop_after(c, status) : DD_OK;
}

static dd_status start_again(struct client *c)
{
  for (int i = 0; i < OPEN_TRIES; ++i)
    if (!begin(c) && !client_wait(c)) return DD_OK;
  return fail_in(DD_NO_DEVICE, "the device cannot be opened again");
}

dd_status client_call(struct client *c, const struct bytes *request,
                      double seconds, struct bytes *reply)
{
  bool answered;
  dd_status status;

  c->noted = NO_CANDIDATE;
  if (!c->child.pid) TRY(start_again(c));
  status = exchange(c, request, seconds, reply);
  answered = !status;
  if (answered) status = open_reply(reply);
  if (!status || (answered && status != DD_DEVICE)) return status;
  c->generation++;
  c->lost = seconds_now();
  return stop_after(c, answered ? DD_DEVICE : status);
}

dd_status client_begin(struct client *c, const struct device_info *info,
                       const struct bytes *specs)
{
  memset(c, 0, sizeof *c);
  snprintf(c->kind, sizeof c->kind, "%s", info->kind);
  c->index = info->index;
  c->info = *info;
  c->specs = specs;
  c->generation = 1;
  signal(SIGPIPE, SIG_IGN); /* a worker may die while it is written to */
  return begin(c);
}

static dd_status read_infos(const struct bytes *reply,
                            struct device_info *infos, size_t capacity,
                            size_t *count)
{
  struct wire_reader r;

  wire_reader_init(&r, reply->data, reply->size);
  *count = wire_count(&r, 4096, "devices");
  for (size_t i = 0; i < *count; ++i) {
    struct device_info info;
    get_device_info(&r, &info);
    if (i < capacity) infos[i] = info;
  }
  if (*count > capacity) *count = capacity;
  return wire_status(&r, true, DD_BUG);
}

dd_status client_list(const char *kind, struct device_info *infos,
                      size_t capacity, size_t *count)
{
  struct client c = {0};
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status = start_worker(&c.child);

  *count = 0;
  wire_put_u32(&request, REQUEST_LIST);
  wire_put_text(&request, kind);
  if (!status) status = exchange(&c, &request, 60, &reply);
  if (!status) status = open_reply(&reply);
  if (!status) status = read_infos(&reply, infos, capacity, count);
  if (status) child_stop(&c.child, 0);
  lister = c.child;
  bytes_release(&request);
  bytes_release(&reply);
  return status;
}
