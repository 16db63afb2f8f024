/*
 * test_generator.c - from spec to text, on an op of its own.
 *
 * The specs are written into a temporary folder, so that nothing here depends
 * on the real kernels, but for one test that loads them all.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "emit.h"
#include "space.h"
#include "spec.h"

static const char op_text[] =
    "return op {\n"
    "  name = \"tiny\", facts = \"TinyFacts\", args = \"TinyArgs\",\n"
    "  io = { \"bf16\", \"fp32\" }, default = \"generic\",\n"
    "  fields = {\n"
    "    int { \"rows\", dynamic = true, min = 0, max = 2^20 },\n"
    "    int { \"cols\", min = 1, max = 4096 },\n"
    "    int { \"part\", min = 0, max = 4096, default = \"cols\" },\n"
    "    choice { \"row_mode\", \"plain\", \"fancy\" },\n"
    "    dtype { \"scale_dtype\", \"bf16\", \"fp32\", \"none\" },\n"
    "    choice { \"rounding\", \"once\", \"each\" },\n"
    "    flag { \"inplace\", default = \"1\" },\n"
    "    align { \"x\", \"y\" },\n"
    "  },\n"
    "  let = { { \"row_bytes\", \"cols * bytes_of(io)\" } },\n"
    "  rules = { { \"cols % 2 == 0\", \"cols must be even\" } },\n"
    "  tensors = {\n"
    "    tensor { \"x\", dtype = \"io\", strided = true,\n"
    "             extent = { \"rows\", 3, \"cols\" } },\n"
    "    tensor { \"y\", out = true, alias = \"x\", when = \"inplace == 0\",\n"
    "             dtype = \"io\", extent = { \"rows\", 3, \"cols\" },\n"
    "             strided = true },\n"
    "    tensor { \"index\", dtype = \"i64\", extent = { \"rows\" },\n"
    "             fill = \"position\", limit = \"cols\" },\n"
    "  },\n"
    "  attrs = { { \"eps\", default = 1e-6, trial = 0.5 } },\n"
    "  arguments = {\n"
    "    ptr \"x\", ptr \"y\", i64 { \"x_row\", \"x_stride0\" },\n"
    "    i32 { \"rows\" }, attr_f32 \"eps\",\n"
    "    i64 { \"cols\" },\n"
    "  },\n"
    "  split = { step { \"tiny\", set = { inplace = \"1\" },\n"
    "                   tensors = { x = \"y\" } } },\n"
    "  read_bytes = \"rows * row_bytes\", write_bytes = \"rows * row_bytes\",\n"
    "  awkward = { \"rows=1\", \"rows=37\" },\n"
    "}\n";

static const char generic_text[] =
    "return scheme {\n"
    "  kernel = \"tiny_generic\", params = \"TinyGeneric\", fits_all = true,\n"
    "  facts = { \"rounding\", \"io\" },\n"
    "  tune = { { \"warps\", 4 } },\n"
    "  grid = \"rows\", block = \"warps * 32\",\n"
    "}\n";

static const char block_text[] =
    "return scheme {\n"
    "  kernel = \"tiny_block\", params = \"TinyBlock\",\n"
    "  facts = { \"cols\", \"io\", \"row_mode\", \"scale_dtype\" },\n"
    "  tune = { { \"threads\", 64, 128 }, { \"vec\", 2, 4, 8 },\n"
    "           { \"stream\", false, true } },\n"
    "  where = { \"vec * bytes_of(io) <= 16\", \"cols % vec == 0\" },\n"
    "  grid = { \"rows\", 1, \"sms\" }, block = \"threads\",\n"
    "  shared = \"row_bytes\", min_blocks = \"row_bytes > 256 ? 2 : 0\",\n"
    "}\n";

static const char block_cuh[] = "// Tiny, one block per row.\n"
                                "#pragma once\n"
                                "#include \"variants/common/one.cuh\"\n"
                                "#include \"variants/common/two.cuh\"\n"
                                "struct TinyBlock { int threads, vec; };\n";
static const char generic_cuh[] = "#pragma once\n"
                                  "#include \"variants/common/one.cuh\"\n";
static const char one_cuh[] = "#pragma once\nstruct One {};\n";
static const char two_cuh[] = "#pragma once\n"
                              "#include \"variants/common/one.cuh\"\n"
                              "struct Two { One one; };";

static char folder[64];

static void put(const char *path, const char *text)
{
  char name[192];

  snprintf(name, sizeof name, "%s/%s", folder, path);
  assert_ok(file_write(name, text, strlen(text)));
}

static void put_all(void)
{
  put("tiny/op.lua", op_text);
  put("tiny/generic.lua", generic_text);
  put("tiny/block.lua", block_text);
  put("tiny/generic.cuh", generic_cuh);
  put("tiny/block.cuh", block_cuh);
  put("common/one.cuh", one_cuh);
  put("common/two.cuh", two_cuh);
}

static int make_folder(void **state)
{
  char inner[96];

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(inner, sizeof inner, "%s/tiny", folder);
  assert_int_equal(mkdir(inner, 0700), 0);
  snprintf(inner, sizeof inner, "%s/common", folder);
  assert_int_equal(mkdir(inner, 0700), 0);
  put_all();
  return 0;
}

static int fresh_files(void **state)
{
  (void)state;
  put_all();
  return 0;
}

static int remove_folder(void **state)
{
  (void)state;
  test_folder_remove(folder);
  return 0;
}

/* A tree, its op, and a problem of it. */
struct fixture {
  struct tree tree;
  struct op_set set;
  struct problem problem;
};

