/*
 * variant.h - one point of one scheme's space, and its launch.
 *
 * A variant is a scheme, the values of its tunables, and the facts (static
 * symbols of a problem) compiled into it.  Its hash is of the generated text
 * and the options it is compiled with: never its place in a list.
 */
#ifndef DIFFTUNE_VARIANT_H
#define DIFFTUNE_VARIANT_H

#include "device.h"
#include "problem.h"

struct variant {
  const struct op *op;
  const struct scheme *scheme;
  int64_t tunable[OP_MAX_TUNABLES]; /* in the scheme's order */
  int64_t fact[OP_MAX_SYMBOLS];     /* in the order of scheme->facts */
  struct hash hash;                 /* set by emit_variant() or read back */
};

/* The facts of `problem` with the given tunables (NULL: the defaults). */
void variant_of(const struct scheme *scheme, const struct problem *problem,
                const int64_t *tunable, struct variant *out);

/* "qknorm_rope.warp lanes=16 heads=4 ..." and, after it, the facts:
 * " | io=bf16 head_dim=128 ...".  variant_print writes the first part only. */
void variant_print(const struct variant *v, struct bytes *out);
void variant_print_facts(const struct variant *v, struct bytes *out);

/* The name of its entry in a cubin: "dt_" and 16 digits of the hash. */
#define VARIANT_ENTRY 24
void variant_entry(const struct variant *v, char name[VARIANT_ENTRY]);

/* What expressions read of a device: the last of their slots, behind the
 * problem's symbols and the tunables. */
void variant_device_slots(int arch, int sms, int occupancy,
                          int64_t device[DEVICE_SLOTS]);

/* The first condition that fails for this problem on a device of `arch` and
 * `sms`, or NULL when the variant fits.  The facts are compared too: a fact
 * that differs is reported as the name of the symbol. */
const char *variant_misfit(const struct variant *v, const struct problem *p,
                           int arch, int sms);

/* Launch geometry; `occupancy` is the blocks that fit on one SM at once (ask
 * device->occupancy with the block first; pass 1 where nothing uses it).
 * A zero extent gives a grid with 0 blocks: launch nothing. */
struct geometry {
  uint32_t grid[3], block, shared_bytes, min_blocks;
};
dd_status variant_geometry(const struct variant *v, const struct problem *p,
                           int arch, int sms, int occupancy,
                           struct geometry *out);

/* Fills the kernel's argument struct for the problem: values and attributes;
 * pointers are left zero for args_bind().  `attr` has one double per attribute
 * of the op. */
dd_status args_fill(const struct problem *p, const double *attr,
                    uint8_t args[OP_MAX_ARGS_SIZE]);

/* Puts in the pointers: `buffer[j]` for tensor j of the op.  A tensor that the
 * problem does not have takes its alias's pointer, or NULL. */
void args_bind(const struct problem *p, void *const *buffer,
               uint8_t args[OP_MAX_ARGS_SIZE]);

#endif
