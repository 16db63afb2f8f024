/*
 * client.h - the sweep's end of a device worker.
 *
 * A worker that crashes, is killed, or does not answer within its deadline is
 * killed and replaced by client_call(); the call then fails with DD_DEVICE, and
 * `generation` has grown: what was loaded is gone.
 */
#ifndef DIFFTUNE_CLIENT_H
#define DIFFTUNE_CLIENT_H

#include <sys/types.h>

#include "message.h"

struct client {
  pid_t pid; /* 0: none */
  int to, from;
  char kind[8];
  int index;
  const struct bytes *specs;
  int generation; /* how many workers there have been */
  struct device_info info;
};

/* What is visible, asked of a worker that is gone afterwards. */
dd_status client_list(const char *kind, struct device_info *infos,
                      size_t capacity, size_t *count);

/* Starts a worker on a device.  `specs` must outlive the client. */
dd_status client_open(struct client *c, const char *kind, int index,
                      const struct bytes *specs);
void client_close(struct client *c);

/* Sends a request and reads the answer's body into *reply.  `seconds` is how
 * long it may take.  A failure of the device (DD_DEVICE) replaces the worker:
 * after a sticky error nothing else would work in it. */
dd_status client_call(struct client *c, const struct bytes *request,
                      double seconds, struct bytes *reply);

#endif
