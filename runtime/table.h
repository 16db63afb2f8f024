/*
 * table.h - the frozen, hashed result: what the library reads.
 *
 * A .ddt file has the specs of the ops, variants with their code, and per
 * problem the plan that won.  The library's own floor (each op's default
 * variant, compiled at build time) is a table too, with no plans; it alone has
 * sources, for what is compiled on a miss (special.c).
 *
 * A server opens a table of 10,000 plans and uses some dozens of them, so a
 * table is read like a database, a page at a time: opening reads the root only,
 * which names every other section with its SHA-256.  A section is verified
 * whenever it is read, before anything in it is believed; the root's own hash
 * is in the head, so that one hash, the seal, stands for every byte of the file.
 *
 * Layout: 8 bytes "difftune", u32 version, u32 zero, u64 bytes of the root,
 * 32 bytes SHA-256 of the root, the root, the sections in the root's order.
 * Sections are compressed (zstd) where that makes them smaller.  In wire.h's
 * types, where "section" is u32 bytes in the file, u32 bytes, hash of those in
 * the file:
 *   root:
 *     text device name, text kind, i64 arch, i64 sms, text policy,
 *     text provenance, hash of the specs as op_set_read() takes them
 *     section of the specs
 *     list of packs: section
 *     list of pages of variants: u32 count, section
 *     list of pages of plans: u32 count, text static fields and text spelling
 *       of the first plan, section
 *     section of the sources
 *   page of variants, sorted by table_variant_order(), each: text op,
 *     text scheme, list of tunables i64, list of facts i64, hash, list of
 *     codes: text target, u32 pack, u32 offset, u32 bytes
 *   page of plans, sorted by static fields and then by spelling, each:
 *     text problem spelling, list of steps: u32 variant (one: fused; more: the
 *     split form's steps), f64 microseconds, f64 split microseconds (0:
 *     unknown), f64 copy microseconds (0: unknown), f64 gain, f64 loss, f64 away,
 *     i64 bits, text second best, f64 its microseconds, f64 and f64 their bounds,
 *     list of intervals, by field and sizes: u32 field, i64 first size, i64
 *     last size, u32 sizes measured, list of steps, f64 loss, f64 gain,
 *     i64 bits
 *   pack: codes of one op and target, end to end
 *     (target "cpu": the folded source text, not machine code)
 *   sources, a list of: text op, text scheme, text folded source
 */
#ifndef DIFFTUNE_TABLE_H
#define DIFFTUNE_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "variant.h"

/* In place of bits: results that were seen to depend on how many rows there
 * are, or on when they were made. */
#define BITS_DIFFER UINT64_MAX

/* In a table that is read, `bytes` is NULL: see table_code_read(). */
struct table_code {
  const char *target; /* "sm_90", "cpu" */
  const void *bytes;
  size_t size;
  uint32_t pack, offset;
};

struct table_variant {
  struct variant variant; /* its hash is set */
  uint32_t code_count;
  struct table_code *codes;
};

/* One choice for a run of sizes of one dynamic field, the rest of the problem
 * being as in the plan that the interval stands in, whose size is among them. */
struct table_interval {
  uint32_t field; /* a symbol of the op */
  int64_t first, last;
  uint32_t sizes; /* that were measured */
  bool split;
  uint32_t step_count;
  uint32_t steps[OP_MAX_STEPS];
  double loss; /* to the best, that is expected at most: 0.02 is 2 % */
  double gain; /* over the split form at each of them, at least; 0 as below */
  uint64_t bits; /* as below */
};

struct table_plan {
  struct problem problem;
  const char *spelling;
  bool split;           /* the split form, step by step */
  uint32_t step_count;
  uint32_t steps[OP_MAX_STEPS]; /* indexes into variants */
  double us, split_us, copy_us;
  double gain; /* at least, over the split form: 0.25 if that took 5/4 of the
                  time; of a split plan, or where split_us is unknown, 0 */
  double loss; /* to the best that raced, 0 unless the table lacks that: 0.02 is
                  2 % */
  double away; /* of the best's speed, where the same steps raced on the
                  problems measured next to this one; 0: they did not */
  uint64_t bits; /* of two plans with the same static fields: equal where all
                    their results on the op's corpus were, bit by bit; 0:
                    unknown; or BITS_DIFFER */
  const char *rival; /* the second best, as it is printed; NULL, "": none */
  double rival_us, rival_low_us, rival_high_us; /* low, high: 95 % */
  uint32_t interval_count;
  struct table_interval *intervals; /* that have this size */
};

