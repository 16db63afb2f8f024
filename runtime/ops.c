/*
 * ops.c - the ops' entry points, each made of its list in diffdispatch.h.
 *
 * The structs of arguments begin alike: one function reads them all, and has
 * each op's own take its tensors and attributes out.
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
  static HOT void op##_take(const void *from, const dd_tensor **tensors,       \
                            double *attrs)                                     \
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
      {DD_##op##_ARGS(NO_NAME, NAME_ATTR) NULL},                               \
      op##_take};
DD_OP_MAP(ENTRY_POINT)

static HOT dd_status run(struct dd_context *ctx, const struct head *head,
                         const struct entry_point *point, void *stream)
{
  const dd_tensor *tensors[OP_MAX_TENSORS];
  double given[OP_MAX_ATTRS], attr[OP_MAX_ATTRS];
  const char *options = head->options ? head->options : "";
  struct call c = {point, options, tensors, point->tensor_count,
                   head->workspace, head->workspace_size,
                   head->workspace_needed, *options ? strlen(options) : 0};
  struct entry *e;

  point->take(head, tensors, given);
  TRY(call_resolve(ctx, &c, stream, &e));
  if (!attrs_given(given, point->attr_count))
    return call_launch(e, &c, NULL, stream);
  TRY(entry_attrs(e, given, attr));
  return call_launch(e, &c, attr, stream);
}

/* Of a host with another header; apart, for its copy takes a large frame. */
static NOINLINE dd_status run_other(struct dd_context *ctx, const char *name,
                                    const void *args, size_t known,
                                    const struct entry_point *point,
                                    void *stream)
{
  struct any_args a;

  TRY(struct_read(name, args, sizeof a.head, &a, known));
  return run(ctx, &a.head, point, stream);
}

static HOT dd_status read_args(struct dd_context *ctx, const char *name,
                               const void *args, size_t known,
                               const struct entry_point *point, void *stream)
{
  TRY(context_check(ctx));
  if (LIKELY(args && *(const size_t *)args == known))
    return run(ctx, args, point, stream);
  return run_other(ctx, name, args, known, point, stream);
}

#define ENTRY(op)                                                              \
  HOT dd_status dd_##op(dd_context *ctx, const dd_##op##_args *args,           \
                        struct CUstream_st *stream)                            \
  {                                                                            \
    return read_args(ctx, "dd_" #op "_args", args, sizeof *args, &op##_entry,  \
                     stream);                                                  \
  }
DD_OP_MAP(ENTRY)
