/* parallel.c - run a range on all cores. */
#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MAX_THREADS = 64 };

struct range {
  parallel_work *work;
  void *user;
  int64_t count, grain;
  _Atomic int64_t next;
};

static void *take_pieces(void *arg)
{
  struct range *r = arg;
  int64_t first;

  while ((first = atomic_fetch_add(&r->next, r->grain)) < r->count) {
    int64_t last = first + r->grain < r->count ? first + r->grain : r->count;
    r->work(r->user, first, last);
  }
  return NULL;
}

void parallel_for(int64_t count, int64_t grain, parallel_work *work, void *user)
{
  struct range r = {work, user, count, grain < 1 ? 1 : grain, 0};
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t pieces = (count + r.grain - 1) / r.grain;
  pthread_t thread[MAX_THREADS];
  int started = 0, wanted = cores > MAX_THREADS ? MAX_THREADS : (int)cores;

  if (pieces < wanted) wanted = (int)pieces;
  while (started < wanted - 1 &&
         pthread_create(&thread[started], NULL, take_pieces, &r) == 0)
    started++;
  take_pieces(&r);
  while (started > 0) pthread_join(thread[--started], NULL);
}