static void open_fixture(struct fixture *f, const char *spelling)
{
  assert_ok(tree_load(&f->tree, folder));
  assert_ok(spec_load(&f->tree, &f->set));
  assert_ok(problem_parse(&f->set, spelling, &f->problem));
}

static void close_fixture(struct fixture *f)
{
  op_set_release(&f->set);
  tree_release(&f->tree);
}

#define SPELLING "tiny:bf16 rows=100 cols=256"

static void put_edited(const char *path, const char *text, const char *from,
                       const char *to)
{
  char edited[8192];
  const char *at = strstr(text, from);

  assert_non_null(at);
  snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, to,
           at + strlen(from));
  put(path, edited);
}

/* ---- Trees ------------------------------------------------------------- */

static void a_folder_becomes_paths(void **state)
{
  struct tree t;

  (void)state;
  put("tiny/notes.md", "not a spec");
  put("tiny/a \"name\".lua", "not a spec");
  put("tiny/.hidden.lua", "not a spec");
  assert_ok(tree_load(&t, folder));
  assert_int_equal(t.count, 8);
  assert_string_equal(tree_find(&t, "variants/tiny/op.lua")->text, op_text);
  assert_int_equal(tree_find(&t, "variants/tiny/op.lua")->size,
                   strlen(op_text));
  assert_non_null(tree_find(&t, "generator/prelude.lua"));
  assert_null(tree_find(&t, "variants/tiny/notes.md"));
  assert_null(tree_find(&t, "variants/tiny/.hidden.lua"));
  tree_release(&t);
}

static void the_environment_names_a_folder(void **state)
{
  struct tree t;

  (void)state;
  setenv("DIFFTUNE_VARIANTS", folder, 1);
  assert_ok(tree_load(&t, NULL));
  assert_non_null(tree_find(&t, "variants/tiny/op.lua"));
  tree_release(&t);
  setenv("DIFFTUNE_VARIANTS", "", 1);
  assert_ok(tree_load(&t, NULL));
  assert_null(tree_find(&t, "variants/tiny/op.lua"));
  assert_non_null(tree_find(&t, "variants/qknorm_rope/op.lua"));
  tree_release(&t);
  unsetenv("DIFFTUNE_VARIANTS");
}

static void a_missing_folder_is_an_error(void **state)
{
  struct tree t;

  (void)state;
  assert_fails(DD_IO, "/nowhere/at/all", tree_load(&t, "/nowhere/at/all"));
  assert_int_equal(t.count, 0);
  assert_null(tree_find(&t, "generator/prelude.lua"));
}

/* ---- Specs ------------------------------------------------------------- */

static const char *value_of(const struct op *op, const char *name)
{
  int at = op_symbol_find(op, name);

  assert_true(at >= 0);
  return op->symbols[at].otherwise ? expr_text(op->symbols[at].otherwise) : "";
}

static void a_spec_becomes_structs(void **state)
{
  struct fixture f;
  const struct op *op;
  const struct symbol *s;

  (void)state;
  open_fixture(&f, SPELLING);
  op = f.problem.op;
  assert_int_equal(op->symbol_count, 14);
  assert_string_equal(op->symbols[0].name, "io");
  assert_string_equal(op->symbols[9].name, "x_stride0");
  assert_string_equal(op->symbols[13].name, "row_bytes");
  assert_string_equal(value_of(op, "x_stride0"), "3 * cols");
  assert_string_equal(value_of(op, "x_stride1"), "cols");
  assert_string_equal(value_of(op, "y_stride0"),
                      "(inplace == 0) ? 3 * cols : x_stride0");
  s = &op->symbols[op_symbol_find(op, "row_mode")];
  assert_string_equal(s->cpp_type, "dt::RowMode");
  assert_string_equal(s->choices[1].word, "fancy");
  assert_int_equal(s->choices[1].value, 1);
  s = &op->symbols[op_symbol_find(op, "scale_dtype")];
  assert_string_equal(s->cpp_type, "dt::Dtype");
  assert_int_equal(s->choices[2].value, 0);
  assert_int_equal(problem_get(&f.problem, "scale_dtype"), DD_BF16);
  assert_int_equal(op->args_size, 40);
  assert_int_equal(op->tensors[1].alias, 0);
  assert_string_equal(op->schemes[0].name, "generic");
  assert_string_equal(op->schemes[1].name, "block");
  assert_int_equal(op->schemes[1].facts[0], 0); /* io: the op's order */
  assert_true(op->schemes[1].tunables[2].boolean);
  close_fixture(&f);
}

static void alignment_follows_from_strides(void **state)
{
  static const struct {
    const char *spelling;
    int64_t align;
  } cases[] = {
      {SPELLING, 16},
      {"tiny:bf16 rows=9 cols=6", 4},
      {"tiny:fp32 rows=9 cols=6", 8},
      {"tiny:bf16 rows=9 cols=2 x_stride=7,2", 2},
      {"tiny:bf16 rows=9 cols=8 inplace=0 y_stride=28,8", 8},
      {"tiny:bf16 rows=9 cols=8 x_stride=0,8", 16},
  };
  struct fixture f;
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(cases); i++) {
    open_fixture(&f, cases[i].spelling);
    assert_int_equal(problem_get(&f.problem, "align"), cases[i].align);
    close_fixture(&f);
  }
}

