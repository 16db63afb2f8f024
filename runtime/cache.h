/*
 * cache.h - compiled units on disk, known by content.
 *
 * A sweep compiles for minutes what the one before it compiled already.  An
 * entry's name is a hash of the compiler with its options, the target and the
 * text, so that nothing in it can grow old; it carries a hash of the code, so
 * that a damaged one is noticed, removed and compiled again.  Entries are
 * written aside and renamed: any number of processes may share a folder.  A
 * folder that cannot be used costs time and nothing else.  It has a limit
 * (cache_limit.h): what was not used for the longest time makes room.
 */
#ifndef DIFFTUNE_CACHE_H
#define DIFFTUNE_CACHE_H

#include "base.h"

enum { CACHE_FOLDER_MAX = 512 };
struct cache { /* all zero: off */
  char folder[CACHE_FOLDER_MAX];
  uint64_t found, stored, damaged;
  int64_t limit; /* bytes; 0: none */
  int64_t size;  /* of all entries, as far as this process knows */
  int64_t added; /* by it since it looked; -1: it has not looked yet */
};

/* $DIFFTUNE_CACHE, else $XDG_CACHE_HOME/difftune, else ~/.cache/difftune; false
 * where none of them is set or the path is too long. */
bool cache_path(char path[CACHE_FOLDER_MAX]);

/* Makes the folder.  It stays off where that fails or the folder is another
 * user's: the code in it is run.  The status is cache_limit()'s: open it is. */
dd_status cache_open(struct cache *c);

struct hash cache_key(const char *identity, const char *target,
                      const char *text);
/* The same where the text's hash is known. */
struct hash cache_key_hashed(const char *identity, const char *target,
                             const struct hash *text);

/* The code of an entry, or false. */
bool cache_find(struct cache *c, const struct hash *key, struct bytes *code);
void cache_store(struct cache *c, const struct hash *key,
                 const struct bytes *code);

#endif
