/* record.c - what a sweep tells the database, problem by problem. */
#include "record.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "corpus.h"
#include "output.h"
#include "sweep.h"
#include "variant_text.h"

static dd_status open_recorder(struct recorder *r, const char *path,
                               struct build *b, const struct device_info *info,
                               uint64_t seed, const char *policy)
{
  memset(r, 0, sizeof *r);
  r->build = b;
  r->info = info;
  r->seed = seed;
  r->policy = policy;
  TRY(db_open(path, DB_WRITE, &r->db));
  TRY(db_device(r->db, info, &r->device));
  return db_toolchain(r->db, bytes_string(&b->identity), &r->toolchain);
}

dd_status record_join(struct recorder *r, const char *path, struct build *b,
                      const struct device_info *info, int64_t sweep,
                      uint64_t seed, const char *policy)
{
  dd_status status = open_recorder(r, path, b, info, seed, policy);

  r->sweep = status ? 0 : sweep;
  r->joined = true;
  return status;
}

dd_status record_begin(struct recorder *r, const char *path, struct build *b,
                       const struct device_info *info, const char *command,
                       uint64_t seed, const char *policy, bool resume)
{
  char host[128] = "", specs[HASH_HEX], version[32];
  struct db_sweep sweep = {.command = command, .version = version,
                           .host = host, .seed = (int64_t)seed,
                           .specs_hash = specs};

  gethostname(host, sizeof host - 1);
  hash_hex(&b->specs->ops.hash, specs);
  snprintf(version, sizeof version, "%d.%d.%d", DD_VERSION_MAJOR,
           DD_VERSION_MINOR, DD_VERSION_PATCH);
  TRY(open_recorder(r, path, b, info, seed, policy));
  sweep.device = r->device;
  if (resume) TRY(db_sweep_find(r->db, &sweep, &r->sweep, &r->complete));
  r->resumed = r->sweep != 0;
  if (!r->resumed) return db_sweep_begin(r->db, &sweep, &r->sweep);
  return r->complete ? DD_OK : db_sweep_again(r->db, r->sweep);
}

dd_status record_end(struct recorder *r, dd_status status)
{
  char sentence[1024];
  dd_status ended = DD_OK;

  snprintf(sentence, sizeof sentence, "%s",
           status          ? dd_last_error()
           : interrupted() ? "interrupted"
           : r->cut        ? "the budget is spent"
                           : "complete");
  if (r->sweep && !r->complete && !r->joined)
    ended = db_sweep_end(r->db, r->sweep, sentence);
  db_close(r->db);
  r->db = NULL;
  r->sweep = 0;
  return status ? fail(status, "%s", sentence) : ended;
}

static dd_status record_part(struct recorder *r, uint32_t index)
{
  struct part *p = r->build->parts[index];
  const struct emit_scheme *scheme;
  struct bytes entry = BYTES_INIT;
  dd_status status;

  if (p->row) return DD_OK;
  TRY(build_source(r->build, &p->variant, &scheme));
  status = variant_text(&p->variant, &entry);
  if (!status)
    status = db_variant(r->db, &p->variant, bytes_string(&scheme->source),
                        bytes_string(&entry), &p->row);
  bytes_release(&entry);
  return status;
}

static dd_status record_candidate(struct recorder *r, struct entry *e)
{
  int64_t rows[OP_MAX_STEPS];

  for (uint32_t i = 0; i < e->candidate.step_count; ++i) {
    TRY(record_part(r, e->part[i]));
    rows[i] = r->build->parts[e->part[i]]->row;
  }
  return db_candidate(r->db, e->candidate.split, e->candidate.step_count, rows,
                      e->label, &e->row);
}

void put_shell_word(struct bytes *out, const char *word)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=.,:/+@%";

  if (*word && !word[strspn(word, plain)]) {
    bytes_text(out, word);
    return;
  }
  bytes_text(out, "'");
  for (; *word; ++word)
    if (*word == '\'') bytes_text(out, "'\\''");
    else bytes_add(out, word, 1);
  bytes_text(out, "'");
}

const char *command_line(int argc, char **argv)
{
  struct bytes line = BYTES_INIT;
  const char *kept;

  bytes_text(&line, "difftune");
  for (int i = 0; i < argc; ++i) {
    bytes_text(&line, " ");
    put_shell_word(&line, argv[i]);
  }
  kept = keep_text(bytes_string(&line));
  bytes_release(&line);
  return kept;
}

