/*
 * test_cpu.c - the CPU device: what it computes, and that it finds faults.
 *
 * Kernels are in tests/cpu_kernels; each file is compiled once.  Deaths (a
 * sanitizer's, or a guard page's) happen in a child, this program started with
 * arguments, whose stderr is read.
 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler_kinds.h"
#include "device.h"
#include "test.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WITH_ASAN 1
#else
#define WITH_ASAN 0
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#else
#define WITH_TSAN 0
#endif

enum { WARP = 32, MANY = 1 << 18 };

static struct device *device;
static struct module *meet, *block, *number, *faults;
static char folder[64], fault_file[80];
static uint64_t seed = 1; /* splitmix64: the same run every time */

static uint64_t draw(void)
{
  uint64_t z = seed += 0x9e3779b97f4a7c15;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

/* `keep`, if not NULL, is a file to keep the code in. */
static struct module *load_text(const char *text, const char *keep)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  struct module *m;

  assert_ok(cpu_compile("cpu", text, &code, &log));
  assert_ok(cpu_device.load(device, code.data, code.size, &m));
  if (keep) assert_ok(file_write(keep, code.data, code.size));
  bytes_release(&code);
  bytes_release(&log);
  return m;
}

static struct module *load_file(const char *name, const char *keep)
{
  struct bytes text = BYTES_INIT;
  struct module *m;
  char path[512];

  snprintf(path, sizeof path, "%s/tests/cpu_kernels/%s", TEST_ROOT, name);
  assert_ok(file_read(path, 1 << 20, &text));
  m = load_text(bytes_string(&text), keep);
  bytes_release(&text);
  return m;
}

static int set_up(void **state)
{
  (void)state;
  assert_ok(cpu_device.open(0, &device));
  meet = load_file("meet.cu", NULL);
  block = load_file("block.cu", NULL);
  number = load_file("number.cu", NULL);
  test_folder(folder, sizeof folder);
  snprintf(fault_file, sizeof fault_file, "%s/faults.so", folder);
  faults = load_file("faults.cu", fault_file);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  cpu_device.unload(device, meet);
  cpu_device.unload(device, block);
  cpu_device.unload(device, number);
  cpu_device.unload(device, faults);
  cpu_device.close(device);
  test_folder_remove(folder);
  return 0;
}

static void *room(size_t size)
{
  void *memory;

  assert_ok(cpu_device.allocate(device, size, &memory));
  assert_int_equal((uintptr_t)memory % 256, 0);
  assert_ok(cpu_device.fill(device, memory, 0, size));
  return memory;
}

static void drop(void *memory)
{
  cpu_device.deallocate(device, memory, 0);
}

static struct launch launch_of(struct module *m, const char *entry,
                               uint32_t grid, uint32_t threads,
                               const void *args, size_t args_size)
{
  struct launch l = {.grid = {grid, 1, 1},
                     .block = threads,
                     .args = args,
                     .args_size = args_size};

  assert_ok(cpu_device.kernel(device, m, entry, &l.kernel));
  return l;
}

static dd_status run(struct module *m, const char *entry, uint32_t grid,
                     uint32_t threads, const void *args, size_t args_size)
{
  const struct launch l = launch_of(m, entry, grid, threads, args, args_size);

  return cpu_device.launch(device, &l, NULL);
}
#define RUN(m, entry, grid, threads, args)                                     \
  run((m), (entry), (grid), (threads), (args), sizeof *(args))

static const char *const orders[] = {"asc", "desc", "1", "2", "3", "4", ""};

static void set_order(const char *order)
{
  assert_int_equal(setenv("DIFFTUNE_CPU_ORDER", order, 1), 0);
}

/* ---- Calls of a warp against a scalar model --------------------------- */

struct shuffle {
  const unsigned *mask;
  const void *in;
  const int *by;
  void *out;
  int op, width;
};

/* Cuts a warp into up to four groups at random; each lane gets its group. */
static void draw_masks(unsigned mask[WARP])
{
  const unsigned groups = 1 + draw() % 4;
  unsigned group[WARP], sum[4] = {0};

  for (unsigned i = 0; i < WARP; i++) {
    group[i] = draw() % groups;
    sum[group[i]] |= 1u << i;
  }
  for (unsigned i = 0; i < WARP; i++) mask[i] = sum[group[i]];
}

/* The lane that `lane` reads, written from the PTX manual's pseudocode. */
static int model_source(int op, int lane, int by, int width)
{
  static const int clamp[] = {31, 0, 31, 31};
  const int segment_mask = 32 - width;
  const int max_lane = (lane & segment_mask) | (clamp[op] & ~segment_mask);
  const int min_lane = lane & segment_mask, b = by & 31;
  int j;

  if (op == 0) j = min_lane | (b & ~segment_mask);
  if (op == 1) j = lane - b;
  if (op == 2) j = lane + b;
  if (op == 3) j = lane ^ b;
  if (op == 1 ? j < max_lane : j > max_lane) j = lane;
  return j;
}

