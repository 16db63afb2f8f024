/*
 * reference_team.h - who computes an item: a thread of the host, or a warp.
 *
 * Members share the elements of a row: member r has those at r, r + TEAM, and
 * so on.  A host's team has one member, and its loops are the plain ones.
 */
#ifndef DIFFTUNE_REFERENCE_TEAM_H
#define DIFFTUNE_REFERENCE_TEAM_H

#include "variants/reference.h"

#ifdef REFERENCE_DEVICE
enum { TEAM = 32 };
/* Code that several places call, and that a GPU's compiler would copy there. */
#define TEAM_CALL static __noinline__

static inline int64_t team_rank(void)
{
  return threadIdx.x % TEAM;
}

/* What a member wrote before, all may read after. */
static inline void team_meet(void)
{
  __syncwarp();
}

static inline double team_other(double x, int by)
{
  return __shfl_xor_sync(0xffffffff, x, by);
}
#else
enum { TEAM = 1 };
#define TEAM_CALL static inline

static inline int64_t team_rank(void)
{
  return 0;
}

static inline void team_meet(void)
{
}

static inline double team_other(double x, int by)
{
  (void)by;
  return x;
}
#endif

/* Of a row's elements, how many are converted at a time. */
enum { TEAM_BLOCK = TEAM == 1 ? 64 : 256, TEAM_MINE = TEAM_BLOCK / TEAM };

/* How many of n elements are this member's, and where its k-th is. */
static inline int64_t team_share(int64_t n)
{
  return (n - team_rank() + TEAM - 1) / TEAM;
}

static inline int64_t team_place(int64_t k)
{
  return team_rank() + k * TEAM;
}

/* Of the members' x: the same bits for all. */
static inline double team_sum(double x)
{
  for (int by = TEAM / 2; by; by /= 2) x += team_other(x, by);
  return x;
}

static inline double team_most(double x)
{
  for (int by = TEAM / 2; by; by /= 2) {
    const double y = team_other(x, by);
    x = y > x ? y : x;
  }
  return x;
}

#endif