/* The command line that shows a failure again, alone. */
static void put_reproducer(const struct recorder *r, const struct outcome *o,
                           const struct entry *e, struct bytes *out)
{
  bool timed = strcmp(e->stage, "time") == 0;

  bytes_printf(out, "difftune %s ", timed ? "sweep" : "check");
  if (strcmp(r->info->kind, "cpu") == 0)
    bytes_text(out, "--cpu");
  else
    bytes_printf(out, "--gpu %s", r->info->uuid);
  bytes_text(out, " --shapes ");
  put_shell_word(out, o->spelling);
  bytes_text(out, " --variant ");
  put_shell_word(out, e->candidate.split ? "split" : e->label);
  bytes_printf(out, " --seed %llu", (unsigned long long)r->seed);
  if (strncmp(r->policy, "warm", 4) == 0) bytes_text(out, " --l2 warm");
  if (strstr(r->policy, "eager")) bytes_text(out, " --launch eager");
}

static dd_status record_failure(struct recorder *r, const struct outcome *o,
                                const struct entry *e, int64_t problem)
{
  struct bytes command = BYTES_INIT;
  struct db_failure f = {.sweep = r->sweep, .candidate = e->row,
                         .problem = problem, .device = r->device,
                         .stage = e->stage, .reason = e->reason};
  dd_status status;

  put_reproducer(r, o, e, &command);
  f.reproducer = bytes_string(&command);
  status = bytes_status(&command);
  if (!status) status = db_failure(r->db, &f, &(int64_t){0});
  bytes_release(&command);
  return status;
}

static dd_status record_proof(struct recorder *r, struct entry *e,
                              int64_t problem)
{
  struct db_proof p = {.sweep = r->sweep, .candidate = e->row,
                       .problem = problem, .device = r->device,
                       .toolchain = r->toolchain, .error = e->proof.error,
                       .bit_equal = e->proof.bit_equal,
                       .elements = e->proof.elements, .cases = e->proof.cases,
                       .method = "reference"};

  return db_proof(r->db, &p, &e->proof_row);
}

static dd_status record_standing(struct recorder *r, const struct standing *s,
                                 int64_t race, int64_t measurement)
{
  struct db_standing row = {
      .race = race, .measurement = measurement, .position = s->position,
      .tied = s->tied, .registers = s->registers, .ratios = s->ratios,
      .ratio_count = s->sample_count};

  return db_standing(r->db, &row, &(int64_t){0});
}

/* What an entry makes of the corpus of its problem's static fields. */
static dd_status record_bits(struct recorder *r, const struct outcome *o,
                             const struct entry *e)
{
  struct db_bits b = {.candidate = e->row, .device = r->device,
                      .toolchain = r->toolchain, .digest = e->bits};
  struct bytes corpus = BYTES_INIT;
  dd_status status;

  if (!e->bits) return DD_OK;
  status = corpus_spell(&o->problem, corpus_rows(r->info->kind), &corpus);
  b.corpus = bytes_string(&corpus);
  if (!status) status = db_bits(r->db, &b, &(int64_t){0});
  bytes_release(&corpus);
  return status;
}

static dd_status record_measurement(struct recorder *r, const struct outcome *o,
                                    const struct entry *e, int64_t problem,
                                    int64_t race)
{
  const struct standing *s = &e->standing;
  struct db_measurement m = {
      .sweep = r->sweep, .proof = e->proof_row, .candidate = e->row,
      .problem = problem, .device = r->device, .policy = r->policy,
      .median_us = s->median_us, .q1_us = s->q1_us, .q3_us = s->q3_us,
      .low_us = s->low_us, .high_us = s->high_us, .samples = s->samples,
      .sample_count = s->sample_count, .dropped = (int)s->dropped,
      .stopped = s->final ? "final" : "eliminated",
      .copy_us = o->race.copy_us, .noise = o->race.noise};
  int64_t row;

  TRY(db_measurement(r->db, &m, &row));
  TRY(record_bits(r, o, e));
  return record_standing(r, s, race, row);
}

/* A twin has a proof, its twin's, and no measurement: it was not timed. */
static dd_status record_entry(struct recorder *r, const struct outcome *o,
                              struct entry *e, int64_t problem, int64_t race)
{
  if (!e->done || (e->rule && !e->audited)) return DD_OK;
  TRY(record_candidate(r, e));
  if (e->proven) TRY(record_proof(r, e, problem));
  if (e->stage) return record_failure(r, o, e, problem);
  return e->raced ? record_measurement(r, o, e, problem, race) : DD_OK;
}

/* As the view `ranked` has it: what had fresh rounds comes first. */
static double split_time(const struct outcome *o)
{
  const struct standing *best = NULL;
  uint32_t count = o->count + (o->has_split ? 1 : 0);

  for (uint32_t i = 0; i < count; ++i) {
    const struct entry *e = &o->entries[i];
    const struct standing *s = &e->standing;
    if (!e->raced || !e->candidate.split) continue;
    if (!best || s->final > best->final ||
        (s->final == best->final && s->median_us < best->median_us))
      best = s;
  }
  return best ? best->median_us : 0;
}

