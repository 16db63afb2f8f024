/* stored.c - a variant of the database as the specs at hand see it. */
#include "stored.h"

#include <stdlib.h>
#include <string.h>

#include "emit.h"

/* A fact's value as variant_print_facts() writes it: a word or a number. */
static bool fact_value(const struct symbol *s, const char *text, int64_t *value)
{
  char *end;

  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (!strcmp(s->choices[i].word, text)) {
      *value = s->choices[i].value;
      return true;
    }
  *value = strtoll(text, &end, 10);
  return *text && !*end;
}

static bool set_fact(struct variant *v, const char *name, const char *text)
{
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i) {
    const struct symbol *s = &v->op->symbols[v->scheme->facts[i]];
    if (!strcmp(s->name, name)) return fact_value(s, text, &v->fact[i]);
  }
  return false;
}

static bool set_tunable(struct variant *v, const char *name, const char *text)
{
  int at = scheme_tunable_find(v->scheme, name);
  char *end;

  if (at < 0) return false;
  v->tunable[at] = strtoll(text, &end, 10);
  if (*text && !*end) return true;
  v->tunable[at] = !strcmp(text, "true");
  return v->tunable[at] || !strcmp(text, "false");
}

typedef bool set_value(struct variant *v, const char *name, const char *text);

/* "lanes=16 heads=4": each word to `set`; *count of them. */
static bool read_words(struct variant *v, const char *text, set_value *set,
                       uint32_t *count)
{
  char word[128], *equals;

  for (*count = 0; *text; ++*count) {
    size_t n = strcspn(text, " ");
    if (n >= sizeof word) return false;
    memcpy(word, text, n);
    word[n] = 0;
    equals = strchr(word, '=');
    if (!equals) return false;
    *equals = 0;
    if (!set(v, word, equals + 1)) return false;
    text += n + (text[n] == ' ');
  }
  return true;
}

bool stored_parse(const struct specs *specs, const struct db_variant_row *row,
                  struct variant *v)
{
  uint32_t tunables, facts;

  memset(v, 0, sizeof *v);
  v->op = op_find(&specs->ops, row->op);
  v->scheme = v->op ? op_scheme_find(v->op, row->scheme) : NULL;
  if (!v->scheme || !read_words(v, row->tunables, set_tunable, &tunables) ||
      !read_words(v, row->facts, set_fact, &facts))
    return false;
  v->hash = row->hash;
  return tunables == v->scheme->tunable_count &&
         facts == v->scheme->fact_count;
}

bool stored_is_current(const struct specs *specs,
                       const struct db_variant_row *row, struct variant *v)
{
  struct bytes text = BYTES_INIT;
  bool same = stored_parse(specs, row, v) &&
              !emit_variant(&specs->tree, v, &text) &&
              hash_equal(&v->hash, &row->hash);

  bytes_release(&text);
  return same;
}

bool stored_is_current_in(struct build *b, const struct db_variant_row *row,
                          struct variant *v)
{
  const struct emit_scheme *text;

  return stored_parse(b->specs, row, v) && !build_source(b, v, &text) &&
         !emit_hash(text, v) && hash_equal(&v->hash, &row->hash);
}
