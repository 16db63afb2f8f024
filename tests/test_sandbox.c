/* test_sandbox.c - hostile specs are stopped, and say where. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"
#include "sandbox.h"
#include "spec.h"

#define PATH "variants/hostile/op.lua"

static const struct spec_limits brief = {.seconds = 1};

/* The prelude and one spec. */
static void make_tree(struct tree *t, const char *text, size_t size)
{
  char folder[64], inner[96], file[128];

  test_folder(folder, sizeof folder);
  snprintf(inner, sizeof inner, "%s/hostile", folder);
  snprintf(file, sizeof file, "%s/op.lua", inner);
  assert_int_equal(mkdir(inner, 0700), 0);
  assert_ok(file_write(file, text, size));
  assert_ok(tree_load(t, folder));
  test_folder_remove(folder);
}

static void stops_within(const char *text, size_t size, const char *part,
                         const struct spec_limits *limits)
{
  struct bytes message = BYTES_INIT;
  struct tree t;

  make_tree(&t, text, size);
  assert_fails(DD_BAD_SPEC, part, spec_evaluate(&t, NULL, limits, &message));
  assert_int_equal(message.size, 0);
  bytes_release(&message);
  tree_release(&t);
}

static void stops(const char *text, const char *part)
{
  stops_within(text, strlen(text), part, &brief);
}

static void syntax_errors_name_the_line(void **state)
{
  (void)state;
  stops("return op {\n  name = = 1 }",
        PATH ":2: unexpected symbol near '='");
  stops("x = 1", PATH ":1: 'x' cannot be set");
  stops("\n\nlocal x = nil + 1", PATH ":3: attempt to perform arithmetic");
  stops("", PATH ": op.lua must return op { ... }");
  stops("return 7", PATH ": op.lua must return op { ... }");
  stops("return { name = 'hostile' }", PATH ": op.lua must return op { ... }");
}

static void endless_work_is_stopped(void **state)
{
  (void)state;
  stops("local x = 1\nwhile true do x = x + 1 end",
        PATH ":2: ran longer than 1 s");
  stops("local function f() return f() end\nf()",
        PATH ":1: ran longer than 1 s");
  stops("local s\nfor i = 1, 2^53 do s = 'x' .. i end",
        PATH ":2: ran longer than 1 s");
  stops("local t = {}\nfor i = 1, 60000 do t[i] = i end\n"
        "table.sort(t, function(a, b)\n while true do end\n end)",
        PATH ":4: ran longer than 1 s");
  stops("local t = {}\nfor i = 1, 60000 do t[i] = i end\n"
        "while true do table.insert(t, 1, 0); t[#t] = nil end",
        PATH ":3: ran longer than 1 s");
}

/* One call into C that no hook interrupts: the kernel stops it. */
static void endless_work_in_c_is_stopped_from_outside(void **state)
{
  (void)state;
  stops("local a = 'x'\nfor i = 1, 23 do a = a .. a end\n"
        "local t = {}\nfor i = 1, 60000 do t[i] = a end\ntable.sort(t)",
        PATH ": ran longer than 1 s");
}

static void a_late_answer_is_not_waited_for(void **state)
{
  static const struct spec_limits late = {.seconds = 100, .wall_seconds = 1};
  static const char text[] = "while true do end";

  (void)state;
  stops_within(text, strlen(text), PATH ": no answer within 1 s", &late);
}

static void memory_is_capped(void **state)
{
  static const struct spec_limits small = {.seconds = 2,
                                           .memory_bytes = 8 << 20};
  static const char text[] = "local s = 'x'\nwhile true do s = s .. s end";

  (void)state;
  stops("local s = 'x'\nwhile true do s = s .. s end",
        PATH ":2: used more than 64 MiB");
  stops_within(text, strlen(text), PATH ":2: used more than 8 MiB", &small);
  stops("local t = {}\nfor i = 1, 2^53 do t[i] = i end",
        PATH ":2: used more than 64 MiB");
  stops("local t = {}\nwhile true do\n t = { t }\nend",
        PATH ":3: used more than 64 MiB");
  stops("local s = string.rep('a', 1000000000)",
        PATH ":1: string.rep makes a text of more than 1048576 bytes");
  stops("local s = string.rep('', math.maxinteger)", "string.rep makes");
  stops("local s = string.rep('a', 2, string.rep('b', 1048576))",
        "string.rep makes");
  stops("local s = string.rep('b', 600000)\ns = string.format('%s%s', s, s)",
        PATH ":2: string.format makes a text");
  stops("local s = string.rep('b', 600000)\ns = table.concat({ s, s })",
        PATH ":2: table.concat makes a text");
}

