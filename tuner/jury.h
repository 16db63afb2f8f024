/*
 * jury.h - judges all trials of a problem at once, on the device.
 *
 * A candidate is launched on every trial first, and nothing waits; then two
 * kernels (tuner/kernels/judge.cuh) judge what the launches left and put it
 * back as it was before them, and one copy brings the findings home.  What is
 * wrong is only counted: trial_judge() finds the words for it.
 */
#ifndef DIFFTUNE_JURY_H
#define DIFFTUNE_JURY_H

#include "trial.h"

enum { MAX_TRIALS = 32 };

struct finding {
  struct judgement judgement; /* without first_wrong */
  bool stray; /* something else than an output was written to */
};

struct jury { /* all zero: none */
  struct device *device;
  const struct tools *tools;
  int trials;
  int64_t elements[MAX_TRIALS], vectors[MAX_TRIALS]; /* to look at, by trial */
  struct judgement rounded[2][MAX_TRIALS]; /* of the rounded reference; split */
  uint32_t part_count, range_count, part_blocks, range_blocks;
  size_t rounded_size;
  void *parts, *ranges, *tally, *rounded_bits; /* on the device */
};

/* For trials that outlive it and were made with tools->on_device. */
dd_status jury_make(struct trial *const *trials, int count, struct jury *out);
void jury_release(struct jury *j);

/* What its findings rest on, besides the trials.  Returns how many. */
enum { JURY_SPANS = 3 };
uint32_t jury_spans(const struct jury *j, struct span out[JURY_SPANS]);

/* Waits for the launches.  DD_DEVICE says what one of them did wrong, or that
 * the judges did not look at everything.  The
 * finding of a trial that nothing was launched on says nothing; it is put back
 * all the same, so that no candidate answers for another's stray writes. */
dd_status jury_judge(struct jury *j, bool split,
                     struct finding findings[MAX_TRIALS]);

#endif