static void generated_rules_have_sentences(void **state)
{
  struct fixture f;
  struct problem p;

  (void)state;
  open_fixture(&f, SPELLING);
  assert_fails(DD_BAD_ARGUMENT, "x_stride must be at least cols elements",
               problem_parse(&f.set, SPELLING " x_stride=999,255", &p));
  assert_fails(DD_BAD_ARGUMENT, "align must be a power of two",
               problem_parse(&f.set, SPELLING " align=6", &p));
  assert_fails(DD_BAD_ARGUMENT, "align must be a power of two",
               problem_parse(&f.set, SPELLING " align=1", &p));
  assert_fails(DD_BAD_ARGUMENT, "align is more than the strides allow",
               problem_parse(&f.set, "tiny:bf16 rows=1 cols=6 align=8", &p));
  assert_ok(problem_parse(&f.set, SPELLING " align=2", &p));
  close_fixture(&f);
}

/* One edit of the good specs each, and what must be said of it. */
static const struct {
  const char *file, *from, *to, *says;
} faults[] = {
    {"op", "name = \"tiny\"", "name = \"big\"",
     "op.lua:2: the op 'big' is in the folder 'tiny'"},
    {"op", "awkward =", "awkwrd =",
     "op.lua:34: 'awkwrd' is not a key of op (it has args, arguments, "},
    {"op", "dynamic = true", "dynamc = true",
     "op.lua:5: 'dynamc' is not a key of int (it has default, dynamic, max, "
     "min)"},
    {"op", "min = 1, max = 4096", "min = 1", "op.lua:6: int of 'cols' lacks"},
    {"op", "min = 1, max", "min = 5000, max", "op.lua:6: int 'cols' has min"},
    {"op", "max = 2^20", "max = 1.5",
     "op.lua:5: int: 'max' must be a whole number, not 1.5"},
    {"op", "\"rows\", dynamic", "\"ro-ws\", dynamic",
     "op.lua:5: int: value 1 must be a name, not 'ro-ws'"},
    {"op", "\"rows\", dynamic", "\"io\", dynamic",
     "op.lua:5: the symbol 'io' is there twice"},
    {"op", "\"fancy\" }", "\"plain\" }",
     "op.lua:8: the word 'plain' is there twice"},
    {"op", "\"bf16\", \"fp32\", \"none\"", "\"fp64\"",
     "op.lua:9: dtype does not know the dtype 'fp64'"},
    {"op", "align { \"x\", \"y\" }", "align { \"x\", \"z\" }",
     "op.lua:12: align: no tensor is named 'z'"},
    {"op", "default = \"cols\"", "default = \"colz\"",
     "op.lua:7: in the expression 'colz'"},
    {"op", "cols * bytes_of(io)", "cols * bites_of(io)",
     "op.lua:14: in the expression 'cols * bites_of(io)'"},
    {"op", "cols % 2 == 0", "cols % 2 == nothing",
     "op.lua:15: in the expression 'cols % 2 == nothing' at 'nothing': there "
     "is no such name"},
    {"op", "inplace == 0", "row_mode == row_mode.odd",
     "op.lua:19: in the expression"},
    {"op", "alias = \"x\"", "alias = \"index\"",
     "op.lua:19: no tensor before 'y' is named 'index'"},
    {"op", "fill = \"position\"", "fill = \"random\"",
     "op.lua:22: tensor 'index' has no fill 'random'"},
    {"op", ", limit = \"cols\"", "", "op.lua:22: tensor 'index' is of posit"},
    {"op", "ptr \"y\"", "ptr \"z\"", "op.lua:27: no tensor is named 'z'"},
    {"op", "attr_f32 \"eps\"", "attr_f32 \"epsilon\"",
     "op.lua:28: no attr is named 'epsilon'"},
    {"op", "tensors = { x = \"y\" }", "tensors = { x = \"z\" }",
     "op.lua:31: no tensor is named 'z'"},
    {"op", "step { \"tiny\"", "step { \"huge\"", "no op is named 'huge'"},
    {"op", "rows * row_bytes", "rows *",
     "op.lua:33: in the expression 'rows *'"},
    {"op", "default = \"generic\"", "default = \"block\"",
     "op.lua:3: the default scheme 'block' must have fits_all = true"},
    {"op", "default = \"generic\"", "default = \"best\"",
     "op.lua:3: there is no scheme 'best' for the default"},
    {"op", "    int { \"cols\"", "    { \"cols\"",
     "op.lua: value 2 of fields is not a field"},
    {"op", "awkward = { \"rows=1\"",
     "awkward = (function() local s, t = string.rep(\"a\", 4000), {}\n"
     "for i = 1, 9000 do t[i] = s end return t end)() or { \"rows=1\"",
     "op.lua: makes a message of more than 16777216 bytes"},
    {"generic", "\"rounding\", \"io\"", "\"rounding\", \"cols\"",
     "generic.lua:3: a scheme that fits all may have the facts io and "},
    {"generic", "return scheme", "return", "generic.lua: a scheme's file must"},
    {"generic", "fits_all = true", "fits_all = 1",
     "generic.lua: scheme: 'fits_all' must be true or false, not 1"},
    {"block", "\"cols\", \"io\"", "\"rows\", \"io\"",
     "block.lua:3: the fact 'rows' is dynamic"},
    {"block", "\"cols\", \"io\"", "\"colz\", \"io\"",
     "block.lua:3: the fact 'colz' is not a field of the op"},
    {"block", "\"vec\", 2", "\"cols\", 2",
     "block.lua:3: the name 'cols' is there twice"},
    {"block", "2, 4, 8", "2, 4, 2",
     "block.lua:4: tunable 'vec' has the value 2 twice"},
    {"block", "false, true", "false, 1",
     "block.lua:5: tunable 'stream' mixes numbers with true and false"},
    {"block", "cols % vec == 0", "cols % vect == 0",
     "block.lua:6: in the expression 'cols % vect == 0'"},
    {"block", "block = \"threads\"", "block = \"thrds\"",
     "block.lua:7: in the expression 'thrds'"},
    {"block", "{ \"rows\", 1, \"sms\" }", "{ 1, 2, 3, 4 }",
     "block.lua:7: grid has 4 extents, not 1 to 3"},
    {"block", "shared =", "sharde =", "block.lua:8: 'sharde' is not a key"},
    {"block", "kernel = \"tiny_block\"", "kernel = \"f(){}\"",
     "block.lua:2: scheme: 'kernel' must be a name, not 'f(){}'"},
};

