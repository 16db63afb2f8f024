/* twin.c - candidates that a device would run in the very same way. */
#include "twin.h"

#include <string.h>

/* Blocks per SM.  The real number is the device's to say, and the same for the
 * same code and block; a launch that agrees for each of them agrees for it. */
enum { MOST_BLOCKS = 32 };

static bool same_launch(const struct variant *a, const struct variant *b,
                        const struct problem *p, const struct device_info *info)
{
  for (int blocks = 1; blocks <= MOST_BLOCKS; ++blocks) {
    struct geometry x = {0}, y = {0};
    if (variant_geometry(a, p, info->arch, info->sms, blocks, &x) ||
        variant_geometry(b, p, info->arch, info->sms, blocks, &y) ||
        memcmp(&x, &y, sizeof x))
      return false;
  }
  return true;
}

static bool was_tried(const struct entry *e)
{
  return e->done && !e->twin && (!e->rule || e->audited);
}

struct entry *twin_find(const struct build *b, const struct device_info *info,
                        const struct outcome *o, const struct entry *e)
{
  const struct part *p = b->parts[e->part[0]];

  for (uint32_t i = 0; i < o->count && p->has_machine; ++i) {
    struct entry *other = &o->entries[i];
    const struct part *q = b->parts[other->part[0]];
    if (other == e || other->candidate.split || !was_tried(other) ||
        !q->has_machine)
      continue;
    if (hash_equal(&p->machine, &q->machine) &&
        same_launch(&p->variant, &q->variant, &o->problem, info))
      return other;
  }
  return NULL;
}

void twin_settle(struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i) {
    struct entry *e = &o->entries[i], *old = e->twin;
    if (!old || old < e) continue;
    for (uint32_t k = 0; k < o->count; ++k)
      if (o->entries[k].twin == old) o->entries[k].twin = e;
    old->twin = e;
    e->twin = NULL;
  }
}
