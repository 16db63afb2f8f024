/* claims.c - which units the boards of a sweep have begun to compile. */
#include "claims.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t table_size = CLAIMS_MAX * sizeof(uint64_t);

int claims_make(void)
{
  int fd = memfd_create("difftune-claims", MFD_CLOEXEC);

  if (fd < 0 || !ftruncate(fd, (off_t)table_size)) return fd;
  close(fd);
  return -1;
}

void claims_open(struct claims *c, int fd)
{
  void *table;

  c->slot = NULL;
  if (fd < 0) return;
  table = mmap(NULL, table_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (table != MAP_FAILED) c->slot = table;
  close(fd);
}

void claims_close(struct claims *c)
{
  if (c->slot) munmap((void *)c->slot, table_size);
  c->slot = NULL;
}

/* The key's own bits are random; 0 is what a free slot has. */
static uint64_t value_of(const struct hash *key)
{
  uint64_t value;

  memcpy(&value, key, sizeof value);
  return value ? value : 1;
}

bool claims_take(const struct claims *c, const struct hash *key)
{
  uint64_t value = value_of(key);

  if (!c->slot) return true;
  for (uint64_t i = 0; i < CLAIMS_MAX; ++i) {
    _Atomic uint64_t *slot = &c->slot[(value + i) % CLAIMS_MAX];
    uint64_t seen = 0;
    if (atomic_compare_exchange_strong(slot, &seen, value)) return true;
    if (seen == value) return false;
  }
  return true;
}
