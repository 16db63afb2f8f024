/*
 * cuda_stage.c - large copies to the device, by way of memory that it can read.
 *
 * The driver copies from ordinary memory with one thread, at a tenth of what
 * the bus does.  Here each calling thread fills a slot of page-locked memory,
 * and the device reads that while others are filled.  The copies run on a
 * stream that the legacy default stream waits for (and the other way round), so
 * they are in order with all else that a caller does.
 */
#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#include <pthread.h>
#include <string.h>

enum { SLOTS = 16, SLOT_BYTES = 4 << 20 };

struct slot {
  CUevent read; /* the device has read it; NULL: it never had to */
  bool taken;   /* by a thread that fills it */
};

struct cuda_stage {
  CUstream stream;
  char *memory; /* of all slots; NULL: there is none to be had */
  struct slot slots[SLOTS];
  int next; /* in turn, so that the one that is taken was read long ago */
  pthread_mutex_t lock;
  pthread_cond_t given_back;
};

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* ---- Making -------------------------------------------------------------- */

static dd_status make_stage(struct cuda_stage *s)
{
  void *memory = NULL;

  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->given_back, NULL);
  TRY(CUDA(cuStreamCreate, &s->stream, CU_STREAM_DEFAULT));
  for (int i = 0; i < SLOTS; i++)
    TRY(CUDA(cuEventCreate, &s->slots[i].read, CU_EVENT_DEFAULT));
  TRY(CUDA(cuMemHostAlloc, &memory, (size_t)SLOTS * SLOT_BYTES, 0));
  s->memory = memory;
  return DD_OK;
}

/* A machine that cannot lock 64 MB is not asked again. */
static dd_status find_stage(struct cuda_device *c, struct cuda_stage **out)
{
  dd_status status = DD_OK;

  pthread_mutex_lock(&making);
  if (!c->stage) {
    c->stage = mem_resize(NULL, NULL, 0, sizeof *c->stage);
    if (c->stage) {
      memset(c->stage, 0, sizeof *c->stage);
      if (make_stage(c->stage)) c->stage->memory = NULL;
    } else {
      status = fail(DD_NO_MEMORY, "out of memory");
    }
  }
  *out = c->stage;
  pthread_mutex_unlock(&making);
  return status;
}

void cuda_stage_close(struct cuda_device *c)
{
  struct cuda_stage *s = c->stage;

  if (!s) return;
  if (s->memory) cuda.cuMemFreeHost_(s->memory);
  for (int i = 0; i < SLOTS; i++)
    if (s->slots[i].read) cuda.cuEventDestroy_(s->slots[i].read);
  if (s->stream) cuda.cuStreamDestroy_(s->stream);
  pthread_cond_destroy(&s->given_back);
  pthread_mutex_destroy(&s->lock);
  mem_resize(NULL, s, sizeof *s, 0);
  c->stage = NULL;
}

/* ---- Copying ------------------------------------------------------------- */

static int take_slot(struct cuda_stage *s)
{
  int i;

  pthread_mutex_lock(&s->lock);
  while (s->slots[s->next].taken) pthread_cond_wait(&s->given_back, &s->lock);
  i = s->next;
  s->slots[i].taken = true;
  s->next = (i + 1) % SLOTS;
  pthread_mutex_unlock(&s->lock);
  return i;
}

static void give_back(struct cuda_stage *s, int i)
{
  pthread_mutex_lock(&s->lock);
  s->slots[i].taken = false;
  pthread_cond_broadcast(&s->given_back);
  pthread_mutex_unlock(&s->lock);
}

/* An event that was never recorded counts as over. */
static dd_status copy_by(struct cuda_stage *s, int i, CUdeviceptr to,
                         const char *from, size_t n)
{
  char *slot = s->memory + (size_t)i * SLOT_BYTES;

  TRY(cuda_event_wait(s->slots[i].read));
  memcpy(slot, from, n);
  TRY(CUDA(cuMemcpyHtoDAsync, to, slot, n, s->stream));
  return CUDA(cuEventRecord, s->slots[i].read, s->stream);
}

dd_status cuda_stage_copy(struct cuda_device *c, CUdeviceptr to,
                          const char *from, size_t n, bool *staged)
{
  struct cuda_stage *s;

  *staged = false;
  TRY(find_stage(c, &s));
  if (!s->memory) return DD_OK;
  for (size_t at = 0; at < n; at += SLOT_BYTES) {
    size_t size = n - at < SLOT_BYTES ? n - at : SLOT_BYTES;
    int i = take_slot(s);
    dd_status status = copy_by(s, i, to + at, from + at, size);
    give_back(s, i);
    TRY(status);
  }
  *staged = true;
  return DD_OK;
}
#else
typedef int cuda_stage_is_empty;
#endif
