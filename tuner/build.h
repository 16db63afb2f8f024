/*
 * build.h - variants on their way to the device: text, unit, code, loaded.
 *
 * A variant is known by its hash and built once per sweep, however many
 * problems it fits.  Several share a compile unit, because a compiler charges
 * for each; when a unit does not compile its variants are compiled alone, so
 * that only the bad one is lost.
 */
#ifndef DIFFTUNE_BUILD_H
#define DIFFTUNE_BUILD_H

#include "cache.h"
#include "claims.h"
#include "client.h"
#include "compiler.h"
#include "emit.h"
#include "farm.h"
#include "hash_table.h"
#include "specs.h"

enum part_state { PART_WAITING, PART_COMPILED, PART_FAILED };

struct unit {
  uint32_t first, count; /* of build.in_unit */
  struct bytes code;
  struct hash key; /* in the cache */
  int loaded; /* the worker's generation that has it; 0: none */
  bool alone; /* one part again, for build_alone(): `state` and `reason` are
                 the unit's, and the part's are as they were */
  enum part_state state;
  const char *reason;
};

/* What the units of a scheme begin with. */
struct scheme_text {
  struct scheme_text *next;
  struct emit_scheme emit;
};

struct part { /* one variant */
  struct variant variant;
  enum part_state state;
  uint32_t index, unit; /* of build.parts, of build.units */
  uint32_t alone;       /* of build.units; 0: not asked for */
  char *reason; /* PART_FAILED: what the compiler said */
  char *label;  /* variant_print's text */
  const char *text; /* a stored one; NULL: the specs' */
  int registers, local_bytes, shared_bytes;
  bool has_machine;    /* a cubin says what it runs, a shared object does not */
  struct hash machine; /* of its machine code and what it uses */
  int64_t row, code_row; /* ids in the database, 0: not yet */
};

struct build {
  struct specs *specs;
  struct farm *farm;
  char target[16];
  struct bytes identity; /* the compiler's */
  uint32_t batch;        /* variants per unit */
  struct cache cache;    /* off, unless the caller opens it */
  const struct claims *claims; /* build_share()'s */
  struct arena arena;
  struct scheme_text *schemes;
  struct part **parts;
  size_t part_count, part_capacity;
  struct hash_table by_hash; /* struct part */
  struct unit *units;
  size_t unit_count, unit_capacity;
  uint32_t *in_unit; /* parts, unit after unit */
  size_t in_unit_count, in_unit_capacity;
  uint32_t *queued; /* parts that wait for a unit to fill */
  size_t queued_count;
  size_t compiled, failed;
};

/* `target` as for compile_unit(); jobs 0: one per processor. */
dd_status build_open(struct build *b, struct specs *specs, const char *target,
                     int jobs, uint32_t batch);
void build_close(struct build *b);
/* Other builds have this table too and meet in the same cache, which is open:
 * they compile what this one need not.  `claims` stays the caller's. */
void build_share(struct build *b, const struct claims *claims);
/* Whether they do. */
bool build_is_shared(const struct build *b);

/* The part of a variant; new ones are queued for compiling. */
dd_status build_add(struct build *b, struct variant *v, uint32_t *part);
/* The same for a text from the database, which is compiled alone and must live
 * as long as the build; v has its hash. */
dd_status build_add_text(struct build *b, const struct variant *v,
                         const char *text, uint32_t *part);
/* Hands the queued parts over to the farm, also those of a unit half full. */
dd_status build_submit(struct build *b);
/* Takes in finished units; with `wait` at least one, if any is pending. */
dd_status build_pump(struct build *b, bool wait);
/* The folded text that the part's unit begins with. */
dd_status build_source(struct build *b, const struct variant *v,
                       const struct emit_scheme **out);
/* The code of one part alone, for the database and for hosts: compiled anew
 * where its unit has others, and its machine code held against what was proven.
 * DD_COMPILE where they differ.  build_want_alone() has it compiled before all
 * that waits for a worker; build_alone() waits unless build_has_alone(). */
dd_status build_want_alone(struct build *b, uint32_t part);
bool build_has_alone(const struct build *b, uint32_t part);
dd_status build_alone(struct build *b, uint32_t part, const struct bytes **code);
/* Whether a part was compiled to the same machine code as this cubin's; false
 * also on the CPU device, where nothing can be compared. */
bool build_has_code(const struct build *b, uint32_t part, const void *code,
                    size_t size);
/* Puts the part's unit on the worker's device, if it is not there. */
dd_status build_load(struct build *b, uint32_t part, struct client *c);

#endif
