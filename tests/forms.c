/*
 * forms.c - prints problems that take in every form of an op.
 *
 * usage: forms OP
 *
 * For each io dtype and rounding, every choice of every field (of an operand:
 * form and dtype) is in a problem, unless the op's rules forbid it.  What the
 * choices are comes from the spec; what goes together, from the op's trials.
 * The problems are small, for `difftune check --shapes FILE`.
 */
#include <stdio.h>
#include <string.h>

#include "specs.h"

enum { MAX_FIELDS = 24, MAX_OPTIONS = 24, TEXT = 1024 };

struct option_text {
  char text[64];    /* "row:fp32" */
  int64_t value[2]; /* the choice, and its dtype where it has one */
};

struct field {
  int symbol;
  bool suffixed;
  int count;
  struct option_text option[MAX_OPTIONS];
};

struct forms {
  const struct specs *specs;
  const struct op *op;
  struct problems trials;
  int count, rounding; /* the first field is io */
  int printed;
  struct field field[MAX_FIELDS];
  /* by io and rounding, field and option */
  bool seen[16][MAX_FIELDS][MAX_OPTIONS];
};

typedef int settings[MAX_FIELDS]; /* an option each, or -1 */

/* ---- What there is to choose ----------------------------------------------- */

static void add_option(struct field *f, const char *word, int64_t value,
                       const struct choice *suffix)
{
  struct option_text *o = &f->option[f->count++];

  snprintf(o->text, sizeof o->text, "%s%s%s", word, suffix ? ":" : "",
           suffix ? suffix->word : "");
  o->value[0] = value;
  o->value[1] = suffix ? suffix->value : 0;
}

static void add_choices(struct field *f, const struct symbol *s)
{
  for (uint32_t i = 0; i < s->choice_count; ++i) {
    const struct choice *c = &s->choices[i];
    bool none = strcmp(c->word, "none") == 0;
    if (!f->suffixed || none) add_option(f, c->word, c->value, NULL);
    for (uint32_t j = 0; f->suffixed && !none && j < s[1].choice_count; ++j)
      add_option(f, c->word, c->value, &s[1].choices[j]);
  }
}

/* A number of few values is a choice, too: segments=1, segments=2. */
static void add_field(struct forms *all, uint32_t i)
{
  const struct op *op = all->op;
  const struct symbol *s = &op->symbols[i];
  struct field *f = &all->field[all->count];
  bool few = s->kind == SYMBOL_INT && !s->dynamic && s->max - s->min < 4;
  char word[24];

  if (s->kind != SYMBOL_IO && s->kind != SYMBOL_CHOICE && !few) return;
  if (strcmp(s->name, "rounding") == 0) all->rounding = all->count;
  f->symbol = (int)i;
  f->suffixed = i + 1 < op->symbol_count && s[1].kind == SYMBOL_SUFFIX;
  if (!few) add_choices(f, s);
  for (int64_t v = s->min; few && v <= s->max; ++v) {
    snprintf(word, sizeof word, "%lld", (long long)v);
    add_option(f, word, v, NULL);
  }
  all->count++;
}

static int option_of(const struct field *f, const struct problem *p)
{
  for (int i = 0; i < f->count; ++i) {
    const struct option_text *o = &f->option[i];
    bool none = !strchr(o->text, ':');
    if (p->value[f->symbol] == o->value[0] &&
        (!f->suffixed || none || p->value[f->symbol + 1] == o->value[1]))
      return i;
  }
  return -1;
}

/* ---- A problem of some choices --------------------------------------------- */

static const char *sizes_of(const struct op *op)
{
  if (op_symbol_find(op, "hidden") >= 0)
    return "batch=2 seq=12 frames=3 hidden=96";
  if (op_symbol_find(op, "head_dim") >= 0)
    return "tokens=5 q_heads=4 head_dim=64";
  return "tokens=5 rope_dim=64";
}

