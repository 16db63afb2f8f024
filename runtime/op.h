/*
 * op.h - what the specs say: ops, their tensors, and their launch schemes.
 *
 * An op is a mathematical operation with named tensors, fields (dims and
 * choices) and attributes; a scheme is one way to run it: a kernel, the values
 * of its tunables, the conditions it needs and its launch shape.  Both come
 * from Lua (variants/OP/op.lua and variants/OP/SCHEME.lua) through
 * generator/spec.c, as one message that op_set_read() turns into these structs;
 * the library carries the message inside, so that it needs no Lua.
 *
 * There are a dozen ops with up to 60 symbols, two or three schemes each.
 */
#ifndef DIFFTUNE_OP_H
#define DIFFTUNE_OP_H

#include "base.h"
#include "expr.h"
#include "wire.h"

enum {
  OP_MAX_SYMBOLS = 96,  /* of an op */
  OP_MAX_TUNABLES = 24, /* of a scheme */
  OP_MAX_TENSORS = 16,
  OP_MAX_ATTRS = 8,
  OP_MAX_ARGS = 80,
  OP_MAX_ARGS_SIZE = 1024, /* bytes of a kernel's argument struct */
  OP_MAX_RANK = 4,
  OP_MAX_STEPS = 4,
  OP_MAX_CHOICES = 16,
};

/* ---- Symbols: every number an expression of the op may name ----------- */

enum symbol_kind {
  SYMBOL_IO,     /* the activations' dtype; always symbol 0, named "io" */
  SYMBOL_INT,    /* a field with a number: tokens=4096 */
  SYMBOL_CHOICE, /* a field with a word: layout=neox */
  SYMBOL_STRIDE, /* one outer stride of a tensor: q_stride=6144,128 */
  SYMBOL_LET,    /* computed from the others, never spelled */
  SYMBOL_SUFFIX, /* the dtype of the choice before it: scale=row:fp32 */
};

/* In expressions a choice is "layout.neox"; dtypes are plain "bf16". */
struct choice {
  const char *word;
  int64_t value;
};

struct symbol {
  const char *name;
  enum symbol_kind kind;
  bool dynamic; /* free at run time; the others are compiled into a variant */
  int64_t min, max;             /* SYMBOL_INT */
  const struct expr *otherwise; /* the default, or a let's value; NULL: none */
  uint32_t choice_count;        /* SYMBOL_CHOICE, SYMBOL_IO */
  struct choice *choices;
  const char *cpp_type; /* "dt::Layout" for a choice, NULL for a number */
  int tensor, dim;      /* SYMBOL_STRIDE: whose, and of which outer dim */
};

/* ---- Tensors, attributes, arguments ----------------------------------- */

/* A tensor is written if it is TENSOR_OUT, or the alias of an absent one.
 * TENSOR_SCRATCH is workspace of the split form: no host passes it, and what is
 * in it afterwards is nobody's business. */
enum tensor_role { TENSOR_IN, TENSOR_OUT, TENSOR_SCRATCH };

/* How a test fills an input. */
enum tensor_fill {
  FILL_NORMAL,    /* activations: normal, some rows hard or NaN (fill.h) */
  FILL_WEIGHT,    /* about 1 */
  FILL_ANGLE,     /* cos or sin values, in [-1, 1] */
  FILL_POSITION,  /* whole numbers in [0, limit) */
  FILL_OPERAND,   /* scale, shift, gate, bias: about 0 */
};

struct tensor_spec {
  const char *name;
  enum tensor_role role;
  enum tensor_fill fill;
  const struct expr *dtype;
  const struct expr *when;  /* NULL: always; else the problem has it if true */
  int alias;                /* the tensor it stands on where absent, or -1 */
  uint32_t rank;
  const struct expr *extent[OP_MAX_RANK];
  int stride[OP_MAX_RANK]; /* a symbol, or -1: contiguous; the last is 1 */
  const struct expr *limit; /* FILL_POSITION: values are below this */
};

struct attr_spec {
  const char *name;
  double otherwise; /* the default */
  double trial;     /* what a check uses, so that a kernel that ignores it
                       is found out */
};

/* The kernel's argument struct, field by field, with C's natural alignment. */
enum arg_kind { ARG_TENSOR, ARG_VALUE, ARG_ATTR };
enum arg_type { ARG_PTR, ARG_I32, ARG_I64, ARG_F32 };

struct arg_spec {
  const char *name;
  enum arg_kind kind;
  enum arg_type type;
  uint32_t index;           /* the tensor or the attr */
  const struct expr *value; /* ARG_VALUE */
  uint32_t offset;
};

/* A condition, and the sentence for somebody who broke it ("" for schemes:
 * there the expression itself is the reason). */
struct rule {
  const struct expr *expr;
  const char *sentence;
};

/* ---- Split form -------------------------------------------------------- */

/* One launch of the split form: another op on the same tensors.  Fields of the
 * same name are copied; `set` overrides ("inplace=1"). */
struct step_set {
  const char *field;
  const struct expr *value; /* in the outer op's symbols */
};
struct step_spec {
  const char *op;
  uint32_t set_count;
  struct step_set *sets;
  uint32_t tensor_count;
  struct {
    const char *inner, *outer; /* names that differ; others keep theirs */
    const struct expr *at;     /* where in the outer tensor the inner one
                                  begins, in elements; NULL: at its start */
  } * tensors;                 /* of tensors and of attributes */
};

/* ---- Schemes ------------------------------------------------------------ */

struct tunable {
  const char *name;
  bool boolean; /* spelled true and false in C++ */
  uint32_t value_count;
  int64_t *values; /* the first is the default */
};

