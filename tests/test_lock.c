/*
 * test_lock.c - one sweep per GPU, and whose it is.
 */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock.h"

static char folder[64];
static const struct device_info h200 = {
    .kind = "cuda", .name = "NVIDIA H200", .uuid = "GPU-1234"};
static const struct device_info other = {
    .kind = "cuda", .name = "NVIDIA H200", .uuid = "GPU-5678"};
static const struct device_info cpu = {.kind = "cpu", .name = "cpu"};

static int set_up(void **state)
{
  (void)state;
  test_folder(folder, sizeof folder);
  setenv("XDG_RUNTIME_DIR", folder, 1);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  test_folder_remove(folder);
  return 0;
}

static void the_second_is_told_who_has_it(void **state)
{
  struct device_lock one, two;
  char pid[16];

  (void)state;
  snprintf(pid, sizeof pid, "pid %d;", (int)getpid());
  assert_ok(device_lock(&one, &h200));
  assert_fails(DD_NO_DEVICE, pid, device_lock(&two, &h200));
  assert_fails(DD_NO_DEVICE, "GPU-1234", device_lock(&two, &h200));
  device_unlock(&two); /* holds nothing */
  assert_ok(device_lock(&two, &other));
  device_unlock(&two);
  device_unlock(&one);
  assert_ok(device_lock(&two, &h200));
  device_unlock(&two);
}

/* Whoever held it cannot clean up after kill -9. */
static void a_killed_holder_lets_go(void **state)
{
  struct device_lock l;
  int ready[2];
  char byte = 0;
  pid_t child;

  (void)state;
  assert_int_equal(pipe(ready), 0);
  child = fork();
  assert_true(child >= 0);
  if (!child) {
    if (device_lock(&l, &h200) || write(ready[1], &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  assert_fails(DD_NO_DEVICE, "in use", device_lock(&l, &h200));
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_ok(device_lock(&l, &h200));
  device_unlock(&l);
  close(ready[0]);
  close(ready[1]);
}

static void the_cpu_device_is_shared(void **state)
{
  struct device_lock one, two;

  (void)state;
  assert_ok(device_lock(&one, &cpu));
  assert_ok(device_lock(&two, &cpu));
  device_unlock(&one);
  device_unlock(&two);
}

/* No folder for the file: a sweep goes on without. */
static void a_missing_folder_is_no_reason_to_stop(void **state)
{
  struct device_lock one;

  (void)state;
  setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1);
  setenv("DIFFTUNE_CACHE", "/proc/nowhere", 1);
  assert_ok(device_lock(&one, &h200));
  device_unlock(&one);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_FOLDER(the_second_is_told_who_has_it),
      IN_FOLDER(a_killed_holder_lets_go),
      IN_FOLDER(the_cpu_device_is_shared),
      IN_FOLDER(a_missing_folder_is_no_reason_to_stop),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
