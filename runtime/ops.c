/*
 * ops.c - the ops' entry points, each made of its list in diffdispatch.h.
 *
 * The structs of arguments begin alike: one function, compiled for each op,
 * takes its tensors and attributes out.
 */
#include "call.h"

#include <string.h>

struct head {
  size_t struct_size;
  const char *options;
  void *workspace;
  size_t workspace_size, *workspace_needed;
};

/* Room for any op's. */
struct any_args {
  struct head head;
  int64_t fields[OP_MAX_TENSORS + OP_MAX_ATTRS];
};

#define TAKE_TENSOR(name) *tensors++ = args->name;
#define TAKE_ATTR(name) *attrs++ = args->name;
#define TAKE(op)                                                               \
  static ALWAYS_INLINE void op##_take(const void *from,                        \
                                      const dd_tensor **tensors,               \
                                      double *attrs)                           \
  {                                                                            \
    const dd_##op##_args *args = from;                                         \
    DD_##op##_ARGS(TAKE_TENSOR, TAKE_ATTR)                                     \
    (void)attrs;                                                               \
  }                                                                            \
  _Static_assert(sizeof(dd_##op##_args) <= sizeof(struct any_args) &&          \
                     offsetof(dd_##op##_args, workspace_needed) ==             \
                         offsetof(struct head, workspace_needed),              \
                 "it begins with the head, and there is room for it");
DD_OP_MAP(TAKE)

#define NAME_TENSOR(name) #name,
#define NAME_ATTR(name) #name,
#define NO_NAME(name)
#define ONE_TENSOR(name) +1
#define ENTRY_POINT(op)                                                        \
  static const struct entry_point op##_entry = {                               \
      #op, 0 DD_##op##_ARGS(ONE_TENSOR, NO_NAME),                              \
      0 DD_##op##_ARGS(NO_NAME, ONE_TENSOR),                                   \
      {DD_##op##_ARGS(NAME_TENSOR, NO_NAME) NULL},                             \
      {DD_##op##_ARGS(NO_NAME, NAME_ATTR) NULL}};
DD_OP_MAP(ENTRY_POINT)

/* Compiled for each op: a call of it takes no loop over its fields. */
typedef void take_args(const void *from, const dd_tensor **tensors,
                       double *attrs);
static ALWAYS_INLINE dd_status run(struct dd_context *ctx,
                                   const struct head *head,
                                   const struct entry_point *point,
                                   take_args *take, void *stream)
{
  const dd_tensor *tensors[OP_MAX_TENSORS];
  double given[OP_MAX_ATTRS];
  struct call c;

  take(head, tensors, given);
  c.entry = point;
  c.given = attrs_given(given, point->attr_count) ? given : NULL;
  c.attr_count = 0;
  c.text = "";
  c.length = 0;
  if (!LIKELY(!head->options)) c.length = strlen(c.text = head->options);
  c.tensors = tensors;
  c.count = point->tensor_count;
  c.workspace = head->workspace;
  c.workspace_size = head->workspace_size;
  c.workspace_needed = head->workspace_needed;
  return call_run(ctx, &c, stream);
}

#define ENTRY(op)                                                              \
  /* Of a host with another header, or not right; apart, for its copy takes a  \
   * large frame. */                                                           \
  static NOINLINE dd_status op##_other(dd_context *ctx, const void *args,      \
                                       void *stream)                           \
  {                                                                            \
    struct any_args a;                                                         \
                                                                               \
    TRY(context_check(ctx));                                                   \
    TRY(struct_read("dd_" #op "_args", args, sizeof a.head, &a,                \
                    sizeof(dd_##op##_args)));                                  \
    return run(ctx, &a.head, &op##_entry, op##_take, stream);                  \
  }                                                                            \
  HOT dd_status dd_##op(dd_context *ctx, const dd_##op##_args *args,           \
                        struct CUstream_st *stream)                            \
  {                                                                            \
    /* A fork is seen at the plan. */                                          \
    if (LIKELY(ctx && args && args->struct_size == sizeof *args))              \
      return run(ctx, (const struct head *)args, &op##_entry, op##_take,       \
                 stream);                                                      \
    return op##_other(ctx, args, stream);                                      \
  }
DD_OP_MAP(ENTRY)