static void concat_takes_the_items_that_it_is_told(void **state)
{
  static const char said[] =
      "local t = { 'a', 'b', 3, 'd' }\n"
      "error(table.concat(t) .. '|' .. table.concat(t, '-', 2) .. '|' .. "
      "table.concat(t, '-', 2, 3) .. '|' .. table.concat(t, '-', 4, 3) .. '|')";

  (void)state;
  stops(said, PATH ":2: ab3d|b-3-d|b-3||");
  stops("table.concat({ 'a' }, '', 1, 2)", PATH ":1: table.concat: item 2 is");
  stops("table.concat({ 'a' }, '', -1)", PATH ":1: table.concat: item -1 is");
  stops("table.concat({ 'a' }, '', 1, math.maxinteger)",
        PATH ":1: table.concat: item 2 is");
  stops("table.concat({ 'a' }, '', 'x')",
        PATH ":1: table.concat takes items by whole numbers");
}

static void recursion_ends(void **state)
{
  char deep[2048] = "return ";

  (void)state;
  stops("local function f(n) return 1 + f(n + 1) end\nreturn f(1)",
        PATH ":1: stack overflow");
  memset(deep + 7, '(', 1000);
  stops(deep, PATH ": C stack overflow");
  memset(deep + 7, '{', 1000);
  stops(deep, PATH ": C stack overflow");
}

/* #t of a table with holes may be any border, up to 2^62. */
static void lengths_are_not_trusted(void **state)
{
  static const char holes[] =
      "local t, i = {}, 1\nwhile i > 0 do t[i] = 'x'; i = i * 2 end\n%s";
  char text[256];

  (void)state;
  snprintf(text, sizeof text, holes, "table.insert(t, 1, 'y')");
  stops(text, PATH);
  snprintf(text, sizeof text, holes, "table.concat(t)");
  stops(text, PATH);
  snprintf(text, sizeof text, holes, "table.sort(t)");
  stops(text, PATH);
}

static void dangerous_words_do_not_exist(void **state)
{
  static const char *const words[] = {
      "require", "io",       "os",           "load",         "loadstring",
      "pcall",   "xpcall",   "setmetatable", "getmetatable", "rawset",
      "rawget",  "rawequal", "rawlen",       "dofile",       "loadfile",
      "_G",      "package",  "coroutine",    "debug",        "print",
      "next",    "utf8",     "host",         "collectgarbage"};
  char text[128], part[128];
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(words); i++) {
    snprintf(text, sizeof text, "\nlocal x = %s", words[i]);
    snprintf(part, sizeof part,
             PATH ":2: '%s' is not a word that specs may use", words[i]);
    stops(text, part);
  }
}

static void libraries_hold_safe_functions_only(void **state)
{
  static const char *const words[] = {
      "string.dump", "string.find", "string.match", "string.gmatch",
      "string.gsub", "string.pack", "table.move",   "table.unpack",
      "table.pack",  "math.random", "math.randomseed"};
  char text[128];
  size_t i;

  (void)state;
  for (i = 0; i < COUNT_OF(words); i++) {
    snprintf(text, sizeof text, "return %s", words[i]);
    stops(text, "is not a word that specs may use");
  }
  stops("return (''):rep(2)", PATH ":1: attempt to index a string value");
  stops("return ('').dump", PATH ":1: attempt to index a string value");
  stops("math.floor = nil", PATH ":1: 'floor' cannot be set");
  stops("op = nil", PATH ":1: 'op' cannot be set");
  stops("_ENV = nil\nreturn op", PATH ":2: attempt to index");
  stops("return string.format('%p', 'x')", "does not know %p");
  stops("return string.format('%s', {})", "cannot print a table");
  stops("local x = string.format('%d', 'x')", PATH ":1: bad argument #2");
}

static void only_text_is_loaded(void **state)
{
  static const char code[] = "\27Lua\x54\0\x19\x93\r\n\x1a\n";
  static const char zero[] = "return op\0{}";
  size_t size = (1 << 20) + 1;
  char *large = malloc(size);

  (void)state;
  stops_within(code, sizeof code, PATH ":1: a spec must be text", &brief);
  stops_within("\27", 1, PATH ":1: a spec must be text", &brief);
  stops_within(zero, sizeof zero, PATH ":1: a spec must be text", &brief);
  assert_non_null(large);
  memset(large, ' ', size);
  stops_within(large, size, PATH ": larger than 1048576 bytes", &brief);
  free(large);
}

static void errors_are_plain_sentences(void **state)
{
  (void)state;
  stops("error('it\27[31m is red')", PATH ":1: it?[31m is red");
  stops("error({})", PATH ":1: a table");
  stops("assert(1 == 2, 'no')", PATH ":1: no");
  stops("local t = {}\nt[{}] = 1\npairs(t)",
        PATH ":3: a table is not a key that specs may use");
  stops("local t = { 3, 1, 2 }\ntable.sort(t, function() return true end)",
        PATH);
}

