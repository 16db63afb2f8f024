/* corpus.c - which candidates make the same bits. */
#include "corpus.h"

#include <string.h>

#include "rows.h"

enum { KEPT_CORPORA = 4, FIRST_ROWS = 5 };
static const uint64_t corpus_seed = 0xb175;

struct bits { /* that are known */
  struct hash variant;
  uint64_t bits;
};

/* ---- The corpus ---------------------------------------------------------- */

int64_t corpus_rows(const char *device_kind)
{
  return strcmp(device_kind, "cpu") ? 8192 : 16;
}

dd_status corpus_spell(const struct problem *p, int64_t rows, struct bytes *out)
{
  if (!p->op->corpus_count) return DD_OK;
  problem_print_static(p, out);
  bytes_printf(out, " %s=%lld", p->op->corpus[0], (long long)rows);
  if (*p->op->corpus[1]) bytes_printf(out, " %s", p->op->corpus[1]);
  return bytes_status(out);
}

static void free_corpus(struct corpus *c)
{
  if (!c) return;
  seal_release(&c->results);
  trial_free(c->trial);
  hash_table_release(&c->found);
  arena_release(&c->arena);
  mem_resize(NULL, c, sizeof *c, 0);
}

void corpora_release(struct corpora *c)
{
  while (c->first) {
    struct corpus *gone = c->first;
    c->first = gone->next;
    free_corpus(gone);
  }
}

static dd_status parse_corpus(const struct op_set *ops, const struct problem *p,
                              int64_t rows, struct problem *out)
{
  struct bytes text = BYTES_INIT;
  dd_status status = corpus_spell(p, rows, &text);

  if (!status) status = problem_parse(ops, bytes_string(&text), out);
  bytes_release(&text);
  return status;
}

static dd_status watch_results(struct corpus *c, struct device *d,
                               const struct tools *tools)
{
  struct span spans[OP_MAX_TENSORS];
  uint32_t n = 0;

  for (uint32_t i = 0; i < c->part.op->tensor_count; ++i) {
    const struct trial_tensor *x = &c->trial->tensor[i];
    if (x->written && x->size) spans[n++] = (struct span){x->work, x->size};
  }
  return seal_make_of(d, tools, spans, n, &c->results);
}

static dd_status fill_corpus(struct corpus *c, struct device *d,
                             const struct op_set *ops,
                             const struct tools *tools, const struct problem *p,
                             int64_t rows)
{
  struct bytes text = BYTES_INIT;
  struct problem whole;

  TRY(parse_corpus(ops, p, rows, &whole));
  TRY(parse_corpus(ops, p, FIRST_ROWS, &c->part));
  problem_print_static(p, &text);
  c->fixed = arena_text(&c->arena, bytes_string(&text), text.size);
  bytes_release(&text);
  if (!c->fixed) return fail(DD_NO_MEMORY, "out of memory");
  TRY(trial_make_bare(d, tools, &whole, corpus_seed, &c->trial));
  return watch_results(c, d, tools);
}

static dd_status make_corpus(struct device *d, const struct op_set *ops,
                             const struct tools *tools, const struct problem *p,
                             int64_t rows, struct corpus **out)
{
  struct corpus *c = mem_resize(NULL, NULL, 0, sizeof *c);
  dd_status status;

  *out = NULL;
  if (!c) return fail(DD_NO_MEMORY, "out of memory");
  memset(c, 0, sizeof *c);
  arena_init(&c->arena, NULL);
  status = fill_corpus(c, d, ops, tools, p, rows);
  if (status) free_corpus(c);
  else *out = c;
  return status;
}

/* Takes it out of the list; NULL: it is not in it. */
static struct corpus *take(struct corpora *c, const char *fixed)
{
  for (struct corpus **at = &c->first; *at; at = &(*at)->next) {
    struct corpus *found = *at;
    if (strcmp(found->fixed, fixed)) continue;
    *at = found->next;
    return found;
  }
  return NULL;
}

