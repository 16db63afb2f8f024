/*
 * explain.c - what would be chosen for a problem, and why not the others.
 *
 * For people and bug reports: it may be slow.  One line says what is chosen,
 * one which table is there; then one line per plan that the table has for the
 * op, with the first reason that stood against it.
 */
#include "special.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_target(const char *kind, int arch, int sms, struct bytes *out)
{
  if (!strcmp(kind, "cuda"))
    bytes_printf(out, "cuda sm_%d, %d SMs", arch, sms);
  else
    bytes_text(out, *kind ? kind : "any");
}

static void print_table_line(const char *label, const struct matcher *m,
                             struct bytes *out)
{
  const struct table *t = m->table;

  bytes_text(out, label);
  if (!t) {
    bytes_text(out, "none\n");
    return;
  }
  bytes_printf(out, "%s (", t->device_name);
  print_target(t->device_kind, t->arch, t->sms, out);
  bytes_printf(out, "), %u plans, %s, made by %s", t->plan_count,
               *t->policy ? t->policy : "no policy",
               *t->provenance ? t->provenance : "an unknown hand");
  switch (match_device(t, m->device)) {
  case MATCH_SAME: bytes_text(out, ": this device\n"); break;
  case MATCH_SAME_ARCH: bytes_text(out, ": another of the same arch\n"); break;
  case MATCH_FOREIGN: bytes_text(out, ": not used, it is for another\n"); break;
  }
}

static void print_devices(const struct matcher *m, struct bytes *out)
{
  bytes_printf(out, "device    %s (", m->device->name);
  print_target(m->device->kind, m->device->arch, m->device->sms, out);
  bytes_text(out, ")\n");
  print_table_line("table     ", m, out);
  if (m->under) print_table_line("under it  ", m->under, out);
}

/* "layout (neox, not interleaved)" */
static void print_value(const struct symbol *s, int64_t value,
                        struct bytes *out)
{
  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (s->choices[i].value == value) {
      bytes_text(out, s->choices[i].word);
      return;
    }
  bytes_printf(out, "%" PRId64, value);
}

static void print_difference(const struct problem *plan,
                             const struct problem *p, const struct symbol *s,
                             struct bytes *out)
{
  size_t i = (size_t)(s - p->op->symbols);

  bytes_printf(out, "%s differs (", s->name);
  print_value(s, plan->value[i], out);
  bytes_text(out, ", not ");
  print_value(s, p->value[i], out);
  bytes_text(out, ")");
}

/* Why a plan whose variants fit was not taken.  `lead`: which must be agreed
 * with; NULL: none. */
static void print_rank(const struct matcher *m, const struct table_plan *t,
                       const struct table_plan *lead,
                       const struct match *chosen, struct bytes *out)
{
  double distance = match_distance(&t->problem, &chosen->problem);
  enum match_device device = match_device(m->table, m->device);
  bool near = distance <= MATCH_NEAR_OCTAVES;

  if (device == MATCH_FOREIGN)
    bytes_text(out, "measured on a device of another arch");
  else if (m->exact_only && device != MATCH_SAME)
    bytes_text(out, "measured on another device");
  else if (lead && !match_agrees(m->table, lead, t))
    bytes_text(out, "other bits than the longest plan (DD_OPEN_SAME_BITS)");
  else if (m->exact_only)
    bytes_text(out, "another problem, and only exact ones are wanted");
  else if (chosen->interval && distance <= MATCH_NEAR_OCTAVES)
    bytes_printf(out, "the interval goes before: %.2f octaves away", distance);
  else if (chosen->plan && distance <= chosen->distance)
    bytes_text(out, "as near, and later by its spelling");
  else
    bytes_printf(out, "%s: %.2f octaves away", near ? "farther" : "too far",
                 distance);
}

static void print_refusal(const struct matcher *m, const struct table_plan *t,
                          const struct table_plan *lead,
                          const struct match *chosen, struct bytes *out)
{
  const struct problem *p = &chosen->problem;
  const struct symbol *s = match_static_difference(&t->problem, p);
  struct match scratch;
  const char *why = s ? NULL : match_misfit(m, t, p, &scratch);

  if (s)
    print_difference(&t->problem, p, s, out);
  else if (why)
    bytes_printf(out, "does not fit: %s", why);
  else
    print_rank(m, t, lead, chosen, out);
}

