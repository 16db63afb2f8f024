/*
 * trial.h - a problem with its inputs and the right answer, on a device.
 *
 * Each tensor lives in an allocation of its own, between two guard zones, at an
 * address aligned as the problem promises and not more.  Guards, and gaps
 * between rows, are NaNs, so that nobody can use them.  Before a launch the
 * inputs are put back and the outputs poisoned; afterwards every output element
 * is compared with the reference, and every other byte (guards, gaps between
 * strided rows, inputs) with what it was.
 *
 * A large trial of a device that judges is made there (maker.h) and held
 * against the host in some items (spot.h); only if the host must judge does it
 * get the bytes.  One whose reference does not compile for the device is made
 * on the host, like a small one.
 */
#ifndef DIFFTUNE_TRIAL_H
#define DIFFTUNE_TRIAL_H

#include "device.h"
#include "fill.h"
#include "judge.h"
#include "maker.h"
#include "problem.h"

/* Kernels of the tuner's own (tuner/kernels/), loaded once per device. */
enum { COPY_KINDS = 3 };
extern const uint32_t copy_each[COPY_KINDS]; /* vectors per thread */
struct tools {
  struct module *module;
  struct kernel copy[COPY_KINDS], round, judge, stray, seal;
  bool on_device; /* a jury judges there, so the references go there too */
  struct maker *maker; /* NULL: trials are made on the host */
  size_t make_from;    /* bytes of tensors from which it makes them */
};
dd_status tools_load(struct device *d, bool on_device, struct tools *t);
void tools_release(struct device *d, struct tools *t);
dd_status tools_text(bool on_device, struct bytes *out);

struct trial_phases { /* seconds of making it */
  double fill, reference;
  double upload; /* of what the host made */
};
void trial_phases_add(struct trial_phases *to, const struct trial_phases *more);

struct trial_tensor {
  struct tensor_shape shape;
  struct tensor_shape outputs; /* the elements that are outputs: all, or those
                                  that an absent output stands on; the others
                                  are inputs, of which no bit may change */
  bool written;         /* an output, or the alias of an absent one */
  int output;           /* the tensor whose reference it is compared with */
  size_t size, offset;  /* of the allocation; of the tensor in it */
  char *image;          /* the allocation before a launch, on the host; NULL
                           while only the device has it */
  char *work, *pristine; /* on the device */
};

struct trial {
  struct device *device;
  const struct tools *tools;
  struct problem problem;
  enum fill_class class;
  uint64_t seed;
  struct trial_phases phases;
  bool made, uploaded; /* made: on the device */
  bool bare;           /* without a reference: nobody judges on it */
  double attr[OP_MAX_ATTRS];
  struct trial_tensor tensor[OP_MAX_TENSORS];
  void *buffer[OP_MAX_TENSORS]; /* what a launch binds; NULL where absent */
  double *value[OP_MAX_TENSORS]; /* the reference, per output tensor */
  float *slack[OP_MAX_TENSORS], *split_slack[OP_MAX_TENSORS];
  size_t reference_count[OP_MAX_TENSORS];
  int64_t items, each[OP_MAX_TENSORS]; /* each: elements of an item */
  /* copies, with tools->on_device; or the originals, if it is made there */
  void *device_value[OP_MAX_TENSORS], *device_slack[OP_MAX_TENSORS];
  void *device_split_slack[OP_MAX_TENSORS];
};

/* What the host makes of it, inputs and reference, or code for the device: no
 * device is called, so that another thread may do it.  `trial_attrs`: the
 * specs' trial values instead of the defaults.  Fails with DD_NO_MEMORY. */
dd_status trial_prepare(struct device *d, const struct tools *tools,
                        const struct problem *p, enum fill_class class,
                        uint64_t seed, bool trial_attrs, struct trial **out);
/* Puts it on the device, or makes it there.  Fails with DD_NO_MEMORY,
 * DD_DEVICE. */
dd_status trial_upload(struct trial *t);
/* Both. */
dd_status trial_make(struct device *d, const struct tools *tools,
                     const struct problem *p, enum fill_class class,
                     uint64_t seed, bool trial_attrs, struct trial **out);
/* The inputs alone, plain ones, with the specs' trial attributes: what is
 * launched on it cannot be judged. */
dd_status trial_make_bare(struct device *d, const struct tools *tools,
                          const struct problem *p, uint64_t seed,
                          struct trial **out);
void trial_free(struct trial *t); /* NULL is fine */

dd_status trial_reset(struct trial *t);

/* What a verdict rests on, where it is judged: the reference, and what tensors
 * are put back from.  Whole words of 4 bytes.  Returns how many. */
struct span {
  const void *at;
  size_t size;
};
enum { TRIAL_SPANS = 5 * OP_MAX_TENSORS };
uint32_t trial_spans(const struct trial *t, struct span out[TRIAL_SPANS]);

/* The inputs as a reference's plan takes them, with the host's addresses or
 * the device's; and how a tensor is filled. */
void trial_tensors(const struct trial *t, bool on_device,
                   struct reference_tensor out[OP_MAX_TENSORS]);
dd_status trial_source(const struct trial *t, uint32_t tensor,
                       struct fill_source *out);

/* After the launch, on the host.  `split`: allow what rounding the split form's
 * intermediate values may add.  DD_OK with judgement.error > 1, or a reason
 * that is not empty, means that the candidate is wrong. */
struct verdict {
  struct judgement judgement;
  char reason[320];
};
dd_status trial_judge(struct trial *t, bool split, struct verdict *out);

#endif