static void put(struct corpora *c, struct corpus *first)
{
  struct corpus **at = &c->first;

  first->next = c->first;
  c->first = first;
  for (int n = 0; *at && n < KEPT_CORPORA; ++n) at = &(*at)->next;
  while (*at) {
    struct corpus *gone = *at;
    *at = gone->next;
    free_corpus(gone);
  }
}

/* With some static fields so many rows are not legal, or more than a sixteenth
 * of the device's memory, with what the tensors are put back from. */
static bool is_feasible(const struct device *d, const struct op_set *ops,
                        const struct problem *p, int64_t rows)
{
  struct problem whole;
  int64_t reads, writes;

  return !parse_corpus(ops, p, rows, &whole) &&
         !problem_traffic(&whole, &reads, &writes) &&
         2 * ((double)reads + (double)writes) <=
             (double)d->info.memory_bytes / 16;
}

/* *out is NULL where there is none. */
static dd_status find_corpus(struct corpora *c, struct device *d,
                             const struct op_set *ops,
                             const struct tools *tools, const struct problem *p,
                             struct corpus **out)
{
  struct bytes fixed = BYTES_INIT;
  dd_status status;

  *out = NULL;
  if (!p->op->corpus_count || !is_feasible(d, ops, p, c->rows)) return DD_OK;
  problem_print_static(p, &fixed);
  status = bytes_status(&fixed);
  if (!status) *out = take(c, bytes_string(&fixed));
  if (!status && !*out) status = make_corpus(d, ops, tools, p, c->rows, out);
  if (*out) put(c, *out);
  bytes_release(&fixed);
  return status;
}

/* ---- Launching on it ----------------------------------------------------- */

/* *fits is false where the candidate cannot run it. */
static dd_status launch_on(const struct corpus *c, const struct op_set *ops,
                           const struct problem *p,
                           const struct candidate *candidate,
                           const struct loaded *const *steps, bool *fits)
{
  struct trial *t = c->trial;
  uint8_t args[OP_MAX_STEPS * OP_MAX_ARGS_SIZE];
  struct launch launches[OP_MAX_STEPS];
  struct run run;
  dd_status status = run_make(t->device, ops, p, candidate->split,
                              candidate->step_count, steps, t->attr, &run);

  *fits = status != DD_UNSUPPORTED;
  if (status) return *fits ? status : DD_OK;
  TRY(trial_reset(t));
  TRY(run_launches(&run, t->buffer, args, launches));
  for (uint32_t i = 0; i < run.step_count; ++i)
    TRY(t->device->api->launch(t->device, &launches[i], NULL));
  return DD_OK;
}

/* Neither 0 nor BITS_DIFFER. */
static dd_status take_bits(struct corpus *c, uint64_t *bits)
{
  struct seal_sum sums[SEAL_SUMS];

  TRY(seal_take(&c->results, sums));
  *bits = (uint64_t)sums[0].high << 32 | sums[0].low;
  if (!*bits || *bits == BITS_DIFFER) *bits ^= 1;
  return DD_OK;
}

/* ---- The first rows ------------------------------------------------------ */

/* What a launch left there of each tensor that is written, on the host. */
struct rows {
  char *bytes[OP_MAX_TENSORS];
  size_t size[OP_MAX_TENSORS];
};

static void free_rows(struct rows *r)
{
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i)
    mem_resize(NULL, r->bytes[i], r->size[i], 0);
}

/* Bytes up to the end of the part's last row.  They stand in the whole's rows,
 * one behind the other: a corpus has no strides. */
static dd_status measure_rows(const struct corpus *c, uint32_t tensor,
                              size_t *size)
{
  const struct trial_tensor *x = &c->trial->tensor[tensor];
  struct tensor_shape s;
  int64_t width;

  *size = 0;
  if (!x->written || !x->size) return DD_OK;
  TRY(problem_shape(&c->part, x->output, &s));
  if (!s.count) return DD_OK;
  width = s.extent[s.rank - 1];
  *size = (size_t)((row_offset(&x->outputs, s.count / width - 1) + width) *
                   dtype_bytes(x->outputs.dtype));
  return DD_OK;
}

