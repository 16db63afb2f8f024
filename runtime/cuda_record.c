/*
 * cuda_record.c - launches that are timed together, as a CUDA graph or one by
 * one.
 *
 * The launches are captured from a stream of our own, so a recording takes the
 * same path as an ordinary launch.  The stream waits for the legacy default
 * stream (it is no CU_STREAM_NON_BLOCKING one), where fills and copies run.  A
 * graph has 1 to some hundred nodes and runs for a tenth of a millisecond or
 * longer; a `struct recording` is the CUgraphExec itself.
 */
#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#include <sched.h>

static struct cuda_device *of(struct device *d)
{
  return (struct cuda_device *)d;
}

/* Makes the stream and the events that are not there yet. */
static dd_status tools_make(struct cuda_device *c)
{
  if (!c->stream) TRY(CUDA(cuStreamCreate, &c->stream, CU_STREAM_DEFAULT));
  if (!c->start) TRY(CUDA(cuEventCreate, &c->start, CU_EVENT_DEFAULT));
  if (!c->stop) TRY(CUDA(cuEventCreate, &c->stop, CU_EVENT_DEFAULT));
  return DD_OK;
}

void cuda_record_close(struct cuda_device *c)
{
  if (c->stop) cuda.cuEventDestroy_(c->stop);
  if (c->start) cuda.cuEventDestroy_(c->start);
  if (c->stream) cuda.cuStreamDestroy_(c->stream);
  c->stop = c->start = NULL;
  c->stream = NULL;
}

/* The capture is ended whatever happened, or the stream could not be used
 * again.  Relaxed mode: it forbids nothing, and we only launch. */
static dd_status capture(CUstream stream, const struct launch *l, size_t count,
                         CUgraph *out)
{
  dd_status status = DD_OK;
  CUresult ended;

  *out = NULL;
  TRY(CUDA(cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  for (size_t i = 0; i < count && !status; i++)
    status = cuda_enqueue(&l[i], stream);
  ended = cuda.cuStreamEndCapture_(stream, out);
  return status ? status : cuda_check("cuStreamEndCapture", ended);
}

static dd_status instantiate(CUgraph graph, CUstream stream, CUgraphExec *out)
{
  dd_status status;

  TRY(CUDA(cuGraphInstantiateWithFlags, out, graph, 0));
  status = CUDA(cuGraphUpload, *out, stream);
  if (!status) return DD_OK;
  cuda.cuGraphExecDestroy_(*out);
  *out = NULL;
  return status;
}

static dd_status record(struct cuda_device *c, const struct launch *l,
                        size_t count, CUgraphExec *out)
{
  CUgraph graph;
  dd_status status;

  TRY(tools_make(c));
  status = capture(c->stream, l, count, &graph);
  if (!status) status = instantiate(graph, c->stream, out);
  if (graph) cuda.cuGraphDestroy_(graph);
  return status;
}

dd_status cuda_record(struct device *d, const struct launch *l, size_t count,
                      struct recording **out)
{
  CUgraphExec exec = NULL;
  dd_status status;

  *out = NULL;
  TRY(cuda_enter(d));
  status = cuda_leave(record(of(d), l, count, &exec));
  if (!status) *out = (struct recording *)exec;
  return status;
}

/* No blocking wait: its wake-up costs more than short recordings take.  Nor is
 * the core given away at first, some 0.5 ms: where compilers wait for it they
 * keep it for milliseconds.  A hang never returns; the tuner runs this in a
 * worker that it can kill. */
enum { IMPATIENT = 1000 }; /* queries, of about 0.5 us each */

dd_status cuda_event_wait(CUevent event)
{
  CUresult result;

  for (int i = 0;
       (result = cuda.cuEventQuery_(event)) == CUDA_ERROR_NOT_READY; i++)
    if (i >= IMPATIENT) sched_yield();
  return cuda_check("cuEventQuery", result);
}

/* After the stop was recorded. */
static dd_status read_events(struct cuda_device *c, double *us)
{
  float ms = 0;

  TRY(cuda_event_wait(c->stop));
  TRY(CUDA(cuEventElapsedTime, &ms, c->start, c->stop));
  *us = ms * 1e3;
  return DD_OK;
}

static dd_status run(struct cuda_device *c, CUgraphExec exec, double *us)
{
  TRY(CUDA(cuEventRecord, c->start, c->stream));
  TRY(CUDA(cuGraphLaunch, exec, c->stream));
  TRY(CUDA(cuEventRecord, c->stop, c->stream));
  return read_events(c, us);
}

dd_status cuda_record_time(struct device *d, struct recording *r, double *us)
{
  *us = 0;
  TRY(cuda_enter(d));
  return cuda_leave(run(of(d), (CUgraphExec)r, us));
}

static dd_status burst(struct cuda_device *c, const struct launch *l,
                       size_t count, double *us)
{
  TRY(tools_make(c));
  TRY(CUDA(cuEventRecord, c->start, c->stream));
  for (size_t i = 0; i < count; i++) TRY(cuda_enqueue(&l[i], c->stream));
  TRY(CUDA(cuEventRecord, c->stop, c->stream));
  return read_events(c, us);
}

dd_status cuda_burst_time(struct device *d, const struct launch *l,
                          size_t count, double *us)
{
  *us = 0;
  TRY(cuda_enter(d));
  return cuda_leave(burst(of(d), l, count, us));
}

void cuda_record_free(struct device *d, struct recording *r)
{
  if (!r || cuda_enter(d)) return;
  cuda.cuGraphExecDestroy_((CUgraphExec)r);
  cuda_leave(DD_OK);
}
#else
typedef int cuda_record_is_empty;
#endif
