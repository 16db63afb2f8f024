/*
 * diffdispatch.h - find and launch the tuned kernel for a diffusion problem.
 *
 * A program opens a context, makes a plan for each problem it meets, and
 * launches the plan as often as it likes:
 *
 *     dd_context *ctx;  dd_plan *plan;
 *     dd_problem problem = DD_PROBLEM_INIT;
 *     problem.spelling = "qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128";
 *     dd_open(NULL, &ctx);
 *     dd_plan_make(ctx, &problem, &plan);
 *     dd_plan_launch(plan, buffers, NULL, stream);
 *
 * Every call that can fail returns a dd_status and, on failure, leaves its
 * outputs NULL and a sentence in dd_last_error().  Nothing here prints, exits
 * or calls abort().
 *
 * Whoever makes a thing frees it; whatever is passed in is only read, and only
 * during the call.  Where it needs saying, a function's comment ends with:
 *   Owns    who frees what, and with which call
 *   Threads what may run at the same time
 *   Fails   the statuses worth handling
 */
#ifndef DIFFDISPATCH_H
#define DIFFDISPATCH_H

#include <stddef.h>
#include <stdint.h>

#define DD_VERSION_MAJOR 0
#define DD_VERSION_MINOR 1
#define DD_VERSION_PATCH 0

#if defined(__GNUC__)
#define DD_API __attribute__((visibility("default")))
#else
#define DD_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---------------------------------------------------------- */

/* Numbers are part of the ABI: new ones go at the end, none is reused. */
#define DD_STATUS_MAP(X)                                                       \
  X(OK, 0, "ok")                                                               \
  X(BAD_ARGUMENT, 1, "bad argument")                                           \
  X(UNSUPPORTED, 2, "no variant can run this problem")                         \
  X(UNTUNED, 3, "the problem is not in the dispatch table")                    \
  X(BAD_TABLE, 4, "the dispatch table cannot be used")                         \
  X(DEVICE, 5, "a device call failed")                                         \
  X(NO_DEVICE, 6, "no such device")                                            \
  X(COMPILE, 7, "a kernel did not compile")                                    \
  X(NO_MEMORY, 8, "out of memory")                                             \
  X(IO, 9, "a file or pipe cannot be read or written")                         \
  X(BAD_SPEC, 10, "a spec cannot be used")                                     \
  X(BAD_DATABASE, 11, "the tuning database cannot be used")                    \
  X(BUG, 12, "a bug in difftune")                                              \
  X(NOT_PREPARED, 13, "the problem was not prepared before a capture")         \
  X(FORKED, 14, "the context is of the process before fork()")

typedef enum dd_status {
#define DD_STATUS_ENUM(name, value, text) DD_##name = value,
  DD_STATUS_MAP(DD_STATUS_ENUM)
#undef DD_STATUS_ENUM
} dd_status;

/* Both return static strings, and "?" for a number this library has never
 * heard of: "DD_UNTUNED" and "the problem is not in the dispatch table". */
DD_API const char *dd_status_name(dd_status status);
DD_API const char *dd_status_text(dd_status status);

/* What went wrong in this thread's last failing call; never NULL.
 * Owns: the library; the text holds until this thread's next dd_ call. */
DD_API const char *dd_last_error(void);

/* ---- Problems -------------------------------------------------------- */

typedef enum dd_dtype {
  DD_F32 = 1,
  DD_F16 = 2,
  DD_BF16 = 3,
  DD_I32 = 6,
  DD_I64 = 7
} dd_dtype;

/* A number that a launch needs but no choice depends on: eps,
 * position_offset.  docs/operators.md lists each op's names and defaults. */
typedef struct dd_attr {
  const char *name;
  double value;
} dd_attr;

/* Structs that will grow begin with their own size.  Fill one with its
 * _INIT macro and set fields by name; fields that a newer header adds read as
 * zero in an older program, and zero always means "as before". */
typedef struct dd_problem {
  size_t struct_size;
  const char *spelling; /* "qknorm_rope:bf16 tokens=4096 q_heads=24 ..." */
  const dd_attr *attrs; /* those that differ from their defaults */
  size_t attr_count;
} dd_problem;
#define DD_PROBLEM_INIT {sizeof(dd_problem), NULL, NULL, 0}

/* ---- Context --------------------------------------------------------- */

typedef struct dd_context dd_context;

