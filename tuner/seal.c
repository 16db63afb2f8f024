/* seal.c - whether what proofs rest on is still as it was made. */
#include "seal.h"

#include <string.h>

#include "fill_element.h"

/* ---- As tuner/kernels/seal.cuh has it ------------------------------------ */

enum { THREADS = 256, BLOCK_WORDS = 256 * 16 };

struct seal_args {
  const void *parts;
  void *sums;
  int64_t count;
};

/* ---- Making -------------------------------------------------------------- */

static void add_spans(struct seal *s, const struct span *spans, uint32_t n,
                      int sum)
{
  for (uint32_t i = 0; i < n; ++i) {
    struct seal_part *p = &s->parts[s->count++];
    *p = (struct seal_part){spans[i].at, (int64_t)(spans[i].size / 4),
                            s->blocks, sum};
    s->blocks += (uint32_t)((p->count + BLOCK_WORDS - 1) / BLOCK_WORDS);
  }
}

static size_t parts_size(const struct seal *s)
{
  return s->count * sizeof s->parts[0];
}

enum { SUMS_SIZE = SEAL_SUMS * sizeof(struct seal_sum) };

static void begin(struct device *d, const struct tools *tools, struct seal *out)
{
  memset(out, 0, sizeof *out);
  out->device = d;
  out->tools = tools;
}

/* Where the device takes the sums. */
static dd_status make_room(struct seal *s)
{
  const struct device_api *api = s->device->api;
  dd_status status;

  if (!s->tools->on_device) return DD_OK;
  status = api->allocate(s->device, parts_size(s), &s->device_parts);
  if (!status) status = api->allocate(s->device, SUMS_SIZE, &s->device_sums);
  if (status) seal_release(s);
  return status;
}

dd_status seal_make_of(struct device *d, const struct tools *tools,
                       const struct span *spans, uint32_t count,
                       struct seal *out)
{
  begin(d, tools, out);
  add_spans(out, spans, count, 0);
  return make_room(out);
}

dd_status seal_make(struct trial *const *trials, int count,
                    const struct jury *jury, struct seal *out)
{
  struct span spans[TRIAL_SPANS];

  begin(trials[0]->device, trials[0]->tools, out);
  for (int t = 0; t < count; ++t)
    add_spans(out, spans, trial_spans(trials[t], spans), t);
  if (out->tools->on_device)
    add_spans(out, spans, jury_spans(jury, spans), MAX_TRIALS);
  return make_room(out);
}

void seal_release(struct seal *s)
{
  struct device *d = s->device;

  if (s->device_parts)
    d->api->deallocate(d, s->device_parts, parts_size(s));
  if (s->device_sums) d->api->deallocate(d, s->device_sums, SUMS_SIZE);
  memset(s, 0, sizeof *s);
}

/* ---- Taking -------------------------------------------------------------- */

static void add_part(const struct seal_part *p, struct seal_sum *sum)
{
  const char *at = p->words;
  uint32_t word;

  for (int64_t i = 0; i < p->count; ++i) {
    uint64_t hash;
    memcpy(&word, at + 4 * i, 4);
    hash = fill_mix((uint64_t)i << 32 | word);
    sum->low += (uint32_t)hash;
    sum->high += (uint32_t)(hash >> 32);
  }
  sum->words += (uint64_t)p->count;
}

/* The list of parts is sent each time: it may have been written to as well. */
static dd_status take_there(struct seal *s, struct seal_sum sums[SEAL_SUMS])
{
  const struct device_api *api = s->device->api;
  struct seal_args args = {s->device_parts, s->device_sums, s->count};
  struct launch l = {.kernel = s->tools->seal,
                     .grid = {s->blocks, 1, 1},
                     .block = THREADS,
                     .args = &args,
                     .args_size = sizeof args};

  TRY(api->copy_in(s->device, s->device_parts, s->parts, parts_size(s)));
  TRY(api->fill(s->device, s->device_sums, 0, SUMS_SIZE));
  TRY(api->launch(s->device, &l, NULL));
  TRY(api->wait(s->device));
  return api->copy_out(s->device, sums, s->device_sums, SUMS_SIZE);
}

static dd_status check_words(const struct seal *s,
                             const struct seal_sum sums[SEAL_SUMS])
{
  int64_t words = 0, seen = 0;

  for (uint32_t i = 0; i < s->count; ++i) words += s->parts[i].count;
  for (int i = 0; i < SEAL_SUMS; ++i) seen += (int64_t)sums[i].words;
  if (seen == words) return DD_OK;
  return fail(DD_DEVICE, "the seal kernel looked at %lld of %lld words; is the "
              "driver whole?", (long long)seen, (long long)words);
}

dd_status seal_take(struct seal *s, struct seal_sum sums[SEAL_SUMS])
{
  memset(sums, 0, SUMS_SIZE);
  if (s->device_sums) {
    TRY(take_there(s, sums));
    return check_words(s, sums);
  }
  TRY(s->device->api->wait(s->device));
  for (uint32_t i = 0; i < s->count; ++i)
    add_part(&s->parts[i], &sums[s->parts[i].sum]);
  return DD_OK;
}

bool seal_equal(const struct seal_sum *a, const struct seal_sum *b)
{
  return a->low == b->low && a->high == b->high && a->words == b->words;
}
