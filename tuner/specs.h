/*
 * specs.h - the ops of a command, and the problems it was asked for.
 */
#ifndef DIFFTUNE_SPECS_H
#define DIFFTUNE_SPECS_H

#include "op.h"
#include "options.h"
#include "problem.h"
#include "tree.h"

struct specs {
  struct tree tree;
  struct bytes message; /* what op_set_read() took: for tables and hashes */
  struct op_set ops;
};

/* `folder` as for tree_load().  Call before threads or a device exist. */
dd_status specs_load(struct specs *s, const char *folder);
void specs_release(struct specs *s);

/* DD_BAD_ARGUMENT and the known names where one of `names` is no op. */
dd_status specs_know(const struct specs *s, const struct texts *names);

/* "cpu" or "sm_90" (also "90"): the arch, 0 for cpu, and the SMs of the largest
 * part of that arch, for conditions that ask.  DD_BAD_ARGUMENT otherwise. */
dd_status target_parse(const char *text, int *arch, int *sms);
#define TARGET_TEXT 16
void target_print(int arch, char text[TARGET_TEXT]);

/* Reads one value of a tunable: "16", "true"; it must be one that the scheme
 * lists.  DD_BAD_ARGUMENT with those it lists. */
dd_status tunable_parse(const struct scheme *s, const char *assignment,
                        int64_t value[OP_MAX_TUNABLES]);

/* Problems, each once, in the order first named. */
struct problems {
  struct problem *item;
  size_t count, capacity;
};

/* Each of `shapes` is "zoo" (variants/zoo.lua), a file that exists, with one
 * spelling per line (# begins a comment), or a spelling.  None: every op's
 * variants/OP/trials.txt.
 * Problems of ops not in `ops` (none: all) are left out; it is a failure if
 * that leaves none.
 * Fails with DD_BAD_ARGUMENT (file and line in the sentence), DD_IO. */
dd_status problems_read(const struct specs *s, const struct texts *shapes,
                        const struct texts *ops, struct problems *out);
void problems_release(struct problems *p);
/* The same for all ops, as spellings, in place of what names them; no shapes
 * stay none. */
dd_status problems_spell(const struct specs *s, struct texts *shapes);

#endif