typedef struct dd_open_options {
  size_t struct_size;
  const char *device;     /* "cuda" (also NULL) or "cpu" */
  const char *table;      /* a .ddt file; NULL: $DIFFDISPATCH_TABLE, or none */
  const void *table_data; /* or a table in memory, which must outlive the */
  size_t table_size;      /*   context (the C file of `difftune emit`) */
  uint32_t flags;         /* DD_OPEN_... */
  void *(*allocate)(void *user, void *block, size_t old_size, size_t new_size);
  void *user; /* handed to allocate and warn */
  /* Told once of each problem that was not measured on this device (dd_prepare
   * and entry points; dd_plan_make tells each time): one sentence with the
   * command that measures it.  On the thread that met the problem; it may not
   * call the library. */
  void (*warn)(void *user, const char *text);
} dd_open_options;
#define DD_OPEN_OPTIONS_INIT                                                   \
  {sizeof(dd_open_options), NULL, NULL, NULL, 0, 0, NULL, NULL, NULL}

#define DD_OPEN_EXACT_ONLY 0x1u /* DD_UNTUNED for what was not measured */

#define DD_OPEN_SHARED_TABLE 0x2u /* whoever owns or may write its file */

#define DD_OPEN_NO_SYSTEM_TABLE 0x4u /* look in no folder for another one */

#define DD_OPEN_TRACE 0x8u /* dd_trace tells captured launches from others */

/* A row has the same bits in any batch: all sizes and alignments of an op with
 * the same static fields get choices of the host's table that agree bit by bit
 * with that of the longest plan, or DD_UNTUNED where none fits. */
#define DD_OPEN_SAME_BITS 0x10u

/* A problem that nothing was measured for gets a tuned scheme's first variant
 * that fits it, compiled for it on the spot and kept in the user's cache folder:
 * seconds, where a plan is made and never in a launch or a capture.  By NVRTC, if
 * it can be loaded (CPU device: the system's C++ compiler); where that fails or
 * nothing fits, the generic default as without this flag.  It is not measured:
 * DD_MATCH_DEFAULT. */
#define DD_OPEN_COMPILE 0x20u

/* Opens a context for the calling thread's current CUDA context, or for the
 * CPU device.  `options` may be NULL: all defaults.  A table that cannot be
 * used fails the call; a host that would rather go on opens again without.
 * Under it lies the system's: difftune/sm_90.ddt (or cpu.ddt) in the first of
 * $XDG_DATA_HOME and $XDG_DATA_DIRS (/usr/local/share, /usr/share) that has it.
 * It is used where its match is better, and a bad one is as good as none.
 * Owns    the caller owns *out; dd_close() it after its plans.
 * Threads a context may be shared by any number of threads; in a child of
 *         fork() every call with a status on it or its plans is DD_FORKED.
 * Fails   DD_BAD_TABLE, DD_NO_DEVICE, DD_DEVICE, DD_NO_MEMORY */
DD_API dd_status dd_open(const dd_open_options *options, dd_context **out);

/* NULL is a harmless no-op.  Plans must be freed first. */
DD_API void dd_close(dd_context *ctx);

/* ---- Plans ----------------------------------------------------------- */

/* The choice for one problem, loaded and ready to launch. */
typedef struct dd_plan dd_plan;

/* How the choice was made; by the library, best first but for the last two. */
typedef enum dd_match {
  DD_MATCH_EXACT = 0,  /* this problem was measured on this device */
  DD_MATCH_NEAR = 1,   /* a problem near it was, on this device */
  DD_MATCH_DEVICE = 2, /* one was, on another device of the same arch, or with
                          another number of SMs: dd_explain() has the warning */
  DD_MATCH_SPLIT = 3,  /* its split parts were: they run one after another */
  DD_MATCH_DEFAULT = 4, /* never measured: the op's default variant, or one that
                           was compiled here (DD_OPEN_COMPILE) */
  DD_MATCH_PINNED = 5,  /* dd_pin() named it */
  DD_MATCH_INTERVAL = 6 /* between sizes that were measured on this device, at
                           each of which the choice is among the best; better
                           than near */
} dd_match;

/* Chooses, compiles if it must (CPU device, DD_OPEN_COMPILE), and loads.  Slow: call once
 * per problem, and not while a stream is captured.
 * Owns    the caller owns *out; dd_plan_free() it.
 * Threads any number of calls on one context may run at the same time.
 * Fails   DD_BAD_ARGUMENT, DD_UNSUPPORTED, DD_UNTUNED, DD_COMPILE, DD_DEVICE */
DD_API dd_status dd_plan_make(dd_context *ctx, const dd_problem *problem,
                              dd_plan **out);
