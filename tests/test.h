/*
 * test.h - what every test file includes: cmocka, the failing allocator, and
 * folders that go away.  Each tests/test_NOUN.c is a program of its own; there
 * is no list to add it to.
 */
#ifndef DIFFTUNE_TEST_H
#define DIFFTUNE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* base.h has a function named fail; tests say fail_msg(). */
#undef fail
#undef fail_msg
#define fail_msg(...)                                                          \
  (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include "base.h"

/* A dd_status that must be DD_OK; shows the sentence if it is not. */
#define assert_ok(call)                                                        \
  do {                                                                         \
    dd_status ok_status_ = (call);                                             \
    if (ok_status_ != DD_OK)                                                   \
      fail_msg("%s: %s: %s", #call, dd_status_name(ok_status_),                \
               dd_last_error());                                               \
  } while (0)

/* A call that must fail with `status` and a sentence that holds `part`. */
#define assert_fails(status, part, call)                                       \
  do {                                                                         \
    dd_status got_ = (call);                                                   \
    if (got_ != (status))                                                      \
      fail_msg("%s: %s, not %s: %s", #call, dd_status_name(got_),              \
               dd_status_name(status), dd_last_error());                       \
    if (!strstr(dd_last_error(), (part)))                                      \
      fail_msg("%s: \"%s\" does not say \"%s\"", #call, dd_last_error(),       \
               (part));                                                        \
  } while (0)

/* The failing allocator: counts live bytes, fails its `fail_at`th call and,
 * with fail_on, every call after it. */
struct test_memory {
  struct allocator allocator;
  long calls, fail_at;
  bool fail_on;
  size_t live;
};
static inline void *test_resize(void *user, void *block, size_t old_size,
                                size_t new_size)
{
  struct test_memory *m = user;
  void *result;

  if (new_size == 0) {
    free(block);
    m->live -= old_size;
    return NULL;
  }
  m->calls++;
  if (m->fail_at && (m->calls == m->fail_at ||
                     (m->fail_on && m->calls > m->fail_at)))
    return NULL;
  result = realloc(block, new_size);
  if (result) m->live += new_size - old_size;
  return result;
}
static inline void test_memory_init(struct test_memory *m)
{
  memset(m, 0, sizeof *m);
  m->allocator.resize = test_resize;
  m->allocator.user = m;
}

/* A fresh folder under $TMPDIR, its path in `path` (at least 64 bytes). */
static inline void test_folder(char *path, size_t size)
{
  const char *tmp = getenv("TMPDIR");

  snprintf(path, size, "%s/difftune-test-XXXXXX", tmp ? tmp : "/tmp");
  if (!mkdtemp(path)) fail_msg("cannot make the folder %s", path);
}
static inline void test_folder_remove(const char *path)
{
  char command[512];

  snprintf(command, sizeof command, "rm -rf '%s'", path);
  if (system(command)) fail_msg("cannot remove %s", path);
}

/* Where the sources are, and the programs just built. */
#define TEST_ROOT DIFFTUNE_SOURCE_DIR

#endif