/* *race is 0 where there was none. */
static dd_status record_race(struct recorder *r, const struct outcome *o,
                             int64_t problem, int64_t *race)
{
  struct db_race row = {.sweep = r->sweep, .problem = problem,
                        .device = r->device, .board = r->info->uuid,
                        .policy = r->policy, .floor = o->race.floor,
                        .again = o->race.again, .sm_mhz = o->race.sm_mhz,
                        .throttle = o->race.throttle,
                        .apart = o->race.apart,
                        .split_us = split_time(o)};

  *race = 0;
  return o->best < 0 ? DD_OK : db_race(r->db, &row, race);
}

/* Whose code a host will load, and no row has yet; NULL: nobody's.  On the CPU
 * device the code is the text, which the variant's row has. */
static struct part *winner_of(const struct recorder *r, const struct outcome *o)
{
  struct part *p;

  if (o->best_fused < 0 || strcmp(r->build->target, "cpu") == 0) return NULL;
  p = r->build->parts[o->entries[o->best_fused].part[0]];
  return p->code_row ? NULL : p;
}

dd_status record_prepare(struct recorder *r, const struct outcome *o)
{
  const struct part *p = winner_of(r, o);

  return p ? build_want_alone(r->build, p->index) : DD_OK;
}

bool record_is_ready(const struct recorder *r, const struct outcome *o)
{
  const struct part *p = winner_of(r, o);

  return !p || build_has_alone(r->build, p->index);
}

static dd_status record_winner(struct recorder *r, const struct outcome *o)
{
  struct part *p = winner_of(r, o);
  const struct bytes *code;
  struct db_code row;
  dd_status status;

  if (!p) return DD_OK;
  status = build_alone(r->build, p->index, &code);
  if (status == DD_COMPILE) { /* its measurements stand; no table can have it */
    say("%s", dd_last_error());
    return DD_OK;
  }
  TRY(status);
  row = (struct db_code){p->row, r->toolchain, r->build->target, code->data,
                         code->size, p->registers, p->local_bytes,
                         p->shared_bytes};
  return db_code(r->db, &row, &p->code_row);
}

/* The view `ranked` decides who has won; the outcome says the same. */
static dd_status take_winner(struct recorder *r, const struct outcome *o,
                             int64_t problem, bool fused, int *best)
{
  uint32_t count = o->count + (o->has_split ? 1 : 0);
  int64_t candidate;

  TRY(db_winner(r->db, r->sweep, problem, r->policy, fused, &candidate));
  for (uint32_t i = 0; candidate && i < count; ++i)
    if (o->entries[i].row == candidate && o->entries[i].raced) *best = (int)i;
  return DD_OK;
}

/* Before the file is locked: others may be waiting to write.  Should the view
 * name another winner, that one is compiled while they wait. */
static dd_status await_winner(struct recorder *r, const struct outcome *o)
{
  const struct part *p = winner_of(r, o);
  const struct bytes *code;
  dd_status status = p ? build_alone(r->build, p->index, &code) : DD_OK;

  return status == DD_COMPILE ? DD_OK : status; /* record_winner() says it */
}

dd_status record_outcome(struct recorder *r, struct outcome *o)
{
  int64_t problem, race = 0;
  dd_status status;
  uint32_t count = o->count + (o->has_split ? 1 : 0);

  TRY(await_winner(r, o));
  TRY(db_batch_begin(r->db));
  status = db_problem(r->db, &o->problem, &problem);
  if (!status) status = record_race(r, o, problem, &race);
  for (uint32_t i = 0; i < count && !status; ++i)
    status = record_entry(r, o, &o->entries[i], problem, race);
  if (!status) status = take_winner(r, o, problem, false, &o->best);
  if (!status) status = take_winner(r, o, problem, true, &o->best_fused);
  if (!status) status = record_winner(r, o);
  if (!status) return db_batch_commit(r->db);
  db_batch_cancel(r->db);
  return status;
}

static dd_status record_anchor_rows(struct recorder *r, struct outcome *o)
{
  struct entry *e = o->entries;
  struct db_anchor a = {
      .sweep = r->sweep, .device = r->device, .board = r->info->uuid,
      .policy = r->policy, .median_us = e->standing.median_us,
      .low_us = e->standing.low_us, .high_us = e->standing.high_us,
      .copy_us = o->race.copy_us, .floor = o->race.floor};

  TRY(db_problem(r->db, &o->problem, &a.problem));
  TRY(record_candidate(r, e));
  a.candidate = e->row;
  return db_anchor(r->db, &a, &(int64_t){0});
}

dd_status record_anchor(struct recorder *r, struct outcome *o)
{
  dd_status status;

  TRY(db_batch_begin(r->db));
  status = record_anchor_rows(r, o);
  if (!status) return db_batch_commit(r->db);
  db_batch_cancel(r->db);
  return status;
}