DD_API void dd_plan_free(dd_plan *plan); /* NULL is a harmless no-op */

DD_API dd_match dd_plan_match(const dd_plan *plan);

/* How much longer than the best there is it is expected to take: 0.02 is 2 %.
 * 0: it is the best that was measured.  Negative: nobody knows, because what it
 * was measured on tells nothing of this. */
DD_API double dd_plan_loss(const dd_plan *plan);

/* 1: the split form, one kernel after another, which rounds what its steps hand
 * on; however it was matched. */
DD_API int dd_plan_is_split(const dd_plan *plan);
DD_API size_t dd_plan_workspace_size(const dd_plan *plan); /* bytes, often 0 */

/* How many buffers a launch takes, and the name of each ("q", "k", ...): the
 * tensors that the problem has, in the order of its op.  NULL past the end. */
DD_API size_t dd_plan_buffer_count(const dd_plan *plan);
DD_API const char *dd_plan_buffer_name(const dd_plan *plan, size_t index);

/* Writes one line, "qknorm_rope.warp lanes=16 heads=4 (exact, 28.8 us)", cut
 * to fit as snprintf does, and returns the length it wanted. */
DD_API size_t dd_plan_describe(const dd_plan *plan, char *text, size_t size);

/* Enqueues the kernel or kernels and returns.  Does not allocate, lock or
 * synchronise on cuda; on the CPU device it returns when the work is done.
 * `buffers` holds one device pointer per tensor, in the plan's order, each
 * aligned as the problem's `align` promised; `workspace` holds
 * dd_plan_workspace_size() bytes, or is NULL where that is 0; `stream` is a
 * CUstream or cudaStream_t (they are the same type).
 * Owns    nothing changes hands; buffers and workspace must live until the
 *         stream has run the work.
 * Threads a plan is constant: launch it from any thread, on any stream.
 * Fails   DD_BAD_ARGUMENT (a pointer less aligned than promised), DD_DEVICE,
 *         DD_FORKED (fork() does not take CUDA along) */
struct CUstream_st;
DD_API dd_status dd_plan_launch(const dd_plan *plan, void *const *buffers,
                                void *workspace, struct CUstream_st *stream);

/* Makes the plans of these problems and keeps them in the context, for the
 * entry points below: their calls with these shapes are then legal while a
 * stream is captured.  Stops at the first that fails; *ready (or NULL) says how
 * many were made.
 * Owns    the context owns the plans.
 * Threads any.
 * Fails   as dd_plan_make */
DD_API dd_status dd_prepare(dd_context *ctx, const char *const *spellings,
                            size_t count, size_t *ready);

/* Writes what would be chosen for `problem` and why: the rule, the variant,
 * its measured time, and for each other candidate the reason it was not taken;
 * several lines, cut to fit as snprintf does.  Loads and launches nothing.
 * Owns    the caller owns the text buffer; *length is the length wanted.
 * Threads any.
 * Fails   DD_BAD_ARGUMENT, DD_NO_MEMORY */
DD_API dd_status dd_explain(dd_context *ctx, const dd_problem *problem,
                            char *text, size_t size, size_t *length);

/* From now on plans for this problem are of these variants, written as
 * dd_plan_describe() does: "qknorm_rope.warp lanes=16 heads=4", those of a
 * split form with " + " between them.  NULL: no longer.  Plans that are made
 * stay as they are.
 * Owns    the context keeps copies.
 * Threads any.
 * Fails   DD_BAD_ARGUMENT (no table has them, or they cannot run the problem),
 *         DD_BAD_TABLE, DD_NO_MEMORY */
DD_API dd_status dd_pin(dd_context *ctx, const char *spelling,
                        const char *variants);

/* ---- Watching ---------------------------------------------------------- */

/* How plans were chosen since the context was opened, or since the last reset:
 * one for each plan made, and for each that no variant could be found for. */
typedef struct dd_counters {
  size_t struct_size;
  uint64_t exact, near_sizes, other_device, split, by_default, refused;
  uint64_t pinned;
  uint64_t interval;
} dd_counters;
#define DD_COUNTERS_INIT {sizeof(dd_counters), 0, 0, 0, 0, 0, 0, 0, 0}

/* `reset`: all counts begin again, those of dd_trace() too.
 * Fails   DD_BAD_ARGUMENT */
DD_API dd_status dd_count(dd_context *ctx, dd_counters *out, int reset);

