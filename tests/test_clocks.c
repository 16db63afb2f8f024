/*
 * test_clocks.c - what is read of a GPU's clock, with a fake NVML, and when it
 * spoils a round.
 */
#include "test.h"

#include <dlfcn.h>

#include "clocks.h"
#include "compiler.h"
#include "embedded.h"

extern const struct embedded_file embedded_kernels[];

static unsigned *mhz;
static unsigned long long *reasons;
static int *result;

static int setup(void **unused)
{
  void *library = dlopen(DIFFTUNE_FAKE_NVML, RTLD_NOW | RTLD_LOCAL);

  (void)unused;
  assert_non_null(library);
  mhz = dlsym(library, "fake_nvml_mhz");
  reasons = dlsym(library, "fake_nvml_reasons");
  result = dlsym(library, "fake_nvml_result");
  return setenv("DIFFTUNE_LIBNVML", DIFFTUNE_FAKE_NVML, 1);
}

static void nvml_is_read(void **unused)
{
  struct device d = {.info = {.kind = "cuda", .uuid = "GPU-1"}};
  struct clock_reading r;
  struct clocks c;

  (void)unused;
  clocks_open(&c, &d);
  r = clocks_read(&c);
  assert_true(r.mhz == 1980 && r.throttle == 0);
  *reasons = 0x1 | 0x2 | 0x100; /* idle, and clocks that were set */
  assert_true(clocks_read(&c).throttle == 0);
  *reasons = 0x1 | 0x4 | 0x20;
  assert_true(clocks_read(&c).throttle == 0x24);
  *result = 15;
  r = clocks_read(&c);
  assert_true(r.mhz == 0 && r.throttle == 0);
  *result = 0;
  clocks_close(&c);
  assert_true(clocks_read(&c).mhz == 0);
}

static void the_cpu_device_has_none(void **unused)
{
  struct device d = {.info = {.kind = "cpu", .uuid = "GPU-1"}};
  struct clocks c;

  (void)unused;
  clocks_open(&c, &d);
  assert_true(clocks_read(&c).mhz == 0);
  clocks_close(&c);
}

static void a_round_is_spoilt_or_not(void **unused)
{
  struct clock_reading full = {1980, 0}, near = {1950, 0}, low = {1935, 0};
  struct clock_reading capped = {1980, 4}, unknown = {0, 0};

  (void)unused;
  assert_false(clocks_disturbed(full, full));
  assert_false(clocks_disturbed(full, near));
  assert_true(clocks_disturbed(full, low));
  assert_true(clocks_disturbed(low, full));
  assert_true(clocks_disturbed(full, capped));
  assert_true(clocks_disturbed(capped, full));
  assert_false(clocks_disturbed(unknown, full));
  assert_false(clocks_disturbed(full, unknown));
}

static void reasons_have_names(void **unused)
{
  char text[64];

  (void)unused;
  clocks_throttle(0, text, sizeof text);
  assert_string_equal(text, "");
  clocks_throttle(0x24, text, sizeof text);
  assert_string_equal(text, "power cap, heat");
  clocks_throttle(0xec, text, 12);
  assert_string_equal(text, "power cap, ");
}

/* It runs where there is a GPU and no NVML; that it compiles is seen here. */
static void the_kernel_compiles(void **unused)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  const struct embedded_file *f = &embedded_kernels[2];

  (void)unused;
  assert_non_null(strstr(f->path, "mhz.cuh"));
  if (compiler_identity("sm_90", &log)) skip(); /* there is no NVRTC */
  bytes_clear(&log);
  assert_ok(compile_unit("sm_90", f->text, &code, &log));
  bytes_release(&code);
  bytes_release(&log);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nvml_is_read),
      cmocka_unit_test(the_cpu_device_has_none),
      cmocka_unit_test(a_round_is_spoilt_or_not),
      cmocka_unit_test(reasons_have_names),
      cmocka_unit_test(the_kernel_compiles),
  };

  return cmocka_run_group_tests(tests, setup, NULL);
}
