/* message.c - what the sweep and its device worker say to each other. */
#include "message.h"

#include <stdio.h>
#include <string.h>

void put_device_info(struct bytes *out, const struct device_info *info)
{
  wire_put_text(out, info->kind);
  wire_put_text(out, info->name);
  wire_put_text(out, info->uuid);
  wire_put_text(out, info->driver);
  wire_put_i64(out, info->index);
  wire_put_i64(out, info->arch);
  wire_put_i64(out, info->sms);
  wire_put_i64(out, info->l2_bytes);
  wire_put_i64(out, info->memory_bytes);
}

static void get_into(struct wire_reader *r, char *text, size_t size,
                     const char *what)
{
  size_t n;
  const char *at = wire_bytes(r, &n, what);

  if (at && n >= size) n = size - 1;
  if (at) memcpy(text, at, n);
  text[at ? n : 0] = 0;
}

void get_device_info(struct wire_reader *r, struct device_info *info)
{
  get_into(r, info->kind, sizeof info->kind, "a device's kind");
  get_into(r, info->name, sizeof info->name, "a device's name");
  get_into(r, info->uuid, sizeof info->uuid, "a device's uuid");
  get_into(r, info->driver, sizeof info->driver, "a driver");
  info->index = (int)wire_i64(r, "a device's index");
  info->arch = (int)wire_i64(r, "an arch");
  info->sms = (int)wire_i64(r, "a number of SMs");
  info->l2_bytes = wire_i64(r, "an L2 size");
  info->memory_bytes = wire_i64(r, "a memory size");
}

void put_variant(struct bytes *out, const struct variant *v)
{
  wire_put_text(out, v->op->name);
  wire_put_text(out, v->scheme->name);
  wire_put_u32(out, v->scheme->tunable_count);
  for (uint32_t i = 0; i < v->scheme->tunable_count; ++i)
    wire_put_i64(out, v->tunable[i]);
  wire_put_u32(out, v->scheme->fact_count);
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i)
    wire_put_i64(out, v->fact[i]);
  wire_put_hash(out, &v->hash);
}

static void refuse(struct wire_reader *r, const char *what)
{
  if (!r->failed) r->what = what;
  r->failed = true;
}

void get_variant(struct wire_reader *r, const struct op_set *set,
                 struct arena *a, struct variant *v)
{
  const char *op = wire_text(r, a, "an op");
  const char *scheme = wire_text(r, a, "a scheme");
  uint32_t n;

  memset(v, 0, sizeof *v);
  v->op = op_find(set, op);
  v->scheme = v->op ? op_scheme_find(v->op, scheme) : NULL;
  if (!v->scheme) refuse(r, "a variant of an unknown scheme");
  n = wire_count(r, OP_MAX_TUNABLES, "tunables");
  if (v->scheme && n != v->scheme->tunable_count) refuse(r, "tunables");
  for (uint32_t i = 0; i < n; ++i) v->tunable[i] = wire_i64(r, "a tunable");
  n = wire_count(r, OP_MAX_SYMBOLS, "facts");
  if (v->scheme && n != v->scheme->fact_count) refuse(r, "facts");
  for (uint32_t i = 0; i < n; ++i) v->fact[i] = wire_i64(r, "a fact");
  v->hash = wire_hash(r, "a variant's hash");
}

void put_candidate(struct bytes *out, const struct candidate *c)
{
  wire_put_u32(out, c->split);
  wire_put_u32(out, c->step_count);
  for (uint32_t i = 0; i < c->step_count; ++i) wire_put_hash(out, &c->steps[i]);
}

void get_candidate(struct wire_reader *r, struct candidate *c)
{
  memset(c, 0, sizeof *c);
  c->split = wire_u32(r, "split") != 0;
  c->step_count = wire_count(r, OP_MAX_STEPS, "steps");
  if (!c->step_count) refuse(r, "a candidate's steps");
  for (uint32_t i = 0; i < c->step_count; ++i) c->steps[i] = wire_hash(r, "a step");
}

void put_proof(struct bytes *out, const struct proof *p)
{
  wire_put_u32(out, p->right);
  wire_put_f64(out, p->error);
  wire_put_f64(out, p->bit_equal);
  wire_put_i64(out, p->elements);
  wire_put_i64(out, p->cases);
  wire_put_text(out, p->reason);
}

void get_proof(struct wire_reader *r, struct arena *a, struct proof *p)
{
  p->right = wire_u32(r, "a verdict") != 0;
  p->error = wire_f64(r, "an error");
  p->bit_equal = wire_f64(r, "a fraction");
  p->elements = wire_i64(r, "a count");
  p->cases = wire_i64(r, "a count");
  snprintf(p->reason, sizeof p->reason, "%s", wire_text(r, a, "a reason"));
}

void put_race_summary(struct bytes *out, const struct race_summary *s)
{
  wire_put_f64(out, s->copy_us);
  wire_put_f64(out, s->noise);
  wire_put_f64(out, s->apart);
  wire_put_f64(out, s->floor);
  wire_put_u32(out, s->again);
  wire_put_u32(out, s->sm_mhz);
  wire_put_text(out, s->throttle);
}

void get_race_summary(struct wire_reader *r, struct race_summary *s)
{
  s->copy_us = wire_f64(r, "the copy's time");
  s->noise = wire_f64(r, "the noise");
  s->apart = wire_f64(r, "the noise at least");
  s->floor = wire_f64(r, "the floor");
  s->again = wire_u32(r, "a count");
  s->sm_mhz = wire_u32(r, "a clock");
  get_into(r, s->throttle, sizeof s->throttle, "a reason");
}

void put_standing(struct bytes *out, const struct standing *s)
{
  const double number[] = {s->median_us, s->q1_us, s->q3_us, s->low_us,
                           s->high_us};

  for (size_t i = 0; i < COUNT_OF(number); ++i) wire_put_f64(out, number[i]);
  wire_put_u32(out, s->final);
  wire_put_u32(out, s->tied);
  wire_put_u32(out, s->position);
  wire_put_u32(out, s->registers);
  wire_put_u32(out, s->dropped);
  wire_put_u32(out, s->sample_count);
  for (uint32_t i = 0; i < s->sample_count; ++i) wire_put_f64(out, s->samples[i]);
  for (uint32_t i = 0; i < s->sample_count; ++i)
    wire_put_f64(out, s->ratios[i]);
}

static const double *get_numbers(struct wire_reader *r, struct arena *a,
                                 uint32_t count)
{
  double *numbers = ARENA_ARRAY(a, double, count);

  if (!numbers) refuse(r, "samples (out of memory)");
  for (uint32_t i = 0; numbers && i < count; ++i)
    numbers[i] = wire_f64(r, "a sample");
  return numbers;
}

void get_standing(struct wire_reader *r, struct arena *a, struct standing *s)
{
  s->median_us = wire_f64(r, "a median");
  s->q1_us = wire_f64(r, "a quartile");
  s->q3_us = wire_f64(r, "a quartile");
  s->low_us = wire_f64(r, "a bound");
  s->high_us = wire_f64(r, "a bound");
  s->final = wire_u32(r, "final") != 0;
  s->tied = wire_u32(r, "tied") != 0;
  s->position = wire_u32(r, "a position");
  s->registers = wire_u32(r, "registers");
  s->dropped = wire_u32(r, "a count");
  s->sample_count = wire_count(r, 1 << 20, "samples");
  s->samples = get_numbers(r, a, s->sample_count);
  s->ratios = get_numbers(r, a, s->sample_count);
}