/* What specs share is read behind the same walls. */
static void stops_shared(const char *text, const char *part)
{
  static const char op[] = "return shared 'part'";
  char folder[64], path[128];
  struct bytes message = BYTES_INIT;
  struct tree t;

  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/hostile", folder);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/common", folder);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/hostile/op.lua", folder);
  assert_ok(file_write(path, op, strlen(op)));
  snprintf(path, sizeof path, "%s/common/part.lua", folder);
  assert_ok(file_write(path, text, strlen(text)));
  assert_ok(tree_load(&t, folder));
  test_folder_remove(folder);
  assert_fails(DD_BAD_SPEC, part, spec_evaluate(&t, NULL, &brief, &message));
  bytes_release(&message);
  tree_release(&t);
}

#define PART "variants/common/part.lua"

static void shared_files_are_no_way_out(void **state)
{
  (void)state;
  stops_shared("\nreturn require 'os'",
               PART ":2: 'require' is not a word that specs may use");
  stops_shared("x = 1", PART ":1: 'x' cannot be set");
  stops_shared("\n\nwhile true do end", PART ":3: ran longer than 1 s");
  stops_shared("return = 1", PART ":1: unexpected symbol near '='");
  stops_shared("\27Lua", PART ":1: a spec must be text");
  stops_shared("local t = {}\nwhile true do\n t = { t }\nend",
               PART ":3: used more than 64 MiB");
  stops_shared("local x = shared 'part'",
               PART ":1: 'part' is shared with itself");
  stops_shared("return function() end", PATH ": op.lua must return op { ... }");
  stops("local x = shared '../hostile/op'",
        PATH ":1: shared takes a name, not '../hostile/op'");
  stops("local x = shared {}", PATH ":1: shared takes a name, not a table");
  stops("local x = shared 'absent'",
        PATH ":1: there is no variants/common/absent.lua");
}

/* ---- The walls themselves ---------------------------------------------- */

/* Runs in a child; the bits say what went wrong. */
typedef int inside(const char *folder);

static int run_inside(inside *function, const char *folder)
{
  pid_t pid = fork();
  int code = -1;

  if (pid == 0) _exit(function(folder));
  assert_int_equal(waitpid(pid, &code, 0), pid);
  assert_true(WIFEXITED(code));
  return WEXITSTATUS(code);
}

enum { NO_LANDLOCK = 99 };

static int no_paths(const char *folder)
{
  bool enforced;
  int wrong = 0;

  if (open("/etc/passwd", O_RDONLY) < 0) return 1;
  if (sandbox_files(NULL, NULL, &enforced)) return 2;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 3;
  if (!enforced) return NO_LANDLOCK;
  if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES) wrong |= 4;
  if (open(folder, O_RDONLY | O_DIRECTORY) >= 0) wrong |= 8;
  if (creat("/tmp/difftune-must-not-exist", 0600) >= 0) wrong |= 16;
  if (unlink("/etc/passwd") == 0) wrong |= 32;
  return wrong;
}

static void no_file_can_be_opened(void **state)
{
  int code = run_inside(no_paths, "/tmp");

  (void)state;
  if (code == NO_LANDLOCK) skip();
  assert_int_equal(code, 0);
}

static int some_paths(const char *folder)
{
  char in[96], out[96], made[128], inner[128];
  const char *readable[] = {in, "/nowhere/at/all", NULL};
  const char *writable[] = {out, NULL};
  bool enforced;
  int wrong = 0;

  snprintf(in, sizeof in, "%s/in", folder);
  snprintf(out, sizeof out, "%s/out", folder);
  snprintf(made, sizeof made, "%s/made", out);
  snprintf(inner, sizeof inner, "%s/made", in);
  if (sandbox_files(readable, writable, &enforced)) return 1;
  if (!enforced) return NO_LANDLOCK;
  if (open(in, O_RDONLY) < 0) wrong |= 2;
  if (open(made, O_CREAT | O_RDWR | O_TRUNC, 0600) < 0) wrong |= 4;
  if (open(inner, O_CREAT | O_RDWR, 0600) >= 0) wrong |= 8;
  if (open(folder, O_RDONLY) >= 0) wrong |= 16;
  if (open("/etc/passwd", O_RDONLY) >= 0) wrong |= 32;
  if (unlink(made)) wrong |= 64;
  return wrong;
}

