/*
 * main.c - a program that uses libdiffdispatch, and checks what it gets.
 *
 *     host cpu|cuda [TABLE.ddt]
 *
 * Runs one qknorm_rope problem through a plan and through its own entry point,
 * compares both with a plain loop in double, and prints a line for each.
 */
#include <diffdispatch.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { TOKENS = 37, Q_HEADS = 3, KV_HEADS = 2, HEAD_DIM = 64, HALF = 32 };
enum { Q_COUNT = TOKENS * Q_HEADS * HEAD_DIM };
enum { K_COUNT = TOKENS * KV_HEADS * HEAD_DIM };
enum { CACHE_COUNT = TOKENS * HEAD_DIM };
static const double eps = 1e-5;

/* ---- Numbers ---------------------------------------------------------- */

static uint16_t to_bf16(double value)
{
  float f = (float)value;
  uint32_t bits;

  memcpy(&bits, &f, 4);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t value)
{
  uint32_t bits = (uint32_t)value << 16;
  float f;

  memcpy(&f, &bits, 4);
  return f;
}

static double random_number(void) /* in [-1, 1), the same on every run */
{
  static uint64_t state = 42;

  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) / 4503599627370496.0 - 1;
}

/* ---- The problem ------------------------------------------------------ */

static uint16_t q[Q_COUNT], k[K_COUNT], q_weight[HEAD_DIM], k_weight[HEAD_DIM];
static float cache[CACHE_COUNT];
static int64_t positions[TOKENS];

static void fill(void)
{
  for (int i = 0; i < Q_COUNT; ++i) q[i] = to_bf16(2 * random_number());
  for (int i = 0; i < K_COUNT; ++i) k[i] = to_bf16(2 * random_number());
  for (int i = 0; i < HEAD_DIM; ++i) {
    q_weight[i] = to_bf16(1 + 0.1 * random_number());
    k_weight[i] = to_bf16(1 + 0.1 * random_number());
  }
  for (int t = 0; t < TOKENS; ++t) {
    positions[t] = TOKENS - 1 - t;
    for (int i = 0; i < HALF; ++i) {
      double angle = t * pow(10000, -(double)i / HALF);
      cache[t * HEAD_DIM + i] = (float)cos(angle);
      cache[t * HEAD_DIM + HALF + i] = (float)sin(angle);
    }
  }
}

static double reference(const uint16_t *row, const uint16_t *weight, int token,
                        int at)
{
  const float *angles = cache + positions[token] * HEAD_DIM;
  int pair = at / 2;
  double sum = 0, scale, a, b;

  for (int i = 0; i < HEAD_DIM; ++i)
    sum += from_bf16(row[i]) * from_bf16(row[i]);
  scale = 1 / sqrt(sum / HEAD_DIM + eps);
  a = from_bf16(row[2 * pair]) * scale * from_bf16(weight[2 * pair]);
  b = from_bf16(row[2 * pair + 1]) * scale * from_bf16(weight[2 * pair + 1]);
  return at % 2 ? b * angles[pair] + a * angles[HALF + pair]
                : a * angles[pair] - b * angles[HALF + pair];
}

/* The largest error of one output, in steps of bf16. */
static double largest_error(const uint16_t *in, const uint16_t *out,
                            const uint16_t *weight, int heads)
{
  double worst = 0;

  for (int row = 0; row < TOKENS * heads; ++row)
    for (int i = 0; i < HEAD_DIM; ++i) {
      double want = reference(in + row * HEAD_DIM, weight, row / heads, i);
      double step = fmax(fabs(want), 1.0 / 16) / 128;
      double error = fabs(from_bf16(out[row * HEAD_DIM + i]) - want) / step;
      if (!(error <= worst)) worst = error; /* a NaN is an error */
    }
  return worst;
}

/* ---- On the device ---------------------------------------------------- */

enum { Q, K, Q_WEIGHT, K_WEIGHT, CACHE, POSITIONS, BUFFERS };
static const char *const names[BUFFERS] = {"q",        "k",   "q_weight",
                                           "k_weight", "cos", "positions"};
static const void *const contents[BUFFERS] = {q,        k,     q_weight,
                                              k_weight, cache, positions};
