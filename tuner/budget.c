/* budget.c - how long a sweep may take, and how long it will. */
#include "budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* For storing and printing: a twentieth, at least this and at most that. */
static const double least_rest = 0.3, most_rest = 3;

static double seconds_per(char unit)
{
  return unit == 'h' ? 3600 : unit == 'm' ? 60 : 1;
}

dd_status budget_parse(const char *text, double *seconds)
{
  const char *at = text;

  *seconds = 0;
  while (*at >= '0' && *at <= '9') {
    char *end;
    double value = strtod(at, &end);
    *seconds += value * seconds_per(*end);
    at = end + (*end && strchr("hms", *end));
  }
  if (!*at && *seconds > 0) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "--budget wants a time such as 90s, 5m or "
              "1h30m, not '%s'", text);
}

void budget_init(struct budget *b, double began, double seconds, double guess)
{
  double rest = fmin(fmax(seconds / 20, least_rest), most_rest);

  memset(b, 0, sizeof *b);
  b->guess = guess;
  if (seconds <= 0) return;
  b->end = began + seconds;
  b->stop = b->end - fmin(rest, seconds / 2);
}

bool budget_is_over(const struct budget *b)
{
  return b->stop > 0 && seconds_now() >= b->stop;
}

void budget_add(struct budget *b, double weight)
{
  b->weight += weight;
}

static double share(const struct budget *b, double weight)
{
  double left = b->stop - seconds_now();

  return left <= 0 ? 0 : weight < b->weight ? left * weight / b->weight : left;
}

double budget_begin(struct budget *b, double weight)
{
  double end = b->stop > 0 ? seconds_now() + share(b, weight) : 0;

  b->weight = fmax(b->weight - weight, 0);
  return end;
}

/* Welford's way: the mean and the sum of squared distances from it. */
void budget_end(struct budget *b, double seconds, double candidates)
{
  double each = candidates > 0 ? seconds / candidates : 0, from;

  if (!(each > 0)) return;
  from = each - b->mean;
  b->count++;
  b->mean += from / b->count;
  b->square += from * (each - b->mean);
}

static double cost(const struct budget *b)
{
  return b->count > 0 ? b->mean : b->guess;
}

uint32_t budget_fits(const struct budget *b, double weight, uint32_t count)
{
  const double least = 8; /* fewer say nothing of a space */
  double fits = b->stop > 0 ? fmax(share(b, weight) / cost(b), least) : count;

  return fits < count ? (uint32_t)fits : count;
}

double budget_predict(const struct budget *b, double candidates, double *low,
                      double *high)
{
  double each = cost(b);
  double spread = b->count > 1 ? sqrt(b->square / (b->count - 1)) / each : 0.5;
  double left = b->stop > 0 ? fmax(b->stop - seconds_now(), 0) : INFINITY;

  spread = fmin(fmax(spread, 0.1), 0.9);
  *low = fmin(candidates * each * (1 - spread), left);
  *high = fmin(candidates * each * (1 + spread), left);
  return fmin(candidates * each, left);
}
