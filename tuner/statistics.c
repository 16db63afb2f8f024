/* statistics.c - robust numbers of few samples. */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static void sort(double *samples, int count)
{
  qsort(samples, (size_t)count, sizeof *samples, by_size);
}

/* Linear between the neighbours, as NumPy does. */
static double quantile(const double *sorted, int count, double q)
{
  double at = q * (count - 1);
  int i = (int)at;

  if (i + 1 >= count) return sorted[count - 1];
  return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

double median_of(double *samples, int count)
{
  if (count <= 0) return 0;
  sort(samples, count);
  return quantile(samples, count, 0.5);
}

/* The interval misses where fewer than k samples lie on one side of the
 * median: twice the probability of fewer than k heads in n throws. */
int median_rank(int n, double confidence)
{
  double term = exp2(-n), tail = term; /* of exactly and at most k - 1 heads */
  int k = 0;

  while (k < n / 2 && 1 - 2 * tail >= confidence) {
    k++;
    term *= (double)(n - k + 1) / k;
    tail += term;
  }
  return k ? k : 1;
}

/* Of a normal distribution this is the standard deviation. */
static double deviation_of(const double *samples, int count, double median)
{
  double away[SAMPLES_MAX];

  for (int i = 0; i < count; ++i) away[i] = fabs(samples[i] - median);
  return 1.4826 * median_of(away, count);
}

/* Of sorted samples; what is left is still sorted. */
static int set_aside(double *sorted, int count)
{
  double median = quantile(sorted, count, 0.5);
  double limit = 8 * deviation_of(sorted, count, median);
  int from = 0, to = count;

  if (limit < 0.02 * fabs(median)) limit = 0.02 * fabs(median);
  while (from < to && sorted[from] < median - limit) from++;
  while (to > from && sorted[to - 1] > median + limit) to--;
  if (count < 8 || (count - (to - from)) * 4 > count) return count;
  memmove(sorted, sorted + from, sizeof *sorted * (size_t)(to - from));
  return to - from;
}

void summarise(const double *samples, int count, struct summary *out)
{
  double sorted[SAMPLES_MAX];
  int left, k;

  memset(out, 0, sizeof *out);
  if (count <= 0) return;
  if (count > SAMPLES_MAX) count = SAMPLES_MAX;
  memcpy(sorted, samples, sizeof *sorted * (size_t)count);
  sort(sorted, count);
  left = set_aside(sorted, count);
  k = median_rank(left, 0.95);
  out->median = quantile(sorted, left, 0.5);
  out->q1 = quantile(sorted, left, 0.25);
  out->q3 = quantile(sorted, left, 0.75);
  out->low = sorted[k - 1];
  out->high = sorted[left - k];
  out->dropped = count - left;
}

void compare(const double *a, const double *b, int count,
             struct comparison *out)
{
  double difference[SAMPLES_MAX];
  int k;

  memset(out, 0, sizeof *out);
  if (count <= 0) return;
  if (count > SAMPLES_MAX) count = SAMPLES_MAX;
  for (int i = 0; i < count; ++i) difference[i] = log(a[i] / b[i]);
  out->median = median_of(difference, count);
  out->deviation = deviation_of(difference, count, out->median);
  k = median_rank(count, 0.99);
  out->low = difference[k - 1];
  out->high = difference[count - k];
}
