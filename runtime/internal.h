/*
 * internal.h - the library's own structs: the context and the plan.
 *
 * context.c opens and closes, plan.c makes and launches, special.c compiles what
 * a miss may have instead of the generic default, prepared.c keeps plans,
 * entry.c finds them by the arguments of typed.c, ops.c and tensors.c, which
 * launch them by launch.h, trace.c counts, explain.c puts a choice in words.
 */
#ifndef DIFFDISPATCH_INTERNAL_H
#define DIFFDISPATCH_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "match.h"

/* ---- Context ---------------------------------------------------------- */

struct loaded; /* code on the device, by the variant's hash (plan.c) */
struct entry;  /* a plan by its arguments (entry.c) */
struct typed;  /* a table of them */
struct prepared; /* plans by spelling, below */
struct pin;      /* named variants (pin.c) */

/* Places of entries in the context itself, by the end of their hash: what holds
 * one is found by one load instead of three that wait for each other.  The
 * first entry of a place keeps it; others are found in the table. */
enum { QUICK_ENTRIES = 64 };

struct dd_context {
  /* What every call reads stands together: caches are cold by then. */
  _Atomic(struct entry *) quick[QUICK_ENTRIES];
  _Atomic(struct typed *) typed; /* changes under the lock, read without it */
  uint32_t forks; /* forks_seen() when it was opened; see context_forked() */
  bool traced;    /* launches ask whether they are captured */
  bool compiles;  /* on a miss (special.h) */
  struct device *device;
  struct allocator allocator;
  struct table floor, host, system; /* empty where there is none */
  struct matcher matcher, under;
  pthread_mutex_t lock;   /* for loading and for adding to `typed` */
  struct loaded *loaded;  /* under the lock */
  struct prepared *prepared; /* under the lock */
  struct pin *pins;          /* under the lock */
  _Atomic uint64_t made[DD_MATCH_INTERVAL + 1], refused; /* see dd_count */
  void (*warn)(void *user, const char *text); /* the host's, or NULL */
  void *user;
};

/* The floor: a table that the build puts into the library (floor.c). */
extern const unsigned char floor_table[], floor_table_end[];

/* Copies a caller's struct of struct_size bytes over `out`, which has `known`
 * bytes; what the caller's header does not have reads as zero, and what ours
 * does not have must be zero. */
dd_status struct_read(const char *name, const void *in, size_t least,
                      void *out, size_t known);

/* CUDA dies in a forked child, and a child that asks it would hang or crash. */
extern _Atomic uint32_t fork_count; /* since the library was loaded */
static inline uint32_t forks_seen(void)
{
  return atomic_load_explicit(&fork_count, memory_order_relaxed);
}
void forks_watch(void);
__attribute__((cold)) dd_status refuse_forked(void);
static inline bool context_forked(const struct dd_context *ctx)
{
  return ctx->forks != forks_seen();
}
/* What every call on a context asks before anything else: a lock that another
 * thread held at the fork is never given back in the child. */
static inline dd_status context_check(const struct dd_context *ctx)
{
  if (!ctx) return fail(DD_BAD_ARGUMENT, "no context was given");
  return context_forked(ctx) ? refuse_forked() : DD_OK;
}

/* The problem's one spelling, in the ops that know it. */
dd_status context_spell(struct dd_context *ctx, const char *spelling,
                        struct bytes *out);

/* What the problem is pinned to, else match_find(). */
dd_status choose(struct dd_context *ctx, const struct matcher *m,
                 const char *spelling, struct match *out);
void pins_free(struct dd_context *ctx);

/* Threads count apart, a cache line each: a counter that all of them shared
 * would cost more than the launch. */
enum { LAUNCH_SHARDS = 8, LAUNCH_LINE = 64 };
enum launch_kind { LAUNCH_EAGER, LAUNCH_CAPTURED, LAUNCH_KINDS };
struct launches {
  union {
    _Atomic uint64_t count[LAUNCH_KINDS];
    char line[LAUNCH_LINE];
  } shard[LAUNCH_SHARDS];
  uint64_t before[LAUNCH_KINDS]; /* the last reset; under the lock */
};

/* The first threads have a shard each, which nobody else writes: no bus lock.
 * All others share the last.  A library finds a thread's own variable by a
 * call, unless it asks for these four bytes when it is loaded. */
extern _Thread_local uint32_t launch_thread
    __attribute__((tls_model("initial-exec"))); /* 0: not numbered yet */
void launches_add_shared(struct launches *l, enum launch_kind kind);
static inline void launches_add(struct launches *l, enum launch_kind kind)
{
  uint32_t shard = launch_thread - 1;
  _Atomic uint64_t *count;

  if (!LIKELY(shard < LAUNCH_SHARDS - 1)) {
    launches_add_shared(l, kind);
    return;
  }
  count = &l->shard[shard].count[kind];
  atomic_store_explicit(
      count, atomic_load_explicit(count, memory_order_relaxed) + 1,
      memory_order_relaxed);
}

/* For a launch that was counted as eager, unless `l` is NULL, and then failed:
 * returns the status. */
dd_status not_launched(struct launches *l, dd_status status);

/* A problem that dd_prepare() or an entry point met.  All but the launches is
 * under the context's lock. */