static void check_shuffle(const struct shuffle *a, size_t size)
{
  uint8_t none[8];

  memset(none, 0xff, sizeof none);
  for (int i = 0; i < WARP; i++) {
    const int from = model_source(a->op, i, a->by[i], a->width);
    const void *want = a->mask[i] >> from & 1
                           ? (const uint8_t *)a->in + (size_t)from * size
                           : none;
    if (memcmp((uint8_t *)a->out + (size_t)i * size, want, size))
      fail_msg("op %d width %d: lane %d by %d of mask %08x is not lane %d's",
               a->op, a->width, i, a->by[i], a->mask[i], from);
  }
}

static void shuffles_of(const char *entry, size_t size)
{
  unsigned mask[WARP];
  uint64_t in[WARP], out[WARP];
  int by[WARP];
  struct shuffle a = {mask, in, by, out, 0, 0};

  for (int round = 0; round < 300; round++) {
    draw_masks(mask);
    for (int i = 0; i < WARP; i++) {
      in[i] = draw();
      by[i] = (int)(draw() % 40);
    }
    a.op = round % 4;
    a.width = 1 << draw() % 6;
    assert_ok(RUN(meet, entry, 1, WARP, &a));
    check_shuffle(&a, size);
  }
}

static void shuffles_are_the_models(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT_OF(orders); i++) {
    set_order(orders[i]);
    shuffles_of("shuffle_f32", 4);
    shuffles_of("shuffle_i32", 4);
    shuffles_of("shuffle_u64", 8);
    shuffles_of("shuffle_f64", 8);
  }
}

struct vote {
  const unsigned *mask;
  const int *in;
  unsigned *ballot;
  int *any, *all;
};

static void votes_are_the_models(void **state)
{
  unsigned mask[WARP], ballot[WARP];
  int in[WARP], any[WARP], all[WARP];
  const struct vote a = {mask, in, ballot, any, all};

  (void)state;
  for (int round = 0; round < 500; round++) {
    const unsigned likely = draw() % 5;
    unsigned yes = 0;
    draw_masks(mask);
    for (int i = 0; i < WARP; i++) {
      in[i] = draw() % 4 < likely ? (int)draw() | 1 : 0;
      yes |= (unsigned)!!in[i] << i;
    }
    assert_ok(RUN(meet, "vote", 1, WARP, &a));
    for (int i = 0; i < WARP; i++) {
      assert_int_equal(ballot[i], yes & mask[i]);
      assert_int_equal(any[i], (yes & mask[i]) != 0);
      assert_int_equal(all[i], (yes & mask[i]) == mask[i]);
    }
  }
}

static void half_a_warp_meets_before_all_of_it(void **state)
{
  int out[WARP];
  struct {
    int *out;
  } a = {out};

  (void)state;
  for (size_t i = 0; i < COUNT_OF(orders); i++) {
    set_order(orders[i]);
    assert_ok(RUN(meet, "diverge", 1, WARP, &a));
    for (int lane = 0; lane < 16; lane++) {
      assert_int_equal(out[lane], lane ^ 31);
      assert_int_equal(out[31 - lane], lane < 8 ? 28 : 92);
    }
  }
}

/* ---- Blocks ----------------------------------------------------------- */

struct rows {
  const float *in;
  float *out;
  int columns;
};

/* Small integers, so that the sum is exact in any order. */
static float fill_row(float *row, int columns)
{
  float sum = 0;

  for (int c = 0; c < columns; c++) {
    row[c] = (float)(draw() % 64);
    sum += row[c];
  }
  return sum;
}

static void check_sum(const char *entry, uint32_t threads, int columns)
{
  enum { ROWS = 3 };
  float *in = room(ROWS * (size_t)columns * sizeof *in);
  float *out = room(ROWS * (size_t)threads * sizeof *out), sum[ROWS];
  struct rows a = {in, out, columns};
  struct launch l = launch_of(block, entry, ROWS, threads, &a, sizeof a);

  for (int r = 0; r < ROWS; r++) sum[r] = fill_row(in + r * columns, columns);
  l.shared_bytes = WARP * sizeof(float);
  assert_ok(cpu_device.launch(device, &l, NULL));
  for (uint32_t i = 0; i < ROWS * threads; i++)
    assert_true(out[i] == sum[i / threads]);
  drop(in);
  drop(out);
}

static void a_block_sums_its_row(void **state)
{
  static const uint32_t threads[] = {32, 64, 96, 256, 1024};
  static const int columns[] = {1, 31, 1023, 2500};

  (void)state;
  for (size_t o = 0; o < COUNT_OF(orders); o++)
    for (size_t t = 0; t < COUNT_OF(threads); t++) {
      const int n = columns[(o + t) % COUNT_OF(columns)];
      set_order(orders[o]);
      check_sum("sum_static", threads[t], n);
      check_sum("sum_dynamic", threads[t], n);
    }
}

static void threads_that_returned_are_not_waited_for(void **state)
{
  float in[128], out[64];
  const struct rows a = {in, out, 0};

  (void)state;
  for (size_t o = 0; o < COUNT_OF(orders); o++) {
    set_order(orders[o]);
    fill_row(in, 128);
    assert_ok(RUN(block, "early", 1, 128, &a));
    for (int i = 0; i < 64; i++) assert_true(out[i] == in[63 - i]);
  }
}

