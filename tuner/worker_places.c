/* worker_places.c - the code of a race at more addresses than one. */
#include "worker_places.h"

struct reload {
  struct reload *next;
  const struct code *of;
  uint32_t number;
  struct module *module;
};

static struct reload *find_load(const struct places *p, const struct code *of,
                              uint32_t number)
{
  struct reload *c = p->loads;

  while (c && (c->of != of || c->number != number)) c = c->next;
  return c;
}

static dd_status load_again(struct places *p, const struct code *of,
                           uint32_t number, struct reload **out)
{
  struct device *d = p->w->device;
  struct reload *c = mem_resize(NULL, NULL, 0, sizeof *c);
  dd_status status;

  if (!c) return fail(DD_NO_MEMORY, "out of memory");
  *c = (struct reload){.next = p->loads, .of = of, .number = number};
  status = d->api->load(d, of->bytes.data, of->bytes.size, &c->module);
  if (status) {
    mem_resize(NULL, c, sizeof *c, 0);
    return status;
  }
  *out = p->loads = c;
  return DD_OK;
}

/* To ask for the occupancy is also to be allowed the shared memory. */
static dd_status find_kernel(struct places *p, const struct held *l,
                             uint32_t number, const struct geometry *g,
                             struct kernel *out)
{
  struct device *d = p->w->device;
  struct reload *c = find_load(p, l->origin, number);
  char entry[VARIANT_ENTRY];
  int occupancy;

  *out = l->loaded.kernel;
  if (number == 0) return DD_OK;
  if (!c) TRY(load_again(p, l->origin, number, &c));
  variant_entry(&l->loaded.variant, entry);
  TRY(d->api->kernel(d, c->module, entry, out));
  return d->api->occupancy(d, out, g->block, g->shared_bytes, &occupancy);
}

dd_status places_add(struct places *p, const struct candidate *c,
                     uint32_t number, struct run *run)
{
  if (run->places == RUN_PLACES) return fail(DD_BUG, "too many places");
  for (uint32_t i = 0; i < c->step_count; ++i) {
    const struct held *l;
    TRY(find_variant(p->w, &c->steps[i], &l));
    TRY(find_kernel(p, l, number, &run->steps[i].geometry,
                    &run->place[run->places][i]));
  }
  run->places++;
  return DD_OK;
}

void places_release(struct places *p)
{
  while (p->loads) {
    struct reload *c = p->loads;
    p->loads = c->next;
    p->w->device->api->unload(p->w->device, c->module);
    mem_resize(NULL, c, sizeof *c, 0);
  }
}
