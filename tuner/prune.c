/* prune.c - candidates that need not be timed, by what the compiler says. */
#include "prune.h"

#include <string.h>

enum {
  SM_REGISTERS = 65536,
  SM_SHARED = 227 << 10, /* the most of any arch that one block can have */
  SPILLED = 128,         /* bytes per thread: 32 registers go to memory */
  AUDITED = 50,          /* one in so many */
};

static int64_t warps(const struct geometry *g)
{
  return (int64_t)g->grid[0] * g->grid[1] * g->grid[2] * ((g->block + 31) / 32);
}

/* Registers are handed out to warps, eight per thread at a time. */
static bool fits_no_block(const struct need *n)
{
  int64_t each = (n->registers + 7) / 8 * 8;

  return each * ((n->geometry.block + 31) / 32) * 32 > SM_REGISTERS;
}

const char *prune_rule(const struct need *n, const struct need *usual,
                       const struct device_info *info)
{
  int64_t shared = n->shared_bytes + (int64_t)n->geometry.shared_bytes;

  if (fits_no_block(n)) return "registers";
  if (shared > SM_SHARED) return "shared memory";
  if (n->local_bytes >= usual->local_bytes + SPILLED) return "spills";
  if (warps(&n->geometry) < info->sms &&
      warps(&usual->geometry) >= 8 * (int64_t)info->sms)
    return "waves"; /* a warp for some SMs where others have eight for each */
  return NULL;
}

bool prune_is_audited(const struct hash *variant, uint64_t seed)
{
  uint64_t word[2];

  memcpy(&word[0], variant, sizeof word[0]);
  word[1] = seed;
  return quick_hash(word, sizeof word) % AUDITED == 0;
}
