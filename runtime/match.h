/*
 * match.h - choose variants for a problem, and say why not the others.
 *
 * Rules, in this order; the first that finds something is used:
 *   exact    a plan of the table has this spelling
 *   interval the size of one dynamic field lies between two that were measured,
 *            all else is as there, and the table has a choice for that run of
 *            sizes that was among the best at each of them, or is the better of
 *            the two at the ends of a gap; of several, the one that lost least
 *   near     a plan of the same op and static fields, the nearest one in log
 *            space over the dynamic fields whose variants fit this problem, at
 *            most MATCH_NEAR_OCTAVES away: what was fastest for a tenth of the
 *            rows says little about all of them.  A fused one that did not beat
 *            its split form by MATCH_MARGIN gives way to split, if that finds
 *            something
 *   split    every step of the split form has an exact, interval or near plan
 *   default  the op's default variant: the floor's, else the table's own
 * Where a table lies under another (the system's under the host's), each is
 * asked, and the better match is taken; of two equal ones, the upper's.
 *
 * With same_bits the *lead* is the plan of the same op and static fields that
 * took longest, because its speed matters most, and only what agrees with it is
 * taken: the same variants, or others that made the same bits of the corpus.
 * What was seen to differ there is neither.
 * exact, interval and near choose among those, near at any distance, and nothing
 * comes after them.  What a tuned variant does with a row depends on its
 * tunables and static fields alone; the default, which gives a row more threads
 * where rows are few, is never taken.
 *
 * A table serves the device that it was made on; made on another device of the
 * same kind and arch it still serves, as DD_MATCH_DEVICE.  Any other table is
 * as good as none, and so is one whose specs make another problem of a spelling
 * than the library's do: other tensors, defaults or attributes.
 *
 * What of a table turns out damaged when it is read is as good as not there,
 * unless only exact matches will do: then it is the failure.
 *
 * A choice costs a look at the plans with the same static fields (some
 * microseconds per thousand, once they were read) and no memory but for texts.
 */
#ifndef DIFFDISPATCH_MATCH_H
#define DIFFDISPATCH_MATCH_H

#include "table.h"

/* Factors of two between the sizes, as a Euclidean distance over the dynamic
 * fields.  Three: a sweep of 1, 8, 64, ... leaves no gap. */
#define MATCH_NEAR_OCTAVES 3.0

/* What a fused plan must have gained over the split form, at least, to be used
 * for a problem that was not measured. */
#define MATCH_MARGIN 0.01

#define MATCH_LOSS_UNKNOWN (-1.0)

struct matcher {
  struct table *table; /* the host's, or NULL */
  struct table *floor;
  const struct matcher *under; /* of the system's table, or NULL */
  const struct device_info *device;
  bool exact_only;
  bool same_bits; /* only what agrees with the lead, of the host's table */
};

/* One launch: a variant, its own problem, and for tensor j of its op the
 * tensor of the whole problem's op that it stands on (-1: none). */
struct match_step {
  const struct table_variant *variant;
  struct problem problem;
  int bind[OP_MAX_TENSORS];
};

struct match {
  dd_match how;
  struct table *table;           /* whose ops all problems here are of */
  const struct table_plan *plan; /* what was measured; NULL: a split, default */
  const struct table_interval *interval; /* then the plan is its nearest one */
  bool compiled; /* the variant is compiled here: no table has it (special.h) */
  double us;                     /* measured there; 0: unknown */
  double distance;               /* of the plan's problem; 0: the same sizes */
  double loss; /* to the best, expected: 0.02 is 2 %; MATCH_LOSS_UNKNOWN */
  struct problem problem;
  uint32_t step_count;
  struct match_step step[OP_MAX_STEPS];
};

/* Fails with DD_BAD_ARGUMENT (a wrong spelling), DD_UNTUNED (exact_only or
 * same_bits), DD_UNSUPPORTED, DD_NO_MEMORY. */
dd_status match_find(const struct matcher *m, const char *spelling,
                     struct match *out);

/* The variants that are printed so, of the first table that has them: one for
 * the problem itself, or those of its split form with " + " between.
 * DD_BAD_TABLE, DD_NO_MEMORY. */
dd_status match_named(const struct matcher *m, const char *spelling,
                      const char *variants, struct match *out, bool *found);

/* The lead of the matcher's table for p's static fields; NULL: there is none.
 * DD_BAD_TABLE, DD_NO_MEMORY. */
dd_status match_lead(const struct matcher *m, const struct problem *p,
                     const struct table_plan **out);
bool match_agrees(const struct table *t, const struct table_plan *lead,
                  const struct table_plan *plan);

/* Smaller is better. */
int match_rank(dd_match how);

/* How the table's device relates to this one. */
enum match_device { MATCH_FOREIGN, MATCH_SAME_ARCH, MATCH_SAME };
enum match_device match_device(const struct table *t,
                               const struct device_info *device);

/* The code that this device can load: of its own arch, or of the highest minor
 * below it with the same major; NULL: none. */
const struct table_code *match_code(const struct table_variant *v,
                                    const struct device_info *device);

/* Why a plan of m->table does not serve problem p, NULL when it does. */
const struct symbol *match_static_difference(const struct problem *plan,
                                             const struct problem *p);
double match_distance(const struct problem *plan, const struct problem *p);
/* Sets the steps of *out, for the plan's variants on p. */
const char *match_misfit(const struct matcher *m, const struct table_plan *plan,
                         const struct problem *p, struct match *out);
/* Whether p's size lies in this interval of this plan, and their problems
 * differ in nothing but its field. */
dd_status match_inside(const struct table_plan *plan,
                       const struct table_interval *v, const struct problem *p,
                       bool *inside);

#endif
