/*
 * compiler_cpu.c - the system's C++ compiler, for the CPU device.
 *
 * A unit is cpu_shim.h, the generated text and a closing brace, compiled to a
 * shared object in a folder of its own that is gone afterwards.  g++ 12 takes
 * 0.04 s for an empty unit (the shim includes nothing) and, for the warp scheme
 * of qknorm_rope, 0.13 s for one variant, 0.07 s each for 8 or 16 together.
 * -O0 compiles them in half the time, but proving 16 of them on 25 MB then
 * takes 24 s of processor time, compilation included, instead of 17.
 *
 * No shell: $CXX is cut at spaces ("ccache g++") and started with posix_spawn.
 * In a build with sanitizers the kernels get the same flags and the compiler of
 * the same family, because the runtimes of two families do not mix.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"
#include "compiler_kinds.h"
#include "embedded.h"

extern char **environ;

/* Contraction off: the same roundings as the reference's.  No strict aliasing:
 * kernels reinterpret 16-byte loads.  -nostartfiles: no start-up code of the
 * compiler's own in .bss, which is where __shared__ lives. */
#define FLAGS                                                                  \
  "-std=c++20 -O1 -fPIC -shared -w -nostartfiles -ffp-contract=off "           \
  "-fno-strict-aliasing -fno-math-errno -fno-trapping-math -fsigned-char "     \
  "-fvisibility=hidden -fno-exceptions -fno-rtti"

#ifdef DIFFTUNE_CPU_FLAGS
#define SANITIZER_FLAGS DIFFTUNE_CPU_FLAGS " -g1"
#ifdef __clang__
#define FAMILY "clang++"
#else
#define FAMILY "g++"
#endif
#else
#define SANITIZER_FLAGS ""
#endif

enum { MAX_WORDS = 64, MAX_OUTPUT = 256 << 20 };

static const char *compiler_command(void)
{
#ifdef FAMILY
  return FAMILY;
#else
  const char *cxx = getenv("CXX");

  return cxx && *cxx ? cxx : "c++";
#endif
}

/* ---- A command -------------------------------------------------------- */

struct command { /* words of its own, NULL at the end */
  struct arena arena;
  char *word[MAX_WORDS + 1];
  size_t count;
  bool failed;
};

/* Adds the words of a text, cut at spaces. */
static void command_add(struct command *c, const char *text)
{
  char *copy = arena_text(&c->arena, text, strlen(text)), *rest, *word;

  if (!copy) c->failed = true;
  if (c->failed) return;
  word = strtok_r(copy, " ", &rest);
  while (word && c->count < MAX_WORDS) {
    c->word[c->count++] = word;
    word = strtok_r(NULL, " ", &rest);
  }
  if (word) c->failed = true;
}

/* Adds one word as it is, with its spaces. */
static void command_add_word(struct command *c, const char *word)
{
  char *copy = arena_text(&c->arena, word, strlen(word));

  if (!copy || c->count == MAX_WORDS)
    c->failed = true;
  else
    c->word[c->count++] = copy;
}

static void command_init(struct command *c)
{
  memset(c, 0, sizeof *c);
  arena_init(&c->arena, NULL);
  command_add(c, compiler_command());
}

static dd_status wait_for(pid_t pid, const char *name)
{
  int state;

  while (waitpid(pid, &state, 0) < 0)
    if (errno != EINTR)
      return fail(DD_COMPILE, "cannot wait for '%s': %s", name,
                  strerror(errno));
  if (WIFSIGNALED(state))
    return fail(DD_COMPILE, "'%s' was killed by signal %d", name,
                WTERMSIG(state));
  if (WEXITSTATUS(state))
    return fail(DD_COMPILE, "'%s' exited with %d", name, WEXITSTATUS(state));
  return DD_OK;
}

/* Runs it to its end, what it says going to the file `said`. */
static dd_status command_run(struct command *c, const char *said)
{
  posix_spawn_file_actions_t files;
  pid_t pid;
  int error;

  if (c->failed || !c->count)
    return fail(DD_COMPILE, "cannot make a command of '%s'",
                compiler_command());
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, said,
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  error = posix_spawnp(&pid, c->word[0], &files, NULL, c->word, environ);
  posix_spawn_file_actions_destroy(&files);
  if (error)
    return fail(DD_COMPILE, "cannot run the C++ compiler '%s': %s", c->word[0],
                strerror(error));
  return wait_for(pid, c->word[0]);
}

/* ---- A folder of its own ---------------------------------------------- */

struct folder {
  char path[200], source[220], object[220], said[220];
};