static void a_thread_knows_its_place(void **state)
{
  uint32_t *out = room(2 * 3 * 5 * 40 * sizeof *out);
  struct {
    uint32_t *out;
  } a = {out};
  struct launch l = launch_of(block, "place", 5, 40, &a, sizeof a);

  (void)state;
  l.grid[1] = 3;
  l.grid[2] = 2;
  assert_ok(cpu_device.launch(device, &l, NULL));
  for (uint32_t i = 0; i < 2 * 3 * 5 * 40; i++)
    assert_int_equal(out[i], i / 40 * 1000 + i % 40);
  drop(out);
}

static void shared_memory_starts_as_nan(void **state)
{
  uint32_t out[4 * 64];
  struct {
    uint32_t *out;
  } a = {out};
  struct launch l = launch_of(block, "poisoned", 4, 64, &a, sizeof a);

  (void)state;
  l.shared_bytes = 64 * sizeof(uint32_t);
  memset(out, 0, sizeof out);
  assert_ok(cpu_device.launch(device, &l, NULL));
  for (size_t i = 0; i < COUNT_OF(out); i++)
    assert_int_equal(out[i], 0xffffffff);
}

static void atomics_count(void **state)
{
  unsigned u[3] = {1, 3, 7};
  int i[2] = {0, 0};
  float f = 1;
  struct {
    unsigned *u;
    int *i;
    float *f;
  } a = {u, i, &f};

  (void)state;
  assert_ok(RUN(block, "atomics", 3, 100, &a));
  assert_int_equal(u[0], 601);
  assert_int_equal(u[1], 99);
  assert_int_equal(u[2], 9);
  assert_int_equal(i[0], -300);
  assert_int_equal(i[1], 9);
  assert_true(f == 151);
}

enum { TICKETS = 64 };

/* Who comes when in two blocks of 64 threads: out[i] for thread i. */
static void draw_tickets(const char *order, uint32_t out[2 * TICKETS])
{
  uint32_t word[2 * TICKETS + 1] = {0};
  struct {
    uint32_t *out;
  } a = {word};

  set_order(order);
  assert_ok(RUN(block, "ticket", 2, TICKETS, &a));
  memcpy(out, word + 1, 2 * TICKETS * sizeof *out);
}

static void fibers_come_in_the_order_asked_for(void **state)
{
  uint32_t asc[2 * TICKETS], desc[2 * TICKETS], one[2 * TICKETS];
  uint32_t again[2 * TICKETS], two[2 * TICKETS];

  (void)state;
  draw_tickets("asc", asc);
  draw_tickets("desc", desc);
  for (uint32_t i = 0; i < 2 * TICKETS; i++) {
    assert_int_equal(asc[i], i);
    assert_int_equal(desc[i], i / TICKETS * TICKETS + 63 - i % TICKETS);
  }
  draw_tickets("1", one);
  draw_tickets("1", again);
  draw_tickets("2", two);
  assert_memory_equal(one, again, sizeof one);
  assert_memory_not_equal(one, two, sizeof one);
  assert_memory_not_equal(one, asc, sizeof one / 2);
}

/* Each block, and each launch of one block, the other way round. */
static void the_default_order_alternates(void **state)
{
  uint32_t out[2 * TICKETS], first;

  (void)state;
  draw_tickets("", out);
  first = out[0];
  assert_true(first == 0 || first == TICKETS - 1);
  assert_int_equal(out[TICKETS], first ? TICKETS : 2 * TICKETS - 1);
  draw_tickets("", out);
  assert_int_equal(out[0], TICKETS - 1 - first);
}

/* ---- Numbers ---------------------------------------------------------- */

struct convert {
  const float *wide;
  const uint16_t *narrow;
  uint16_t *f16, *bf16;
  float *from_f16, *from_bf16;
  int count;
};

