/* corpus.c - which candidates make the same bits. */
#include "corpus.h"

#include <string.h>

#include "fill_element.h"
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
  return strcmp(device_kind, "cpu") ? 16384 : 16;
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
  return trial_make(d, tools, &whole, FILL_PLAIN, corpus_seed, true,
                    &c->trial);
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

/* *out is NULL where the op has none. */
static dd_status find_corpus(struct corpora *c, struct device *d,
                             const struct op_set *ops,
                             const struct tools *tools, const struct problem *p,
                             struct corpus **out)
{
  struct bytes fixed = BYTES_INIT;
  dd_status status;

  *out = NULL;
  if (!p->op->corpus_count) return DD_OK;
  problem_print_static(p, &fixed);
  status = bytes_status(&fixed);
  if (!status) *out = take(c, bytes_string(&fixed));
  if (!status && !*out) status = make_corpus(d, ops, tools, p, c->rows, out);
  if (*out) put(c, *out);
  bytes_release(&fixed);
  return status;
}

/* ---- Launching on it ----------------------------------------------------- */

/* What a launch left of each tensor that is written, on the host. */
struct left {
  const struct trial *trial;
  char *bytes[OP_MAX_TENSORS];
};

static void free_left(struct left *l)
{
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i)
    if (l->bytes[i])
      mem_resize(NULL, l->bytes[i], l->trial->tensor[i].size, 0);
}

static dd_status fetch(struct left *l)
{
  const struct device *d = l->trial->device;

  for (uint32_t i = 0; i < l->trial->problem.op->tensor_count; ++i) {
    const struct trial_tensor *x = &l->trial->tensor[i];
    if (!x->written || !x->size) continue;
    l->bytes[i] = mem_resize(NULL, NULL, 0, x->size);
    if (!l->bytes[i]) return fail(DD_NO_MEMORY, "out of memory");
    TRY(d->api->copy_out(l->trial->device, l->bytes[i], x->work, x->size));
  }
  return DD_OK;
}

/* *fits is false where the candidate cannot run the corpus. */
static dd_status launch_on(const struct corpus *c, const struct op_set *ops,
                           const struct problem *p,
                           const struct candidate *candidate,
                           const struct loaded *const *steps, struct left *left,
                           bool *fits)
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
  return fetch(left);
}

/* ---- Comparing ----------------------------------------------------------- */

static const char *row_at(const struct left *l, uint32_t tensor, int64_t row)
{
  const struct trial_tensor *x = &l->trial->tensor[tensor];

  return l->bytes[tensor] + x->offset +
         row_offset(&x->outputs, row) * dtype_bytes(x->outputs.dtype);
}

static size_t row_bytes(const struct trial_tensor *x)
{
  const struct tensor_shape *s = &x->outputs;

  return (size_t)(s->extent[s->rank - 1] * dtype_bytes(s->dtype));
}

static uint64_t digest_row(uint64_t digest, const char *row, size_t size)
{
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = 0;
    memcpy(&word, row + at, size - at < 8 ? size - at : 8);
    digest = fill_mix(digest ^ word);
  }
  return digest;
}

/* Never 0. */
static uint64_t digest_all(const struct left *l)
{
  uint64_t digest = 0;

  for (uint32_t i = 0; i < l->trial->problem.op->tensor_count; ++i) {
    const struct trial_tensor *x = &l->trial->tensor[i];
    size_t size = l->bytes[i] ? row_bytes(x) : 0;
    for (int64_t row = 0; size && row < x->outputs.count *
             dtype_bytes(x->outputs.dtype) / (int64_t)size; ++row)
      digest = digest_row(digest, row_at(l, i, row), size);
  }
  return digest ? digest : 1;
}

/* Whether the part's rows of a tensor came out as the whole's first ones. */
static dd_status same_rows(const struct corpus *c, uint32_t tensor,
                           const struct left *whole, const struct left *part,
                           bool *same)
{
  const struct trial_tensor *x = &c->trial->tensor[tensor];
  struct tensor_shape s;
  size_t size = row_bytes(x);

  TRY(problem_shape(&c->part, x->output, &s));
  for (int64_t row = 0; *same && row < s.count / s.extent[s.rank - 1]; ++row)
    *same = !memcmp(row_at(whole, tensor, row), row_at(part, tensor, row), size);
  return DD_OK;
}

static dd_status same_first_rows(const struct corpus *c,
                                 const struct left *whole,
                                 const struct left *part, bool *same)
{
  *same = true;
  for (uint32_t i = 0; i < c->part.op->tensor_count && *same; ++i)
    if (whole->bytes[i] && c->trial->tensor[i].outputs.count)
      TRY(same_rows(c, i, whole, part, same));
  return DD_OK;
}

static dd_status find_bits(const struct corpus *c, const struct op_set *ops,
                           const struct candidate *candidate,
                           const struct loaded *const *steps, uint64_t *bits)
{
  struct left whole = {.trial = c->trial}, part = {.trial = c->trial};
  bool fits, same = false;
  dd_status status = launch_on(c, ops, &c->trial->problem, candidate, steps,
                               &whole, &fits);

  if (!status && fits)
    status = launch_on(c, ops, &c->part, candidate, steps, &part, &fits);
  if (!status && fits) status = same_first_rows(c, &whole, &part, &same);
  *bits = !status && same ? digest_all(&whole) : 0;
  free_left(&whole);
  free_left(&part);
  return status;
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
