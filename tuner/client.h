/*
 * client.h - the sweep's end of a device worker.
 *
 * A worker that crashes, is killed, or does not answer within its deadline is
 * ended by client_call(); the call then fails with DD_DEVICE, and `generation`
 * has grown: what was loaded is gone.  The next call starts another one.
 */
#ifndef DIFFTUNE_CLIENT_H
#define DIFFTUNE_CLIENT_H

#include <poll.h>

#include "child.h"
#include "message.h"

/* What is done while a call waits for its answer: `turn` once the request is
 * sent, and whenever one of the rows that `rows` fills in is ready. */
enum { BESIDE_MAX = 2048 };
struct client_beside {
  size_t (*rows)(void *user, struct pollfd *fds, size_t capacity);
  void (*turn)(void *user);
  void *user;
};

struct client {
  struct child child;
  char kind[8];
  int index;
  const struct bytes *specs;
  int generation; /* how many workers there have been */
  bool opening;   /* client_begin() has no answer yet */
  uint32_t noted; /* the last call's last note (message.h) */
  double lost;    /* of seconds_now(): when the last was given up; 0: never */
  double end;     /* of seconds_now(): no call goes on beyond; 0: none */
  double between; /* it may be silent so long after a note; 0: as a call says */
  struct device_info info;
  struct client_beside beside; /* turn NULL: nothing */
};

/* What is visible, asked of a worker; it stays for the first client_begin(),
 * which saves bringing up the driver twice. */
dd_status client_list(const char *kind, struct device_info *infos,
                      size_t capacity, size_t *count);

/* Starts a worker on a device that client_list() named; it is open after
 * client_wait(), which comes before any call.  Until then `info` is what was
 * listed, which may have more SMs (MPS).  `specs` must outlive the client. */
dd_status client_begin(struct client *c, const struct device_info *info,
                       const struct bytes *specs);
dd_status client_wait(struct client *c); /* once more: nothing */
/* There will be no more calls: the worker begins to end.  What it holds may take
 * it a while, in which its caller has other things to do. */
void client_dismiss(struct client *c);
void client_close(struct client *c); /* a worker that hangs is killed */

/* Sends a request and reads the answer's body into *reply.  `seconds` is how
 * long the worker may be silent: an answer or a note must come.  A failure of
 * the device (DD_DEVICE) ends the worker: after a sticky error nothing else
 * would work in it.  DD_NO_DEVICE: no new worker could open the device. */
dd_status client_call(struct client *c, const struct bytes *request,
                      double seconds, struct bytes *reply);

#endif
