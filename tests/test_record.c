/* test_record.c - how a sweep's end is written down. */
#include "test.h"

#include "record.h"

static void open_database(struct recorder *r, const char *folder)
{
  char path[128];

  memset(r, 0, sizeof *r);
  snprintf(path, sizeof path, "%s/tuning.db", folder);
  assert_ok(db_open(path, DB_WRITE, &r->db));
}

/* What went wrong first is what is said, whatever the database says after. */
static void the_first_failure_is_kept(void **state)
{
  struct recorder r;
  char folder[64];

  (void)state;
  test_folder(folder, sizeof folder);
  open_database(&r, folder);
  r.sweep = 12345; /* no such row: writing its end fails */
  assert_int_not_equal(record_end(&r, DD_OK), DD_OK);
  open_database(&r, folder);
  r.sweep = 12345;
  fail(DD_DEVICE, "the device fell off the bus");
  assert_fails(DD_DEVICE, "the device fell off the bus",
               record_end(&r, DD_DEVICE));
  assert_null(r.db);
  test_folder_remove(folder);
}

static void a_sweep_that_never_began_has_no_end(void **state)
{
  struct recorder r, none = {0};
  char folder[64];

  (void)state;
  test_folder(folder, sizeof folder);
  open_database(&r, folder);
  assert_ok(record_end(&r, DD_OK));
  assert_ok(record_end(&none, DD_OK));
  test_folder_remove(folder);
}

static void check_word(const char *word, const char *quoted)
{
  struct bytes out = BYTES_INIT;

  put_shell_word(&out, word);
  assert_string_equal(bytes_string(&out), quoted);
  bytes_release(&out);
}

static void words_are_quoted_where_a_shell_would_split_them(void **state)
{
  (void)state;
  check_word("--cpu", "--cpu");
  check_word("rope:bf16", "rope:bf16");
  check_word("a b", "'a b'");
  check_word("it's", "'it'\\''s'");
  check_word("$HOME", "'$HOME'");
  check_word("", "''");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_failure_is_kept),
      cmocka_unit_test(a_sweep_that_never_began_has_no_end),
      cmocka_unit_test(words_are_quoted_where_a_shell_would_split_them),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
