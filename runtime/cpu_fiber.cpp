/*
 * cpu_fiber.cpp - run a kernel on the host, one fiber per CUDA thread.
 *
 * A sweep on the CPU runs thousands of launches of 1 to 64 blocks of 32 to 1024
 * threads, and a fiber parks some ten times per block; so a switch must cost
 * nanoseconds (boost.context's assembly, no system call) and stacks are kept.
 * All fibers of a launch stay on the thread that launched it.
 *
 * A warp runs until none of its lanes can go on, then the next one does: one
 * warp is always as far ahead of the others as the barriers let it be.  A call
 * of a warp completes when all lanes of its mask are parked at the same line
 * with the same mask; the last to come does not park at all.  When no lane of
 * the block can go on, all threads that have not returned must be at one block
 * barrier; otherwise the launch has failed, and explain() says why.
 */
#include "cpu_fiber.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>

/* ---- Sanitizers ------------------------------------------------------- */

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WITH_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#include <sanitizer/tsan_interface.h>
/* What the scheduler does between fibers is no memory access of theirs. */
#pragma clang attribute push(                                                  \
    __attribute__((disable_sanitizer_instrumentation)), apply_to = function)
#elif defined(__SANITIZE_THREAD__)
#error "fibers under ThreadSanitizer need clang; configure with CXX=clang++"
#endif

/* For functions whose frames a fiber that ended leaves behind: ASan must not
 * have marked gaps in them, or the stack's next user trips over the marks. */
#define UNMARKED __attribute__((no_sanitize("address")))