static dd_status fetch_rows(const struct corpus *c, struct rows *r)
{
  struct device *d = c->trial->device;

  for (uint32_t i = 0; i < c->part.op->tensor_count; ++i) {
    const struct trial_tensor *x = &c->trial->tensor[i];
    TRY(measure_rows(c, i, &r->size[i]));
    if (!r->size[i]) continue;
    r->bytes[i] = mem_resize(NULL, NULL, 0, r->size[i]);
    if (!r->bytes[i]) return fail(DD_NO_MEMORY, "out of memory");
    TRY(d->api->copy_out(d, r->bytes[i], x->work + x->offset, r->size[i]));
  }
  return DD_OK;
}

static bool same_rows(const struct rows *a, const struct rows *b)
{
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i)
    if (a->size[i] && memcmp(a->bytes[i], b->bytes[i], a->size[i])) return false;
  return true;
}

/* The part alone, after the whole. */
static dd_status minds_others(const struct corpus *c, const struct op_set *ops,
                              const struct candidate *candidate,
                              const struct loaded *const *steps, bool *minds)
{
  struct rows among = {{0}, {0}}, alone = among;
  bool fits = false;
  dd_status status = fetch_rows(c, &among);

  if (!status)
    status = launch_on(c, ops, &c->part, candidate, steps, &fits);
  if (!status) status = fetch_rows(c, &alone);
  *minds = status || !fits || !same_rows(&among, &alone);
  free_rows(&among);
  free_rows(&alone);
  return status;
}

/* ---- The bits ------------------------------------------------------------ */

/* 0: it does not fit. */
static dd_status bits_of_whole(struct corpus *c, const struct op_set *ops,
                               const struct candidate *candidate,
                               const struct loaded *const *steps,
                               uint64_t *bits)
{
  bool fits;

  *bits = 0;
  TRY(launch_on(c, ops, &c->trial->problem, candidate, steps, &fits));
  return fits ? take_bits(c, bits) : DD_OK;
}

static dd_status find_bits(struct corpus *c, const struct op_set *ops,
                           const struct candidate *candidate,
                           const struct loaded *const *steps, uint64_t *bits)
{
  uint64_t again;
  bool minds;

  TRY(bits_of_whole(c, ops, candidate, steps, bits));
  if (!*bits) return DD_OK;
  TRY(bits_of_whole(c, ops, candidate, steps, &again));
  TRY(minds_others(c, ops, candidate, steps, &minds));
  if (minds || again != *bits) *bits = BITS_DIFFER;
  return DD_OK;
}

/* What there is no memory for is found again. */
static void keep(struct corpus *c, const struct hash *variant, uint64_t bits)
{
  struct bits *b = ARENA_NEW(&c->arena, struct bits);

  if (!b) return;
  *b = (struct bits){*variant, bits};
  if (hash_table_add(&c->found, &b->variant, b)) return;
}

dd_status corpora_bits(struct corpora *c, struct device *d,
                       const struct op_set *ops, const struct tools *tools,
                       const struct problem *p,
                       const struct candidate *candidate,
                       const struct loaded *const *steps, uint64_t *bits)
{
  const struct bits *known = NULL;
  struct corpus *corpus;

  *bits = 0;
  TRY(find_corpus(c, d, ops, tools, p, &corpus));
  if (!corpus) return DD_OK;
  if (!candidate->split)
    known = hash_table_find(&corpus->found, &candidate->steps[0]);
  if (known) {
    *bits = known->bits;
    return DD_OK;
  }
  TRY(find_bits(corpus, ops, candidate, steps, bits));
  if (!candidate->split) keep(corpus, &candidate->steps[0], *bits);
  return DD_OK;
}
