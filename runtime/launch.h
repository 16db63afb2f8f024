/*
 * launch.h - the launch of a plain plan, compiled into each door to it.
 *
 * A driver's call leaves the caches cold: what a launch costs then is the lines
 * of code and data that it touches, and the jumps between them.  So a door
 * goes straight from its arguments to the kernel's.  What is not plain, a plan or
 * its tensors, is plan_launch()'s.
 */
#ifndef DIFFDISPATCH_LAUNCH_H
#define DIFFDISPATCH_LAUNCH_H

#include <string.h>

#include "internal.h"

/* What launch_plain() returns where it launched nothing, and plan_launch() must
 * look closer: it may find all right. */
#define LOOK_CLOSER ((dd_status)-1)

/* A door's tensor, by the number that its list of pointers has for it. */
typedef void *tensor_at(const void *from, uint32_t number);

enum { PIECE = 64, FIRST_ARGS = 5 * PIECE };

/* By pieces of a fixed size, which need no call; both ends are arrays of
 * OP_MAX_ARGS_SIZE, so that a piece may be longer than what is left.  What all
 * kernels of ours take is copied without a branch: where caches are cold none is
 * foreseen, not even a loop's last. */
static ALWAYS_INLINE void copy_args(uint8_t *to, const uint8_t *from,
                                    size_t size)
{
  _Static_assert(OP_MAX_ARGS_SIZE % PIECE == 0, "no piece leaves its array");
#pragma GCC unroll 5
  for (size_t i = 0; i < FIRST_ARGS; i += PIECE)
    memcpy(to + i, from + i, PIECE);
  for (size_t i = FIRST_ARGS; !LIKELY(i >= size); i += PIECE)
    memcpy(to + i, from + i, PIECE);
}

#define PUT_POINTER(i)                                                         \
  do {                                                                         \
    uintptr_t pointer = (uintptr_t)at(from, p[i].buffer);                      \
    memcpy(args + p[i].offset, &pointer, sizeof pointer);                      \
    bits |= pointer;                                                           \
    none |= pointer - 1;                                                       \
  } while (0)
#define PUT_GROUP(n)                                                           \
  case n:                                                                      \
    PUT_POINTER(2 * (n) - 1);                                                  \
    PUT_POINTER(2 * (n) - 2);                                                  \
    FALL_THROUGH

/* False: one is NULL (or not an address), or has a bit that not all of them may
 * have.  One jump, which is where it was the last time, in place of a loop's
 * end. */
static ALWAYS_INLINE bool put_pointers(const struct plan_pointer *p,
                                       uint32_t count, tensor_at *at,
                                       const void *from, uintptr_t mask,
                                       uint8_t *args)
{
  uintptr_t bits = 0, none = 0;

  _Static_assert(POINTER_GROUP == 2 && PLAIN_POINTERS == 16, "the cases");
  switch (count / POINTER_GROUP) {
    PUT_GROUP(8);
    PUT_GROUP(7);
    PUT_GROUP(6);
    PUT_GROUP(5);
    PUT_GROUP(4);
    PUT_GROUP(3);
    PUT_GROUP(2);
    PUT_GROUP(1);
    default: break;
  }
  return !(bits & mask) && (intptr_t)none >= 0;
}

/* `list` has `count` pointers, whole groups: where each is put, and its number
 * for at().  `attr`: as plan_launch() has it. */
static ALWAYS_INLINE dd_status
launch_plain(const struct dd_plan *plan, const struct plan_pointer *list,
             uint32_t count, tensor_at *at, const void *from,
             const double *attr, void *stream)
{
  _Alignas(16) uint8_t args[OP_MAX_ARGS_SIZE];
  const struct plan_step *s = plan->steps;
  dd_status status;

  if (!LIKELY(plan->plain && plan->forks == forks_seen())) return LOOK_CLOSER;
  copy_args(args, s->args, s->launch.args_size);
  if (!LIKELY(put_pointers(list, count, at, from, plan->mask, args)))
    return LOOK_CLOSER;
  if (attr) TRY(plan_attrs(s, attr, args));
  if (plan->launches) launches_add(plan->launches, LAUNCH_EAGER);
  status = plan->start(plan->device, &s->launch, args, stream);
  return LIKELY(!status) ? DD_OK : not_launched(plan->launches, status);
}

#endif