static void every_fault_is_named(void **state)
{
  struct op_set set;
  struct tree t;
  char path[64];
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(faults); i++) {
    const char *file = faults[i].file;
    snprintf(path, sizeof path, "tiny/%s.lua", file);
    put_edited(path,
               *file == 'o'   ? op_text
               : *file == 'g' ? generic_text
                              : block_text,
               faults[i].from, faults[i].to);
    assert_ok(tree_load(&t, folder));
    assert_fails(DD_BAD_SPEC, faults[i].says, spec_load(&t, &set));
    assert_int_equal(set.count, 0);
    tree_release(&t);
    put_all();
  }
}

static void huge_spaces_are_refused(void **state)
{
  char text[4096] = "tune = {\n", row[64];
  struct op_set set;
  struct tree t;
  int i;

  (void)state;
  for (i = 0; i < 21; i++) {
    snprintf(row, sizeof row, "{ \"t%d\", 1, 2 },\n", i);
    strcat(text, row);
  }
  strcat(text, "}, --");
  put_edited("tiny/generic.lua", generic_text, "tune =", text);
  assert_ok(tree_load(&t, folder));
  assert_fails(DD_BAD_SPEC, "the space has more than 1048576 points",
               spec_load(&t, &set));
  tree_release(&t);
  put_all();
}

static void the_message_is_the_same_on_every_run(void **state)
{
  struct bytes first = BYTES_INIT, next = BYTES_INIT;
  struct tree t;
  int i;

  (void)state;
  assert_ok(tree_load(&t, folder));
  assert_ok(spec_evaluate(&t, NULL, NULL, &first));
  for (i = 0; i < 5; i++) {
    bytes_clear(&next);
    assert_ok(spec_evaluate(&t, "tiny", NULL, &next));
    assert_int_equal(next.size, first.size);
    assert_memory_equal(next.data, first.data, first.size);
  }
  assert_fails(DD_BAD_SPEC, "variants/absent/op.lua",
               spec_evaluate(&t, "absent", NULL, &next));
  bytes_release(&first);
  bytes_release(&next);
  tree_release(&t);
}

/* A field and a list of values from variants/common: the same message. */
static void specs_share_a_file(void **state)
{
  struct bytes alone = BYTES_INIT, with = BYTES_INIT;
  struct tree t;

  (void)state;
  assert_ok(tree_load(&t, folder));
  assert_ok(spec_evaluate(&t, NULL, NULL, &alone));
  tree_release(&t);
  put("common/parts.lua",
      "local inner = shared 'inner'\n"
      "return { times = inner.times, rows = function()\n"
      "  return int { 'rows', dynamic = true, min = 0, max = 2^20 }\n"
      "end }\n");
  /* What is read once is one table. */
  put("common/inner.lua", "return { times = { 64, 128 } }\n");
  put_edited("tiny/op.lua", op_text,
             "int { \"rows\", dynamic = true, min = 0, max = 2^20 }",
             "shared \"parts\".rows()");
  put_edited("tiny/block.lua", block_text, "return scheme {",
             "assert(shared 'parts' == shared 'parts')\n"
             "local times = shared 'inner'.times\n"
             "assert(times == shared 'parts'.times)\n"
             "return scheme {");
  assert_ok(tree_load(&t, folder));
  assert_ok(spec_evaluate(&t, NULL, NULL, &with));
  assert_int_equal(with.size, alone.size);
  assert_memory_equal(with.data, alone.data, alone.size);
  tree_release(&t);
  put("common/parts.lua", "\nreturn { rows = function()\n"
                          "  local rows = int { 'rows', least = 0 }\n"
                          "  return rows\nend }\n");
  assert_ok(tree_load(&t, folder));
  assert_fails(DD_BAD_SPEC, "variants/common/parts.lua:3: 'least' is not a key",
               spec_evaluate(&t, NULL, NULL, &with));
  tree_release(&t);
  bytes_release(&alone);
  bytes_release(&with);
}

/* ---- Spaces ------------------------------------------------------------ */

static uint32_t random_state = 1;

static uint32_t below(uint32_t n)
{
  random_state = random_state * 1664525u + 1013904223u;
  return (random_state >> 8) % n;
}

