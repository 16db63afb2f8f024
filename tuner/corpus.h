/*
 * corpus.h - which candidates make the same bits.
 *
 * Variants add up in different orders, and it shows in few results: a bf16 that
 * an RMSNorm of normal values ends in is another one in about a million.  So
 * they are compared on millions: the corpus of an op and its static fields, one
 * problem with many rows and always the same inputs.  The *bits* of a candidate
 * are 64 bits of a digest of all that it makes of it; candidates with the same
 * bits agree on every result.  They are 0 where there is nothing to compare (the
 * op has no corpus, there is no room for it, or the candidate does not fit it),
 * and BITS_DIFFER where two launches do, or a row's results depend on how many
 * other rows there are, by a launch on the corpus's first rows alone.
 */
#ifndef DIFFTUNE_CORPUS_H
#define DIFFTUNE_CORPUS_H

#include "hash_table.h"
#include "message.h"
#include "run.h"
#include "seal.h"
#include "table.h"

struct corpus { /* on the device */
  struct corpus *next;
  char *fixed; /* the static fields */
  struct problem part; /* the first rows, in the same tensors */
  struct trial *trial;
  struct seal results; /* of what a launch writes */
  struct arena arena;
  struct hash_table found; /* struct bits, by the variant's hash */
};

/* How many a corpus has: the CPU device, where it tells little, is slower. */
int64_t corpus_rows(const char *device_kind);

/* Those of the latest static fields, the last used first. */
struct corpora {
  int64_t rows; /* that each has */
  struct corpus *first;
};
void corpora_release(struct corpora *c);

/* How the corpus of all problems of p's op with its static fields is spelled.
 * `out` stays empty where the op has none. */
dd_status corpus_spell(const struct problem *p, int64_t rows,
                       struct bytes *out);

/* `steps` are the candidate's variants.  DD_DEVICE where it breaks the
 * device. */
dd_status corpora_bits(struct corpora *c, struct device *d,
                       const struct op_set *ops, const struct tools *tools,
                       const struct problem *p,
                       const struct candidate *candidate,
                       const struct loaded *const *steps, uint64_t *bits);

#endif
