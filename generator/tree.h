/*
 * tree.h - the files under variants/: from a folder, or built into difftune.
 *
 * A hundred files, 300 kB in all, read once at the start.  Paths are written
 * from the repository's root ("variants/common/device.cuh"), the same string
 * in #include lines, messages and here.
 */
#ifndef DIFFTUNE_TREE_H
#define DIFFTUNE_TREE_H

#include "base.h"

struct tree_file {
  const char *path, *text;
  size_t size;
};

struct tree {
  struct arena arena;
  struct tree_file *files; /* sorted by path */
  size_t count;
};

/* `folder` NULL: $DIFFTUNE_VARIANTS, else the files built in. */
dd_status tree_load(struct tree *t, const char *folder);
void tree_release(struct tree *t);
const struct tree_file *tree_find(const struct tree *t, const char *path);

#endif
