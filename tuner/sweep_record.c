/* sweep_record.c - stores what is swept, beside what comes next. */
#include "sweep_inner.h"

#include <stdio.h>
#include <string.h>

/* Who hands out the turns may forget what is stored, and only that. */
static dd_status tell_stored(struct sweep *s, uint32_t outcome)
{
  return s->turns.done ? s->turns.done(s->turns.user, outcome) : DD_OK;
}

/* A problem's rows are one transaction, with the code of its winner, which is
 * compiled alone meanwhile: the next problem does not wait for it. */
static dd_status record_finished(struct sweep *s, bool wait)
{
  for (; s->stored < s->turn_count; ++s->stored) {
    uint32_t outcome = s->order[s->stored];
    struct outcome *o = &s->outcomes[outcome];
    if (!o->unstored && s->stored >= s->current) return DD_OK;
    if (o->unstored) {
      if (!wait && !record_is_ready(s->recorder, o)) return DD_OK;
      o->unstored = false;
      TRY(record_outcome(s->recorder, o));
    } else if (!o->restored) {
      continue;
    }
    TRY(tell_stored(s, outcome));
  }
  return DD_OK;
}

/* After one that failed there is none: parts would remember rows that were
 * taken back. */
void sweep_record_more(struct sweep *s, bool wait)
{
  const char *why;

  if (!s->recorder || s->record_status) return;
  s->record_status = record_finished(s, wait);
  if (!s->record_status) return;
  why = arena_text(&s->arena, dd_last_error(), strlen(dd_last_error()));
  s->record_error = why ? why : "out of memory";
}

/* A transaction waits for the disk several times, as long as for a small race:
 * it has its turn while the device is at work. */
void sweep_record_beside(struct sweep *s)
{
  if (s->may_record) sweep_record_more(s, false);
}

dd_status sweep_record_trouble(const struct sweep *s)
{
  return s->record_status ? fail(s->record_status, "%s", s->record_error)
                          : DD_OK;
}

/* What has not been stored beside, which is waited for; the seconds are the
 * last problem's.  Also after a failure, whose sentence is the one to tell. */
dd_status sweep_record_rest(struct sweep *s, dd_status status)
{
  char sentence[1024];
  double began = seconds_now();

  snprintf(sentence, sizeof sentence, "%s", status ? dd_last_error() : "");
  sweep_record_more(s, true);
  if (s->count)
    sweep_spent(&s->outcomes[s->count - 1], PHASE_RECORD, began, DD_OK);
  return status ? fail(status, "%s", sentence) : sweep_record_trouble(s);
}