/* A condition on one or two tunables of `count`; a value of 0 divides by it. */
static size_t random_condition(char *text, size_t size, uint32_t count)
{
  static const char *const conditions[] = {
      "%s * 3 <= cols + %s",     "(%s + rows + %s) %% 2 == 0",
      "arch >= 80 && %s != %s",  "rows / %s < 100 || %s == 2",
      "cols %% (%s + 1) <= %s",  "sms > 200 || %s + %s > 2",
      "cols > 8 + 0 * %s * %s"};
  static const char *const names[] = {"b0", "b1", "b2", "b3", "b4"};
  const char *format = conditions[below(COUNT_OF(conditions))];
  const char *x = names[below(count)], *y = names[below(count)];
  size_t n = (size_t)snprintf(text, size, "'");

  n += (size_t)snprintf(text + n, size - n, format, x, y);
  return n + (size_t)snprintf(text + n, size - n, "', ");
}

/* A scheme with 1 to 5 tunables of 1 to 4 values and 0 to 3 conditions. */
static void random_scheme(char *text, size_t size)
{
  size_t n = (size_t)snprintf(
      text, size,
      "return scheme { kernel = 'k', params = 'P', grid = 1, block = 32,\n"
      "facts = { 'io' }, tune = { ");
  uint32_t tunables = 1 + below(5), i, j;

  for (i = 0; i < tunables; i++) {
    n += (size_t)snprintf(text + n, size - n, "{ 'b%u', %u", i, i % 2);
    for (j = below(4); j > 0; j--)
      n += (size_t)snprintf(text + n, size - n, ", %u", j * 2);
    n += (size_t)snprintf(text + n, size - n, " }, ");
  }
  n += (size_t)snprintf(text + n, size - n, "}, where = {");
  for (i = below(6); i > 0; i--)
    n += random_condition(text + n, size - n, tunables);
  snprintf(text + n, size - n, "} }");
}

/* Point number `i` in the order of the walk, without an odometer. */
static void nth_point(const struct scheme *s, uint64_t i, int64_t *value)
{
  uint32_t t = s->tunable_count;

  while (t-- > 0) {
    value[t] = s->tunables[t].values[i % s->tunables[t].value_count];
    i /= s->tunables[t].value_count;
  }
}

static uint64_t check_walk(const struct scheme *s, const struct problem *p)
{
  int64_t value[OP_MAX_TUNABLES];
  struct variant want, got;
  uint64_t points = 1, i, fits = 0;
  struct space space;
  uint32_t t;

  for (t = 0; t < s->tunable_count; t++) points *= s->tunables[t].value_count;
  space_init(&space, s, p, 90, 132);
  for (i = 0; i < points; i++) {
    nth_point(s, i, value);
    variant_of(s, p, value, &want);
    if (variant_misfit(&want, p, 90, 132)) continue;
    assert_true(space_next(&space, &got));
    assert_memory_equal(got.tunable, want.tunable, sizeof want.tunable);
    assert_memory_equal(got.fact, want.fact, sizeof want.fact);
    fits++;
  }
  assert_false(space_next(&space, &got));
  assert_false(space_next(&space, &got));
  return fits;
}

static void a_walk_is_the_filtered_product(void **state)
{
  uint64_t fits = 0, none = 0;
  char text[1024];
  struct fixture f;
  int round;

  (void)state;
  for (round = 0; round < 300; round++) {
    uint64_t n;
    char spelling[64];
    random_scheme(text, sizeof text);
    put("tiny/block.lua", text);
    snprintf(spelling, sizeof spelling, "tiny:fp32 rows=%u cols=%u",
             below(300), 2 + 2 * below(20));
    open_fixture(&f, spelling);
    n = check_walk(op_scheme_find(f.problem.op, "block"), &f.problem);
    fits += n;
    none += n == 0;
    close_fixture(&f);
  }
  assert_true(fits > 100); /* else nothing was compared */
  assert_true(none > 0);
  put_all();
}

/* Seven tunables of four values, and what of them fits. */
static uint64_t walk_seven(const char *where, uint64_t *evaluated)
{
  char text[1024];
  struct fixture f;
  struct space space;
  struct variant v;
  uint64_t fits;

  snprintf(text, sizeof text,
           "local tune = {}\n"
           "for i = 0, 6 do table.insert(tune, { 'b' .. i, 0, 1, 2, 3 }) end\n"
           "return scheme { kernel = 'k', params = 'P', grid = 1, block = 32,\n"
           "facts = { 'io' }, tune = tune, where = { %s } }", where);
  put("tiny/block.lua", text);
  open_fixture(&f, "tiny:fp32 rows=1 cols=2");
  fits = check_walk(op_scheme_find(f.problem.op, "block"), &f.problem);
  space_init(&space, op_scheme_find(f.problem.op, "block"), &f.problem, 90, 132);
  while (space_next(&space, &v)) continue;
  *evaluated = space.evaluated;
  close_fixture(&f);
  put_all();
  return fits;
}

/* However often the walk comes by: of b6, of b0 and what is left of b6, and of
 * none. */
static void a_condition_is_evaluated_once_for_what_it_sees(void **state)
{
  uint64_t evaluated;

  (void)state;
  assert_int_equal(walk_seven("'b6 != 1', 'b0 + b6 != 3', 'rows == 1'",
                              &evaluated),
                   4 * 4 * 4 * 4 * 4 * 9);
  assert_int_equal(evaluated, 4 + 12 + 1);
}