namespace
{

namespace context = boost::context::detail;

/* A line of execution: a fiber's, or the scheduler's. */
struct strand {
  context::fcontext_t context;
  const void *stack; /* the lowest byte */
  size_t stack_size;
  void *fake_stack, *twin; /* ASan's and TSan's */
};

/* Before a jump, and after it on the other side. */
UNMARKED void leave(struct strand *from, bool for_good, const struct strand *to)
{
  (void)from, (void)for_good, (void)to;
#ifdef WITH_ASAN
  __sanitizer_start_switch_fiber(for_good ? NULL : &from->fake_stack, to->stack,
                                 to->stack_size);
#endif
#ifdef WITH_TSAN
  __tsan_switch_to_fiber(to->twin, __tsan_switch_to_fiber_no_sync);
#endif
}

void arrive(const struct strand *at, struct strand *from)
{
  (void)at, (void)from;
#ifdef WITH_ASAN
  __sanitizer_finish_switch_fiber(at->fake_stack, &from->stack,
                                  &from->stack_size);
#endif
}

void order_before(void *token)
{
  (void)token;
#ifdef WITH_TSAN
  __tsan_release(token);
#endif
}

void order_after(void *token)
{
  (void)token;
#ifdef WITH_TSAN
  __tsan_acquire(token);
#endif
}

/* ---- Fibers and what they wait for ------------------------------------ */

enum state { NOT_THERE, READY, AT_WARP, AT_BLOCK, MISALIGNED, GONE };

struct place { /* a call in a kernel's text */
  const char *op, *file;
  int line;
};

struct fiber {
  struct strand strand;
  enum state state;
  struct place at;
  unsigned mask; /* the call's, for AT_WARP */
  int want;
  unsigned long long value, result;
  const void *address; /* for MISALIGNED, of `value` bytes */
  bool abandoned;      /* in the middle of a kernel, by a launch that failed */
};

enum { STACK_SIZE = 256 * 1024 };

/* The executor: there is one, and cpu.c's lock is around it. */
struct fiber fibers[CPU_MAX_BLOCK];
unsigned stacks_made;
struct dt_cpu_api api;
const struct cpu_launch *launch;
uint64_t launches;
struct fiber *running;
struct strand scheduler;
unsigned live, waiting; /* of this block; waiting at the block barrier */
unsigned parked[CPU_MAX_BLOCK / CPU_WARP];   /* per warp, the lanes AT_WARP */
char start_token, finish_token, block_token; /* what TSan orders by */
char warp_token[CPU_MAX_BLOCK];

unsigned lane_of(const struct fiber *f)
{
  return (f - fibers) % CPU_WARP;
}
unsigned warp_of(const struct fiber *f)
{
  return (f - fibers) / CPU_WARP;
}
struct fiber *warp_lanes(const struct fiber *f)
{
  return fibers + warp_of(f) * CPU_WARP;
}

/* ---- Switching -------------------------------------------------------- */

void enter(context::transfer_t from);

/* A stack with a page below it that may not be touched, made once. */
bool stack_make(struct fiber *f)
{
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = STACK_SIZE + page;
  void *memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

  if (memory == MAP_FAILED) return false;
  if (mprotect(memory, page, PROT_NONE)) {
    munmap(memory, size);
    return false;
  }
  f->strand.stack = (char *)memory + page;
  f->strand.stack_size = STACK_SIZE;
  return true;
}

/* Leaves a fiber in the middle of its kernel; what it did is over. */
void fiber_abandon(struct fiber *f)
{
#ifdef WITH_TSAN
  __tsan_switch_to_fiber(f->strand.twin, __tsan_switch_to_fiber_no_sync);
  order_before(&finish_token);
  __tsan_switch_to_fiber(scheduler.twin, __tsan_switch_to_fiber_no_sync);
#endif
  f->abandoned = true;
}

/* Sanitizers remember an abandoned fiber's calls and variables. */
void fiber_forget(struct fiber *f)
{
#ifdef WITH_ASAN
  __asan_unpoison_memory_region(f->strand.stack, STACK_SIZE);
#endif
#ifdef WITH_TSAN
  __tsan_destroy_fiber(f->strand.twin);
  f->strand.twin = NULL;
#endif
  f->abandoned = false;
}

void fiber_start(struct fiber *f)
{
  if (f->abandoned) fiber_forget(f);
#ifdef WITH_TSAN
  if (!f->strand.twin) f->strand.twin = __tsan_create_fiber(0);
#endif
  f->state = READY;
  f->strand.fake_stack = NULL;
  f->strand.context = context::make_fcontext(
      (char *)f->strand.stack + STACK_SIZE, STACK_SIZE, enter);
}

/* Runs a fiber until it parks or ends. */
void resume(struct fiber *f)
{
  running = f;
  api.thread.x = (unsigned)(f - fibers);
  leave(&scheduler, false, &f->strand);
  f->strand.context = context::jump_fcontext(f->strand.context, NULL).fctx;
  arrive(&scheduler, &f->strand);
}

/* From a fiber to the scheduler; returns when resume() is next called for it.
 * A fiber that is GONE does not come back. */
UNMARKED void park(struct fiber *f)
{
  leave(&f->strand, f->state == GONE, &scheduler);
  scheduler.context = context::jump_fcontext(scheduler.context, NULL).fctx;
  arrive(&f->strand, &scheduler);
}

void block_release_if_full();

/* Where a fiber begins, on its own stack.  jump_fcontext() gives the context of
 * whoever jumped: always the scheduler. */
UNMARKED void enter(context::transfer_t from)
{
  struct fiber *f = running;

  scheduler.context = from.fctx;
  arrive(&f->strand, &scheduler);
  order_after(&start_token);
  launch->kernel->run(launch->args);
  order_before(&finish_token);
  f->state = GONE;
  live--;
  block_release_if_full();
  park(f);
}

/* ---- The block barrier ------------------------------------------------ */

bool same_place(const struct place *a, const struct place *b)
{
  return a->line == b->line && (a->op == b->op || !strcmp(a->op, b->op)) &&
         (a->file == b->file || !strcmp(a->file, b->file));
}

/* Two fibers that wait at different block barriers, or false. */
bool barrier_differs(const struct fiber **one, const struct fiber **other)
{
  *one = NULL;
  for (*other = fibers; *other < fibers + launch->block; ++*other) {
    if ((*other)->state != AT_BLOCK) continue;
    if (!*one) *one = *other;
    if (!same_place(&(*one)->at, &(*other)->at)) return true;
  }
  return false;
}

/* Threads that have returned are not waited for, as on Volta and later. */
void block_release_if_full()
{
  const struct fiber *one, *other;

  if (waiting == 0 || waiting < live || barrier_differs(&one, &other)) return;
  for (unsigned i = 0; i < launch->block; i++)
    if (fibers[i].state == AT_BLOCK) fibers[i].state = READY;
  waiting = 0;
}

void block_meet(const char *op, const char *file, int line)
{
  struct fiber *f = running;

  f->at = {op, file, line};
  f->state = AT_BLOCK;
  waiting++;
  order_before(&block_token);
  block_release_if_full();
  if (f->state != READY) park(f);
  order_after(&block_token);
}

/* ---- Calls of a warp -------------------------------------------------- */

bool same_call(const struct fiber *a, const struct fiber *b)
{
  return b->state == AT_WARP && a->mask == b->mask &&
         same_place(&a->at, &b->at);
}

/* All lanes of f's mask are at f's call, f among them. */
bool complete(const struct fiber *f)
{
  const struct fiber *lanes = warp_lanes(f);

  if (f->mask & ~parked[warp_of(f)]) return false;
  if (!(f->mask >> lane_of(f) & 1)) return false;
  for (unsigned rest = f->mask; rest; rest &= rest - 1)
    if (!same_call(f, lanes + __builtin_ctz(rest))) return false;
  return true;
}

unsigned ballot(const struct fiber *lanes, unsigned mask)
{
  unsigned votes = 0;

  for (unsigned rest = mask; rest; rest &= rest - 1)
    if (lanes[__builtin_ctz(rest)].value) votes |= rest & -rest;
  return votes;
}

/* Gives every lane of f's call its result and lets it go on.  Reading a lane
 * outside the mask is undefined in CUDA: a NaN in any type. */
void deliver(const struct fiber *f)
{
  struct fiber *lanes = warp_lanes(f);
  const unsigned mask = f->mask;
  const unsigned votes = f->want == DT_CPU_BALLOT ? ballot(lanes, mask) : 0;

  for (unsigned rest = mask; rest; rest &= rest - 1) {
    struct fiber *to = lanes + __builtin_ctz(rest);
    if (to->want < 0)
      to->result = votes;
    else
      to->result = mask >> to->want & 1 ? lanes[to->want].value : ~0ull;
    to->state = READY;
  }
  parked[warp_of(f)] &= ~mask;
}

/* A shuffle or a vote does not order memory; __syncwarp() does. */
unsigned long long warp_meet(const char *op, unsigned mask,
                             unsigned long long value, int want,
                             const char *file, int line)
{
  struct fiber *f = running;
  char *token = warp_token + warp_of(f) * CPU_WARP;

  if (mask) token += __builtin_ctz(mask);
  f->at = {op, file, line};
  f->mask = mask;
  f->value = value;
  f->want = want;
  f->state = AT_WARP;
  parked[warp_of(f)] |= 1u << lane_of(f);
  if (want == DT_CPU_SYNC) order_before(token);
  if (complete(f))
    deliver(f);
  else
    park(f);
  if (want == DT_CPU_SYNC) order_after(token);
  return f->result;
}

/* The fiber stays here for good, so its block cannot go on. */
void misaligned(const char *op, const void *address, unsigned long size,
                const char *file, int line)
{
  struct fiber *f = running;

  f->at = {op, file, line};
  f->address = address;
  f->value = size;
  f->state = MISALIGNED;
  park(f);
}

/* ---- Turns ------------------------------------------------------------ */

struct turns { /* an order of warps, and of the lanes within each */
  unsigned count;
  uint8_t warp[CPU_MAX_BLOCK / CPU_WARP], lane[CPU_WARP];
};

uint64_t next_random(uint64_t *seed) /* splitmix64 */
{
  uint64_t z = *seed += 0x9e3779b97f4a7c15;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void arrange(uint8_t *list, unsigned count, enum cpu_order order,
             uint64_t *seed)
{
  for (unsigned i = 0; i < count; i++)
    list[i] = (uint8_t)(order == CPU_ORDER_DESC ? count - 1 - i : i);
  if (order != CPU_ORDER_RANDOM) return;
  for (unsigned i = count; i > 1; i--) {
    const unsigned j = (unsigned)(next_random(seed) % i);
    const uint8_t moved = list[j];
    list[j] = list[i - 1];
    list[i - 1] = moved;
  }
}

/* The turns of the launch's block `index`.  Alternation counts launches too,
 * for those of one block; a seed gives the same turns in every launch. */
void turns_make(struct turns *t, uint64_t index)
{
  uint64_t seed = launch->seed * 0x100000001b3 + index;
  enum cpu_order order = launch->order;

  if (order == CPU_ORDER_TURNS)
    order = (launches + index) % 2 ? CPU_ORDER_DESC : CPU_ORDER_ASC;
  t->count = (launch->block + CPU_WARP - 1) / CPU_WARP;
  arrange(t->warp, t->count, order, &seed);
  arrange(t->lane, CPU_WARP, order, &seed);
}

/* Runs the lanes of one warp until none can go on; true if one did. */
bool run_warp(const struct turns *t, struct fiber *lanes)
{
  bool moved = false, again;

  do {
    again = false;
    for (unsigned i = 0; i < CPU_WARP; i++) {
      if (lanes[t->lane[i]].state != READY) continue;
      resume(lanes + t->lane[i]);
      again = moved = true;
    }
  } while (again);
  return moved;
}

/* ---- Why a block cannot go on ----------------------------------------- */

struct text {
  char *at;
  size_t left;
};

__attribute__((format(printf, 2, 3))) void say(struct text *t,
                                               const char *format, ...)
{
  va_list args;
  int n;

  va_start(args, format);
  n = vsnprintf(t->at, t->left, format, args);
  va_end(args);
  if (n < 0) n = 0;
  if ((size_t)n >= t->left) n = t->left ? (int)t->left - 1 : 0;
  t->at += n;
  t->left -= (size_t)n;
}

void say_place(struct text *t, const struct fiber *f)
{
  say(t, "is in %s at %s:%d", f->at.op, f->at.file, f->at.line);
}

/* The first lane of f's mask that is not at f's call. */
const struct fiber *missing(const struct fiber *f)
{
  const struct fiber *lanes = warp_lanes(f);

  for (unsigned rest = f->mask; rest; rest &= rest - 1)
    if (!same_call(f, lanes + __builtin_ctz(rest)))
      return lanes + __builtin_ctz(rest);
  return NULL;
}

void explain_warp(struct text *t, const struct fiber *f)
{
  const struct fiber *other = missing(f);

  say(t, "lane %u of warp %u ", lane_of(f), warp_of(f));
  say_place(t, f);
  if (!(f->mask >> lane_of(f) & 1)) {
    say(t, " with mask 0x%08x, which leaves it out", f->mask);
    return;
  }
  if (!other) return;
  say(t, " with mask 0x%08x while lane %u ", f->mask, lane_of(other));
  if (other->state == NOT_THERE)
    say(t, "does not exist in a block of %u threads", launch->block);
  else if (other->state == GONE)
    say(t, "has returned");
  else
    say_place(t, other);
  if (other->state == AT_WARP && other->mask != f->mask)
    say(t, " with mask 0x%08x", other->mask);
}

void explain_misaligned(struct text *t, const struct fiber *f)
{
  say(t, "lane %u of warp %u ", lane_of(f), warp_of(f));
  say_place(t, f);
  say(t, " with the address %p, which is no multiple of %llu", f->address,
      f->value);
}

void explain_barrier(struct text *t)
{
  const struct fiber *one, *other;

  if (!barrier_differs(&one, &other)) return;
  say(t, "thread %u ", (unsigned)(one - fibers));
  say_place(t, one);
  say(t, " while thread %u ", (unsigned)(other - fibers));
  say_place(t, other);
}

const struct fiber *first_in(enum state state)
{
  for (const struct fiber *f = fibers; f < fibers + launch->block; f++)
    if (f->state == state) return f;
  return NULL;
}

void explain(struct text *t)
{
  const struct fiber *f;

  say(t, "block %u,%u,%u: ", api.block.x, api.block.y, api.block.z);
  if ((f = first_in(MISALIGNED)))
    explain_misaligned(t, f);
  else if ((f = first_in(AT_WARP)))
    explain_warp(t, f);
  else
    explain_barrier(t);
}

/* ---- Blocks ----------------------------------------------------------- */

/* 0xff in every byte is a NaN in every float type.  Sanitizers keep gaps
 * between variables, so this must be a loop that they do not look into. */
UNMARKED void poison(char *begin, char *end)
{
  for (volatile char *at = begin; at < end; at++) *at = (char)0xff;
}

void block_start()
{
  poison(launch->kernel->shared_begin, launch->kernel->shared_end);
  if (launch->dynamic_shared_size)
    memset(launch->dynamic_shared, 0xff, launch->dynamic_shared_size);
  memset(parked, 0, sizeof parked);
  live = launch->block;
  waiting = 0;
  for (unsigned i = 0; i < launch->block; i++) fiber_start(fibers + i);
  order_before(&start_token);
}

bool run_block(uint64_t index, struct text *why)
{
  struct turns turns;
  bool moved = true;

  turns_make(&turns, index);
  block_start();
  while (live && moved) {
    moved = false;
    for (unsigned i = 0; i < turns.count; i++)
      moved |= run_warp(&turns, fibers + turns.warp[i] * CPU_WARP);
  }
  if (live) explain(why);
  for (unsigned i = 0; i < launch->block; i++)
    if (fibers[i].state != GONE) fiber_abandon(fibers + i);
  order_after(&finish_token);
  return live == 0;
}

/* Fibers past the block's end are not there, which a mask may find out. */
bool fibers_prepare(struct text *why)
{
  for (; stacks_made < launch->block; stacks_made++)
    if (!stack_make(fibers + stacks_made)) {
      say(why, "no memory for the stacks of %u fibers: %s", launch->block,
          strerror(errno));
      return false;
    }
  for (unsigned i = launch->block; i < CPU_MAX_BLOCK; i++)
    fibers[i].state = NOT_THERE;
  return true;
}

bool run_grid(struct text *why)
{
  const unsigned *n = launch->grid;
  uint64_t index = 0;

  for (unsigned z = 0; z < n[2]; z++)
    for (unsigned y = 0; y < n[1]; y++)
      for (unsigned x = 0; x < n[0]; x++) {
        api.block = {x, y, z};
        if (!run_block(index++, why)) return false;
      }
  return true;
}

} // namespace

bool cpu_fiber_run(const struct cpu_launch *l, char *why, size_t why_size)
{
  struct text text = {why, why_size};

  launch = l;
  launches++;
  api.thread = {0, 0, 0};
  api.grid_dim = {l->grid[0], l->grid[1], l->grid[2]};
  api.block_dim = {l->block, 1, 1};
  api.dynamic_shared = l->dynamic_shared;
#ifdef WITH_TSAN
  scheduler.twin = __tsan_get_current_fiber();
#endif
  return fibers_prepare(&text) && run_grid(&text);
}

const struct dt_cpu_api *cpu_fiber_api(void)
{
  api.block_meet = block_meet;
  api.warp_meet = warp_meet;
  api.misaligned = misaligned;
  return &api;
}

#ifdef WITH_TSAN
#pragma clang attribute pop
#endif
