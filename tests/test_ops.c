/*
 * test_ops.c - the ops' entry points: their list against the specs, and each
 * against dd_plan_launch() of the same problem, by what reaches the driver.
 */
#include "test.h"

#include <dlfcn.h>

#include "device.h"
#include "internal.h"
#include "specs.h"

#ifdef DIFFTUNE_CUDA
#include "fake_cuda/fake_cuda.h"

/* The driver is loaded by its path, so that the test asks it by name. */
static const struct fake_launch *(*driver_launch)(size_t index);
static size_t (*driver_count)(void);

static void find_driver(void)
{
  void *library = dlopen(DIFFTUNE_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);

  if (!library) fail_msg("%s", dlerror());
  *(void **)&driver_launch = dlsym(library, "fake_cuda_launch");
  *(void **)&driver_count = dlsym(library, "fake_cuda_launch_count");
}

static struct device *gpu;
static dd_context *ctx;

static int open_all(void **state)
{
  (void)state;
  assert_ok(cuda_device.open(0, &gpu));
  assert_ok(dd_open(NULL, &ctx));
  return 0;
}

static int close_all(void **state)
{
  (void)state;
  dd_close(ctx);
  gpu->api->close(gpu);
  return 0;
}

/* ---- The list ------------------------------------------------------------ */

struct names {
  const char *op, *tensors[OP_MAX_TENSORS + 1], *attrs[OP_MAX_ATTRS + 1];
};

