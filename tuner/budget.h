/*
 * budget.h - how long a sweep may take, and how long it will.
 *
 * Candidates cost about the same within a problem, and up to a hundred times as
 * much in one problem as in another.  With a budget every problem gets a share
 * of what is left, by its weight; a share that is too short for all candidates
 * is spent on random ones, the default variant first.  What does not fit is not
 * measured, and what was measured is stored: the table is valid at any moment.
 */
#ifndef DIFFTUNE_BUDGET_H
#define DIFFTUNE_BUDGET_H

#include "base.h"

struct budget {
  double end;      /* when the program must be done; 0: no budget */
  double stop;     /* when measuring stops, so that the rest can be stored */
  double weight;   /* of the problems that are not done */
  double guess;    /* seconds per candidate, before any was measured */
  double count, mean, square; /* of the problems done: seconds per candidate */
};

/* "90", "90s", "5m", "1h30m"; DD_BAD_ARGUMENT. */
dd_status budget_parse(const char *text, double *seconds);

/* `began` is when the program began; 0 seconds: no budget. */
void budget_init(struct budget *b, double began, double seconds, double guess);
bool budget_is_over(const struct budget *b);

/* Problems are announced with their weights; then each begins, which gives the
 * time by which it should be done (0: no budget), and ends. */
void budget_add(struct budget *b, double weight);
double budget_begin(struct budget *b, double weight);
void budget_end(struct budget *b, double seconds, double candidates);

/* How many candidates fit into the share of a problem that begins now. */
uint32_t budget_fits(const struct budget *b, double weight, uint32_t count);

/* Seconds for so many candidates, and the range in which they will lie. */
double budget_predict(const struct budget *b, double candidates, double *low,
                      double *high);

#endif
