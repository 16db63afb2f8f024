/*
 * test_cache.c - compiled units on disk: found whole, or not at all.
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "cache_limit.h"
#include "tool_code.h"

static char folder[64];
static struct cache cache;

static int make_folder(void **state)
{
  (void)state;
  test_folder(folder, sizeof folder);
  setenv("DIFFTUNE_CACHE", folder, 1);
  cache_open(&cache);
  assert_string_equal(cache.folder, folder);
  return 0;
}

static int remove_folder_again(void **state)
{
  (void)state;
  test_folder_remove(folder);
  return 0;
}

static struct bytes text_of(const char *text)
{
  struct bytes b = BYTES_INIT;

  bytes_text(&b, text);
  return b;
}

static void store(const struct hash *key, const char *text)
{
  struct bytes code = text_of(text);

  cache_store(&cache, key, &code);
  bytes_release(&code);
}

static void check_has(const struct hash *key, const char *text)
{
  struct bytes code = BYTES_INIT;

  assert_true(cache_find(&cache, key, &code));
  assert_string_equal(bytes_string(&code), text);
  assert_int_equal(code.size, strlen(text));
  bytes_release(&code);
}

static void check_lacks(const struct hash *key)
{
  struct bytes code = BYTES_INIT;

  assert_false(cache_find(&cache, key, &code));
  assert_int_equal(code.size, 0);
  bytes_release(&code);
}

/* The path of the only entry. */
static void path_of(const struct hash *key, char path[256])
{
  char hex[HASH_HEX];

  hash_hex(key, hex);
  snprintf(path, 256, "%s/%.2s/%s", folder, hex, hex + 2);
}

static void an_entry_is_found_by_all_of_its_key(void **state)
{
  struct hash key = cache_key("nvrtc 1", "sm_90", "text");
  struct hash others[] = {cache_key("nvrtc 2", "sm_90", "text"),
                          cache_key("nvrtc 1", "sm_80", "text"),
                          cache_key("nvrtc 1", "sm_90", "texts"),
                          cache_key("nvrtc 1s", "m_90", "text")};

  (void)state;
  check_lacks(&key);
  store(&key, "code");
  check_has(&key, "code");
  for (size_t i = 0; i < COUNT_OF(others); ++i) check_lacks(&others[i]);
  store(&key, "code");
  check_has(&key, "code");
}

/* Every bit of a small entry, flipped alone; then every length. */
static void a_damaged_entry_is_not_found_and_goes_away(void **state)
{
  struct hash key = cache_key("a", "b", "c");
  struct bytes whole = BYTES_INIT;
  char path[256];

  (void)state;
  path_of(&key, path);
  store(&key, "code");
  assert_ok(file_read(path, 4096, &whole));
  for (size_t bit = 0; bit < 8 * whole.size; ++bit) {
    whole.data[bit / 8] ^= (char)(1 << bit % 8);
    assert_ok(file_write(path, whole.data, whole.size));
    whole.data[bit / 8] ^= (char)(1 << bit % 8);
    check_lacks(&key);
    assert_int_equal(access(path, F_OK), -1);
  }
  for (size_t size = 0; size < whole.size; ++size) {
    assert_ok(file_write(path, whole.data, size));
    check_lacks(&key);
  }
  store(&key, "code");
  check_has(&key, "code");
  bytes_release(&whole);
}

/* Another entry's bytes under this name. */
static void a_misplaced_entry_is_not_found(void **state)
{
  struct hash one = cache_key("x", "x", "1"), two = cache_key("x", "x", "2");
  struct bytes whole = BYTES_INIT;
  char path[256];

  (void)state;
  store(&one, "code");
  store(&two, "other code");
  path_of(&one, path);
  assert_ok(file_read(path, 4096, &whole));
  path_of(&two, path);
  assert_ok(file_write(path, whole.data, whole.size));
  check_lacks(&two);
  check_has(&one, "code");
  bytes_release(&whole);
}

/* ---- Many processes -------------------------------------------------- */

enum { WRITERS = 8, KEYS = 40, SIZE = 100000 };

static void fill(struct bytes *code, int key)
{
  bytes_clear(code);
  for (int i = 0; i < SIZE / 10; ++i) bytes_printf(code, "%09d ", key * i);
}

