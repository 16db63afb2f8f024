/* test_claims.c - who compiles what. */
#include "test.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "claims.h"

enum { KEYS = 5000, PROCESSES = 4 };

static struct hash key_of(uint64_t i)
{
  return hash_of(&i, sizeof i);
}

static struct hash key_with(uint64_t value)
{
  struct hash key = {{0}};

  memcpy(&key, &value, sizeof value);
  return key;
}

static struct claims open_new(void)
{
  struct claims c;
  int fd = claims_make();

  assert_true(fd >= 0);
  claims_open(&c, fd);
  assert_non_null(c.slot);
  assert_int_equal(close(fd), -1); /* it was closed */
  return c;
}

static void a_key_is_taken_once(void **state)
{
  struct claims c = open_new();
  struct hash none = key_with(0);

  (void)state;
  for (uint64_t i = 0; i < KEYS; ++i) {
    struct hash key = key_of(i);
    assert_true(claims_take(&c, &key));
    assert_false(claims_take(&c, &key));
  }
  assert_true(claims_take(&c, &none));
  assert_false(claims_take(&c, &none));
  claims_close(&c);
  claims_close(&c);
}

/* Each through a mapping of its own, all the same keys at once. */
static void take_all(int fd, _Atomic int *taken)
{
  struct claims c;

  claims_open(&c, dup(fd));
  for (uint64_t i = 0; i < KEYS; ++i) {
    struct hash key = key_of(i);
    if (claims_take(&c, &key)) atomic_fetch_add(&taken[i], 1);
  }
  _exit(c.slot ? 0 : 1);
}

static void processes_share_a_table(void **state)
{
  const size_t size = KEYS * sizeof(_Atomic int);
  _Atomic int *taken = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int fd = claims_make(), how;

  (void)state;
  assert_true(taken != MAP_FAILED && fd >= 0);
  for (int i = 0; i < PROCESSES; ++i)
    if (!fork()) take_all(fd, taken);
  for (int i = 0; i < PROCESSES; ++i) {
    assert_true(wait(&how) > 0);
    assert_int_equal(how, 0);
  }
  for (int i = 0; i < KEYS; ++i) assert_int_equal(taken[i], 1);
  munmap((void *)taken, size);
  close(fd);
}

/* What is in it stays known, what is not is anybody's. */
static void a_full_table_takes_nothing_away(void **state)
{
  struct claims c = open_new();
  struct hash key;

  (void)state;
  for (uint64_t i = 1; i <= CLAIMS_MAX; ++i) {
    key = key_with(i);
    assert_true(claims_take(&c, &key));
  }
  assert_false(claims_take(&c, &key));
  key = key_with(CLAIMS_MAX + 1);
  assert_true(claims_take(&c, &key));
  assert_true(claims_take(&c, &key));
  claims_close(&c);
}

static void without_a_table_all_is_ours(void **state)
{
  struct hash key = key_of(1);
  struct claims c;

  (void)state;
  claims_open(&c, -1);
  assert_true(claims_take(&c, &key));
  assert_true(claims_take(&c, &key));
  claims_close(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_key_is_taken_once),
      cmocka_unit_test(processes_share_a_table),
      cmocka_unit_test(a_full_table_takes_nothing_away),
      cmocka_unit_test(without_a_table_all_is_ours),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
