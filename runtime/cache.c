/* cache.c - compiled units on disk, known by content. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache_limit.h"

enum {
  ENTRY_MAX = CACHE_FOLDER_MAX + 80,
  ENTRY_LIMIT = 512 << 20, /* as large as a worker's answer may be */
  HEAD = 8 + 2 * sizeof(struct hash),
};
static const char magic[8] = "dtunit1"; /* then the key, the hash, the code */

/* ---- The folder ------------------------------------------------------ */

static bool join(char path[CACHE_FOLDER_MAX], const char *folder,
                 const char *more)
{
  int n = folder && *folder
              ? snprintf(path, CACHE_FOLDER_MAX, "%s%s", folder, more)
              : 0;

  return n > 0 && n < CACHE_FOLDER_MAX;
}

bool cache_path(char path[CACHE_FOLDER_MAX])
{
  return join(path, secure_getenv("DIFFTUNE_CACHE"), "") ||
         join(path, secure_getenv("XDG_CACHE_HOME"), "/difftune") ||
         join(path, secure_getenv("HOME"), "/.cache/difftune");
}

/* With the folders above it, as far as they are missing. */
static bool make_folders(char *path)
{
  for (char *slash = strchr(path + 1, '/'); slash;
       slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
  }
  return !mkdir(path, 0700) || errno == EEXIST;
}

static bool is_mine(const char *path)
{
  struct stat s;

  return !stat(path, &s) && S_ISDIR(s.st_mode) && s.st_uid == geteuid() &&
         !(s.st_mode & (S_IWGRP | S_IWOTH));
}

dd_status cache_open(struct cache *c)
{
  memset(c, 0, sizeof *c);
  if (!cache_path(c->folder) || !make_folders(c->folder) || !is_mine(c->folder))
    c->folder[0] = 0;
  c->added = -1;
  return cache_limit(&c->limit);
}

/* ---- Entries --------------------------------------------------------- */

struct hash cache_key_hashed(const char *identity, const char *target,
                             const struct hash *text)
{
  const struct hash all[] = {hash_of(identity, strlen(identity)),
                             hash_of(target, strlen(target)), *text};

  return hash_of(all, sizeof all);
}

struct hash cache_key(const char *identity, const char *target,
                      const char *text)
{
  const struct hash hash = hash_of(text, strlen(text));

  return cache_key_hashed(identity, target, &hash);
}

/* Two digits name a folder of their own: 10^5 entries are a lot for one. */
static void entry_path(const struct cache *c, const struct hash *key,
                       char path[ENTRY_MAX], bool make)
{
  char hex[HASH_HEX];

  hash_hex(key, hex);
  snprintf(path, ENTRY_MAX, "%s/%.2s", c->folder, hex);
  if (make) mkdir(path, 0700);
  snprintf(path, ENTRY_MAX, "%s/%.2s/%s", c->folder, hex, hex + 2);
}

static bool is_whole(const struct bytes *entry, const struct hash *key)
{
  struct hash h;

  if (entry->size < HEAD || memcmp(entry->data, magic, sizeof magic) ||
      memcmp(entry->data + sizeof magic, key, sizeof *key))
    return false;
  h = hash_of(entry->data + HEAD, entry->size - HEAD);
  return !memcmp(entry->data + sizeof magic + sizeof *key, &h, sizeof h);
}

bool cache_find(struct cache *c, const struct hash *key, struct bytes *code)
{
  char path[ENTRY_MAX];

  bytes_clear(code);
  if (!c->folder[0]) return false;
  entry_path(c, key, path, false);
  if (access(path, F_OK)) return false;
  if (!file_read(path, ENTRY_LIMIT, code) && is_whole(code, key)) {
    code->size -= HEAD;
    memmove(code->data, code->data + HEAD, code->size + 1); /* and its NUL */
    utimensat(AT_FDCWD, path, NULL, 0); /* it was used */
    c->found++;
    return true;
  }
  bytes_clear(code);
  c->damaged += !remove(path); /* not where it went to make room meanwhile */
  return false;
}

/* Others add to the folder too: it is looked at again after a sixteenth of the
 * limit, and not each time, because looking takes a call per entry. */
static void make_room(struct cache *c, int64_t size)
{
  if (!c->limit) return;
  if (c->added >= 0) {
    c->added += size;
    c->size += size;
    if (c->size <= c->limit && c->added <= c->limit / 16) return;
  }
  c->size = cache_trim(c->folder, c->limit);
  c->added = 0;
}

/* Not synced: what a power cut leaves of it does not have its hash. */
static bool write_aside(char *path, const struct bytes *head,
                        const struct bytes *code)
{
  int fd = mkstemp(path);
  FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
  bool written;

  if (!f && fd >= 0) close(fd);
  if (!f) return false;
  written = fwrite(head->data, 1, head->size, f) == head->size &&
            fwrite(code->data, 1, code->size, f) == code->size;
  return !fclose(f) && written;
}

void cache_store(struct cache *c, const struct hash *key,
                 const struct bytes *code)
{
  char path[ENTRY_MAX], aside[ENTRY_MAX + 8];
  struct bytes head = BYTES_INIT;
  struct hash h = hash_of(code->data, code->size);

  if (!c->folder[0] || !code->size) return;
  if (c->limit && (int64_t)code->size > c->limit) return;
  bytes_add(&head, magic, sizeof magic);
  bytes_add(&head, key, sizeof *key);
  bytes_add(&head, &h, sizeof h);
  entry_path(c, key, path, true);
  snprintf(aside, sizeof aside, "%s.XXXXXX", path);
  if (!head.failed && write_aside(aside, &head, code) && !rename(aside, path)) {
    c->stored++;
    make_room(c, (int64_t)(head.size + code->size));
  } else {
    remove(aside);
  }
  bytes_release(&head);
}