/* Each finds every entry whole, or writes it. */
static int write_all(void)
{
  struct bytes want = BYTES_INIT, got = BYTES_INIT;
  int bad = 0;

  for (int i = 0; i < KEYS; ++i) {
    char text[16];
    struct hash key;
    snprintf(text, sizeof text, "unit %d", i);
    key = cache_key("many", "cpu", text);
    fill(&want, i);
    if (!cache_find(&cache, &key, &got))
      cache_store(&cache, &key, &want);
    else if (got.size != want.size || memcmp(got.data, want.data, got.size))
      bad = 1;
  }
  bytes_release(&want);
  bytes_release(&got);
  return bad || cache.damaged || cache.found + cache.stored != KEYS;
}

static int count_files(const char *path)
{
  DIR *d = opendir(path);
  struct dirent *e;
  int n = 0;

  assert_non_null(d);
  while ((e = readdir(d))) {
    char inner[512];
    if (e->d_name[0] == '.') continue;
    snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
    n += e->d_type == DT_DIR ? count_files(inner) : 1;
  }
  closedir(d);
  return n;
}

/* The tuner's own kernels are there after a first time, and a damaged one is
 * made again. */
static void a_tools_code_is_kept(void **state)
{
  static const char text[] = "extern \"C\" __global__ void dt_none() {}\n";
  struct device d = {.info = {.kind = "cpu"}};
  struct bytes first = BYTES_INIT, second = BYTES_INIT, exact = BYTES_INIT;
  int before;

  (void)state;
  assert_int_equal(tool_code(&d, text, TOOL_FUSED, &first), DD_OK);
  before = count_files(folder);
  assert_int_equal(tool_code(&d, text, TOOL_FUSED, &second), DD_OK);
  assert_int_equal(count_files(folder), before);
  assert_int_equal(first.size, second.size);
  assert_memory_equal(first.data, second.data, first.size);
  assert_int_equal(tool_code(&d, text, TOOL_EXACT, &exact), DD_OK);
  assert_int_equal(count_files(folder), before + 1);
  bytes_release(&first);
  bytes_release(&second);
  bytes_release(&exact);
}

static void many_processes_share_one_cold_cache(void **state)
{
  (void)state;
  cache_open(&cache);
  for (int i = 0; i < WRITERS; ++i) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) _exit(write_all());
  }
  for (int i = 0; i < WRITERS; ++i) {
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
  assert_int_equal(count_files(folder), KEYS); /* nothing is left aside */
}

/* ---- The limit ------------------------------------------------------- */

static int make_limited_folder(void **state)
{
  setenv("DIFFTUNE_CACHE_MB", "1", 1);
  return make_folder(state);
}

static int remove_limited_folder(void **state)
{
  unsetenv("DIFFTUNE_CACHE_MB");
  return remove_folder_again(state);
}

static struct hash key_of(int i)
{
  char text[16];

  snprintf(text, sizeof text, "unit %d", i);
  return cache_key("limit", "cpu", text);
}

static void store_large(int i)
{
  struct bytes code = BYTES_INIT;
  struct hash key = key_of(i);

  fill(&code, i);
  cache_store(&cache, &key, &code);
  bytes_release(&code);
}

static bool is_there(int i)
{
  struct hash key = key_of(i);
  char path[256];

  path_of(&key, path);
  return !access(path, F_OK);
}

