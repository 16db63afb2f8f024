/* options.c - the options of a command, as a table. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "output.h"

/* ---- Lists of texts -------------------------------------------------- */

/* A few dozen words per process, kept until it ends. */
static struct arena kept;

static void *keep(size_t size)
{
  void *block = arena_alloc(&kept, size);

  if (block) return block;
  say("out of memory");
  exit(EX_OSERR);
}

void texts_add(struct texts *t, const char *text)
{
  const char **grown = keep((t->count + 1) * sizeof *grown);

  if (t->count) memcpy(grown, t->item, t->count * sizeof *grown);
  grown[t->count] = text;
  t->item = grown;
  t->count++;
}

const char *keep_text(const char *text)
{
  size_t size = strlen(text) + 1;

  return memcpy(keep(size), text, size);
}

bool texts_have(const struct texts *t, const char *text)
{
  for (size_t i = 0; i < t->count; ++i)
    if (!strcmp(t->item[i], text)) return true;
  return false;
}

static void add_list(struct texts *t, const char *list)
{
  while (*list) {
    size_t n = strcspn(list, ",");
    char *word = keep(n + 1);
    memcpy(word, list, n);
    if (n) texts_add(t, word);
    list += n + (list[n] == ',');
  }
}

const char *db_path_or_default(const char *given)
{
  const char *path = given ? given : getenv("DIFFTUNE_DB");

  return path && *path ? path : "difftune.db";
}

/* ---- The nearest word ------------------------------------------------ */

enum { WORD_MAX = 32 };

static int min3(int a, int b, int c)
{
  int least = a < b ? a : b;

  return least < c ? least : c;
}

/* Letters to insert, remove or change, as Levenshtein counts them. */
static int distance(const char *a, const char *b)
{
  int row[WORD_MAX + 1], n = (int)strlen(b);

  if (strlen(a) > WORD_MAX || n > WORD_MAX) return WORD_MAX;
  for (int j = 0; j <= n; ++j) row[j] = j;
  for (int i = 0; a[i]; ++i) {
    int corner = row[0];
    row[0] = i + 1;
    for (int j = 0; j < n; ++j) {
      int above = row[j + 1];
      row[j + 1] = min3(above + 1, row[j] + 1, corner + (a[i] != b[j]));
      corner = above;
    }
  }
  return row[n];
}

const char *nearest_word(const char *word, const char *const *words)
{
  const char *best = NULL;
  int least = (int)strlen(word) / 4 + 2;

  for (; *words; ++words) {
    int d = distance(word, *words);
    if (d >= least) continue;
    least = d;
    best = *words;
  }
  return best;
}

/* ---- Help ------------------------------------------------------------ */

struct command_text {
  const char *name, *arguments, *help;
};
static const struct command_text command_texts[] = {
#define COMMAND_TEXT(name, arguments, help) {#name, arguments, help},
    COMMAND_MAP(COMMAND_TEXT)
#undef COMMAND_TEXT
};

static const struct command_text *text_of(const char *name)
{
  for (size_t i = 0; i < COUNT_OF(command_texts); ++i)
    if (!strcmp(command_texts[i].name, name)) return &command_texts[i];
  return NULL;
}

static void print_option(const struct option *o)
{
  char left[64];
  int n = o->letter ? snprintf(left, sizeof left, "-%c, ", o->letter)
                    : snprintf(left, sizeof left, "    ");

  snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", o->name,
           o->argument ? " " : "", o->argument ? o->argument : "");
  printf("  %-28s  %s\n", left, o->help);
}

static void print_help(const struct option *table, const char *command)
{
  const struct command_text *t = text_of(command);

  printf("usage: difftune %s%s%s", command, t && *t->arguments ? " " : "",
         t ? t->arguments : "");
  if (table->kind && t && !strstr(t->arguments, "[OPTIONS]"))
    printf(" [OPTIONS]");
  printf("\n\n");
  if (t) printf("  %s\n\n", t->help);
  for (; table->kind; ++table) print_option(table);
  printf("  %-28s  show this help\n", "-h, --help");
}

/* ---- Values ---------------------------------------------------------- */

static bool bad_value(const struct option *o, const char *value,
                      const char *wanted)
{
  say("--%s wants %s, not '%s'", o->name, wanted, value);
  return false;
}

static bool set_int(const struct option *o, const char *text)
{
  char wanted[80], *end;
  long long value;

  errno = 0;
  value = strtoll(text, &end, 10);
  if (*text && !*end && !errno && value >= o->min && value <= o->max) {
    *(int64_t *)o->value = value;
    return true;
  }
  snprintf(wanted, sizeof wanted, "a number from %lld to %lld",
           (long long)o->min, (long long)o->max);
  return bad_value(o, text, wanted);
}

/* "'a', 'b' or 'c'" */
static void list_choices(const struct option *o, struct bytes *out)
{
  for (int i = 0; o->choices[i]; ++i)
    bytes_printf(out, "%s'%s'", !i ? "" : o->choices[i + 1] ? ", " : " or ",
                 o->choices[i]);
}

