/*
 * options.h - the options of a command, as a table.
 *
 * A command describes its options once; parsing, errors and the text of -h
 * come from the table:
 *
 *     const char *out = NULL;
 *     int64_t jobs = 0;
 *     const struct option table[] = {
 *       OPT_TEXT("out", 'o', &out, "FILE", "write here, not to stdout"),
 *       OPT_INT("jobs", 'j', &jobs, 1, 1024, "N", "workers at once"),
 *       OPT_END};
 *     if (!options_parse(table, argc, argv, NULL, &code)) return code;
 *
 * Spelled "--name value", "--name=value", "-n value", "-nvalue"; flags as
 * "--name" and "--no-name"; "--" ends them.  Values are pointers into argv, or
 * live as long as the process.
 */
#ifndef DIFFTUNE_OPTIONS_H
#define DIFFTUNE_OPTIONS_H

#include "base.h"

struct texts {
  const char **item;
  size_t count;
};

enum option_kind {
  OPTION_END,
  OPTION_FLAG,    /* bool */
  OPTION_TEXT,    /* const char *: the last one counts */
  OPTION_INT,     /* int64_t, min to max */
  OPTION_TEXTS,   /* struct texts: may be repeated */
  OPTION_LIST,    /* struct texts: separated by commas, may be repeated */
  OPTION_CHOICE,  /* int: the index of the word in `choices` */
};

struct option {
  enum option_kind kind;
  const char *name;
  char letter; /* 0: none */
  void *value; /* left alone where the option is not given */
  const char *argument, *help;
  const char *const *choices; /* NULL at the end */
  int64_t min, max;
};

/* The `1 ?` makes a pointer of the wrong type a compile error. */
#define OPT_OF(type, value) ((void *)(1 ? (value) : (type *)0))
#define OPT_FLAG(name, letter, value, help)                                    \
  {OPTION_FLAG, name, letter, OPT_OF(bool, value), NULL, help, NULL, 0, 0}
#define OPT_TEXT(name, letter, value, argument, help)                          \
  {OPTION_TEXT, name, letter, OPT_OF(const char *, value), argument, help,     \
   NULL, 0, 0}
#define OPT_INT(name, letter, value, min, max, argument, help)                 \
  {OPTION_INT, name, letter, OPT_OF(int64_t, value), argument, help, NULL,     \
   min, max}
#define OPT_TEXTS(name, letter, value, argument, help)                         \
  {OPTION_TEXTS, name, letter, OPT_OF(struct texts, value), argument, help,    \
   NULL, 0, 0}
#define OPT_LIST(name, letter, value, argument, help)                          \
  {OPTION_LIST, name, letter, OPT_OF(struct texts, value), argument, help,     \
   NULL, 0, 0}
#define OPT_CHOICE(name, letter, value, words, argument, help)                 \
  {OPTION_CHOICE, name, letter, OPT_OF(int, value), argument, help, words, 0, 0}
#define OPT_END {OPTION_END, NULL, 0, NULL, NULL, NULL, NULL, 0, 0}

/* The options that several commands have; take the rows that apply. */
#define OPT_VARIANTS(value)                                                    \
  OPT_TEXT("variants", 0, value, "DIR",                                        \
           "read specs and kernels from here, not those built in")
#define OPT_DB(value)                                                          \
  OPT_TEXT("db", 0, value, "FILE",                                             \
           "the tuning database ($DIFFTUNE_DB, else ./difftune.db)")
#define OPT_JSON(value) OPT_FLAG("json", 0, value, "print JSON")
#define OPT_OPS(value)                                                         \
  OPT_LIST("op", 0, value, "OP,...", "only these ops")
#define OPT_SHAPES(value)                                                      \
  OPT_TEXTS("shapes", 0, value, "SPELLING|FILE|zoo",                           \
            "problems, a file with one per line, or all of variants/zoo.lua")

/* Reads argv[1..] and gives what is not an option in *rest (NULL: there may be
 * nothing else).  False: the command is over and *code is its exit code; help
 * was printed on stdout (0), or what is wrong on stderr (64). */
bool options_parse(const struct option *table, int argc, char **argv,
                   struct texts *rest, int *code);

/* Puts one more at the end. */
void texts_add(struct texts *t, const char *text);
const char *keep_text(const char *text); /* a copy, kept until the end */
bool texts_have(const struct texts *t, const char *text);

/* $DIFFTUNE_DB or ./difftune.db where `given` is NULL. */
const char *db_path_or_default(const char *given);

/* The word of a NULL-terminated list most like `word`; NULL: none is near. */
const char *nearest_word(const char *word, const char *const *words);

#endif
