/*
 * statistics.h - robust numbers of few samples.  Knows no device and no race.
 *
 * Every interval is one of order statistics: the kth smallest and kth largest
 * sample, k from the binomial distribution, so that they hold the true median
 * with at least the stated probability whatever the samples' distribution is.
 */
#ifndef DIFFTUNE_STATISTICS_H
#define DIFFTUNE_STATISTICS_H

enum { SAMPLES_MAX = 512 }; /* of one call */

/* The largest k for which the kth smallest and the kth largest of n samples
 * hold the median with this probability; 1 where n is too small for it. */
int median_rank(int n, double confidence);

/* Samples further than eight deviations (by the median absolute deviation)
 * and 2 % from the median are set aside and counted, of eight samples or more;
 * at most a quarter of them: more are no accident. */
struct summary {
  double median, q1, q3;
  double low, high; /* 95 % interval of the median */
  int dropped;
};
void summarise(const double *samples, int count, struct summary *out);

/* Two candidates in the same rounds: the logarithms of a's times over b's, so
 * that 0.01 says that a takes 1 % longer. */
struct comparison {
  double median, low, high; /* low, high: 99 % interval */
  double deviation;         /* of one difference, robust */
};
void compare(const double *a, const double *b, int count,
             struct comparison *out);

double median_of(double *samples, int count); /* sorts them; 0 of none */

#endif