static bool set_choice(const struct option *o, const char *text)
{
  struct bytes words = BYTES_INIT;

  for (int i = 0; o->choices[i]; ++i) {
    if (strcmp(o->choices[i], text)) continue;
    *(int *)o->value = i;
    return true;
  }
  list_choices(o, &words);
  bad_value(o, text, bytes_string(&words));
  bytes_release(&words);
  return false;
}

static bool set_value(const struct option *o, const char *text)
{
  switch (o->kind) {
  case OPTION_TEXT:
    *(const char **)o->value = text;
    return true;
  case OPTION_INT:
    return set_int(o, text);
  case OPTION_TEXTS:
    texts_add(o->value, text);
    return true;
  case OPTION_LIST:
    add_list(o->value, text);
    return true;
  case OPTION_CHOICE:
    return set_choice(o, text);
  case OPTION_FLAG:
  case OPTION_END:
    break;
  }
  return false;
}

/* ---- Parsing --------------------------------------------------------- */

struct parse {
  const struct option *table;
  int argc, at;
  char **argv;
};

static const struct option *find_name(const struct option *table,
                                      const char *name, size_t size)
{
  for (; table->kind; ++table)
    if (strlen(table->name) == size && !memcmp(table->name, name, size))
      return table;
  return NULL;
}

static bool unknown_option(const struct parse *p, const char *given)
{
  const char *words[64], *near;
  size_t n = 0, size = strcspn(given, "=");
  char name[WORD_MAX + 1];

  for (const struct option *o = p->table; o->kind && n < 63; ++o)
    words[n++] = o->name;
  words[n] = NULL;
  snprintf(name, sizeof name, "%.*s", (int)size, given);
  near = nearest_word(name, words);
  if (near)
    say("no option is named '--%.*s'; did you mean '--%s'?", (int)size, given,
        near);
  else
    say("no option is named '--%.*s'; 'difftune %s -h' lists them", (int)size,
        given, p->argv[0]);
  return false;
}

/* The value of an option that wants one: after '=' or the next word. */
static bool take_value(struct parse *p, const struct option *o,
                       const char *attached)
{
  if (attached) return set_value(o, attached);
  if (p->at + 1 < p->argc) return set_value(o, p->argv[++p->at]);
  say("--%s wants a value: %s", o->name, o->argument);
  return false;
}

static bool set_flag(const struct option *o, bool on, const char *attached)
{
  if (attached) {
    say("--%s takes no value, but '%s' was given", o->name, attached);
    return false;
  }
  *(bool *)o->value = on;
  return true;
}

static bool parse_long(struct parse *p, const char *text)
{
  size_t size = strcspn(text, "=");
  const char *attached = text[size] ? text + size + 1 : NULL;
  const struct option *o = find_name(p->table, text, size);

  if (o && o->kind == OPTION_FLAG) return set_flag(o, true, attached);
  if (o) return take_value(p, o, attached);
  if (size > 3 && !memcmp(text, "no-", 3))
    o = find_name(p->table, text + 3, size - 3);
  if (o && o->kind == OPTION_FLAG) return set_flag(o, false, attached);
  return unknown_option(p, text);
}

static bool parse_letters(struct parse *p, const char *text)
{
  for (; *text; ++text) {
    const struct option *o = p->table;
    while (o->kind && o->letter != *text) ++o;
    if (!o->kind) {
      say("no option is named '-%c'; 'difftune %s -h' lists them", *text,
          p->argv[0]);
      return false;
    }
    if (o->kind != OPTION_FLAG)
      return take_value(p, o, text[1] ? text + 1 : NULL);
    *(bool *)o->value = true;
  }
  return true;
}

static bool parse_rest(struct texts *rest, const char *text)
{
  if (rest)
    texts_add(rest, text);
  else
    say("an argument too many: '%s'", text);
  return rest != NULL;
}

static bool wants_help(int argc, char **argv)
{
  for (int i = 1; i < argc && strcmp(argv[i], "--"); ++i)
    if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) return true;
  return false;
}

static bool parse_all(struct parse *p, struct texts *rest)
{
  bool ended = false, ok = true;

  for (p->at = 1; ok && p->at < p->argc; ++p->at) {
    const char *text = p->argv[p->at];
    if (ended || text[0] != '-' || !text[1])
      ok = parse_rest(rest, text);
    else if (!strcmp(text, "--"))
      ended = true;
    else if (text[1] == '-')
      ok = parse_long(p, text + 2);
    else
      ok = parse_letters(p, text + 1);
  }
  return ok;
}

bool options_parse(const struct option *table, int argc, char **argv,
                   struct texts *rest, int *code)
{
  struct parse p = {table, argc, 1, argv};

  if (wants_help(argc, argv)) {
    print_help(table, argv[0]);
    *code = 0;
    return false;
  }
  *code = EX_USAGE;
  return parse_all(&p, rest);
}
