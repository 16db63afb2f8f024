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

static dd_status stream_make(struct cuda_device *c)
{
  if (c->stream) return DD_OK;
  return CUDA(cuStreamCreate, &c->stream, CU_STREAM_DEFAULT);
}

static dd_status event_make(CUevent *event)
{
  return *event ? DD_OK : CUDA(cuEventCreate, event, CU_EVENT_DEFAULT);
}

static dd_status events_make(struct cuda_device *c, uint32_t slot)
{
  TRY(event_make(&c->run[slot].start));
  return event_make(&c->run[slot].stop);
}

static void event_destroy(CUevent *event)
{
  if (*event) cuda.cuEventDestroy_(*event);
  *event = NULL;
}

void cuda_record_close(struct cuda_device *c)
{
  for (int i = 0; i < RUN_SLOTS; i++) {
    event_destroy(&c->run[i].stop);
    event_destroy(&c->run[i].start);
  }
  if (c->stream) cuda.cuStreamDestroy_(c->stream);
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

  TRY(stream_make(c));
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
static dd_status read_events(struct cuda_device *c, uint32_t slot, double *us)
{
  float ms = 0;

  TRY(cuda_event_wait(c->run[slot].stop));
  TRY(CUDA(cuEventElapsedTime, &ms, c->run[slot].start, c->run[slot].stop));
  *us = ms * 1e3;
  return DD_OK;
}

static dd_status start(struct cuda_device *c, CUgraphExec exec, uint32_t slot)
{
  TRY(events_make(c, slot));
  TRY(CUDA(cuEventRecord, c->run[slot].start, c->stream));
  TRY(CUDA(cuGraphLaunch, exec, c->stream));
  return CUDA(cuEventRecord, c->run[slot].stop, c->stream);
}

dd_status cuda_record_start(struct device *d, struct recording *r,
                            uint32_t slot)
{
  TRY(cuda_enter(d));
  return cuda_leave(start(of(d), (CUgraphExec)r, slot));
}

dd_status cuda_record_wait(struct device *d, uint32_t slot, double *us)
{
  *us = 0;
  TRY(cuda_enter(d));
  return cuda_leave(read_events(of(d), slot, us));
}

static dd_status burst(struct cuda_device *c, const struct launch *l,
                       size_t count, double *us)
{
  TRY(stream_make(c));
  TRY(events_make(c, 0));
  TRY(CUDA(cuEventRecord, c->run[0].start, c->stream));
  for (size_t i = 0; i < count; i++) TRY(cuda_enqueue(&l[i], c->stream));
  TRY(CUDA(cuEventRecord, c->run[0].stop, c->stream));
  return read_events(c, 0, us);
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
