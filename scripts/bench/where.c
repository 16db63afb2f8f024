/*
 * where.c - where the driver puts the code of one image that is loaded again and
 * again: whether each load lies at an address of its own, and how far apart.
 *
 *   cmake --build build/release --target bench_where
 *   build/release/tests/bench_where [LOADS]        (16; the first GPU, else the CPU)
 *
 * The A/A twin and `sweep --places` rest on it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffdispatch.h"
#include "tool_code.h"

enum { MOST = 256 };

/* A pointer to a function that is not inlined is its code's address. */
static const char text[] =
    "#ifndef DT_EXPORT\n"
    "#define DT_EXPORT(name, args)\n"
    "#endif\n"
    "struct WhereArgs { unsigned long long *result; };\n"
    "static __device__ __attribute__((noinline)) int here(int x)\n"
    "{\n"
    "  asm volatile(\"\");\n"
    "  return x + 1;\n"
    "}\n"
    "extern \"C\" __global__ void dt_where(const __grid_constant__ WhereArgs a)\n"
    "{\n"
    "  int (*volatile f)(int) = here;\n"
    "  a.result[0] = (unsigned long long)f;\n"
    "  a.result[1] = (unsigned long long)f(1);\n"
    "}\n"
    "DT_EXPORT(dt_where, WhereArgs)\n";

static dd_status find_address(struct device *d, const struct bytes *code,
                              void *result, uint64_t *out)
{
  const struct device_api *api = d->api;
  struct launch l = {.grid = {1, 1, 1}, .block = 1, .args = &result,
                     .args_size = sizeof result};
  struct module *m; /* stays: the next load must lie elsewhere */
  uint64_t found[2] = {0, 0};

  TRY(api->load(d, code->data, code->size, &m));
  TRY(api->kernel(d, m, "dt_where", &l.kernel));
  TRY(api->launch(d, &l, NULL));
  TRY(api->wait(d));
  TRY(api->copy_out(d, found, result, sizeof found));
  if (found[1] != 2) return fail(DD_BUG, "the kernel did not run");
  *out = found[0];
  return DD_OK;
}

static int by_value(const void *left, const void *right)
{
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

  return (a > b) - (a < b);
}

static void print_summary(uint64_t *at, int count)
{
  uint64_t least = UINT64_MAX;
  int same = 0;

  qsort(at, (size_t)count, sizeof *at, by_value);
  for (int i = 1; i < count; ++i) {
    uint64_t gap = at[i] - at[i - 1];
    if (!gap) same++;
    else if (gap < least) least = gap;
  }
  printf("%d loads, %d at the address of another", count, same);
  if (least < UINT64_MAX)
    printf("; neighbours are %" PRIu64 " bytes apart at least, the first and the "
           "last %" PRIu64, least, at[count - 1] - at[0]);
  printf("\n");
}

static dd_status find_all(struct device *d, int count)
{
  struct bytes code = BYTES_INIT;
  uint64_t at[MOST];
  void *result;

  TRY(tool_code(d, text, TOOL_FUSED, &code));
  TRY(d->api->allocate(d, 16, &result));
  for (int i = 0; i < count; ++i) {
    TRY(find_address(d, &code, result, &at[i]));
    printf("%3d  %#" PRIx64 "  %+" PRId64 "\n", i, at[i],
           i ? (int64_t)(at[i] - at[i - 1]) : 0);
  }
  print_summary(at, count);
  bytes_release(&code);
  return DD_OK;
}

int main(int argc, char **argv)
{
  int count = argc > 1 ? atoi(argv[1]) : 16;
  struct device *d;
  dd_status status = cuda_device.open(0, &d);

  if (count < 1 || count > MOST) count = MOST;
  if (status) status = cpu_device.open(0, &d);
  if (!status) printf("%s, driver %s\n", d->info.name, d->info.driver);
  if (!status) status = find_all(d, count);
  if (status) fprintf(stderr, "%s\n", dd_last_error());
  return status != DD_OK;
}