/* Writes a line for each problem that dd_prepare and the entry points met, with
 * how often it was launched and refused and how it was chosen: a file for
 * `difftune sweep --shapes`.  Cut to fit as snprintf does; *length is the length
 * wanted.  dd_close() writes the same to the file that $DIFFDISPATCH_TRACE
 * names.  With that variable or DD_OPEN_TRACE when the context was opened, it
 * also says how many launches were captured; each launch then asks the driver.
 * Threads any; launches are counted while others launch.
 * Fails   DD_BAD_ARGUMENT, DD_NO_MEMORY */
DD_API dd_status dd_trace(dd_context *ctx, char *text, size_t size,
                          size_t *length);

/* Writes 64 hexadecimal digits and a NUL that stand for every byte of the
 * tables (the library's own where there is no other): two processes with the
 * same digest and device make the same choices.
 * Fails   DD_BAD_ARGUMENT */
DD_API dd_status dd_digest(dd_context *ctx, char digest[65]);

/* ---- Entry points ------------------------------------------------------ */

/* A tensor laid out as DLPack's DLTensor: cast a DLTensor * to dd_tensor *. */
typedef struct dd_tensor {
  void *data;
  int32_t device_type, device_id; /* not looked at */
  int32_t rank;
  uint8_t type_code, type_bits; /* 2 float, 4 bfloat, 0 int; 16, 32, 64 */
  uint16_t lanes;               /* 1 */
  const int64_t *shape;
  const int64_t *strides; /* elements; NULL: contiguous */
  uint64_t byte_offset;
} dd_tensor;

/* Any op.  `op` is the beginning of a spelling and has what tensors cannot say:
 * "rope:bf16 layout=neox cache=separate".  Sizes, strides and alignment are
 * read off the tensors, as are the dtypes of weights and tables and whether the
 * outputs are there (inplace).  Tensors are in the order of docs/operators.md,
 * NULL where the problem has none.  The first call resolves the problem, later
 * calls find the plan without a lock.  In a capture only prepared problems run.
 *
 * A split plan may need room for what its steps hand on.  It is passed, since
 * one that the library kept could be in use on another stream: with
 * `workspace_needed` set a call makes the plan, writes how many bytes it takes,
 * and launches nothing. */
typedef struct dd_call {
  size_t struct_size;
  const char *op;
  const dd_tensor *const *tensors;
  size_t count;
  const dd_attr *attrs;
  size_t attr_count;
  void *workspace; /* on the device, a multiple of 16 */
  size_t workspace_size;
  size_t *workspace_needed;
} dd_call;
#define DD_CALL_INIT                                                           \
  {sizeof(dd_call), NULL, NULL, 0, NULL, 0, NULL, 0, NULL}

/* Owns    nothing changes hands; tensors and workspace must live until the
 *         stream is done.
 * Threads any.
 * Fails   as dd_plan_make and dd_plan_launch, and DD_NOT_PREPARED */
DD_API dd_status dd_call_launch(dd_context *ctx, const dd_call *call,
                                struct CUstream_st *stream);

/* The same where no workspace is passed. */
DD_API dd_status dd_launch(dd_context *ctx, const char *op,
                           const dd_tensor *const *tensors, size_t count,
                           const dd_attr *attrs, size_t attr_count,
                           struct CUstream_st *stream);

/* The same, an entry point for each op: dd_rope(ctx, &args, stream) takes a
 * dd_rope_args, whose fields are the op's tensors (T: const dd_tensor *, NULL
 * where the problem has none) and attributes (A: double, 0: the default), as
 * docs/operators.md names them.  `options` (or NULL) has what tensors cannot
 * say, but for the io dtype: "layout=neox cache=separate".  New fields go to
 * the end of a list. */
#define DD_qk_norm_ARGS(T, A)                                                  \
  T(q) T(k) T(q_out) T(k_out) T(q_weight) T(k_weight) T(text_q) T(text_k)      \
  T(text_q_weight) T(text_k_weight) A(eps)
#define DD_rope_ARGS(T, A)                                                     \
  T(q) T(k) T(q_out) T(k_out) T(cos) T(sin) T(positions) A(position_offset)
#define DD_qknorm_rope_packed_ARGS(T, A)                                       \
  T(qkv) T(q_weight) T(k_weight) T(positions)                                  \
  A(eps) A(base) A(factor) A(low) A(high) A(attention_factor)
