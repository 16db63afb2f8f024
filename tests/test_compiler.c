/*
 * test_compiler.c - NVRTC and the cubins it makes.
 *
 * What needs NVRTC is skipped where there is none.  The reader of cubins is
 * held against ptxas's own words: NVRTC prints none, so kernels with a known
 * usage stand in, whose figures nvcc -Xptxas -v gave for CUDA 13.0.
 */
#include "test.h"

#include <elf.h>
#include <pthread.h>
#include <unistd.h>

#include "compiler.h"
#include "cubin.h"

static const char kernels[] =
    "struct Args { float *p; int n; };\n"
    "extern \"C\" __global__ void plain(Args a) {\n"
    "  int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "  if (i < a.n) a.p[i] *= 2.f;\n"
    "}\n"
    "extern \"C\" __global__ void shares(Args a) {\n"
    "  __shared__ float s[300];\n"
    "  s[threadIdx.x] = a.p[threadIdx.x];\n"
    "  __syncthreads();\n"
    "  a.p[threadIdx.x] = s[threadIdx.x ^ 1];\n"
    "}\n"
    "extern \"C\" __global__ void array(Args a) {\n"
    "  float v[40];\n"
    "  for (int i = 0; i < 40; i++) v[i] = a.p[i];\n"
    "  for (int i = 0; i < a.n; i++) v[(i * 7) % 40] += v[i % 40];\n"
    "  for (int i = 0; i < 40; i++) a.p[i] = v[i];\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(1024, 2) spills(Args a) {\n"
    "  float v[64];\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) v[i] = a.p[i * 1024 + threadIdx.x];\n"
    "  __syncthreads();\n"
    "  for (int k = 0; k < a.n; k++) {\n"
    "#pragma unroll\n"
    "    for (int i = 0; i < 64; i++)\n"
    "      v[i] = v[i] * v[(i + 5) % 64] + v[(i + 1) % 64];\n"
    "  }\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 64; i++) a.p[i * 1024 + threadIdx.x] = v[i];\n"
    "}\n"
    /* default-device: no __device__ here, and it is no entry */
    "__noinline__ float helper(float *p, int n) { return p[n] * n; }\n"
    "extern \"C\" __global__ void calls(Args a) {\n"
    "  a.p[0] = helper(a.p, a.n);\n"
    "}\n";

static const char *const targets[] = {"sm_80", "sm_90", "sm_100"};

/* Skips the test, with the reason, where there is no NVRTC. */
#define NEED_NVRTC                                                             \
  do {                                                                         \
    struct bytes need_ = BYTES_INIT;                                           \
    dd_status status_ = compiler_identity("sm_80", &need_);                    \
    bytes_release(&need_);                                                     \
    if (!status_) break;                                                       \
    print_message("skipped: %s\n", dd_last_error());                           \
    skip();                                                                    \
  } while (0)

/* ---- Targets --------------------------------------------------------- */

static void test_unknown_targets(void **state)
{
  static const char *const bad[] = {"",       "gpu",    "sm_",   "sm_9",
                                    "sm_9000", "sm_90x", "sm_90ab", "sm_a0",
                                    "compute_90", "cpu2"};
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  (void)state;

  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    char quoted[64];

    snprintf(quoted, sizeof quoted, "'%s'", bad[i]);
    assert_fails(DD_BAD_ARGUMENT, quoted, compiler_identity(bad[i], &log));
    assert_fails(DD_BAD_ARGUMENT, quoted,
                 compile_unit(bad[i], "", &code, &log));
  }
  bytes_release(&code);
  bytes_release(&log);
}

/* A child's words when it compiles with an NVRTC that is not there. */
static void test_no_nvrtc(void **state)
{
  char self[2048] = "", command[4096], out[1024];
  FILE *f;
  (void)state;

  assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  snprintf(command, sizeof command, "DIFFTUNE_NVRTC=/nonexistent '%s' compile",
           self);
  f = popen(command, "r");
  assert_non_null(f);
  out[fread(out, 1, sizeof out - 1, f)] = 0;
  assert_int_equal(pclose(f), 0);
  assert_string_equal(out,
                      "DD_COMPILE: no CUDA compiler: DIFFTUNE_NVRTC names "
                      "'/nonexistent', which cannot be loaded\n");
}