static const size_t sizes[BUFFERS] = {sizeof q,        sizeof k,
                                      sizeof q_weight, sizeof k_weight,
                                      sizeof cache,    sizeof positions};
static void *device[BUFFERS];

static int upload(const struct memory *m)
{
  for (int i = 0; i < BUFFERS; ++i) {
    if (!device[i]) device[i] = m->allocate(sizes[i]);
    if (!device[i] || m->copy_in(device[i], contents[i], sizes[i])) {
      fprintf(stderr, "host: cannot fill '%s'\n", names[i]);
      return 1;
    }
  }
  return 0;
}

static int compare(const struct memory *m, const char *how)
{
  static uint16_t q_out[Q_COUNT], k_out[K_COUNT];
  double error;

  if (m->copy_out(q_out, device[Q], sizeof q_out) ||
      m->copy_out(k_out, device[K], sizeof k_out)) {
    fprintf(stderr, "host: the work did not finish\n");
    return 1;
  }
  error = fmax(largest_error(q, q_out, q_weight, Q_HEADS),
               largest_error(k, k_out, k_weight, KV_HEADS));
  printf("%s: largest error %.3f of a bf16 step\n", how, error);
  return !(error <= 1);
}

static int refuse(const char *what, dd_status status)
{
  fprintf(stderr, "host: %s: %s: %s\n", what, dd_status_text(status),
          dd_last_error());
  return 1;
}

/* Through a plan: made once, launched as often as one likes. */
static int run_plan(dd_context *ctx, const struct memory *m)
{
  dd_problem problem = DD_PROBLEM_INIT;
  dd_attr attrs[] = {{"eps", eps}};
  dd_plan *plan;
  dd_status status;
  void *buffers[BUFFERS];
  char line[256] = "plan, ";

  problem.spelling = "qknorm_rope:bf16 tokens=37 q_heads=3 kv_heads=2 "
                     "head_dim=64";
  problem.attrs = attrs;
  problem.attr_count = 1;
  status = dd_plan_make(ctx, &problem, &plan);
  if (status) return refuse("dd_plan_make", status);
  for (size_t i = 0; i < dd_plan_buffer_count(plan); ++i) {
    size_t j = 0;
    while (j < BUFFERS && strcmp(names[j], dd_plan_buffer_name(plan, i))) j++;
    buffers[i] = j < BUFFERS ? device[j] : NULL;
  }
  status = dd_plan_launch(plan, buffers, NULL, NULL);
  dd_plan_describe(plan, line + 6, sizeof line - 6);
  dd_plan_free(plan);
  return status ? refuse("dd_plan_launch", status) : compare(m, line);
}

/* Through the op's own entry point: no text, no plan to keep. */
static int run_typed(dd_context *ctx, const struct memory *m)
{
  dd_qknorm_rope_args args = {0};
  dd_status status;

  args.struct_size = sizeof args;
  args.io = DD_BF16;
  args.tokens = TOKENS;
  args.q_heads = Q_HEADS;
  args.kv_heads = KV_HEADS;
  args.head_dim = HEAD_DIM;
  args.q = device[Q];
  args.k = device[K];
  args.q_weight = device[Q_WEIGHT];
  args.k_weight = device[K_WEIGHT];
  args.cos = device[CACHE];
  args.positions = device[POSITIONS];
  args.eps = eps;
  status = dd_qknorm_rope(ctx, &args, NULL);
  return status ? refuse("dd_qknorm_rope", status)
                : compare(m, "dd_qknorm_rope");
}

int main(int argc, char **argv)
{
  dd_open_options options = DD_OPEN_OPTIONS_INIT;
  const struct memory *m;
  dd_context *ctx;
  dd_status status;
  int failed;

  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: host cpu|cuda [TABLE.ddt]\n");
    return 2;
  }
  options.device = argv[1];
  options.table = argv[2]; /* NULL where there is none */
  m = memory_find(argv[1]);
  if (!m) return 1;
  status = dd_open(&options, &ctx);
  if (status) return refuse("dd_open", status);
  fill();
  failed = upload(m) || run_plan(ctx, m) || upload(m) || run_typed(ctx, m);
  for (int i = 0; i < BUFFERS; ++i)
    if (device[i]) m->release(device[i]);
  dd_close(ctx);
  return failed;
}
