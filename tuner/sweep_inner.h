/*
 * sweep_inner.h - what the files of a sweep share.
 *
 * sweep.c         turns, and a problem from top to bottom
 * sweep_list.c    adds problems          sweep_open.c    queues their code
 * sweep_device.c  asks the worker        sweep_prove.c   proves candidates
 * sweep_split.c   makes the split plan   sweep_race.c    races
 * sweep_record.c  stores
 *
 * `generation` is that of the worker which was told of the problem at hand
 * (client.h); 0: none was.
 */
#ifndef DIFFTUNE_SWEEP_INNER_H
#define DIFFTUNE_SWEEP_INNER_H

#include "sweep.h"

/* By the user, or at the end of the budget. */
bool sweep_is_stopped(const struct sweep *s);
uint32_t sweep_entry_count(const struct outcome *o); /* with the split plan */
const char *sweep_keep_text(struct sweep *s, const char *text);
/* Adds the time since `began`, when `status` was not known yet; returns it. */
dd_status sweep_spent(struct outcome *o, enum phase phase, double began,
                      dd_status status);
void sweep_tell(struct sweep *s, const struct outcome *o, const char *doing);

bool sweep_may_split(const struct outcome *o);

dd_status sweep_add_entry(struct sweep *s, struct entry *e, struct variant *v);
/* Makes the entries and queues their variants for compiling: of what comes next
 * while compile workers lack work; of `this`, and what comes before it, at
 * once. */
void sweep_open_ahead(struct sweep *s);
dd_status sweep_open_now(struct sweep *s, struct outcome *this);
dd_status sweep_wait_for_code(struct sweep *s, struct outcome *o);

/* Failures of the device that are a problem's, or a candidate's; and what the
 * end of the budget cut short, which is nobody's. */
bool sweep_is_problems(dd_status status);
bool sweep_is_candidates(dd_status status);
bool sweep_was_cut(const struct sweep *s, dd_status status);
/* Sets the problem where this worker has not been told of it. */
dd_status sweep_keep_problem(struct sweep *s, struct outcome *o,
                             int *generation);
dd_status sweep_load_steps(struct sweep *s, struct outcome *o,
                           const struct entry *e);
dd_status sweep_ask_check(struct sweep *s, struct outcome *o,
                          const struct entry *e, struct proof *proof);
/* Whether what was proven rests on what was made (worker_check.h).  Where it
 * does not, the worker is gone. */
dd_status sweep_ask_vouch(struct sweep *s, struct outcome *o);
double sweep_patience(const struct sweep *s, const struct outcome *o);
/* A call that takes the worker long enough for a transaction. */
dd_status sweep_call_at_length(struct sweep *s, const struct bytes *request,
                               double seconds, struct bytes *reply);

dd_status sweep_prove(struct sweep *s, struct outcome *o, struct entry *e,
                      int *generation);
/* What nobody has vouched for, and nobody will, is as if it had not been tried;
 * from here on each proof is vouched for by itself. */
void sweep_doubt(struct sweep *s, struct outcome *o);
dd_status sweep_prove_all(struct sweep *s, struct outcome *o, int *generation);
void sweep_audit(const struct outcome *o);
dd_status sweep_prove_split(struct sweep *s, struct outcome *o,
                            int *generation);

dd_status sweep_race(struct sweep *s, struct outcome *o, int *generation);
/* Without a race the first that was proven serves the split plan. */
void sweep_take_first(struct outcome *o);

/* Stores what is ready, or, with `wait`, all of it. */
void sweep_record_more(struct sweep *s, bool wait);
void sweep_record_beside(struct sweep *s);
dd_status sweep_record_trouble(const struct sweep *s);
dd_status sweep_record_rest(struct sweep *s, dd_status status);

#endif