struct prepared {
  struct prepared *next;
  dd_plan *plan; /* NULL: none could be made so far */
  uint64_t refused;
  bool advised; /* of a refusal */
  struct launches launches;
  size_t size; /* of this block */
  char spelling[];
};

/* The context's own plan for a problem, made if it must; a stream that is being
 * captured must not: DD_NOT_PREPARED. */
dd_status prepared_get(struct dd_context *ctx, const char *spelling,
                       void *stream, dd_plan **out);
void prepared_free(struct dd_context *ctx);
/* To the file that $DIFFDISPATCH_TRACE names, if it does. */
void trace_write(struct dd_context *ctx);
/* The command that measures a problem on this device. */
void print_sweep(const struct device_info *device, const char *spelling,
                 struct bytes *out);
/* Tells the host what would have the problem measured, if it was not: `plan` is
 * what it got, NULL where it was refused. */
void advise(struct dd_context *ctx, const char *spelling, dd_status status,
            const struct dd_plan *plan);

void loaded_free(struct dd_context *ctx);
void typed_free(struct dd_context *ctx);

/* ---- Plan ------------------------------------------------------------- */

/* A place in a kernel's argument struct that a launch fills in. */
struct plan_pointer {
  uint16_t offset;
  uint16_t buffer; /* 1 + its index; or IN_WORKSPACE + tensor */
};
enum { IN_WORKSPACE = 0x8000, POINTER_GROUP = 2,
       PLAIN_POINTERS = 16 /* of a plain plan, at most */ };
struct plan_attr {
  double baked; /* what the argument struct has already */
  uint16_t offset;
  uint8_t type; /* enum arg_type */
  uint8_t attr; /* of the whole problem's op */
};

/* What a launch reads comes first, by lines of the cache, which is cold after a
 * driver's call. */
enum { CACHE_LINE = 64, MAX_POINTERS = OP_MAX_TENSORS * 2 + POINTER_GROUP };
struct plan_step {
  _Alignas(CACHE_LINE) struct launch launch; /* without args */
  uint32_t pointer_count, attr_count;
  uint32_t buffer_pointers; /* how many come first that are of buffers: whole
                               groups, whose last pointer may come again */
  struct plan_pointer pointers[MAX_POINTERS];
  _Alignas(CACHE_LINE) uint8_t args[OP_MAX_ARGS_SIZE];
  struct plan_attr attrs[OP_MAX_ATTRS * 2];
  /* Bytes of its buffer that stand before the tensor, in a split plan. */
  int64_t skip[MAX_POINTERS];
};

struct plan_buffer {
  const char *name;
  bool needed;    /* it has elements: it must not be NULL */
  uintptr_t mask; /* bits that must be zero */
};

struct dd_plan {
  struct device *device;
  dd_status (*start)(struct device *d, const struct launch *l, const void *args,
                     void *stream);
  struct launches *launches; /* counts them; NULL: the plan is a host's own */
  uintptr_t mask; /* of all buffers: the bits that any of them must not have */
  uint32_t forks, buffer_count; /* forks: the context's */
  bool plain;  /* one step, not of a split form, that has something to do and
                  takes all buffers; and no trace asks what is captured */
  bool traced; /* the context's */
  bool empty;  /* nothing to do: launches return at once */
  bool split;
  uint32_t step_count;
  struct dd_context *ctx;
  size_t workspace_size; /* bytes; 0 unless the plan is split */
  const struct op *op;
  double loss; /* see dd_plan_loss() */
  dd_match how;
  char *text; /* dd_plan_describe()'s line, in the same block */
  size_t size;
  struct plan_rest {
    struct plan_buffer buffers[OP_MAX_TENSORS];
    size_t scratch_at[OP_MAX_TENSORS]; /* where in it a scratch tensor begins */
  } *rest; /* in the same block */
  struct plan_step steps[];
};

/* context_check() of what is at hand. */
static inline dd_status plan_check(const struct dd_plan *plan)
{
  return LIKELY(plan->forks == forks_seen()) ? DD_OK : refuse_forked();
}

/* dd_plan_make() without a word to the host. */
dd_status plan_make(struct dd_context *ctx, const dd_problem *problem,
                    struct dd_plan **out);
/* `attr` has one value per attribute of plan->op, or is NULL: those baked in
 * when the plan was made.  Any plan; plain ones have launch.h. */
dd_status plan_launch(const struct dd_plan *plan, void *const *buffers,
                      void *workspace, const double *attr, void *stream);

/* A step's attributes into its argument struct. */
dd_status plan_attrs(const struct plan_step *s, const double *attr,
                     uint8_t *args);

/* Blocks that begin with a line of the cache.  Zeros; NULL: out of memory. */
void *lines_new(struct allocator *a, size_t size);
void lines_free(struct allocator *a, void *block, size_t size);

/* "exact", "near", ... */
const char *match_word(dd_match how);
/* "qknorm_rope.warp lanes=16 + ..." */
void match_print_variants(const struct match *m, struct bytes *out);
/* The same, then " (exact, 28.8 us)". */
void match_print(const struct match *m, struct bytes *out);

/* Copies as snprintf does; returns the length wanted. */
size_t text_cut(const char *text, size_t length, char *out, size_t size);

#endif