static int print_compile(void)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  dd_status status = compile_unit("sm_90", kernels, &code, &log);

  printf("%s: %s\n", dd_status_name(status), dd_last_error());
  bytes_release(&code);
  bytes_release(&log);
  return 0;
}

/* ---- NVRTC ----------------------------------------------------------- */

static void test_identity(void **state)
{
  struct bytes id = BYTES_INIT;
  int major, minor, build;
  (void)state;

  NEED_NVRTC;
  assert_ok(compiler_identity("sm_90", &id));
  print_message("%s\n", bytes_string(&id));
  assert_int_equal(sscanf(id.data, "nvrtc %d.%d.%d", &major, &minor, &build),
                   3);
  assert_non_null(strstr(id.data, " --gpu-architecture=sm_90 -std=c++20"));
  bytes_release(&id);
}

static void test_same_input_same_bytes(void **state)
{
  struct bytes code[2] = {BYTES_INIT, BYTES_INIT}, log = BYTES_INIT;
  (void)state;

  NEED_NVRTC;
  for (size_t t = 0; t < COUNT_OF(targets); t++) {
    for (int i = 0; i < 2; i++)
      assert_ok(compile_unit(targets[t], kernels, &code[i], &log));
    assert_int_equal(code[0].size, code[1].size);
    assert_memory_equal(code[0].data, code[1].data, code[0].size);
  }
  for (int i = 0; i < 2; i++) bytes_release(&code[i]);
  bytes_release(&log);
}

/* Failing text, and what the sentence and the log must say. */
static const struct {
  const char *text, *sentence;
} broken[] = {
    {"#line 7 \"qknorm_rope/warp.cuh\"\n"
     "extern \"C\" __global__ void k(int *p) { *p = nope; }\n",
     "qknorm_rope/warp.cuh(7): error: identifier \"nope\" is undefined"},
    {"#warning an error is not here\n"
     "#line 41 \"common/vec.cuh\"\n"
     "\n"
     "static_assert(sizeof(int) == 8, \"wide\");\n",
     "common/vec.cuh(42): error: static assertion failed"},
    {"#include \"not_there.cuh\"\n", "not_there.cuh"},
    {"extern \"C\" __global__ void k(int *p) {\n"
     "  __shared__ int s[99999]; s[*p] = 1; __syncthreads(); *p = s[2]; }\n",
     "uses too much shared data"},
    {"extern \"C\" __global__ void k() { asm(\"bogus.op;\"); }\n", "error"},
};

static void test_errors_name_file_and_line(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  (void)state;

  NEED_NVRTC;
  for (size_t i = 0; i < COUNT_OF(broken); i++) {
    assert_fails(DD_COMPILE, broken[i].sentence,
                 compile_unit("sm_90", broken[i].text, &code, &log));
    assert_null(strchr(dd_last_error(), '\n'));
    assert_non_null(strstr(bytes_string(&log), broken[i].sentence));
    assert_int_equal(code.size, 0);
  }
  assert_fails(DD_COMPILE, "sm_999", compile_unit("sm_999", "", &code, &log));
  bytes_release(&code);
  bytes_release(&log);
}

/* The log comes back on success too, and the next compile clears it. */
static void test_log_of_a_success(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  (void)state;

  NEED_NVRTC;
  assert_ok(compile_unit("sm_80", "#warning mind this\n", &code, &log));
  assert_non_null(strstr(bytes_string(&log), "mind this"));
  assert_int_equal(strlen(log.data), log.size);
  assert_ok(compile_unit("sm_80", "", &code, &log));
  assert_int_equal(log.size, 0);
  bytes_release(&code);
  bytes_release(&log);
}

enum { THREADS = 4 };
struct job {
  struct bytes code, log;
  dd_status status;
  bool fails;
};

static void *job_run(void *argument)
{
  struct job *j = argument;

  for (int i = 0; i < 3 && !j->status; i++)
    j->status = compile_unit("sm_90", j->fails ? broken[0].text : kernels,
                             &j->code, &j->log);
  if (j->fails && !strstr(dd_last_error(), "warp.cuh(7)"))
    j->status = DD_BUG; /* another thread's sentence */
  return NULL;
}