static void print_plan(const struct matcher *m, const struct table_plan *t,
                       const struct table_plan *lead,
                       const struct match *chosen, struct bytes *out)
{
  bytes_printf(out, "  %s: ", t->spelling);
  for (uint32_t i = 0; i < t->step_count; ++i) {
    if (i) bytes_text(out, " + ");
    variant_print(&m->table->variants[t->steps[i]].variant, out);
  }
  bytes_printf(out, ", %.1f us: ", t->us);
  print_refusal(m, t, lead, chosen, out);
  bytes_text(out, "\n");
}

/* What was measured is of another problem, or of another device. */
static bool is_elsewhere(const struct match *c)
{
  return c->distance > 0 || c->how == DD_MATCH_NEAR ||
         c->how == DD_MATCH_INTERVAL || c->how == DD_MATCH_DEVICE;
}

/* Before a number of the plan. */
static const char *where(const struct match *c)
{
  return is_elsewhere(c) ? "measured there: " : "";
}

/* The split form was raced against what was chosen, or the other way round.  Of
 * two that are equal up to noise the one with fewer launches was chosen. */
static void print_split(const struct match *c, struct bytes *out)
{
  const struct table_plan *t = c->plan;

  if (!t || !c->problem.op->step_count) return;
  if (c->interval && c->interval->split != t->split) return;
  if (t->split)
    bytes_text(out, "  the fused variants: slower than the split form where "
               "this was measured\n");
  else if (t->split_us > 0)
    bytes_printf(out, "  the split form: %s, %s%.1f us\n",
                 t->split_us > t->us ? "slower"
                 : t->loss > 0       ? "faster, and not in the table"
                                     : "no faster than noise",
                 where(c), t->split_us);
}

static void print_default(const struct matcher *m, const struct match *c,
                          struct bytes *out)
{
  const struct table_variant *v;

  if (c->how == DD_MATCH_DEFAULT && !c->compiled) return;
  if (table_default(m->floor, &c->problem, &v) || !v) return;
  bytes_text(out, "  ");
  variant_print(&v->variant, out);
  bytes_text(out, c->compiled
                      ? ": the default, for what cannot be compiled\n"
                      : ": the default, for what has nothing measured\n");
}

/* As match_print(), but no number is taken for one of this problem. */
static void print_choice(const struct match *c, struct bytes *out)
{
  if (!is_elsewhere(c) || c->us <= 0) {
    match_print(c, out);
    return;
  }
  match_print_variants(c, out);
  bytes_printf(out, " (%s, %s%.1f us)", match_word(c->how), where(c), c->us);
}

static void print_rule(const struct match *c, struct bytes *out)
{
  bytes_printf(out, "rule      %s", match_word(c->how));
  if (c->interval) {
    const struct table_interval *v = c->interval;
    bytes_printf(out, ": %s %" PRId64 " to %" PRId64 ", measured at %u, the "
                 "nearest as %s", c->problem.op->symbols[v->field].name,
                 v->first, v->last, v->sizes, c->plan->spelling);
  } else if (c->plan) {
    bytes_printf(out, ": measured as %s", c->plan->spelling);
  }
  if (c->plan && c->distance > 0)
    bytes_printf(out, ", %.2f octaves away", c->distance);
  bytes_text(out, "\n");
}

static void print_loss(const struct match *c, struct bytes *out)
{
  if (c->loss == 0 && c->how == DD_MATCH_EXACT)
    bytes_text(out, "loss      none: the best that was measured\n");
  else if (c->how == DD_MATCH_EXACT)
    bytes_printf(out, "loss      %.1f %%: the table lacks the best that was "
                 "measured\n", 100 * c->loss);
  else if (c->interval && c->loss >= 0)
    bytes_printf(out, "loss      %.1f %% is expected, by the sizes measured "
                 "around\n", 100 * c->loss);
  else if (c->loss >= 0)
    bytes_printf(out, "loss      at most %.1f %% on the problems measured next "
                 "to that one\n", 100 * c->loss);
  else
    bytes_text(out, "loss      unknown\n");
}

