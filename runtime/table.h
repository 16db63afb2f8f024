/*
 * table.h - the frozen, hashed result: what the library reads.
 *
 * A .ddt file is a sealed message: specs of the ops, variants with their code,
 * and per problem the plan that won.  Immutable once opened; verified by its
 * SHA-256 before anything in it is believed.  The library's own floor (each
 * op's default variant, compiled at build time) is a table too, with no plans.
 *
 * Layout: 8 bytes "difftune", u32 version, u32 zero, u64 body size, 32 bytes
 * SHA-256 of the body, body.  The body, in wire.h's types:
 *   bytes specs (a message for op_set_read)
 *   text device name, text kind, i64 arch, i64 sms, text policy,
 *   text provenance
 *   list of variants: text op, text scheme, list of tunables i64,
 *     list of facts i64, hash, list of codes: text target, bytes code
 *     (target "cpu": the folded source text, not machine code)
 *   list of plans, sorted by spelling: text problem spelling,
 *     list of steps: u32 variant   (one: fused; more: the split form's steps)
 *     f64 microseconds, f64 split microseconds (0: unknown),
 *     f64 copy microseconds (0: unknown)
 */
#ifndef DIFFTUNE_TABLE_H
#define DIFFTUNE_TABLE_H

#include "variant.h"

struct table_code {
  const char *target; /* "sm_90", "cpu" */
  const void *bytes;  /* a view into the table */
  size_t size;
};

struct table_variant {
  struct variant variant; /* its hash is set */
  uint32_t code_count;
  struct table_code *codes;
};

struct table_plan {
  struct problem problem;
  const char *spelling;
  bool split;           /* the split form, step by step */
  uint32_t step_count;
  uint32_t steps[OP_MAX_STEPS]; /* indexes into variants */
  double us, split_us, copy_us;
};

struct table {
  struct arena arena;
  struct op_set ops;
  const char *device_name, *device_kind, *policy, *provenance;
  int arch, sms;
  uint32_t variant_count;
  struct table_variant *variants;
  uint32_t plan_count;
  struct table_plan *plans;
  struct hash seal;
  void *map; /* a file that was read, or NULL */
  size_t map_size;
};

enum { TABLE_VERSION = 1 };
#define TABLE_MAGIC "difftune" /* 8 bytes, without the NUL */

/* Reads and verifies a file; or takes bytes that must outlive the table.
 * DD_BAD_TABLE: damaged, foreign, cut short, or newer than this library. */
dd_status table_open(struct table *t, const char *path,
                     const struct allocator *allocator);
dd_status table_open_memory(struct table *t, const void *data, size_t size,
                            const struct allocator *allocator);
/* The same for bytes that are part of this program, checked when it was built:
 * hashing the floor would take nine tenths of dd_open(). */
dd_status table_open_own(struct table *t, const void *data, size_t size,
                         const struct allocator *allocator);
void table_close(struct table *t);

/* The default variant for a problem, or NULL; any variant by its hash. */
const struct table_variant *table_default(const struct table *t,
                                          const struct problem *p);
const struct table_code *table_code_find(const struct table_variant *v,
                                         const char *target);

/* By op, scheme and hash: the order of variants in a file. */
int table_variant_order(const struct variant *a, const struct variant *b);

/* Writes a table.  Plans are given by spelling; everything is sorted, so that
 * the same content gives the same bytes.  `specs` is the message that the
 * variants' ops came from. */
struct table_writer {
  const struct bytes *specs;
  const char *device_name, *device_kind, *policy, *provenance;
  int arch, sms;
  uint32_t variant_count;
  const struct table_variant *variants;
  uint32_t plan_count;
  const struct table_plan *plans; /* problem need not be set */
};
dd_status table_write(const struct table_writer *w, struct bytes *out);

#endif