static void only_named_folders_can_be_used(void **state)
{
  char folder[64], inner[96];
  int code;

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(inner, sizeof inner, "%s/in", folder);
  assert_int_equal(mkdir(inner, 0700), 0);
  snprintf(inner, sizeof inner, "%s/out", folder);
  assert_int_equal(mkdir(inner, 0700), 0);
  code = run_inside(some_paths, folder);
  test_folder_remove(folder);
  if (code == NO_LANDLOCK) skip();
  assert_int_equal(code, 0);
}

static int single_files(const char *folder)
{
  const char *readable[] = {"/etc/passwd", NULL};
  const char *writable[] = {"/dev/null", NULL};
  bool enforced;

  (void)folder;
  if (sandbox_files(readable, writable, &enforced)) return 1;
  if (!enforced) return NO_LANDLOCK;
  if (open("/etc/passwd", O_RDONLY) < 0) return 2;
  if (open("/dev/null", O_RDWR) < 0) return 3;
  if (open("/etc/group", O_RDONLY) >= 0) return 4;
  return 0;
}

static void single_files_can_be_named(void **state)
{
  int code = run_inside(single_files, NULL);

  (void)state;
  if (code == NO_LANDLOCK) skip();
  assert_int_equal(code, 0);
}

static bool limit_is(int resource, rlim_t soft)
{
  struct rlimit now;

  return getrlimit(resource, &now) == 0 && now.rlim_cur == soft;
}

static int all_limits(const char *folder)
{
  char path[96];
  int fd, wrong = 0;

  snprintf(path, sizeof path, "%s/file", folder);
  fd = creat(path, 0600);
  signal(SIGXFSZ, SIG_IGN);
  if (sandbox_limits(7, 0, 4, 0)) return 1;
  if (!limit_is(RLIMIT_CPU, 7) || !limit_is(RLIMIT_CORE, 0)) wrong |= 2;
  if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EMFILE) wrong |= 4;
  if (write(fd, "1234", 4) != 4) wrong |= 8;
  if (write(fd, "5", 1) >= 0 || errno != EFBIG) wrong |= 16;
  if (sandbox_limits(9, 0, 100, 100)) wrong |= 32; /* never back up */
  if (!limit_is(RLIMIT_CPU, 7) || !limit_is(RLIMIT_FSIZE, 4)) wrong |= 64;
  return wrong;
}

static void limits_hold_and_never_rise(void **state)
{
  char folder[64];
  int code;

  (void)state;
  test_folder(folder, sizeof folder);
  code = run_inside(all_limits, folder);
  test_folder_remove(folder);
  assert_int_equal(code, 0);
}

/* ---- Fault injection --------------------------------------------------- */

/* Every allocation of the parent and of the child fails in turn, and all after
 * it.  The child has thousands: from 64 on, every tenth or so. */
static void no_failing_allocation_leaks(void **state)
{
  static const char text[] = "local t = {}\nfor i = 1, 50 do t[i] = {} end\n";
  struct allocator before = default_allocator;
  struct test_memory m;
  dd_status status = DD_OK;
  struct tree t;
  long n, failures = 0;

  (void)state;
  make_tree(&t, text, strlen(text));
  for (n = 1; status != DD_BAD_SPEC; n += n < 64 ? 1 : n / 10) {
    struct bytes message = BYTES_INIT;
    test_memory_init(&m);
    m.fail_at = n;
    m.fail_on = true;
    default_allocator = m.allocator;
    status = spec_evaluate(&t, NULL, &brief, &message);
    bytes_release(&message);
    default_allocator = before;
    assert_int_equal(m.live, 0);
    assert_true(n < 1000000);
    failures += status == DD_NO_MEMORY;
  }
  assert_true(failures > 64); /* the last got through to the spec's own fault */
  assert_non_null(strstr(dd_last_error(), "must return op"));
  tree_release(&t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(syntax_errors_name_the_line),
      cmocka_unit_test(endless_work_is_stopped),
      cmocka_unit_test(endless_work_in_c_is_stopped_from_outside),
      cmocka_unit_test(a_late_answer_is_not_waited_for),
      cmocka_unit_test(memory_is_capped),
      cmocka_unit_test(concat_takes_the_items_that_it_is_told),
      cmocka_unit_test(recursion_ends),
      cmocka_unit_test(lengths_are_not_trusted),
      cmocka_unit_test(dangerous_words_do_not_exist),
      cmocka_unit_test(libraries_hold_safe_functions_only),
      cmocka_unit_test(only_text_is_loaded),
      cmocka_unit_test(errors_are_plain_sentences),
      cmocka_unit_test(shared_files_are_no_way_out),
      cmocka_unit_test(no_file_can_be_opened),
      cmocka_unit_test(only_named_folders_can_be_used),
      cmocka_unit_test(single_files_can_be_named),
      cmocka_unit_test(limits_hold_and_never_rise),
      cmocka_unit_test(no_failing_allocation_leaks),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
