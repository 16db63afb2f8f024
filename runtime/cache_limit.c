/* cache_limit.c - how large the folder of compiled units may become. */
#include "cache_limit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_SIZE = 80, MOST_MB = 1 << 24, USUAL_MB = 2048 };

dd_status cache_limit(int64_t *limit)
{
  const char *text = secure_getenv("DIFFTUNE_CACHE_MB");
  char *end;
  long mb;

  *limit = (int64_t)USUAL_MB << 20;
  if (!text || !*text) return DD_OK;
  mb = strtol(text, &end, 10);
  if (*end || mb < 0 || mb > MOST_MB)
    return fail(DD_BAD_ARGUMENT, "DIFFTUNE_CACHE_MB wants megabytes, 0 for no "
                "limit, not '%.40s'; it is %d", text, USUAL_MB);
  *limit = (int64_t)mb << 20;
  return DD_OK;
}

/* ---- What is there ------------------------------------------------------- */

struct used {
  char name[NAME_MAX_SIZE]; /* with its folder's two digits */
  int64_t size;
  struct timespec when;
};

struct entries {
  int folder; /* -1: it cannot be read */
  struct used *item;
  size_t count, capacity;
  int64_t size;
};

static void add_entry(struct entries *e, const char *name,
                      const struct stat *s)
{
  size_t more = e->capacity ? 2 * e->capacity : 1024;
  struct used *bigger = e->item, *u;

  e->size += s->st_size;
  if (e->count == e->capacity) {
    bigger = mem_resize(NULL, e->item, e->capacity * sizeof *u,
                        more * sizeof *u);
    if (!bigger) return; /* it goes another time */
    e->item = bigger;
    e->capacity = more;
  }
  u = &e->item[e->count++];
  snprintf(u->name, sizeof u->name, "%s", name);
  u->size = s->st_size;
  u->when = s->st_mtim;
}

static void read_folder(struct entries *e, const char *digits)
{
  int at = openat(e->folder, digits, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *all = at < 0 ? NULL : fdopendir(at);
  struct dirent *d;

  while (all && (d = readdir(all))) {
    char name[NAME_MAX_SIZE];
    struct stat s;
    int n = snprintf(name, sizeof name, "%s/%s", digits, d->d_name);
    if (n < (int)sizeof name && !fstatat(at, d->d_name, &s, 0) &&
        S_ISREG(s.st_mode))
      add_entry(e, name, &s);
  }
  if (all) closedir(all);
  else if (at >= 0) close(at);
}

static void read_all(struct entries *e, const char *folder)
{
  *e = (struct entries){
      .folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  for (int i = 0; i < 256 && e->folder >= 0; ++i) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", i);
    read_folder(e, digits);
  }
}

/* ---- What goes ----------------------------------------------------------- */

static int longest_unused_first(const void *left, const void *right)
{
  const struct used *a = left, *b = right;

  if (a->when.tv_sec != b->when.tv_sec)
    return a->when.tv_sec < b->when.tv_sec ? -1 : 1;
  if (a->when.tv_nsec != b->when.tv_nsec)
    return a->when.tv_nsec < b->when.tv_nsec ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* One that another process has removed is gone as well. */
static void remove_down_to(struct entries *e, int64_t size)
{
  qsort(e->item, e->count, sizeof *e->item, longest_unused_first);
  for (size_t i = 0; i < e->count && e->size > size; ++i) {
    unlinkat(e->folder, e->item[i].name, 0);
    e->size -= e->item[i].size;
  }
}

int64_t cache_trim(const char *folder, int64_t limit)
{
  struct entries e;

  read_all(&e, folder);
  if (e.count && e.size > limit) remove_down_to(&e, limit - limit / 10);
  if (e.folder >= 0) close(e.folder);
  mem_resize(NULL, e.item, e.capacity * sizeof *e.item, 0);
  return e.size;
}