static dd_status folder_make(struct folder *f)
{
  const char *tmp = getenv("TMPDIR");

  if (!tmp || !*tmp) tmp = "/tmp";
  if ((size_t)snprintf(f->path, sizeof f->path, "%s/difftune-cpu-XXXXXX",
                       tmp) >= sizeof f->path)
    return fail(DD_IO, "TMPDIR is too long: '%s'", tmp);
  if (!mkdtemp(f->path))
    return fail(DD_IO, "cannot make a folder in '%s': %s", tmp,
                strerror(errno));
  snprintf(f->source, sizeof f->source, "%s/unit.cpp", f->path);
  snprintf(f->object, sizeof f->object, "%s/unit.so", f->path);
  snprintf(f->said, sizeof f->said, "%s/said", f->path);
  return DD_OK;
}

static void folder_remove(const struct folder *f)
{
  unlink(f->source);
  unlink(f->object);
  unlink(f->said);
  rmdir(f->path);
}

/* ---- Identity --------------------------------------------------------- */

static const struct embedded_file *shim(void)
{
  return &embedded_shim[0];
}

static void add_identity(const char *version, struct bytes *out)
{
  const struct hash h = hash_of(shim()->text, shim()->size);
  char hex[HASH_HEX];

  hash_hex(&h, hex);
  bytes_add(out, version, strcspn(version, "\n"));
  bytes_printf(out, " %s %s shim=%.16s", FLAGS, SANITIZER_FLAGS, hex);
}

static dd_status check_target(const char *target)
{
  if (!strcmp(target, "cpu")) return DD_OK;
  return fail(DD_COMPILE, "the C++ compiler makes code for 'cpu', not '%s'",
              target);
}

static dd_status read_version(const struct folder *f, struct bytes *out)
{
  struct bytes said = BYTES_INIT;
  struct command c;
  dd_status status;

  command_init(&c);
  command_add(&c, "--version");
  status = command_run(&c, f->said);
  if (!status) status = file_read(f->said, MAX_OUTPUT, &said);
  if (!status) add_identity(bytes_string(&said), out);
  bytes_release(&said);
  arena_release(&c.arena);
  return status ? status : bytes_status(out);
}

dd_status cpu_compiler_identity(const char *target, struct bytes *out)
{
  struct folder f;
  dd_status status;

  TRY(check_target(target));
  TRY(folder_make(&f));
  status = read_version(&f, out);
  folder_remove(&f);
  return status;
}

/* ---- Compilation ------------------------------------------------------ */

static dd_status write_source(const struct folder *f, const char *text)
{
  struct bytes source = BYTES_INIT;
  FILE *file = fopen(f->source, "we");
  bool written;

  if (!file)
    return fail(DD_IO, "cannot write '%s': %s", f->source, strerror(errno));
  bytes_printf(&source, "#line 1 \"%s\"\n", shim()->path);
  bytes_add(&source, shim()->text, shim()->size);
  bytes_text(&source, "\n#line 1 \"kernel.cu\"\n");
  bytes_text(&source, text);
  bytes_text(&source, "\n}\n");
  written = !source.failed &&
            fwrite(source.data, 1, source.size, file) == source.size;
  written &= fclose(file) == 0;
  if (!written && !source.failed)
    fail(DD_IO, "cannot write '%s': %s", f->source, strerror(errno));
  if (source.failed) written = bytes_status(&source) == DD_OK;
  bytes_release(&source);
  return written ? DD_OK : DD_IO;
}

static dd_status run_compiler(const struct folder *f)
{
  struct command c;
  dd_status status;

  command_init(&c);
  command_add(&c, FLAGS " " SANITIZER_FLAGS " -o");
  command_add_word(&c, f->object);
  command_add_word(&c, f->source);
  command_add(&c, "-lm");
  status = command_run(&c, f->said);
  arena_release(&c.arena);
  return status;
}

/* "variants/x.cuh:40:7: error: ..." is the sentence; without such a line (the
 * linker's, or no compiler at all) the one that command_run() set stays. */
static dd_status first_error(const struct bytes *log)
{
  const char *text = bytes_string(log);
  const char *mark = strstr(text, "error:"), *begin = mark;

  if (!mark) return DD_COMPILE;
  while (begin > text && begin[-1] != '\n') begin--;
  return fail(DD_COMPILE, "%.*s", (int)strcspn(begin, "\n"), begin);
}

static dd_status compile_in(const struct folder *f, const char *text,
                            struct bytes *code, struct bytes *log)
{
  struct bytes said = BYTES_INIT;
  dd_status status;

  TRY(write_source(f, text));
  status = run_compiler(f);
  if (access(f->said, R_OK) == 0 && !file_read(f->said, MAX_OUTPUT, &said)) {
    bytes_add(log, said.data, said.size);
    if (status) status = first_error(&said);
  }
  bytes_release(&said);
  return status ? status : file_read(f->object, MAX_OUTPUT, code);
}

dd_status cpu_compile(const char *target, const char *text, struct bytes *code,
                      struct bytes *log)
{
  struct folder f;
  dd_status status;

  TRY(check_target(target));
  TRY(folder_make(&f));
  status = compile_in(&f, text, code, log);
  folder_remove(&f);
  return status;
}