struct table_section {
  uint64_t offset; /* in the file */
  uint32_t stored, size;
  struct hash seal;
};

/* A run of variants or of plans. */
struct table_page {
  struct table_section section;
  uint32_t first, count;
  const char *fixed, *spelling; /* of its first plan */
  atomic_bool ready;            /* it was read; under the lock until then */
};

struct table {
  struct arena arena;
  struct op_set ops;
  bool ops_borrowed; /* from another table with the same specs */
  const char *device_name, *device_kind, *policy, *provenance;
  int arch, sms;
  uint32_t variant_count, plan_count;
  struct table_variant *variants; /* valid where their page is ready */
  struct table_plan *plans;
  uint32_t variant_page_count, plan_page_count, pack_count;
  struct table_page *variant_pages, *plan_pages;
  struct table_section *packs, sources;
  struct hash seal;
  bool own;             /* part of this program: its seals are not checked */
  bool later;           /* its specs are right: each op is read when needed */
  const uint8_t *data;  /* a table in memory, or NULL */
  int fd;               /* a file, or -1 */
  uint64_t size;
  pthread_mutex_t lock; /* for making pages ready */
};

enum { TABLE_VERSION = 5 };
#define TABLE_MAGIC "difftune" /* 8 bytes, without the NUL */

/* Every table is made with this, so that closing it is always right. */
void table_init(struct table *t, const struct allocator *allocator);

/* Opens a file, which is kept open and read as pages are needed; or takes bytes
 * that must outlive the table.  Who can write the file can run code on the GPU:
 * unless `shared`, it and its folder must belong to this user or root, nobody
 * else may write them, and it must be no symbolic link.  `like` (or
 * NULL) is a table that must outlive this one: where the specs are the same
 * they are not read twice.
 * DD_BAD_TABLE: damaged, foreign, cut short, or newer than this library. */
dd_status table_open(struct table *t, const char *path,
                     const struct allocator *allocator,
                     const struct table *like, bool shared);
dd_status table_open_memory(struct table *t, const void *data, size_t size,
                            const struct allocator *allocator,
                            const struct table *like);
/* The same for bytes that are part of this program, checked when it was built:
 * hashing the floor would take nine tenths of dd_open(), and reading all of its
 * specs half of the rest, which is left for `later`. */
dd_status table_open_own(struct table *t, const void *data, size_t size,
                         const struct allocator *allocator, bool later);
void table_close(struct table *t);

/* ---- Looking ---------------------------------------------------------- */

/* All of these may run on any number of threads.  What they read for the first
 * time may be damaged: DD_BAD_TABLE, and nothing else changes. */

/* Makes all variants and plans ready; the second checks the rest, too. */
dd_status table_read_plans(struct table *t);
dd_status table_read_all(struct table *t);

/* The plan with this spelling, whose static fields are `fixed`, or NULL. */
dd_status table_plan_find(struct table *t, const char *fixed,
                          const char *spelling, const struct table_plan **out);
/* The plans whose static fields are `fixed`: plans[*first] and those after it,
 * *count of them. */
dd_status table_plans_like(struct table *t, const char *fixed, uint32_t *first,
                           uint32_t *count);

/* The default variant for a problem, or NULL. */
dd_status table_default(struct table *t, const struct problem *p,
                        const struct table_variant **out);
const struct table_code *table_code_find(const struct table_variant *v,
                                         const char *target);
/* Adds the code, verified, to `out`. */
dd_status table_code_read(struct table *t, const struct table_code *code,
                          struct bytes *out);
/* The same of a scheme's folded source; DD_UNSUPPORTED: the table has none. */
dd_status table_source_read(struct table *t, const char *op, const char *scheme,
                            struct bytes *out);

/* By field and sizes: the order of a plan's intervals in a file. */
int table_interval_order(const struct table_interval *a,
                         const struct table_interval *b);
/* By op, scheme and hash: the order of variants in a file. */
int table_variant_order(const struct variant *a, const struct variant *b);

#endif