/* 4^7 combinations fill the room of all answers, and leave none for another. */
static void a_condition_without_room_is_asked_each_time(void **state)
{
  uint64_t evaluated;

  (void)state;
  assert_int_equal(SPACE_TRUTHS, 4 * 4 * 4 * 4 * 4 * 4 * 4);
  assert_int_equal(walk_seven("'b0 + b1 + b2 + b3 + b4 + b5 + b6 < 3', "
                              "'b6 != 1'", &evaluated),
                   29);
  assert_int_equal(evaluated, 4 * 4 * 4 * 4 * 4 * 4 * 4 + 36);
}

/* ---- Text -------------------------------------------------------------- */

static void variant_at(const struct fixture *f, const char *scheme,
                       int64_t threads, int64_t vec, int64_t stream,
                       struct variant *v)
{
  const int64_t value[OP_MAX_TUNABLES] = {threads, vec, stream};

  variant_of(op_scheme_find(f->problem.op, scheme), &f->problem, value, v);
}

static void compare_golden(const char *name, const struct bytes *text)
{
  struct bytes want = BYTES_INIT;
  char path[512];

  snprintf(path, sizeof path, TEST_ROOT "/tests/golden/%s", name);
  if (getenv("DIFFTUNE_GOLDEN"))
    assert_ok(file_write(path, text->data, text->size));
  assert_ok(file_read(path, 1 << 20, &want));
  assert_string_equal(bytes_string(text), bytes_string(&want));
  bytes_release(&want);
}

/* Set DIFFTUNE_GOLDEN to write the files anew, then read their diff. */
static void text_is_as_in_the_golden_files(void **state)
{
  struct bytes text = BYTES_INIT;
  struct variant v[2];
  struct fixture f;

  (void)state;
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v[0]);
  assert_ok(emit_variant(&f.tree, &v[0], &text));
  compare_golden("tiny_block.cu", &text);
  bytes_clear(&text);
  variant_at(&f, "block", 64, 2, 0, &v[1]);
  assert_ok(emit_variant(&f.tree, &v[1], &text));
  bytes_clear(&text);
  assert_ok(emit_unit(&f.tree, v, 2, &text));
  compare_golden("tiny_block_unit.cu", &text);
  bytes_release(&text);
  close_fixture(&f);
}

static struct hash hash_at(const char *spelling, int64_t threads, int64_t vec,
                           int64_t stream)
{
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;

  open_fixture(&f, spelling);
  variant_at(&f, "block", threads, vec, stream, &v);
  assert_ok(emit_variant(&f.tree, &v, &text));
  bytes_release(&text);
  close_fixture(&f);
  return v.hash;
}

static void differ(const struct hash *a, struct hash b)
{
  assert_false(hash_equal(a, &b));
}

static void same(const struct hash *a, struct hash b)
{
  assert_true(hash_equal(a, &b));
}

static void a_hash_is_of_what_is_compiled(void **state)
{
  struct hash h = hash_at(SPELLING, 128, 4, 1);

  (void)state;
  same(&h, hash_at(SPELLING, 128, 4, 1));
  same(&h, hash_at("tiny:bf16 rows=7 cols=256", 128, 4, 1)); /* dynamic */
  same(&h, hash_at(SPELLING " rounding=each", 128, 4, 1)); /* not a fact */
  differ(&h, hash_at(SPELLING, 64, 4, 1));
  differ(&h, hash_at(SPELLING, 128, 8, 1));
  differ(&h, hash_at(SPELLING, 128, 4, 0));
  differ(&h, hash_at("tiny:fp32 rows=100 cols=256", 128, 4, 1));
  differ(&h, hash_at("tiny:bf16 rows=100 cols=258", 128, 4, 1));
  differ(&h, hash_at(SPELLING " row_mode=fancy", 128, 4, 1));
}

/* Changes each byte of an included file in turn. */
static void check_bytes(const struct hash *h, const char *path,
                        const char *text)
{
  char copy[512];
  size_t i;

  for (i = 0; text[i]; i++) {
    snprintf(copy, sizeof copy, "%s", text);
    if (copy[i] == '\n' || strncmp(text, "#pragma", 7) == 0) {
      if (i < 13) continue; /* the line that folding drops */
    }
    copy[i] = copy[i] == 'x' ? 'y' : 'x';
    put(path, copy);
    differ(h, hash_at(SPELLING, 128, 4, 1));
  }
  put_all();
}

static void a_hash_sees_every_byte_of_every_file(void **state)
{
  struct hash h = hash_at(SPELLING, 128, 4, 1);

  (void)state;
  check_bytes(&h, "common/one.cuh", one_cuh);
  put_edited("tiny/block.cuh", block_cuh, "per row", "per raw");
  differ(&h, hash_at(SPELLING, 128, 4, 1));
  put_all();
  put_edited("common/two.cuh", two_cuh, "Two", "Three");
  differ(&h, hash_at(SPELLING, 128, 4, 1));
  put_all();
  put_edited("tiny/generic.cuh", generic_cuh, "once", "once\n// more");
  same(&h, hash_at(SPELLING, 128, 4, 1)); /* not included */
  put_all();
  same(&h, hash_at(SPELLING, 128, 4, 1));
}

