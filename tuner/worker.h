/*
 * worker.h - the process that holds a device.
 */
#ifndef DIFFTUNE_WORKER_H
#define DIFFTUNE_WORKER_H

/* Answers requests (message.h) until the pipe closes; the exit code. */
int worker_device_main(int in_fd, int out_fd);

#endif
