/*
 * ops.c - the ops' entry points, each made of its list in diffdispatch.h.
 *
 * The structs of arguments begin alike, and then have pointers to tensors and
 * doubles only, each of 8 bytes: one function reads them all.
 */
#include "call.h"

struct head {
  size_t struct_size;
  const char *options;
  void *workspace;
  size_t workspace_size, *workspace_needed;
};

/* One field of a struct of arguments. */
struct field {
  const char *name;
  bool attr;
};

union value {
  const dd_tensor *tensor;
  double attr;
};
_Static_assert(sizeof(union value) == 8, "a field is 8 bytes");

enum { FIELDS = OP_MAX_TENSORS + OP_MAX_ATTRS };

#define FIELD_TENSOR(name) {#name, false},
#define FIELD_ATTR(name) {#name, true},
#define FIELD_LIST(op)                                                         \
  static const struct field op##_fields[] = {                                  \
      DD_##op##_ARGS(FIELD_TENSOR, FIELD_ATTR)};                               \
  _Static_assert(sizeof(dd_##op##_args) ==                                     \
                     sizeof(struct head) + 8 * COUNT_OF(op##_fields),          \
                 "its fields follow the head");
DD_OP_MAP(FIELD_LIST)

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

static dd_status run(struct dd_context *ctx, const struct head *head,
                     const union value *values, const struct field *fields,
                     const struct entry_point *point, void *stream)
{
  const dd_tensor *tensors[OP_MAX_TENSORS];
  double given[OP_MAX_ATTRS], attr[OP_MAX_ATTRS];
  struct call c = {point, head->options ? head->options : "", tensors,
                   point->tensor_count, head->workspace, head->workspace_size,
                   head->workspace_needed, 0};
  uint32_t t = 0, a = 0;
  struct entry *e;

  for (uint32_t i = 0; i < point->tensor_count + point->attr_count; ++i) {
    if (fields[i].attr) given[a++] = values[i].attr;
    else tensors[t++] = values[i].tensor;
  }
  TRY(call_resolve(ctx, &c, stream, &e));
  TRY(entry_attrs(e, given, attr));
  return call_launch(e, &c, attr, stream);
}

static dd_status read_args(struct dd_context *ctx, const char *name,
                           const void *args, size_t known,
                           const struct field *fields,
                           const struct entry_point *point, void *stream)
{
  struct {
    struct head head;
    union value values[FIELDS];
  } a;

  if (args && *(const size_t *)args == known) {
    const struct head *head = args;
    return run(ctx, head, (const union value *)(head + 1), fields, point,
               stream);
  }
  TRY(struct_read(name, args, sizeof a.head, &a, known));
  return run(ctx, &a.head, a.values, fields, point, stream);
}

#define ENTRY(op)                                                              \
  dd_status dd_##op(dd_context *ctx, const dd_##op##_args *args,               \
                    struct CUstream_st *stream)                                \
  {                                                                            \
    return read_args(ctx, "dd_" #op "_args", args, sizeof *args, op##_fields,  \
                     &op##_entry, stream);                                     \
  }
DD_OP_MAP(ENTRY)