#define DD_norm_ARGS(T, A) T(x) T(weight) T(bias) T(y) A(eps)
#define DD_scale_shift_ARGS(T, A) T(x) T(scale) T(shift) T(y)
#define DD_gate_residual_ARGS(T, A) T(x) T(h) T(gate) T(y)
#define DD_norm_scale_shift_ARGS(T, A)                                         \
  T(x) T(scale) T(shift) T(weight) T(bias) T(y) A(eps)
#define DD_residual_norm_scale_shift_ARGS(T, A)                                \
  T(residual) T(x) T(scale) T(shift) T(gate) T(weight) T(bias) T(y) T(r_out)   \
  A(eps)
#define DD_norm_gate_residual_ARGS(T, A)                                       \
  T(x) T(h) T(gate) T(weight) T(bias) T(y) A(eps)
#define DD_norm_gate_residual_norm_scale_ARGS(T, A)                            \
  T(x) T(h) T(scale) T(shift) T(gate) T(weight) T(bias) T(weight2) T(bias2)    \
  T(y) T(r_out) A(eps) A(eps2)

#define DD_OP_MAP(X)                                                           \
  X(qk_norm)                                                                   \
  X(rope)                                                                      \
  X(qknorm_rope_packed)                                                        \
  X(norm)                                                                      \
  X(scale_shift)                                                               \
  X(gate_residual)                                                             \
  X(norm_scale_shift)                                                          \
  X(residual_norm_scale_shift)                                                 \
  X(norm_gate_residual)                                                        \
  X(norm_gate_residual_norm_scale)

#define DD_ARGS_TENSOR(name) const dd_tensor *name;
#define DD_ARGS_ATTR(name) double name;
#define DD_ARGS_DECLARE(op)                                                    \
  typedef struct dd_##op##_args {                                              \
    size_t struct_size;                                                        \
    const char *options;                                                       \
    void *workspace;                                                           \
    size_t workspace_size;                                                     \
    size_t *workspace_needed;                                                  \
    DD_##op##_ARGS(DD_ARGS_TENSOR, DD_ARGS_ATTR)                               \
  } dd_##op##_args;                                                            \
  DD_API dd_status dd_##op(dd_context *ctx, const dd_##op##_args *args,        \
                           struct CUstream_st *stream);
DD_OP_MAP(DD_ARGS_DECLARE)
#undef DD_ARGS_DECLARE

/* qknorm_rope: RMSNorm of each head row of q and k, then rotary embedding.
 *
 * q is [tokens, q_heads, head_dim] and k is [tokens, kv_heads, head_dim]; the
 * last dim is contiguous, strides are in elements, {token, head}, and {0, 0}
 * means contiguous.  q_out and k_out may be NULL (in place).  Weights are
 * [head_dim] in the io dtype.  With `sin` NULL, `cos` is one table of rows
 * [cos(rope_dim/2) | sin(rope_dim/2)], else two tables of rows of rope_dim/2.
 * `positions` is [tokens] (int32 or int64), or NULL: then a token's position
 * is position_offset + token % seq.  A position outside the table is
 * undefined.  eps is inside the square root. */
typedef struct dd_qknorm_rope_args {
  size_t struct_size;
  int32_t io;            /* DD_BF16, DD_F16 or DD_F32 */
  int32_t neox;          /* 0: pairs (2i, 2i+1); 1: pairs (i, i + rope_dim/2) */
  int32_t table_dtype;   /* of cos and sin; 0: DD_F32 */
  int32_t position_type; /* DD_I64 or DD_I32; 0: DD_I64 */
  int64_t tokens, q_heads, kv_heads, head_dim;
  int64_t rope_dim; /* 0: head_dim */
  int64_t seq;      /* 0: tokens */
  void *q, *k, *q_out, *k_out;
  int64_t q_stride[2], k_stride[2], q_out_stride[2], k_out_stride[2];
  const void *q_weight, *k_weight, *cos, *sin, *positions;
  int64_t position_offset;
  double eps; /* 0: 1e-6 */
} dd_qknorm_rope_args;

/* Resolves the problem on its first call (as dd_prepare does), later calls
 * find the plan without a lock.  The alignment is read off the pointers.  In a
 * capture a problem that was not prepared launches nothing, and leaves the
 * capture as it was.
 * Owns    nothing changes hands; tensors must live until the stream is done.
 * Threads any.
 * Fails   as dd_plan_make and dd_plan_launch, and DD_NOT_PREPARED */
DD_API dd_status dd_qknorm_rope(dd_context *ctx,
                                const dd_qknorm_rope_args *args,
                                struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif /* DIFFDISPATCH_H */