static void a_unit_is_the_same_bytes_and_order_changes_no_hash(void **state)
{
  struct bytes a = BYTES_INIT, b = BYTES_INIT, text = BYTES_INIT;
  char name[2][VARIANT_ENTRY];
  struct variant v[2], w[2];
  struct fixture f;
  size_t i;

  (void)state;
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v[0]);
  variant_at(&f, "block", 64, 2, 0, &v[1]);
  for (i = 0; i < 2; i++) assert_ok(emit_variant(&f.tree, &v[i], &text));
  w[0] = v[1];
  w[1] = v[0];
  assert_ok(emit_unit(&f.tree, v, 2, &a));
  assert_ok(emit_unit(&f.tree, v, 2, &b));
  assert_string_equal(bytes_string(&a), bytes_string(&b));
  bytes_clear(&b);
  assert_ok(emit_unit(&f.tree, w, 2, &b));
  assert_int_equal(a.size, b.size);
  for (i = 0; i < 2; i++) {
    variant_entry(&v[i], name[i]);
    assert_non_null(strstr(a.data, name[i]));
    assert_non_null(strstr(b.data, name[i]));
  }
  assert_true(strstr(a.data, name[0]) < strstr(a.data, name[1]));
  assert_true(strstr(b.data, name[0]) > strstr(b.data, name[1]));
  variant_at(&f, "generic", 4, 0, 0, &w[1]);
  assert_fails(DD_BUG, "block and of generic", emit_unit(&f.tree, w, 2, &b));
  assert_fails(DD_BUG, "without variants", emit_unit(&f.tree, w, 0, &b));
  bytes_release(&a);
  bytes_release(&b);
  bytes_release(&text);
  close_fixture(&f);
}

/* A file that is folded in says where it comes from, once. */
static void folding_keeps_files_and_lines(void **state)
{
  static const char want[] = "#line 1 \"variants/tiny/block.cuh\"\n"
                             "// Tiny, one block per row.\n"
                             "\n"
                             "#line 1 \"variants/common/one.cuh\"\n"
                             "\n"
                             "struct One {};\n"
                             "#line 4 \"variants/tiny/block.cuh\"\n"
                             "#line 1 \"variants/common/two.cuh\"\n"
                             "\n"
                             "\n"
                             "struct Two { One one; };\n"
                             "#line 5 \"variants/tiny/block.cuh\"\n"
                             "struct TinyBlock { int threads, vec; };\n"
                             "#line 16 \"tiny.block.cu\"\n";
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;

  (void)state;
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v);
  assert_ok(emit_unit(&f.tree, &v, 1, &text));
  assert_non_null(strstr(text.data, want));
  assert_null(strstr(text.data, "#include"));
  assert_null(strstr(text.data, "#pragma"));
  bytes_release(&text);
  close_fixture(&f);
}

static const char *const bad_includes[] = {
    "#include <cuda_bf16.h>",
    "#include \"/etc/passwd\"",
    "#include \"common/two.cuh\"",
    " #include \"variants/common/two.cuh\"",
    "# include \"/etc/passwd\"",
    "#\tinclude \"/etc/passwd\"",
    "#/**/include \"/etc/passwd\"",
    "#/* a\n b */ include \"/etc/passwd\"",
    "/**/ #include \"/etc/passwd\"",
    "%:include \"/etc/passwd\"",
    "%\\\n:include \"/etc/passwd\"",
    "#inc\\\nlude \"/etc/passwd\"",
    "#\\\ninclude \"/etc/passwd\"",
    "#inc\\  \nlude \"/etc/passwd\"",
    "#\\\r\ninclude \"/etc/passwd\"",
    "#include_next <stdio.h>",
    "#import \"/etc/passwd\"",
    "#embed \"/etc/passwd\"",
    "#include PASSWD",
    "#include \"variants/common/two.cuh\" <x>",
    "#include \"variants/common/two.cuh",
};

static void other_includes_are_refused(void **state)
{
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;
  char file[512];
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(bad_includes); i++) {
    snprintf(file, sizeof file, "#pragma once\nstruct One {};\n%s\n",
             bad_includes[i]);
    put("common/one.cuh", file);
    open_fixture(&f, SPELLING);
    variant_at(&f, "block", 128, 4, 1, &v);
    assert_fails(DD_BAD_SPEC, "variants/common/one.cuh:3: only #include",
                 emit_variant(&f.tree, &v, &text));
    close_fixture(&f);
  }
  put_all();
  bytes_release(&text);
}

static void emit_refuses(const char *path, const char *content,
                         const char *says)
{
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;

  put(path, content);
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v);
  assert_fails(DD_BAD_SPEC, says, emit_variant(&f.tree, &v, &text));
  bytes_release(&text);
  close_fixture(&f);
  put_all();
}

static void unusable_files_are_named(void **state)
{
  char path[128];
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;

  (void)state;
  emit_refuses("common/two.cuh", "\n#include \"variants/common/three.cuh\"\n",
               "two.cuh:2: there is no file 'variants/common/three.cuh'");
  snprintf(path, sizeof path, "%s/tiny/block.cuh", folder);
  assert_ok(file_write(path, "struct\0X;\n", 10));
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v);
  assert_fails(DD_BAD_SPEC, "tiny/block.cuh: not a text",
               emit_variant(&f.tree, &v, &text));
  close_fixture(&f);
  assert_int_equal(unlink(path), 0);
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v);
  assert_fails(DD_BAD_SPEC,
               "tiny/block.lua: there is no file 'variants/tiny/block.cuh'",
               emit_variant(&f.tree, &v, &text));
  bytes_release(&text);
  close_fixture(&f);
  put_all();
}