/* Slots of a scheme's expressions: the op's symbols, then its tunables, then
 * these three. */
enum { DEVICE_ARCH, DEVICE_SMS, DEVICE_OCCUPANCY, DEVICE_SLOTS };

struct scheme {
  const char *name;     /* "warp" */
  const char *file;     /* "variants/qknorm_rope/warp.cuh": what it includes */
  const char *function; /* "qknorm_rope_warp" */
  const char *params;   /* "QkNormRopeWarp": the struct of tunables */
  bool fits_all;        /* the op's default: no fact but io and rounding */
  uint32_t fact_count;
  uint32_t *facts; /* symbols that are compiled in, in the op's order */
  uint32_t tunable_count;
  struct tunable *tunables;
  uint32_t rule_count;
  struct rule *rules; /* all must hold: facts, tunables and the real shape */
  const struct expr *grid[3], *block, *shared_bytes, *min_blocks;
};

/* ---- Ops ---------------------------------------------------------------- */

struct op {
  const char *name;
  const char *facts_type; /* "QkNormRopeFacts" */
  const char *args_type;  /* "QkNormRopeArgs" */
  uint32_t symbol_count;
  struct symbol *symbols; /* "io", the fields, the strides, the lets */
  uint32_t *order;        /* the symbols, each after those its value needs */
  uint32_t tensor_count;
  struct tensor_spec *tensors;
  uint32_t attr_count;
  struct attr_spec *attrs;
  uint32_t arg_count;
  struct arg_spec *args;
  uint32_t args_size;
  uint32_t rule_count;
  struct rule *rules; /* what makes a problem legal */
  uint32_t step_count;
  struct step_spec *steps; /* the split form; none: it is a split part */
  const struct expr *items; /* how many parts the reference computes one by
                               one; NULL: the first extent of each output */
  const struct expr *read_bytes, *write_bytes; /* compulsory traffic */
  uint32_t awkward_count;
  const char **awkward; /* fields to set for small hard cases: "tokens=1" */
  uint32_t corpus_count; /* 2; 0: none */
  const char **corpus; /* of the problem on which variants are compared bit by
                          bit: the field that counts rows, and other fields to
                          set */
  uint32_t scheme_count;
  struct scheme *schemes; /* the default first */
};

struct op_later; /* of a set whose ops are read one by one (op.c) */
struct op_set {
  struct arena arena;
  uint32_t count;
  struct op *ops;
  struct hash hash; /* of the message: same specs, same hash */
  struct op_later *later; /* NULL: all are there */
};

/* Reads a message; checks every index, name, count and expression in it.
 * Fails with DD_BAD_SPEC or DD_NO_MEMORY, and leaves *set released. */
dd_status op_set_read(struct op_set *set, const void *message, size_t size,
                      const struct allocator *allocator);
/* The same where the message's hash is known to be this one. */
dd_status op_set_read_known(struct op_set *set, const void *message,
                            size_t size, const struct hash *hash,
                            const struct allocator *allocator);
/* The same where the message is known to be right: of each op only the name is
 * read, until op_need() asks for it.  A process uses one to three of a dozen,
 * whose expressions take a millisecond to read. */
dd_status op_set_read_later(struct op_set *set, const void *message,
                            size_t size, const struct hash *hash,
                            const struct allocator *allocator);
void op_set_release(struct op_set *set);

/* The op, read if it was not yet; NULL: there is none of that name.  Any number
 * of threads may ask.  DD_NO_MEMORY. */
dd_status op_need(const struct op_set *set, const char *name,
                  const struct op **out);
/* Where all are read, or for the name alone. */
const struct op *op_find(const struct op_set *set, const char *name);
int op_symbol_find(const struct op *op, const char *name); /* -1: none */
int op_tensor_find(const struct op *op, const char *name); /* -1: none */
const struct scheme *op_scheme_find(const struct op *op, const char *name);
/* The outer name of a step's tensor or attribute. */
const char *step_outer_name(const struct step_spec *s, const char *inner);
int scheme_tunable_find(const struct scheme *s, const char *name);
uint32_t arg_type_bytes(enum arg_type type);

/*
 * The message, in order (wire.h types; "list" is a count, then that many):
 *   u32 0x64746f70 "dtop", u32 version 3
 *   list of ops:
 *     text name, facts_type, args_type
 *     list of symbols, "io" first, strides after the fields, lets last:
 *       text name, u32 kind, u32 dynamic, i64 min, i64 max, text otherwise
 *       (an expression, "" for none), text cpp_type, u32 tensor+1, u32 dim,
 *       list of choices: text word, i64 value
 *     list of tensors: text name, u32 role, u32 fill, text dtype, text when,
 *       text alias, list of extents: text, list of stride symbols: text name
 *       ("" contiguous; one per dim but the last), text limit
 *     list of attrs: text name, f64 otherwise, f64 trial
 *     list of args: text name, u32 kind, u32 type, text what (the tensor, the
 *       attr, or an expression)
 *     list of rules: text expression, text sentence
 *     list of steps: text op, list of sets: text field, text expression;
 *       list of tensors: text inner, text outer, text at
 *     text items, text read_bytes, text write_bytes
 *     list of awkward: text
 *     list of corpus: text
 *     list of schemes, the default first:
 *       text name, file, function, params, u32 fits_all
 *       list of facts: text symbol
 *       list of tunables: text name, u32 boolean, list of i64
 *       list of rules: text expression
 *       text grid x, y, z, block, shared_bytes, min_blocks ("" where absent)
 */
enum { OP_WIRE_MAGIC = 0x64746f70, OP_WIRE_VERSION = 3 };

#endif