/* Floats near the edges of the 16-bit types: ties, subnormals, overflow. */
static float draw_float(void)
{
  const uint64_t r = draw();
  uint32_t bits = (uint32_t)r;
  float value;

  if (r >> 32 & 1) bits &= 0xfffff000; /* a tie of fp16, or near one */
  if (r >> 33 & 1) bits &= 0xffff8000; /* of bf16 */
  if (r >> 34 & 1) {                   /* 2^-25 ... 2^33 */
    const uint32_t exponent = 102 + (r >> 35 & 0x1e) + (bits >> 23 & 3);
    bits = (bits & 0x807fffff) | exponent << 23;
  }
  if ((r >> 40 & 255) == 0) bits |= 0x7f800000;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void check_narrow(int64_t dtype, float value, uint16_t got)
{
  uint16_t want;

  if (isnan(value)) {
    assert_int_equal(got, 0x7fff);
    return;
  }
  dtype_store(dtype, &want, (double)value);
  if (got != want)
    fail_msg("%a as %s is 0x%04x, not 0x%04x", (double)value, dtype_name(dtype),
             want, got);
}

static void check_wide(int64_t dtype, uint16_t value, float got)
{
  const double want = dtype_load(dtype, &value);

  if (isnan(want) ? !isnan(got)
                  : (double)got != want || !signbit(got) != !signbit(want))
    fail_msg("%s 0x%04x is %a, not %a", dtype_name(dtype), value, want,
             (double)got);
}

/* The host compiler's own conversions, where it has them. */
static void check_host(float value, uint16_t f16)
{
#ifdef __FLT16_MAX__
  const _Float16 half = (_Float16)value;
  uint16_t bits;

  memcpy(&bits, &half, sizeof bits);
  if (!isnan(value)) assert_int_equal(f16, bits);
#else
  (void)value, (void)f16;
#endif
}

static void conversions_are_exact(void **state)
{
  struct convert a = {.count = MANY};
  float *wide = room(MANY * sizeof *wide);
  uint16_t *narrow = room(MANY * sizeof *narrow);

  (void)state;
  a.f16 = room(MANY * sizeof *a.f16), a.bf16 = room(MANY * sizeof *a.bf16);
  a.from_f16 = room(MANY * sizeof *wide);
  a.from_bf16 = room(MANY * sizeof *wide);
  for (int i = 0; i < MANY; i++) {
    wide[i] = draw_float();
    narrow[i] = (uint16_t)i;
  }
  a.wide = wide, a.narrow = narrow;
  assert_ok(RUN(number, "convert", MANY / 256, 256, &a));
  for (int i = 0; i < MANY; i++) {
    check_narrow(DD_F16, wide[i], a.f16[i]);
    check_narrow(DD_BF16, wide[i], a.bf16[i]);
    check_host(wide[i], a.f16[i]);
    check_wide(DD_F16, narrow[i], a.from_f16[i]);
    check_wide(DD_BF16, narrow[i], a.from_bf16[i]);
  }
  drop(wide), drop(narrow), drop(a.f16), drop(a.bf16);
  drop(a.from_f16), drop(a.from_bf16);
}

/* Every 16-bit pattern, made wide and narrow again, is itself. */
static void every_pattern_survives(void **state)
{
  enum { ALL = 65536 };
  static uint16_t narrow[ALL], f16[ALL], bf16[ALL];
  static float zero[ALL], from_f16[ALL], from_bf16[ALL];
  struct convert a = {zero, narrow, f16, bf16, from_f16, from_bf16, ALL};

  (void)state;
  for (int i = 0; i < ALL; i++) narrow[i] = (uint16_t)i;
  assert_ok(RUN(number, "convert", ALL / 1024, 1024, &a));
  a.from_f16 = zero;
  a.wide = from_f16;
  assert_ok(RUN(number, "convert", ALL / 1024, 1024, &a));
  for (int i = 0; i < ALL; i++)
    assert_int_equal(f16[i], isnan(from_f16[i]) ? 0x7fff : i);
  a.wide = from_bf16;
  a.from_bf16 = zero;
  assert_ok(RUN(number, "convert", ALL / 1024, 1024, &a));
  for (int i = 0; i < ALL; i++)
    assert_int_equal(bf16[i], isnan(from_bf16[i]) ? 0x7fff : i);
}

static float as_float(uint32_t bits)
{
  float value;

  memcpy(&value, &bits, sizeof value);
  return value;
}

static void words_mean_what_cuda_says(void **state)
{
  uint32_t *o = room(32 * sizeof *o);
  struct {
    uint32_t *out;
  } a = {o};

  (void)state;
  for (uint32_t i = 0; i < 4; i++) o[16 + i] = i + 1;
  assert_ok(RUN(number, "bits", 1, 1, &a));
  assert_int_equal(o[0], 8);
  assert_int_equal(o[1], 4);
  assert_int_equal(o[2], 63);
  assert_int_equal(o[3], 0x87ff0305);
  assert_int_equal(o[4], 0xf1111111);
  assert_true(as_float(o[5]) == 11);
  assert_int_equal(o[6], 3 + 4 + 2 + 7);
  assert_true(as_float(o[7]) == 10);
  assert_int_equal(o[8], 6);
  assert_int_equal(o[9], 0x7fffffff);
  assert_int_equal(o[10], 0x80000000);
  assert_int_equal(o[11], 3);
  assert_int_equal(o[12], 16 + 16 + 8 + 8 + 12 + 4);
  assert_true(as_float(o[13]) == 8.25f);
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(o[20 + i], 4 - i);
  assert_int_equal(o[24], 0x00020001);
  assert_int_equal(o[25], 0x00040003);
  assert_true(as_float(o[26]) == 1 && as_float(o[27]) == -2);
  drop(o);
}

/* ---- Faults that every build reports ---------------------------------- */

struct fault {
  const float *in;
  float *out;
  int n;
};

static _Alignas(16) float ins[1024], outs[1024];
static const struct fault fault = {ins, outs, 0};

static void must_fail(const char *entry, uint32_t threads, const char *sentence)
{
  for (size_t o = 0; o < COUNT_OF(orders); o++) {
    set_order(orders[o]);
    assert_fails(DD_DEVICE, sentence, RUN(faults, entry, 1, threads, &fault));
  }
}

static void faults_are_named_with_their_lines(void **state)
{
  (void)state;
  must_fail("divergent_shuffle", 64,
            "block 0,0,0: lane 0 of warp 0 is in __shfl_xor_sync at "
            "variants/x.cuh:40 with mask 0xffffffff while lane 7 is in "
            "__syncthreads at variants/x.cuh:52");
  must_fail("divergent_barrier", 64,
            "thread 0 is in __syncthreads at variants/x.cuh:60 while thread "
            "40 is in __syncthreads at variants/x.cuh:62");
  must_fail("barrier_against_shuffle", 64,
            "lane 0 of warp 1 is in __shfl_sync at variants/x.cuh:72 with "
            "mask 0x00000003 while lane 1 is in __shfl_sync at "
            "variants/x.cuh:72 with mask 0xffffffff");
  must_fail("exited_lane", 64,
            "lane 0 of warp 0 is in __any_sync at variants/x.cuh:80 with mask "
            "0xffffffff while lane 9 has returned");
  must_fail("left_out", 32,
            "lane 4 of warp 0 is in __syncwarp at variants/x.cuh:90 with mask "
            "0x00000001, which leaves it out");
  must_fail("short_warp", 48,
            "lane 0 of warp 1 is in __ballot_sync at variants/x.cuh:100 with "
            "mask 0xffffffff while lane 16 does not exist in a block of 48 "
            "threads");
}

static void a_misaligned_vector_is_named(void **state)
{
  (void)state;
  must_fail("misaligned_load", 96,
            "block 0,0,0: lane 0 of warp 0 is in __ldg at variants/x.cuh:110 "
            "with the address 0x");
  must_fail("misaligned_load", 96, "4, which is no multiple of 16");
  must_fail("misaligned_store", 96,
            "lane 5 of warp 0 is in __stcs at "
            "variants/x.cuh:120 with the address 0x");
  must_fail("misaligned_store", 96, "4, which is no multiple of 8");
}

/* After a failure the device is as good as new. */
static void a_failure_costs_one_launch(void **state)
{
  (void)state;
  set_order("");
  for (int i = 0; i < 20; i++) {
    must_fail("divergent_shuffle", 1024, "variants/x.cuh:40");
    check_sum("sum_static", 1024, 2000);
  }
}

/* Counts the orders under which a faulty kernel gives a wrong result; in[] is
 * 1, 2, 3 ... and `right` judges outs[]. */
static int wrong_orders(const char *entry, uint32_t threads,
                        bool (*right)(uint32_t threads))
{
  int wrong = 0;

  for (int i = 0; i < 1024; i++) ins[i] = (float)(i + 1);
  for (size_t o = 0; o < COUNT_OF(orders); o++) {
    set_order(orders[o]);
    assert_ok(RUN(faults, entry, 1, threads, &fault));
    wrong += !right(threads);
  }
  return wrong;
}

static bool sum_is_right(uint32_t threads)
{
  return outs[0] == (float)(threads * (threads + 1) / 2);
}

static bool shift_is_right(uint32_t threads)
{
  for (uint32_t i = 1; i < threads; i++)
    if (outs[i] != (float)i) return false;
  return outs[0] == (float)threads;
}

static bool word_is_right(uint32_t threads)
{
  for (uint32_t i = 0; i < threads; i++)
    if (outs[i] != 1) return false;
  return true;
}

static void a_missing_barrier_shows_under_some_order(void **state)
{
  (void)state;
  if (WITH_TSAN) skip(); /* each is a reported race there, see below */
  assert_true(wrong_orders("no_barrier_before", 256, sum_is_right) >= 2);
  assert_true(wrong_orders("no_barrier_after", 256, shift_is_right) >= 2);
  assert_true(wrong_orders("no_syncwarp", 32, word_is_right) >= 2);
}

/* ---- Faults that kill ------------------------------------------------- */

/* One launch of WARP threads, on buffers of exactly as many floats. */
static dd_status launch_fault(const char *entry, int n, uint32_t shared_bytes)
{
  const size_t size = WARP * sizeof(float);
  struct fault args = {NULL, NULL, n};
  struct launch l = {.grid = {1, 1, 1},
                     .block = WARP,
                     .args = &args,
                     .args_size = sizeof args,
                     .shared_bytes = shared_bytes};
  void *in, *out;
  dd_status status;

  TRY(cpu_device.kernel(device, faults, entry, &l.kernel));
  TRY(cpu_device.allocate(device, size, &in));
  TRY(cpu_device.allocate(device, size, &out));
  args.in = memset(in, 0, size);
  args.out = out;
  status = cpu_device.launch(device, &l, NULL);
  drop(in);
  drop(out);
  return status;
}

/* What the child does. */
static int child(char **word)
{
  const struct rlimit no_core = {0, 0};
  struct bytes code = BYTES_INIT;
  dd_status status;

  setrlimit(RLIMIT_CORE, &no_core);
  if (file_read(word[0], 1 << 24, &code) || cpu_device.open(0, &device) ||
      cpu_device.load(device, code.data, code.size, &faults))
    return 1;
  status = launch_fault(word[1], atoi(word[2]), (uint32_t)atoi(word[3]));
  cpu_device.unload(device, faults);
  cpu_device.close(device);
  bytes_release(&code);
  return (int)status;
}

/* Starts this program anew, because ThreadSanitizer is blind after a fork. */
static int run_in_child(const char *entry, int n, uint32_t shared_bytes,
                        struct bytes *said)
{
  char number_text[16], shared_text[16], part[4096];
  int pipes[2], status;
  ssize_t got;
  pid_t pid;

  snprintf(number_text, sizeof number_text, "%d", n);
  snprintf(shared_text, sizeof shared_text, "%u", shared_bytes);
  assert_int_equal(pipe(pipes), 0);
  pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    dup2(pipes[1], 2);
    close(pipes[0]);
    execl("/proc/self/exe", "test_cpu", fault_file, entry, number_text,
          shared_text, (char *)NULL);
    _exit(99);
  }
  close(pipes[1]);
  while ((got = read(pipes[0], part, sizeof part)) > 0)
    bytes_add(said, part, (size_t)got);
  close(pipes[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static void must_die(const char *entry, int n, uint32_t shared_bytes,
                     const char *words)
{
  struct bytes said = BYTES_INIT;
  int status;

  set_order("");
  status = run_in_child(entry, n, shared_bytes, &said);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    fail_msg("%s did not die", entry);
  if (!strstr(bytes_string(&said), words))
    fail_msg("%s died without '%s': %s", entry, words, bytes_string(&said));
  bytes_release(&said);
}

/* So that a death is the kernel's doing and not the child's. */
static void a_harmless_kernel_does_not_die(void **state)
{
  struct bytes said = BYTES_INIT;

  (void)state;
  assert_int_equal(run_in_child("harmless", 0, 0, &said), 0);
  assert_string_equal(bytes_string(&said), "");
  bytes_release(&said);
}

static void address_sanitizer_sees_overruns(void **state)
{
  (void)state;
  if (!WITH_ASAN) skip();
  must_die("overrun_read", 0, 0, "heap-buffer-overflow");
  must_die("overrun_dynamic", 1, WARP * sizeof(float), "heap-buffer-overflow");
  must_die("overrun_static", 1, 0, "out of bounds");
}

static void undefined_sanitizer_sees_misalignment(void **state)
{
  (void)state;
  if (!WITH_ASAN) skip(); /* the preset has both */
  must_die("misaligned", 0, 0, "requires 16 byte alignment");
}

static void thread_sanitizer_sees_missing_barriers(void **state)
{
  (void)state;
  if (!WITH_TSAN) skip();
  must_die("no_barrier_after", 0, 0, "data race");
  must_die("no_syncwarp", 0, 0, "data race");
}

/* Without a sanitizer's handler it is the signal itself. */
static void a_deep_stack_hits_its_guard_page(void **state)
{
  struct bytes said = BYTES_INIT;
  int status;

  (void)state;
  status = run_in_child("deep_stack", 0, 0, &said);
  if (WITH_ASAN || WITH_TSAN)
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  else
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  bytes_release(&said);
}

/* ---- Launches --------------------------------------------------------- */

static void what_a_launch_may_not_be(void **state)
{
  struct launch l =
      launch_of(faults, "overrun_read", 1, WARP, &fault, sizeof fault);
  struct kernel k;

  (void)state;
  l.block = 0;
  assert_fails(DD_DEVICE, "a block of 0", cpu_device.launch(device, &l, NULL));
  l.block = 1025;
  assert_fails(DD_DEVICE, "1025", cpu_device.launch(device, &l, NULL));
  l.block = WARP;
  l.args_size = sizeof fault - 8;
  assert_fails(DD_DEVICE, "takes 24 bytes of arguments, not 16",
               cpu_device.launch(device, &l, NULL));
  l.args_size = sizeof fault;
  l.shared_bytes = 300000;
  assert_fails(DD_DEVICE, "300000", cpu_device.launch(device, &l, NULL));
  l.shared_bytes = 0;
  l.grid[2] = 65536;
  assert_fails(DD_DEVICE, "65536", cpu_device.launch(device, &l, NULL));
  assert_fails(DD_DEVICE, "'nothing'",
               cpu_device.kernel(device, faults, "nothing", &k));
  set_order("sideways");
  l.grid[2] = 1;
  assert_fails(DD_DEVICE, "'sideways'", cpu_device.launch(device, &l, NULL));
  set_order("");
}

static void an_empty_grid_launches_nothing(void **state)
{
  struct launch l =
      launch_of(faults, "divergent_shuffle", 1, WARP, &fault, sizeof fault);

  (void)state;
  for (int i = 0; i < 3; i++) {
    l.grid[0] = l.grid[1] = l.grid[2] = 1;
    l.grid[i] = 0;
    assert_ok(cpu_device.launch(device, &l, NULL));
  }
}

/* Two launches in order, with arguments that were copied. */
static void a_recording_runs_again_and_again(void **state)
{
  float row[64], sum[64], sums[64];
  struct rows first = {row, sum, 64}, second = {sum, sums, 64};
  struct launch l[2] = {
      launch_of(block, "sum_static", 1, 64, &first, sizeof first),
      launch_of(block, "sum_static", 1, 64, &second, sizeof second)};
  struct recording *r;
  double us;

  (void)state;
  assert_ok(cpu_device.record(device, l, 2, &r));
  memset(&first, 0, sizeof first);
  memset(&second, 0, sizeof second);
  for (int i = 0; i < 5; i++) {
    const float want = 64 * fill_row(row, 64);
    memset(sums, 0, sizeof sums);
    assert_ok(cpu_device.record_start(device, r, 0));
    assert_ok(cpu_device.record_wait(device, 0, &us));
    assert_true(us > 0);
    assert_true(sums[63] == want);
  }
  assert_ok(cpu_device.wait(device));
  cpu_device.record_free(device, r);
}

static void a_recording_reports_a_fault(void **state)
{
  const struct launch l =
      launch_of(faults, "exited_lane", 1, WARP, &fault, sizeof fault);
  struct recording *r;

  (void)state;
  assert_ok(cpu_device.record(device, &l, 1, &r));
  assert_fails(DD_DEVICE, "has returned",
               cpu_device.record_start(device, r, 0));
  cpu_device.record_free(device, r);
}

static void *sum_often(void *wrong)
{
  float row[256], sum[256];
  const struct rows a = {row, sum, 256};
  const struct launch *of = wrong;
  struct launch l = *of;

  for (int i = 0; i < 256; i++) row[i] = 2;
  l.args = &a;
  for (int i = 0; i < 50; i++) {
    memset(sum, 0, sizeof sum);
    if (cpu_device.launch(device, &l, NULL) || sum[255] != 512) return wrong;
  }
  return NULL;
}

static void launches_of_two_threads_take_turns(void **state)
{
  struct launch l =
      launch_of(block, "sum_static", 1, 256, &fault, sizeof(struct rows));
  pthread_t thread[2];
  void *wrong;

  (void)state;
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(thread + i, NULL, sum_often, &l), 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_join(thread[i], &wrong), 0);
    assert_null(wrong);
  }
}

/* ---- Devices and modules ---------------------------------------------- */

static void there_is_one_device(void **state)
{
  struct device_info info;
  struct device *d;
  size_t count;

  (void)state;
  assert_ok(cpu_device.list(&info, 1, &count));
  assert_int_equal(count, 1);
  assert_string_equal(info.kind, "cpu");
  assert_string_equal(info.uuid, "cpu");
  assert_int_equal(info.arch, 0);
  assert_true(info.sms == 4 && info.l2_bytes == 1 << 20);
  assert_ok(cpu_device.list(NULL, 0, &count));
  assert_fails(DD_NO_DEVICE, "1", cpu_device.open(1, &d));
  assert_null(d);
  assert_ok(cpu_device.attach(&d));
  cpu_device.close(d);
}

static void there_are_as_many_as_asked_for(void **state)
{
  struct device_info infos[3];
  struct device *d;
  size_t count;

  (void)state;
  setenv("DIFFTUNE_CPU_DEVICES", "3", 1);
  assert_ok(cpu_device.list(infos, 2, &count));
  assert_int_equal(count, 3);
  assert_string_equal(infos[0].uuid, "cpu");
  assert_string_equal(infos[1].uuid, "cpu-1");
  assert_string_equal(infos[1].name, infos[0].name);
  assert_ok(cpu_device.open(2, &d));
  assert_int_equal(d->info.index, 2);
  cpu_device.close(d);
  assert_fails(DD_NO_DEVICE, "3 visible", cpu_device.open(3, &d));
  unsetenv("DIFFTUNE_CPU_DEVICES");
}

/* A unit whose kernel, template and shared variable are named as all others'
 * are, and which stores `value`. */
static struct module *load_value(int value)
{
  char text[1024];

  snprintf(text, sizeof text,
           "struct A { int *out; };\n"
           "template <int N> __device__ int keep(int v) {\n"
           "  __shared__ int kept[N];\n"
           "  kept[threadIdx.x] = v;\n"
           "  __syncthreads();\n"
           "  return kept[N - 1 - threadIdx.x] + %d;\n"
           "}\n"
           "extern \"C\" __global__ void same(const __grid_constant__ A a) {\n"
           "  a.out[threadIdx.x] = keep<64>(threadIdx.x);\n"
           "}\n"
           "DT_EXPORT(same, A)\n",
           value);
  return load_text(text, NULL);
}

static void check_value(struct module *m, int value)
{
  int out[64];
  struct {
    int *out;
  } a = {out};

  assert_ok(RUN(m, "same", 1, 64, &a));
  for (int i = 0; i < 64; i++) assert_int_equal(out[i], value + 63 - i);
}

static void modules_with_the_same_names_stay_apart(void **state)
{
  struct module *one = load_value(1000), *two = load_value(2000), *three;

  (void)state;
  check_value(one, 1000);
  check_value(two, 2000);
  cpu_device.unload(device, one);
  three = load_value(3000);
  check_value(three, 3000);
  check_value(two, 2000);
  cpu_device.unload(device, two);
  check_value(three, 3000);
  cpu_device.unload(device, three);
}

static void foreign_code_is_refused(void **state)
{
  struct module *m;

  (void)state;
  assert_fails(DD_DEVICE, "cannot load",
               cpu_device.load(device, "not an object", 13, &m));
  assert_null(m);
}

/* ---- The compiler ----------------------------------------------------- */

static void an_error_names_the_kernels_line(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  (void)state;
  assert_fails(DD_COMPILE, "variants/y.cuh:41",
               cpu_compile("cpu",
                           "#line 40 \"variants/y.cuh\"\n"
                           "inline int right() { return 1; }\n"
                           "inline int wrong() { return missing; }\n",
                           &code, &log));
  assert_non_null(strstr(dd_last_error(), "missing"));
  assert_non_null(strstr(bytes_string(&log), "variants/y.cuh:41"));
  assert_int_equal(code.size, 0);
  bytes_release(&code);
  bytes_release(&log);
}

/* The entry has no #line mark of its own. */
static void an_error_outside_any_file_names_the_units_line(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  (void)state;
  assert_fails(DD_COMPILE, "kernel.cu:2:",
               cpu_compile("cpu", "int right;\nint wrong = ;\n", &code, &log));
  bytes_release(&code);
  bytes_release(&log);
}

static void the_compiler_has_a_name(void **state)
{
  struct bytes one = BYTES_INIT, two = BYTES_INIT;

  (void)state;
  assert_ok(cpu_compiler_identity("cpu", &one));
  assert_ok(cpu_compiler_identity("cpu", &two));
  assert_string_equal(bytes_string(&one), bytes_string(&two));
  assert_non_null(strstr(bytes_string(&one), "-std=c++20"));
  assert_non_null(strstr(bytes_string(&one), "shim="));
  assert_null(strchr(bytes_string(&one), '\n'));
  assert_fails(DD_COMPILE, "sm_90", cpu_compiler_identity("sm_90", &one));
  bytes_release(&one);
  bytes_release(&two);
}

static void no_compiler_is_said_so(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  (void)state;
  if (WITH_ASAN || WITH_TSAN) skip(); /* there $CXX is not asked */
  assert_int_equal(setenv("CXX", "ccache-of-nowhere g++", 1), 0);
  assert_fails(DD_COMPILE, "'ccache-of-nowhere'",
               cpu_compile("cpu", "", &code, &log));
  assert_int_equal(setenv("CXX", "false", 1), 0);
  assert_fails(DD_COMPILE, "'false' exited with 1",
               cpu_compile("cpu", "", &code, &log));
  assert_int_equal(unsetenv("CXX"), 0);
  bytes_release(&code);
  bytes_release(&log);
}

static void nothing_is_left_in_the_temporary_folder(void **state)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  char path[64];

  (void)state;
  test_folder(path, sizeof path);
  assert_int_equal(setenv("TMPDIR", path, 1), 0);
  assert_ok(cpu_compile("cpu", "", &code, &log));
  cpu_compile("cpu", "wrong", &code, &log);
  assert_int_equal(unsetenv("TMPDIR"), 0);
  assert_int_equal(rmdir(path), 0);
  bytes_release(&code);
  bytes_release(&log);
}