#define NAME(name) #name,
#define NOTHING(name)
#define NAMES(op)                                                              \
  {#op,                                                                        \
   {DD_##op##_ARGS(NAME, NOTHING) NULL},                                       \
   {DD_##op##_ARGS(NOTHING, NAME) NULL}},
static const struct names list[] = {DD_OP_MAP(NAMES)};

static const struct names *find_names(const char *op)
{
  for (size_t i = 0; i < COUNT_OF(list); ++i)
    if (!strcmp(list[i].op, op)) return &list[i];
  return NULL;
}

static size_t count_names(const char *const *names)
{
  size_t n = 0;

  while (names[n]) n++;
  return n;
}

/* qkv_out is never there: it stands for columns of qkv. */
static bool is_passed(const struct tensor_spec *t)
{
  return t->role != TENSOR_SCRATCH && strcmp(t->name, "qkv_out");
}

static void check_names(const struct op *op, const struct names *n)
{
  size_t tensors = 0;

  for (uint32_t i = 0; i < op->tensor_count; ++i)
    if (is_passed(&op->tensors[i]))
      assert_string_equal(n->tensors[tensors++], op->tensors[i].name);
  assert_int_equal(tensors, count_names(n->tensors));
  assert_int_equal(op->attr_count, count_names(n->attrs));
  for (uint32_t i = 0; i < op->attr_count; ++i)
    assert_string_equal(n->attrs[i], op->attrs[i].name);
}

/* qknorm_rope has a struct of its own, and rope_table is part of a split form:
 * a host has nothing to do with it. */
static void test_every_op_is_listed(void **state)
{
  const struct op_set *set = &ctx->floor.ops;
  const struct op *op;
  size_t found = 0;

  (void)state;
  for (uint32_t i = 0; i < set->count; ++i) {
    const struct names *n = find_names(set->ops[i].name);
    if (!strcmp(set->ops[i].name, "qknorm_rope")) continue;
    if (!strcmp(set->ops[i].name, "rope_table")) continue;
    if (!n) fail_msg("%s has no entry point", set->ops[i].name);
    assert_ok(op_need(set, set->ops[i].name, &op));
    check_names(op, n);
    found++;
  }
  assert_int_equal(found, COUNT_OF(list));
}

/* Read one by one, when they are needed, specs are what they are at once. */
static void test_specs_read_later(void **state)
{
  const struct allocator *a = &default_allocator;
  struct op_set set;
  struct specs specs;
  const struct op *op;

  (void)state;
  assert_ok(specs_load(&specs, DIFFTUNE_SOURCE_DIR "/variants"));
  assert_ok(op_set_read_later(&set, specs.message.data, specs.message.size,
                              &specs.ops.hash, a));
  assert_ok(op_need(&set, "nothing", &op));
  assert_null(op);
  assert_int_equal(set.count, specs.ops.count);
  for (uint32_t i = set.count; i-- > 0;) {
    const struct op *whole = &specs.ops.ops[i];
    assert_ok(op_need(&set, whole->name, &op));
    assert_string_equal(op->name, whole->name);
    assert_string_equal(op->args_type, whole->args_type);
    assert_int_equal(op->symbol_count, whole->symbol_count);
    assert_int_equal(op->args_size, whole->args_size);
    assert_int_equal(op->scheme_count, whole->scheme_count);
    assert_int_equal(op->schemes[op->scheme_count - 1].rule_count,
                     whole->schemes[op->scheme_count - 1].rule_count);
  }
  op_set_release(&set);
  for (size_t size = 0; size < specs.message.size; size += 101)
    assert_int_equal(op_set_read_later(&set, specs.message.data, size,
                                       &specs.ops.hash, a), DD_BAD_SPEC);
  specs_release(&specs);
}

/* "| `dd_norm` | x, weight, bias, y | eps |" */
static void test_every_op_is_in_the_guide(void **state)
{
  struct bytes guide = BYTES_INIT, line = BYTES_INIT;

  (void)state;
  assert_ok(file_read(DIFFTUNE_SOURCE_DIR "/docs/runtime.md", 1 << 20, &guide));
  for (size_t i = 0; i < COUNT_OF(list); ++i) {
    bytes_clear(&line);
    bytes_printf(&line, "| `dd_%s` | ", list[i].op);
    for (size_t j = 0; list[i].tensors[j]; ++j)
      bytes_printf(&line, "%s%s", j ? ", " : "", list[i].tensors[j]);
    bytes_text(&line, list[i].attrs[0] ? " | " : " |");
    for (size_t j = 0; list[i].attrs[j]; ++j)
      bytes_printf(&line, "%s%s", j ? ", " : "", list[i].attrs[j]);
    if (!strstr(bytes_string(&guide), bytes_string(&line)))
      fail_msg("docs/runtime.md does not say: %s", bytes_string(&line));
  }
  bytes_release(&line);
  bytes_release(&guide);
}

/* ---- The calls ----------------------------------------------------------- */

/* A problem, its tensors and its attributes, as a plan and as an entry point
 * take them. */
struct problem_call {
  struct problem problem;
  dd_tensor tensor[OP_MAX_TENSORS];
  struct tensor_shape shape[OP_MAX_TENSORS];
  dd_attr attrs[OP_MAX_ATTRS];
  void *buffers[OP_MAX_TENSORS];
  uint32_t buffer_count;
};

static _Alignas(64) char memory[OP_MAX_TENSORS][64];

static dd_tensor tensor_of(const struct tensor_shape *s, uint32_t i)
{
  static const uint8_t code[] = {
      [DD_F32] = 2, [DD_F16] = 2, [DD_BF16] = 4, [DD_I32] = 0, [DD_I64] = 0};
  dd_tensor t = {.lanes = 1};

  t.data = memory[i]; /* no kernel runs: nobody looks */
  t.rank = (int32_t)s->rank;
  t.type_code = code[s->dtype];
  t.type_bits = (uint8_t)(dtype_bytes(s->dtype) * 8);
  t.shape = s->extent;
  t.strides = s->stride;
  return t;
}

static void call_init(struct problem_call *c, const char *spelling)
{
  const struct op *op;

  memset(c, 0, sizeof *c);
  assert_ok(problem_parse(&ctx->floor.ops, spelling, &c->problem));
  op = c->problem.op;
  for (uint32_t i = 0; i < op->tensor_count; ++i) {
    assert_ok(problem_shape(&c->problem, (int)i, &c->shape[i]));
    if (op->tensors[i].role == TENSOR_SCRATCH || !c->shape[i].present) continue;
    c->tensor[i] = tensor_of(&c->shape[i], i);
    c->buffers[c->buffer_count++] = c->tensor[i].data;
  }
  for (uint32_t i = 0; i < op->attr_count; ++i)
    c->attrs[i] = (dd_attr){op->attrs[i].name, 2.0 + i};
}

static const dd_tensor *tensor_named(const struct problem_call *c,
                                     const char *name)
{
  int i = op_tensor_find(c->problem.op, name);

  assert_true(i >= 0);
  return c->tensor[i].data ? &c->tensor[i] : NULL;
}

static double attr_named(const struct problem_call *c, const char *name)
{
  uint32_t i = 0;

  while (strcmp(c->attrs[i].name, name)) i++;
  return c->attrs[i].value;
}

static void launch_plan(const struct problem_call *c, const char *spelling)
{
  dd_problem p = DD_PROBLEM_INIT;
  dd_plan *plan;

  p.spelling = spelling;
  p.attrs = c->attrs;
  p.attr_count = c->problem.op->attr_count;
  assert_ok(dd_plan_make(ctx, &p, &plan));
  assert_int_equal(dd_plan_buffer_count(plan), c->buffer_count);
  assert_ok(dd_plan_launch(plan, c->buffers, NULL, NULL));
  dd_plan_free(plan);
}

#define SET_TENSOR(name) args.name = tensor_named(c, #name);
#define SET_ATTR(name) args.name = attr_named(c, #name);
#define CALL(op)                                                               \
  static void call_##op(const struct problem_call *c, const char *options)     \
  {                                                                            \
    dd_##op##_args args = {.struct_size = sizeof args, .options = options};    \
    DD_##op##_ARGS(SET_TENSOR, SET_ATTR)                                       \
    assert_ok(dd_##op(ctx, &args, NULL));                                      \
    assert_ok(dd_##op(ctx, &args, NULL)); /* made, then found */               \
    args.struct_size = 1;                                                      \
    assert_fails(DD_BAD_ARGUMENT, "dd_" #op "_args.struct_size is 1",          \
                 dd_##op(ctx, &args, NULL));                                   \
  }
DD_OP_MAP(CALL)

static void assert_same_launch(size_t i, size_t j)
{
  const struct fake_launch *a = driver_launch(i), *b = driver_launch(j);

  assert_string_equal(a->name, b->name);
  assert_memory_equal(a->grid, b->grid, sizeof a->grid);
  assert_int_equal(a->args_size, b->args_size);
  assert_memory_equal(a->args, b->args, a->args_size);
}

static void check(void (*call)(const struct problem_call *, const char *),
                  const char *spelling, const char *options)
{
  size_t first = driver_count();
  struct problem_call c;

  call_init(&c, spelling);
  launch_plan(&c, spelling);
  call(&c, options);
  assert_int_equal(driver_count(), first + 3);
  assert_same_launch(first, first + 1);
  assert_same_launch(first, first + 2);
}

static void test_calls(void **state)
{
  (void)state;
  check(call_qk_norm, "qk_norm:bf16 tokens=5 q_heads=3 head_dim=64", NULL);
  check(call_qk_norm, "qk_norm:fp16 tokens=5 q_heads=3 head_dim=64 weight=none "
        "inplace=0 q_stride=256,64", NULL);
  check(call_qk_norm, "qk_norm:bf16 tokens=5 q_heads=3 head_dim=64 segments=2 "
        "text_tokens=2", "segments=2");
  check(call_rope, "rope:bf16 tokens=5 q_heads=3 head_dim=64 positions=i32 "
        "layout=neox cache=separate cache_dtype=bf16",
        "layout=neox cache=separate");
  check(call_rope, "rope:fp32 tokens=6 q_heads=3 head_dim=64 positions=none "
        "seq=3", "seq=3");
  check(call_qknorm_rope_packed, "qknorm_rope_packed:bf16 tokens=5 q_heads=3 "
        "kv_heads=1 head_dim=64 yarn=1",
        "q_heads=3 kv_heads=1 head_dim=64 yarn=1");
  check(call_norm, "norm:bf16 seq=7 hidden=64 weight=fp32", NULL);
  check(call_norm, "norm:bf16 seq=7 hidden=64 norm=rms inplace=1", "norm=rms");
  check(call_scale_shift, "scale_shift:bf16 batch=2 seq=7 hidden=64 "
        "scale=token:fp32 shift=none", "scale=token:fp32");
  check(call_gate_residual, "gate_residual:bf16 seq=8 hidden=64 frames=2 "
        "gate=frame", "frames=2 gate=frame");
  check(call_norm_scale_shift, "norm_scale_shift:bf16 seq=7 hidden=64 "
        "rounding=each", "rounding=each");
  check(call_residual_norm_scale_shift, "residual_norm_scale_shift:fp16 seq=7 "
        "hidden=64 gate=none bias=bf16", NULL);
  check(call_norm_gate_residual, "norm_gate_residual:bf16 seq=7 hidden=64 "
        "gate_tanh=1", "gate_tanh=1");
  check(call_norm_gate_residual_norm_scale,
        "norm_gate_residual_norm_scale:bf16 seq=7 hidden=64 "
        "weight=bf16 weight2=bf16 norm=rms", "norm=rms");
}

static void test_refusals(void **state)
{
  struct problem_call c;
  dd_norm_args args = {.struct_size = sizeof args};

  (void)state;
  call_init(&c, "norm:bf16 seq=9 hidden=64 inplace=1");
  assert_fails(DD_BAD_ARGUMENT, "no dd_norm_args", dd_norm(ctx, NULL, NULL));
  assert_fails(DD_BAD_ARGUMENT, "no context", dd_norm(NULL, &args, NULL));
  assert_fails(DD_BAD_ARGUMENT, "norm", dd_norm(ctx, &args, NULL));
  args.x = tensor_named(&c, "x");
  args.options = "norm=cube";
  assert_fails(DD_BAD_ARGUMENT, "cube", dd_norm(ctx, &args, NULL));
  args.options = NULL;
  args.eps = 1.0 / 0.0;
  assert_fails(DD_BAD_ARGUMENT, "dd_norm: eps is inf",
               dd_norm(ctx, &args, NULL));
}

/* The variant that serves the problem, as dd_pin() takes it. */
static void add_variant(const char *spelling, struct bytes *out)
{
  dd_problem p = DD_PROBLEM_INIT;
  dd_plan *plan;
  char text[200];

  p.spelling = spelling;
  assert_ok(dd_plan_make(ctx, &p, &plan));
  dd_plan_describe(plan, text, sizeof text);
  *strstr(text, " (") = 0;
  bytes_text(out, text);
  dd_plan_free(plan);
}

/* What only the second step refuses is refused before the first is launched:
 * norm weights have no use for an offset, and a position is a whole number. */
static void test_no_half_a_launch(void **state)
{
  const char *spelling = "qknorm_rope:bf16 tokens=5 q_heads=3 head_dim=64";
  struct bytes variants = BYTES_INIT;
  dd_attr attrs[] = {{"position_offset", 0.5}};
  const dd_tensor *tensors[OP_MAX_TENSORS];
  struct problem_call c;
  size_t before, count;

  (void)state;
  call_init(&c, spelling);
  count = c.problem.op->tensor_count;
  for (size_t i = 0; i < count; ++i)
    tensors[i] = c.tensor[i].data ? &c.tensor[i] : NULL;
  add_variant("qk_norm:bf16 tokens=5 q_heads=3 head_dim=64", &variants);
  bytes_text(&variants, " + ");
  add_variant("rope:bf16 tokens=5 q_heads=3 head_dim=64", &variants);
  assert_ok(dd_pin(ctx, spelling, bytes_string(&variants)));
  before = driver_count();
  assert_fails(DD_BAD_ARGUMENT, "0.5 must be a whole number",
               dd_launch(ctx, "qknorm_rope:bf16", tensors, count, attrs, 1,
                         NULL));
  assert_int_equal(driver_count(), before);
  attrs[0].value = 3;
  assert_ok(dd_launch(ctx, "qknorm_rope:bf16", tensors, count, attrs, 1, NULL));
  assert_int_equal(driver_count(), before + 2);
  bytes_release(&variants);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_op_is_listed),
      cmocka_unit_test(test_specs_read_later),
      cmocka_unit_test(test_every_op_is_in_the_guide),
      cmocka_unit_test(test_calls),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_no_half_a_launch),
  };

  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 1);
  find_driver();
  return cmocka_run_group_tests(tests, open_all, close_all);
}
#else
int main(void)
{
  return 0; /* no CUDA headers: nothing to launch on */
}
#endif