static void print_rival(const struct match *c, struct bytes *out)
{
  const struct table_plan *t = c->plan;

  if (!t || !*t->rival) return;
  bytes_printf(out, "second    %s%s, %.1f us (%.1f to %.1f)\n", where(c),
               t->rival, t->rival_us, t->rival_low_us, t->rival_high_us);
}

static void print_gain(const struct match *c, struct bytes *out)
{
  if (c->interval && c->interval->gain > 0)
    bytes_printf(out, "gain      at least %.1f %% on the split form where it "
                 "raced\n", 100 * c->interval->gain);
  else if (c->plan && c->plan->gain > 0)
    bytes_printf(out, "gain      %sat least %.1f %% on the split form\n",
                 where(c), 100 * c->plan->gain);
}

/* The best of another size says what this one can reach. */
static void print_copy(const struct match *c, struct bytes *out)
{
  const struct table_plan *t = c->plan;

  if (!t || t->copy_us <= 0) return;
  bytes_printf(out, "copy      %s%.1f us for the same traffic", where(c),
               t->copy_us);
  if (t->us > 0)
    bytes_printf(out, ", %.0f %% of its speed", 100 * t->copy_us / t->us);
  bytes_text(out, "\n");
}

static void print_bits(const struct match *c, struct bytes *out)
{
  uint64_t bits = !c->plan      ? 0
                  : c->interval ? c->interval->bits
                                : c->plan->bits;

  if (bits == BITS_DIFFER)
    bytes_text(out, "bits      differ between batches, or launches\n");
  else if (bits)
    bytes_printf(out, "bits      %016" PRIx64 "\n", bits);
}

/* A device with another number of SMs may want another variant. */
static void print_warning(const struct matcher *m, const struct match *c,
                          struct bytes *out)
{
  const struct table *t = c->table;

  if (c->how == DD_MATCH_DEFAULT || c->how == DD_MATCH_PINNED ||
      match_device(t, m->device) == MATCH_SAME)
    return;
  bytes_printf(out, "warning   measured on %s (", t->device_name);
  print_target(t->device_kind, t->arch, t->sms, out);
  bytes_printf(out, "), this is %s (", m->device->name);
  print_target(m->device->kind, m->device->arch, m->device->sms, out);
  bytes_text(out, ")\n");
}

/* What would have this problem measured, where it was not. */
static void print_hint(const struct matcher *m, const struct match *c,
                       struct bytes *out)
{
  struct bytes spelling = BYTES_INIT;

  if (c->how == DD_MATCH_EXACT || c->how == DD_MATCH_PINNED) return;
  problem_print(&c->problem, &spelling);
  bytes_text(out, "to tune   ");
  print_sweep(m->device, bytes_string(&spelling), out);
  bytes_text(out, "\n");
  out->failed |= spelling.failed;
  bytes_release(&spelling);
}

static void print_chosen(const struct matcher *m, const struct match *c,
                         struct bytes *out)
{
  bytes_text(out, "problem   ");
  problem_print(&c->problem, out);
  bytes_text(out, "\nchosen    ");
  print_choice(c, out);
  for (uint32_t i = 0; i < c->step_count; ++i) {
    bytes_text(out, "\n          compiled for ");
    variant_print_facts(&c->step[i].variant->variant, out);
  }
  bytes_text(out, "\n");
  print_rule(c, out);
  print_copy(c, out);
  print_rival(c, out);
  print_gain(c, out);
  print_loss(c, out);
  print_bits(c, out);
  print_warning(m, c, out);
  print_hint(m, c, out);
}

/* For a choice that no plan was made for: which is the nearest one. */
static void print_nearest(const struct matcher *m, const struct match *c,
                          struct bytes *out)
{
  const struct table_plan *best = NULL;
  double distance = 0;

