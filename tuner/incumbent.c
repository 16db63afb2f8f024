/* incumbent.c - who has won before, by the database that a sweep goes into. */
#include "incumbent.h"

#include <string.h>

static dd_status take_incumbent(struct db *db, const struct db_row *row,
                                struct outcome *o)
{
  o->incumbent = (struct candidate){.split = row->split,
                                    .step_count = row->step_count};
  for (uint32_t i = 0; i < row->step_count; ++i)
    TRY(db_variant_hash(db, row->steps[i], &o->incumbent.steps[i]));
  return DD_OK;
}

static dd_status visit(void *user, const struct db_row *row)
{
  struct sweep *s = user;

  if (!db_row_is_of(row, &s->client->info, s->options.policy)) return DD_OK;
  for (uint32_t i = 0; i < s->count; ++i)
    if (!strcmp(s->outcomes[i].spelling, row->problem))
      return take_incumbent(s->recorder->db, row, &s->outcomes[i]);
  return DD_OK;
}

dd_status incumbent_load(struct sweep *s)
{
  struct db_filter filter = {.device_kind = s->client->info.kind,
                             .device = s->client->info.name,
                             .best_only = true};

  if (!s->options.incumbent) return DD_OK;
  return db_each(s->recorder->db, &filter, visit, s);
}
