/*
 * maker.h - a device that makes trials: their inputs, their references.
 *
 * The texts are the host's own (fill_element.h, variants/OP/reference.c),
 * compiled for the device with every rounding where they have it.
 */
#ifndef DIFFTUNE_MAKER_H
#define DIFFTUNE_MAKER_H

#include "device.h"
#include "fill.h"
#include "references.h"

struct maker;

/* `before` stands in front of every reference's text: a test plants faults so;
 * "" else.  Fails with DD_COMPILE, DD_DEVICE, DD_NO_MEMORY. */
dd_status maker_open(struct device *d, const char *before, struct maker **out);
void maker_close(struct maker *m); /* NULL is fine */

/* Enqueues: the elements of a tensor at `base`, or poison in all of them.  What
 * lies between rows is left alone. */
dd_status maker_fill(struct maker *m, const struct fill_source *source,
                     const struct tensor_shape *s, bool poison, void *base);

/* Compiles a reference, once, and calls no device: another thread may do it
 * while nobody else uses the maker.  Fails with DD_COMPILE where the device's
 * compiler refuses it; the first time that is said on stderr. */
dd_status maker_compile(struct maker *m, const struct reference *r);
/* Whether any reference was refused. */
bool maker_has_failed(const struct maker *m);

/* Enqueues all items of a reference, compiled or not.  The plan's data and
 * `out` are on the device; `each`: elements per item. */
dd_status maker_compute(struct maker *m, const struct reference *r,
                        const void *plan,
                        const struct reference_out out[OP_MAX_TENSORS],
                        const int64_t each[OP_MAX_TENSORS], int64_t items);

/* The text of a reference's kernel, and that of the fills. */
dd_status maker_reference_text(const struct reference *r, const char *before,
                               struct bytes *out);
dd_status maker_fill_text(struct bytes *out);

#endif