  for (uint32_t i = 0; i < m->table->plan_count; ++i) {
    const struct table_plan *t = &m->table->plans[i];
    double d;
    if (strcmp(t->problem.op->name, c->problem.op->name)) continue;
    if (match_static_difference(&t->problem, &c->problem)) continue;
    d = match_distance(&t->problem, &c->problem);
    if (best && d >= distance) continue;
    best = t;
    distance = d;
  }
  if (best)
    bytes_printf(out, "nearest   %s, %.2f octaves away\n", best->spelling,
                 distance);
  else
    bytes_text(out, "nearest   none with the same static fields\n");
}

static void print_others(const struct matcher *m, const struct match *c,
                         struct bytes *out)
{
  bool readable = m->table && !table_read_plans(m->table);
  const struct table_plan *lead = NULL;

  if (readable && !c->plan && c->problem.op) print_nearest(m, c, out);
  bytes_text(out, "not taken\n");
  print_split(c, out);
  print_default(m, c, out);
  if (m->table && !readable) {
    bytes_printf(out, "  the table's other plans: %s\n", dd_last_error());
    return;
  }
  if (m->table && m->same_bits && match_lead(m, &c->problem, &lead)) lead = NULL;
  for (uint32_t i = 0; m->table && i < m->table->plan_count; ++i) {
    const struct table_plan *t = &m->table->plans[i];
    if (strcmp(t->problem.op->name, c->problem.op->name)) continue;
    if (t == c->plan && !c->interval) continue;
    print_plan(m, t, lead, c, out);
  }
}

/* What was chosen may be of the floor's ops, or nothing; plans are compared in
 * the ops of their own table. */
static void print_table(const struct matcher *m, const char *spelling,
                        struct match *c, struct bytes *out)
{
  struct problem read;
  const char *other;

  print_devices(m, out);
  if (m->under && c->table == m->under->table) m = m->under;
  if (m->table && c->table != m->table &&
      problem_parse(&m->table->ops, spelling, &c->problem))
    bytes_text(out, "not taken\n  the table: its specs cannot read this "
               "problem\n");
  else if (m->table && !problem_parse(&m->floor->ops, spelling, &read) &&
           (other = problem_difference(&read, &c->problem)))
    bytes_printf(out, "not taken\n  the table: its specs have another '%s' "
                 "than this library for this problem\n", other);
  else if (m->table || c->table)
    print_others(m, c, out);
}

/* What dd_plan_make() would try first; it compiles nothing. */
static void print_made(struct dd_context *ctx, struct match *c,
                          struct special *s, struct bytes *out)
{
  const struct table_variant *generic = c->step[0].variant;

  if (special_find(ctx, c, s) && !special_compiler(s)) {
    c->step[0].variant = generic;
    c->compiled = false;
  }
  print_chosen(&ctx->matcher, c, out);
}

static dd_status explain(struct dd_context *ctx, const char *spelling,
                         struct bytes *out)
{
  const struct matcher *m = &ctx->matcher;
  struct special special;
  struct match chosen;
  dd_status status = choose(ctx, m, spelling, &chosen);

  if (status == DD_UNTUNED || status == DD_UNSUPPORTED) {
    bytes_printf(out, "problem   %s\nchosen    nothing: %s\n", spelling,
                 dd_last_error());
    memset(&chosen, 0, sizeof chosen);
    chosen.how = DD_MATCH_DEFAULT;
  } else {
    TRY(status);
    print_made(ctx, &chosen, &special, out);
  }
  print_table(m, spelling, &chosen, out);
  return bytes_status(out);
}

dd_status dd_explain(dd_context *ctx, const dd_problem *problem, char *text,
                     size_t size, size_t *length)
{
  struct bytes out = BYTES_INIT;
  dd_problem p;
  dd_status status;

  if (length) *length = 0;
  if (text && size) *text = 0;
  TRY(context_check(ctx));
  TRY(struct_read("dd_problem", problem,
                  offsetof(dd_problem, spelling) + sizeof(char *), &p,
                  sizeof p));
  if (!p.spelling) return fail(DD_BAD_ARGUMENT, "dd_problem.spelling is NULL");
  status = explain(ctx, p.spelling, &out);
  if (!status && length) *length = out.size;
  if (!status) text_cut(bytes_string(&out), out.size, text, size);
  bytes_release(&out);
  return status;
}
