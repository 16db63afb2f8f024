/*
 * spec.h - Lua specs to the message that op_set_read() takes.
 *
 * Specs are untrusted text.  They run in a forked child with rlimits on time,
 * memory and files, under Landlock and no_new_privs, text-only, in an
 * environment built by allow-list; the child writes one message to a pipe and
 * exits.  Call before threads or a device exist in this process.
 */
#ifndef DIFFTUNE_SPEC_H
#define DIFFTUNE_SPEC_H

#include "op.h"
#include "tree.h"

struct spec_limits {
  int seconds;         /* of CPU time; 0: 2 */
  int wall_seconds;    /* until the child is killed; 0: 15 times as many */
  size_t memory_bytes; /* of Lua's heap; 0: 64 MiB */
};

/* Evaluates every variants/OP/op.lua with its schemes (the other *.lua beside
 * it; default first, then by name), and `only` that op if not NULL.  The
 * sentence of a failure names the file and line.
 * Fails with DD_BAD_SPEC, DD_IO, DD_NO_MEMORY. */
dd_status spec_evaluate(const struct tree *tree, const char *only,
                        const struct spec_limits *limits,
                        struct bytes *message);

/* A problem that a model runs, of variants/zoo.lua. */
struct zoo_site {
  const char *name;     /* "flux1.single": model.site.resolution */
  const char *spelling; /* not parsed here: its op may be missing */
  int64_t calls;        /* per denoising step; 0: not known */
};
enum { ZOO_MAX_SITES = 4096 };

/* Evaluates variants/zoo.lua as specs are; the sites live in the arena. */
dd_status spec_zoo(const struct tree *tree, struct arena *arena,
                   struct zoo_site **sites, uint32_t *count);

/* spec_evaluate, then op_set_read. */
dd_status spec_load(const struct tree *tree, struct op_set *set);

#endif