static void use_long_ago(int i, int seconds)
{
  struct timespec when[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
  struct hash key = key_of(i);
  char path[256];

  path_of(&key, path);
  assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
}

/* Ten of 100 kB fit; with the eleventh nine are left, those used last. */
static void what_was_not_used_for_longest_makes_room(void **state)
{
  struct hash used = key_of(1);
  struct bytes code = BYTES_INIT;

  (void)state;
  for (int i = 0; i < 10; ++i) store_large(i);
  for (int i = 0; i < 10; ++i) assert_true(is_there(i));
  for (int i = 0; i < 10; ++i) use_long_ago(i, 1000 + i);
  assert_true(cache_find(&cache, &used, &code));
  store_large(10);
  for (int i = 0; i < 11; ++i)
    assert_int_equal(is_there(i), i != 0 && i != 2);
  assert_int_equal(cache.damaged, 0);
  bytes_release(&code);
}

static int64_t bytes_in(const char *path)
{
  return cache_trim(path, INT64_MAX);
}

/* What another process has stored is noticed, here by the first store. */
static void the_limit_is_the_folders(void **state)
{
  (void)state;
  setenv("DIFFTUNE_CACHE_MB", "0", 1);
  cache_open(&cache);
  for (int i = 0; i < 30; ++i) store_large(i);
  assert_int_equal(count_files(folder), 30);
  setenv("DIFFTUNE_CACHE_MB", "1", 1);
  cache_open(&cache);
  store_large(30);
  assert_true(bytes_in(folder) <= 1 << 20);
  assert_true(is_there(30));
}

static void one_that_is_too_large_is_not_stored(void **state)
{
  struct bytes code = BYTES_INIT;
  struct hash key = key_of(0);

  (void)state;
  for (int i = 0; i < 11; ++i)
    for (int k = 0; k < SIZE / 10; ++k) bytes_text(&code, "0123456789");
  store_large(1);
  cache_store(&cache, &key, &code);
  assert_false(is_there(0));
  assert_true(is_there(1));
  bytes_release(&code);
}

static void a_limit_that_is_no_number_is_the_usual_one(void **state)
{
  static const char *const texts[] = {"lots", "-1", "12k", "99999999999"};
  int64_t limit = 0;

  (void)state;
  setenv("DIFFTUNE_CACHE_MB", "", 1);
  assert_ok(cache_limit(&limit));
  assert_int_equal(limit, (int64_t)2048 << 20);
  for (size_t i = 0; i < COUNT_OF(texts); ++i) {
    setenv("DIFFTUNE_CACHE_MB", texts[i], 1);
    limit = 0;
    assert_fails(DD_BAD_ARGUMENT, "wants megabytes", cache_limit(&limit));
    assert_int_equal(limit, (int64_t)2048 << 20);
  }
}

/* Every one that is found is whole, though others remove them; nobody's view
 * of the folder is older than a sixteenth of the limit. */
static int write_all_limited(void)
{
  struct bytes want = BYTES_INIT, got = BYTES_INIT;
  int bad = 0;

  for (int i = 0; i < 3 * KEYS; ++i) {
    struct hash key = key_of(i % KEYS);
    fill(&want, i % KEYS);
    if (!cache_find(&cache, &key, &got))
      cache_store(&cache, &key, &want);
    else if (got.size != want.size || memcmp(got.data, want.data, got.size))
      bad = 1;
  }
  bytes_release(&want);
  bytes_release(&got);
  return bad || cache.damaged;
}

static void many_processes_keep_a_limit(void **state)
{
  (void)state;
  for (int i = 0; i < WRITERS; ++i) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) _exit(write_all_limited());
  }
  for (int i = 0; i < WRITERS; ++i) {
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
  assert_true(bytes_in(folder) <= (1 << 20) + WRITERS * (SIZE + 256));
  assert_true(count_files(folder) > 0);
}

/* ---- Folders --------------------------------------------------------- */

static void the_folder_is_made_with_those_above_it(void **state)
{
  char path[128];
  struct cache c;

  (void)state;
  snprintf(path, sizeof path, "%s/a/b", folder);
  setenv("XDG_CACHE_HOME", path, 1);
  unsetenv("DIFFTUNE_CACHE");
  cache_open(&c);
  assert_string_equal(c.folder + strlen(path), "/difftune");
  assert_int_equal(access(c.folder, W_OK), 0);
}

/* Its code would be run: whoever may write there could choose it. */
static void a_folder_that_others_can_write_is_not_used(void **state)
{
  struct hash key = cache_key("a", "b", "c");
  struct bytes code = text_of("code");
  struct cache c;

  (void)state;
  assert_int_equal(chmod(folder, 0777), 0);
  cache_open(&c);
  assert_string_equal(c.folder, "");
  cache_store(&c, &key, &code);
  assert_false(cache_find(&c, &key, &code));
  assert_int_equal(count_files(folder), 0);
  bytes_release(&code);
}

#define IN_FOLDER(test)                                                        \
  cmocka_unit_test_setup_teardown(test, make_folder, remove_folder_again)

#define IN_LIMITED(test)                                                       \
  cmocka_unit_test_setup_teardown(test, make_limited_folder,                   \
                                  remove_limited_folder)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_FOLDER(an_entry_is_found_by_all_of_its_key),
      IN_FOLDER(a_damaged_entry_is_not_found_and_goes_away),
      IN_FOLDER(a_misplaced_entry_is_not_found),
      IN_FOLDER(many_processes_share_one_cold_cache),
      IN_FOLDER(a_tools_code_is_kept),
      IN_LIMITED(what_was_not_used_for_longest_makes_room),
      IN_LIMITED(the_limit_is_the_folders),
      IN_LIMITED(one_that_is_too_large_is_not_stored),
      IN_LIMITED(a_limit_that_is_no_number_is_the_usual_one),
      IN_LIMITED(many_processes_keep_a_limit),
      IN_FOLDER(the_folder_is_made_with_those_above_it),
      IN_FOLDER(a_folder_that_others_can_write_is_not_used),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