int main(int count, char **word)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shuffles_are_the_models),
      cmocka_unit_test(votes_are_the_models),
      cmocka_unit_test(half_a_warp_meets_before_all_of_it),
      cmocka_unit_test(a_block_sums_its_row),
      cmocka_unit_test(threads_that_returned_are_not_waited_for),
      cmocka_unit_test(a_thread_knows_its_place),
      cmocka_unit_test(shared_memory_starts_as_nan),
      cmocka_unit_test(atomics_count),
      cmocka_unit_test(fibers_come_in_the_order_asked_for),
      cmocka_unit_test(the_default_order_alternates),
      cmocka_unit_test(conversions_are_exact),
      cmocka_unit_test(every_pattern_survives),
      cmocka_unit_test(words_mean_what_cuda_says),
      cmocka_unit_test(faults_are_named_with_their_lines),
      cmocka_unit_test(a_misaligned_vector_is_named),
      cmocka_unit_test(a_failure_costs_one_launch),
      cmocka_unit_test(a_missing_barrier_shows_under_some_order),
      cmocka_unit_test(a_harmless_kernel_does_not_die),
      cmocka_unit_test(address_sanitizer_sees_overruns),
      cmocka_unit_test(undefined_sanitizer_sees_misalignment),
      cmocka_unit_test(thread_sanitizer_sees_missing_barriers),
      cmocka_unit_test(a_deep_stack_hits_its_guard_page),
      cmocka_unit_test(what_a_launch_may_not_be),
      cmocka_unit_test(an_empty_grid_launches_nothing),
      cmocka_unit_test(a_recording_runs_again_and_again),
      cmocka_unit_test(a_recording_reports_a_fault),
      cmocka_unit_test(launches_of_two_threads_take_turns),
      cmocka_unit_test(there_is_one_device),
      cmocka_unit_test(there_are_as_many_as_asked_for),
      cmocka_unit_test(modules_with_the_same_names_stay_apart),
      cmocka_unit_test(foreign_code_is_refused),
      cmocka_unit_test(an_error_names_the_kernels_line),
      cmocka_unit_test(an_error_outside_any_file_names_the_units_line),
      cmocka_unit_test(the_compiler_has_a_name),
      cmocka_unit_test(no_compiler_is_said_so),
      cmocka_unit_test(nothing_is_left_in_the_temporary_folder),
  };

  if (count == 5) return child(word + 1);
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