static void launch_bounds_need_facts(void **state)
{
  static const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"block = \"threads\"", "block = \"rows\"",
       "block.lua: block 'rows' uses 'rows', which is neither"},
      {"block = \"threads\"", "block = \"sms\"", "uses 'arch, sms or occ"},
      {"block = \"threads\"", "block = \"part\"", "uses 'part'"},
      {"block = \"threads\"", "block = \"threads * 16\"",
       "block 'threads * 16' is 2048, not 1 to 1024"},
      {"block = \"threads\"", "block = \"threads - 128\"", "is 0, not 1 to"},
      {"row_bytes > 256 ? 2 : 0", "rows", "min_blocks 'rows' uses 'rows'"},
      {"row_bytes > 256 ? 2 : 0", "40", "min_blocks '40' is 40, not 0 to 32"},
      {"row_bytes > 256 ? 2 : 0", "1 / (threads - 128)", "divides by zero"},
  };
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct fixture f;
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(cases); i++) {
    put_edited("tiny/block.lua", block_text, cases[i].from, cases[i].to);
    open_fixture(&f, SPELLING);
    variant_at(&f, "block", 128, 4, 1, &v);
    assert_int_not_equal(emit_variant(&f.tree, &v, &text), DD_OK);
    if (!strstr(dd_last_error(), cases[i].says))
      fail_msg("'%s' does not say '%s'", dd_last_error(), cases[i].says);
    close_fixture(&f);
  }
  put_all();
  bytes_release(&text);
}

static void no_failing_allocation_leaks(void **state)
{
  struct allocator before = default_allocator;
  struct test_memory m;
  dd_status status = DD_NO_MEMORY;
  struct variant v;
  struct fixture f;
  long n;

  (void)state;
  open_fixture(&f, SPELLING);
  variant_at(&f, "block", 128, 4, 1, &v);
  for (n = 1; status; n++) {
    struct bytes text = BYTES_INIT;
    struct tree t;
    test_memory_init(&m);
    m.fail_at = n;
    default_allocator = m.allocator;
    status = tree_load(&t, folder);
    if (!status) {
      status = emit_variant(&t, &v, &text);
      bytes_release(&text);
      tree_release(&t);
    }
    default_allocator = before;
    assert_true(status == DD_OK || status == DD_NO_MEMORY);
    assert_int_equal(m.live, 0);
  }
  assert_true(n > 5);
  close_fixture(&f);
}

/* ---- The real ones ----------------------------------------------------- */

/* A problem whose facts are legal one by one: enough to print text. */
static void any_problem(const struct op *op, struct problem *p)
{
  uint32_t i;

  memset(p, 0, sizeof *p);
  p->op = op;
  for (i = 0; i < op->symbol_count; i++) {
    const struct symbol *s = &op->symbols[i];
    p->value[i] = s->choice_count ? s->choices[0].value : 128;
    if (s->kind == SYMBOL_INT && s->max < 128) p->value[i] = s->max;
  }
}

static void check_scheme(const struct tree *tree, const struct op *op,
                         const struct scheme *s)
{
  struct bytes text = BYTES_INIT;
  struct problem p;
  struct variant v;

  any_problem(op, &p);
  variant_of(s, &p, NULL, &v);
  assert_ok(emit_variant(tree, &v, &text));
  bytes_clear(&text);
  assert_ok(emit_unit(tree, &v, 1, &text));
  assert_null(strstr(text.data, "\n#include"));
  bytes_release(&text);
}

static void check_variants(const char *from)
{
  struct op_set set;
  struct tree t;
  uint32_t i, j;

  assert_ok(tree_load(&t, from));
  assert_ok(spec_load(&t, &set));
  assert_true(set.count > 0);
  for (i = 0; i < set.count; i++) {
    assert_true(set.ops[i].schemes[0].fits_all);
    assert_true(set.ops[i].awkward_count > 0);
    for (j = 0; j < set.ops[i].scheme_count; j++)
      check_scheme(&t, &set.ops[i], &set.ops[i].schemes[j]);
  }
  op_set_release(&set);
  tree_release(&t);
}

static void every_real_scheme_becomes_text(void **state)
{
  (void)state;
  check_variants(TEST_ROOT "/variants");
  check_variants(NULL);
}

#define TEST(name) cmocka_unit_test_setup(name, fresh_files)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_folder_becomes_paths),
      TEST(the_environment_names_a_folder),
      TEST(a_missing_folder_is_an_error),
      TEST(a_spec_becomes_structs),
      TEST(alignment_follows_from_strides),
      TEST(generated_rules_have_sentences),
      TEST(every_fault_is_named),
      TEST(huge_spaces_are_refused),
      TEST(the_message_is_the_same_on_every_run),
      TEST(specs_share_a_file),
      TEST(a_walk_is_the_filtered_product),
      TEST(a_condition_is_evaluated_once_for_what_it_sees),
      TEST(a_condition_without_room_is_asked_each_time),
      TEST(text_is_as_in_the_golden_files),
      TEST(a_hash_is_of_what_is_compiled),
      TEST(a_hash_sees_every_byte_of_every_file),
      TEST(a_unit_is_the_same_bytes_and_order_changes_no_hash),
      TEST(folding_keeps_files_and_lines),
      TEST(other_includes_are_refused),
      TEST(unusable_files_are_named),
      TEST(launch_bounds_need_facts),
      TEST(no_failing_allocation_leaks),
      TEST(every_real_scheme_becomes_text),
  };

  unsetenv("DIFFTUNE_VARIANTS");
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