static void test_threads(void **state)
{
  struct job jobs[THREADS];
  pthread_t threads[THREADS];
  (void)state;

  NEED_NVRTC;
  memset(jobs, 0, sizeof jobs);
  for (int i = 0; i < THREADS; i++) {
    jobs[i].fails = i == 1;
    assert_int_equal(pthread_create(&threads[i], NULL, job_run, &jobs[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(jobs[i].status, jobs[i].fails ? DD_COMPILE : DD_OK);
    if (jobs[i].fails) continue;
    assert_int_equal(jobs[i].code.size, jobs[0].code.size);
    assert_memory_equal(jobs[i].code.data, jobs[0].code.data,
                        jobs[0].code.size);
  }
  for (int i = 0; i < THREADS; i++) {
    bytes_release(&jobs[i].code);
    bytes_release(&jobs[i].log);
  }
}

/* ---- Cubins ---------------------------------------------------------- */

static struct usage usage_of(const struct bytes *code, const char *entry)
{
  struct usage u;

  assert_ok(cubin_usage(code->data, code->size, entry, &u));
  return u;
}

static void check_usage(const struct bytes *code)
{
  struct usage u = usage_of(code, "plain");

  assert_in_range(u.registers, 6, 16);
  assert_int_equal(u.local_bytes + u.shared_bytes, 0);
  u = usage_of(code, "shares");
  assert_int_equal(u.local_bytes, 0);
  assert_int_equal(u.shared_bytes, 1200);
  u = usage_of(code, "array");
  assert_int_equal(u.local_bytes, 160);
  assert_int_equal(u.shared_bytes, 0);
  u = usage_of(code, "spills");
  assert_int_equal(u.registers, 32); /* 65536 / (2 * 1024) */
  assert_in_range(u.local_bytes, 128, 512);
  u = usage_of(code, "calls");
  assert_in_range(u.registers, 1, 255);
}

static void test_usage(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  struct usage u;
  (void)state;

  NEED_NVRTC;
  for (size_t t = 0; t < COUNT_OF(targets); t++) {
    assert_ok(compile_unit(targets[t], kernels, &code, &log));
    assert_ok(cubin_check(code.data, code.size));
    check_usage(&code);
    assert_fails(DD_COMPILE, "no entry 'nope'",
                 cubin_usage(code.data, code.size, "nope", &u));
    assert_fails(DD_COMPILE, "no entry ''",
                 cubin_usage(code.data, code.size, "", &u));
    assert_fails(DD_COMPILE, "no entry 'plai'",
                 cubin_usage(code.data, code.size, "plai", &u));
    assert_fails(DD_COMPILE, "no entry '_Z6helperPfi'",
                 cubin_usage(code.data, code.size, "_Z6helperPfi", &u));
  }
  bytes_release(&code);
  bytes_release(&log);
}

static void test_not_a_cubin(void **state)
{
  char self[2048] = "";
  struct bytes program = BYTES_INIT;
  struct usage u;
  (void)state;

  assert_fails(DD_COMPILE, "0 bytes", cubin_usage(NULL, 0, "k", &u));
  assert_fails(DD_COMPILE, "4 bytes", cubin_usage("\177ELF", 4, "k", &u));
  assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  assert_ok(file_read(self, 256 << 20, &program)); /* ELF, but not CUDA's */
  assert_fails(DD_COMPILE, "not a whole cubin",
               cubin_usage(program.data, program.size, "main", &u));
  bytes_release(&program);
}

/* ---- A cubin by hand ------------------------------------------------- */

/* The least that says something: one entry, k, its records and its names.
 * The names are last, so that a read past them is one past the file. */
enum { NULLS, NAMES, SYMBOLS, INFO, TEXT, SECTIONS };
static const char tiny_names[] = "\0.names\0.symbols\0.nv.info\0.text.k";

struct tiny {
  Elf64_Ehdr head;
  Elf64_Shdr section[SECTIONS];
  Elf64_Sym symbol[2];
  struct {
    uint8_t format, attribute, size[2];
    uint32_t symbol, value;
  } record[3];
  char names[sizeof tiny_names];
};

static uint32_t tiny_name(const char *name)
{
  const char *at = memmem(tiny_names, sizeof tiny_names, name,
                          strlen(name) + 1);

  return (uint32_t)(at - tiny_names);
}

static void tiny_section(struct tiny *t, int index, uint32_t type,
                         const char *name, size_t at, size_t size)
{
  t->section[index].sh_type = type;
  t->section[index].sh_name = tiny_name(name);
  t->section[index].sh_offset = at;
  t->section[index].sh_size = size;
}

static void tiny_record(struct tiny *t, int index, uint8_t attribute,
                        uint32_t value)
{
  t->record[index].format = 4;
  t->record[index].attribute = attribute;
  t->record[index].size[0] = 8;
  t->record[index].symbol = 1;
  t->record[index].value = value;
}

static void tiny_init(struct tiny *t)
{
  static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0x41, 8};

  memset(t, 0, sizeof *t);
  memcpy(t->head.e_ident, ident, sizeof ident);
  t->head.e_machine = 190;
  t->head.e_flags = 90 << 8;
  t->head.e_shoff = offsetof(struct tiny, section);
  t->head.e_shentsize = sizeof t->section[0];
  t->head.e_shnum = SECTIONS;
  t->head.e_shstrndx = NAMES;
  memcpy(t->names, tiny_names, sizeof tiny_names);
  tiny_section(t, NAMES, SHT_STRTAB, ".names", offsetof(struct tiny, names),
               sizeof t->names);
  tiny_section(t, SYMBOLS, SHT_SYMTAB, ".symbols",
               offsetof(struct tiny, symbol), sizeof t->symbol);
  tiny_section(t, INFO, 0x70000000, ".nv.info", offsetof(struct tiny, record),
               sizeof t->record);
  tiny_section(t, TEXT, SHT_PROGBITS, ".text.k", 0, 0);
  t->section[SYMBOLS].sh_link = NAMES;
  t->section[INFO].sh_link = SYMBOLS;
  t->symbol[1].st_name = tiny_name("k");
  t->symbol[1].st_shndx = TEXT;
  t->symbol[1].st_other = 0x10;
  tiny_record(t, 0, 0x2f, 33);
  tiny_record(t, 1, 0x11, 48);
  tiny_record(t, 2, 0x12, 64);
}

/* Copies to a block of its own size, where ASan sees one byte too many. */
static dd_status usage_exact(const uint8_t *code, size_t size,
                             const char *entry, struct usage *u)
{
  uint8_t *block = malloc(size ? size : 1);
  dd_status status;

  memcpy(block, code, size);
  status = cubin_usage(block, size, entry, u);
  free(block);
  return status;
}

static dd_status tiny_usage(const struct tiny *t, const char *entry,
                            struct usage *u)
{
  size_t size = offsetof(struct tiny, names) + sizeof t->names;

  return usage_exact((const uint8_t *)t, size, entry, u);
}

static void test_tiny_cubin(void **state)
{
  struct tiny t;
  struct usage u;
  (void)state;

  tiny_init(&t);
  assert_ok(tiny_usage(&t, "k", &u));
  assert_int_equal(u.registers, 33);
  assert_int_equal(u.local_bytes, 64);
  assert_int_equal(u.shared_bytes, 0);
  t.record[2].symbol = 2; /* another function's */
  assert_ok(tiny_usage(&t, "k", &u));
  assert_int_equal(u.local_bytes, 48);
  t.record[0].attribute = 0x55; /* then the text section's own count */
  t.section[TEXT].sh_info = 21u << 24;
  assert_ok(tiny_usage(&t, "k", &u));
  assert_int_equal(u.registers, 21);
  t.symbol[1].st_other = 0; /* a device function */
  assert_fails(DD_COMPILE, "no entry 'k'", tiny_usage(&t, "k", &u));
}

static void test_tiny_cubin_cut(void **state)
{
  struct tiny t;
  struct usage u;
  (void)state;

  tiny_init(&t);
  t.record[2].size[0] = 9; /* a record past its section */
  assert_fails(DD_COMPILE, "cut short", tiny_usage(&t, "k", &u));
  tiny_init(&t);
  t.section[INFO].sh_size -= 10; /* a section that ends within a head */
  assert_fails(DD_COMPILE, "cut short", tiny_usage(&t, "k", &u));
  tiny_init(&t);
  t.section[NAMES].sh_size--; /* a last name without its NUL */
  assert_fails(DD_COMPILE, "no entry 'k'", tiny_usage(&t, "k", &u));
  tiny_init(&t);
  t.section[TEXT].sh_name = sizeof t.names - 2; /* a name at the very end */
  assert_fails(DD_COMPILE, "no entry 'k'", tiny_usage(&t, "k", &u));
  tiny_init(&t);
  t.section[INFO].sh_link = SECTIONS;
  assert_fails(DD_COMPILE, "no entry 'k'", tiny_usage(&t, "k", &u));
  tiny_init(&t);
  t.head.e_phnum = 1; /* a table of segments of the wrong width */
  assert_fails(DD_COMPILE, "not a whole cubin", tiny_usage(&t, "k", &u));
  t.head.e_phentsize = sizeof(Elf64_Phdr);
  t.head.e_phoff = sizeof t - 8;
  assert_fails(DD_COMPILE, "not a whole cubin", tiny_usage(&t, "k", &u));
}

/* ---- Damage ---------------------------------------------------------- */

/* Whatever is cut off the end, the cubin is refused: the tables are last. */
static void check_truncations(const struct bytes *code)
{
  struct usage u;

  for (size_t size = 0; size < code->size; size++)
    if (usage_exact((const uint8_t *)code->data, size, "shares", &u) !=
        DD_COMPILE)
      fail_msg("%zu of %zu bytes pass", size, code->size);
}

static uint64_t next_random(uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Half of the flips hit what is parsed: the head and the tables at the end. */
static size_t flip_place(uint64_t *random, size_t size)
{
  uint64_t r = next_random(random);
  size_t tables = size / 8;

  if (r % 4 == 0) return (r >> 8) % 64;
  if (r % 4 == 1) return size - 1 - (r >> 8) % tables;
  return (r >> 8) % size;
}

static void check_flips(const struct bytes *code, long count)
{
  uint64_t random = 0x9e3779b97f4a7c15;
  uint8_t *block = malloc(code->size);
  long passed = 0;
  struct usage u;

  memcpy(block, code->data, code->size);
  for (long i = 0; i < count; i++) {
    uint8_t was[4];
    size_t at[4], flips = 1 + next_random(&random) % 4;

    for (size_t k = 0; k < flips; k++) {
      at[k] = flip_place(&random, code->size);
      was[k] = block[at[k]];
      block[at[k]] = (uint8_t)next_random(&random);
    }
    passed += !cubin_usage(block, code->size, "shares", &u);
    for (size_t k = flips; k-- > 0;) block[at[k]] = was[k];
  }
  print_message("%ld of %ld damaged cubins still read\n", passed, count);
  assert_true(passed < count);
  assert_memory_equal(block, code->data, code->size);
  free(block);
}

static void test_damaged_cubins(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  (void)state;

  NEED_NVRTC;
  for (size_t t = 0; t < COUNT_OF(targets); t++) {
    assert_ok(compile_unit(targets[t], kernels, &code, &log));
    check_truncations(&code);
    check_flips(&code, 100000);
  }
  bytes_release(&code);
  bytes_release(&log);
}

int main(int count, char **arguments)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unknown_targets),
      cmocka_unit_test(test_no_nvrtc),
      cmocka_unit_test(test_identity),
      cmocka_unit_test(test_same_input_same_bytes),
      cmocka_unit_test(test_errors_name_file_and_line),
      cmocka_unit_test(test_log_of_a_success),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_usage),
      cmocka_unit_test(test_not_a_cubin),
      cmocka_unit_test(test_tiny_cubin),
      cmocka_unit_test(test_tiny_cubin_cut),
      cmocka_unit_test(test_damaged_cubins),
  };

  if (count > 1 && !strcmp(arguments[1], "compile")) return print_compile();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
