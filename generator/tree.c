/* tree.c - see tree.h. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "embedded.h"
#include "tree.h"

enum {
  TREE_MAX_DEPTH = 4,
  TREE_MAX_FILES = 4096,
  TREE_MAX_FILE = 4 << 20, /* bytes */
};

/* The one file that no folder may replace: it is what keeps specs in bounds. */
static const char prelude[] = "generator/prelude.lua";

static dd_status add(struct tree *t, size_t *room, struct tree_file file)
{
  struct tree_file *files;

  if (t->count >= TREE_MAX_FILES)
    return fail(DD_IO, "more than %d files under variants", TREE_MAX_FILES);
  if (t->count == *room) {
    *room = *room ? *room * 2 : 64;
    files = ARENA_ARRAY(&t->arena, struct tree_file, *room);
    if (!files) return fail(DD_NO_MEMORY, "out of memory");
    if (t->count) memcpy(files, t->files, t->count * sizeof *files);
    t->files = files;
  }
  t->files[t->count++] = file;
  return DD_OK;
}

/* Paths go into #line marks and messages as they are. */
static bool is_plain(const char *name)
{
  return name[0] != '.' &&
         !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-."
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ")];
}

static bool wanted(const char *name)
{
  size_t n = strlen(name);

  return (n > 4 && strcmp(name + n - 4, ".lua") == 0) ||
         (n > 4 && strcmp(name + n - 4, ".cuh") == 0) ||
         (n > 4 && strcmp(name + n - 4, ".txt") == 0);
}

static dd_status add_file(struct tree *t, size_t *room, const char *real,
                          const char *path)
{
  struct bytes text = BYTES_INIT;
  struct tree_file file = {0};
  dd_status status = file_read(real, TREE_MAX_FILE, &text);

  if (!status) {
    file.path = path;
    file.text = arena_text(&t->arena, bytes_string(&text), text.size);
    file.size = text.size;
    status = file.text ? add(t, room, file)
                       : fail(DD_NO_MEMORY, "out of memory");
  }
  bytes_release(&text);
  return status;
}

static dd_status add_folder(struct tree *t, size_t *room, const char *real,
                            const char *path, int depth);

static dd_status add_entry(struct tree *t, size_t *room, const char *real,
                           const char *path, const char *name, int depth)
{
  char *inner = arena_printf(&t->arena, "%s/%s", real, name);
  char *inner_path = arena_printf(&t->arena, "%s/%s", path, name);
  struct stat st;

  if (!inner || !inner_path) return fail(DD_NO_MEMORY, "out of memory");
  if (stat(inner, &st))
    return fail(DD_IO, "cannot read %s: %s", inner, strerror(errno));
  if (S_ISDIR(st.st_mode) && depth < TREE_MAX_DEPTH)
    return add_folder(t, room, inner, inner_path, depth + 1);
  if (S_ISREG(st.st_mode) && wanted(name))
    return add_file(t, room, inner, inner_path);
  return DD_OK;
}

static dd_status add_folder(struct tree *t, size_t *room, const char *real,
                            const char *path, int depth)
{
  DIR *folder = opendir(real);
  struct dirent *entry;
  dd_status status = DD_OK;

  if (!folder)
    return fail(DD_IO, "cannot read the folder %s: %s", real, strerror(errno));
  while (!status && (entry = readdir(folder)))
    if (is_plain(entry->d_name))
      status = add_entry(t, room, real, path, entry->d_name, depth);
  closedir(folder);
  return status;
}

static dd_status add_embedded(struct tree *t, size_t *room, bool all)
{
  unsigned long i;

  for (i = 0; i < embedded_variants_count; i++) {
    const struct embedded_file *e = &embedded_variants[i];
    struct tree_file file = {e->path, e->text, e->size};

    if (all || strcmp(e->path, prelude) == 0) TRY(add(t, room, file));
  }
  return DD_OK;
}

static int by_path(const void *a, const void *b)
{
  const struct tree_file *x = a, *y = b;

  return strcmp(x->path, y->path);
}

dd_status tree_load(struct tree *t, const char *folder)
{
  size_t room = 0;
  dd_status status;

  memset(t, 0, sizeof *t);
  arena_init(&t->arena, NULL);
  if (!folder) folder = getenv("DIFFTUNE_VARIANTS");
  if (folder && !*folder) folder = NULL;
  status = add_embedded(t, &room, !folder);
  if (!status && folder) status = add_folder(t, &room, folder, "variants", 0);
  if (status) {
    tree_release(t);
    return status;
  }
  qsort(t->files, t->count, sizeof *t->files, by_path);
  return DD_OK;
}

void tree_release(struct tree *t)
{
  arena_release(&t->arena);
  t->files = NULL;
  t->count = 0;
}

const struct tree_file *tree_find(const struct tree *t, const char *path)
{
  struct tree_file key = {path, NULL, 0};

  if (!t->count) return NULL;
  return bsearch(&key, t->files, t->count, sizeof key, by_path);
}