static void spell(const struct forms *all, const settings set, char text[TEXT])
{
  size_t n = (size_t)snprintf(text, TEXT, "%s:%s %s", all->op->name,
                              all->field[0].option[set[0]].text,
                              sizes_of(all->op));

  for (int f = 1; f < all->count; ++f) {
    const char *name = all->op->symbols[all->field[f].symbol].name;
    if (set[f] < 0) continue;
    n += (size_t)snprintf(text + n, TEXT - n, " %s=%s", name,
                          all->field[f].option[set[f]].text);
    if (strcmp(name, "segments") == 0 && set[f] == 1)
      n += (size_t)snprintf(text + n, TEXT - n, " text_tokens=2");
  }
}

static bool is_legal(const struct forms *all, const settings set,
                     struct problem *p)
{
  char text[TEXT];

  spell(all, set, text);
  return problem_parse(&all->specs->ops, text, p) == DD_OK;
}

static bool *seen_of(struct forms *all, const settings set, int f)
{
  return all->seen[set[0] * 4 + set[all->rounding]][f];
}

/* A choice nobody has shown yet, or else any that goes; the field's default
 * where none does.  Fields begin at different ones, so that two operands seldom
 * have the same form. */
static void choose(struct forms *all, settings set, int f)
{
  const bool *seen = seen_of(all, set, f);
  int count = all->field[f].count;
  struct problem p;

  for (int i = 0; i < 2 * count; ++i) {
    set[f] = (i + 4 * f + all->printed) % count;
    if ((i >= count || !seen[set[f]]) && is_legal(all, set, &p)) return;
  }
  set[f] = -1;
}

static void print_form(struct forms *all, settings set)
{
  char text[TEXT];
  struct problem p;

  for (int f = 0; f < all->count; ++f)
    if (set[f] < 0) choose(all, set, f);
  spell(all, set, text);
  puts(text);
  all->printed++;
  is_legal(all, set, &p);
  for (int f = 0; f < all->count; ++f) {
    int option = option_of(&all->field[f], &p);
    if (option >= 0) seen_of(all, set, f)[option] = true;
  }
}

/* ---- What a choice needs ---------------------------------------------------- */

/* The choices that a trial spells. */
static void read_trial(const struct forms *all, const struct problem *trial,
                       settings set)
{
  struct bytes text = BYTES_INIT;

  problem_print(trial, &text);
  for (int f = 0; f < all->count; ++f) {
    char word[64];
    snprintf(word, sizeof word, " %s=",
             all->op->symbols[all->field[f].symbol].name);
    set[f] = strstr(bytes_string(&text), word)
                 ? option_of(&all->field[f], trial) : -1;
  }
  bytes_release(&text);
}

static void show(struct forms *all, int io, int rounding, int f, int option)
{
  settings set;
  struct problem p;

  for (size_t i = 0; i <= all->trials.count; ++i) {
    if (i) read_trial(all, &all->trials.item[i - 1], set);
    else memset(set, -1, sizeof set);
    set[0] = io;
    set[all->rounding] = rounding;
    set[f] = option;
    if (seen_of(all, set, f)[option]) return;
    if (is_legal(all, set, &p)) {
      print_form(all, set);
      return;
    }
  }
}

static void show_all(struct forms *all)
{
  for (int io = 0; io < all->field[0].count; ++io)
    for (int r = 0; r < all->field[all->rounding].count; ++r)
      for (int f = 1; f < all->count; ++f)
        for (int o = 0; f != all->rounding && o < all->field[f].count; ++o)
          show(all, io, r, f, o);
}

static dd_status run(const char *name, struct specs *specs, struct forms *all)
{
  struct texts ops = {0}, none = {0};

  TRY(specs_load(specs, NULL));
  all->specs = specs;
  all->op = op_find(&specs->ops, name);
  if (!all->op) return fail(DD_BAD_ARGUMENT, "no op is named '%s'", name);
  texts_add(&ops, name);
  TRY(problems_read(specs, &none, &ops, &all->trials));
  for (uint32_t i = 0; i < all->op->symbol_count; ++i) add_field(all, i);
  show_all(all);
  return DD_OK;
}

int main(int argc, char **argv)
{
  static struct forms all;
  struct specs specs = {0};
  dd_status status = run(argc > 1 ? argv[1] : "", &specs, &all);

  if (status) fprintf(stderr, "forms: %s\n", dd_last_error());
  problems_release(&all.trials);
  specs_release(&specs);
  return status != DD_OK;
}
