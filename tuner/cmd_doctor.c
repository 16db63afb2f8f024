/*
 * cmd_doctor.c - what this machine has and lacks, a line each.
 *
 * ok: works; warn: difftune goes on with less; bad: nothing of that kind can
 * be done here.  The exit code is 0 unless no device can be used.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "compiler.h"
#include "db.h"
#include "device.h"
#include "options.h"
#include "output.h"
#include "sandbox.h"
#include "specs.h"

enum grade { GRADE_OK, GRADE_WARN, GRADE_BAD };

struct doctor {
  const char *variants, *db_path;
  bool json;
  struct json out;
  int works; /* device kinds that can compile and run */
};

__attribute__((format(printf, 4, 5))) static void
finding(struct doctor *d, enum grade grade, const char *subject,
        const char *format, ...)
{
  static const char *const words[] = {"ok", "warn", "bad"};
  static const enum colour colours[] = {GREEN, YELLOW, RED};
  struct bytes text = BYTES_INIT;
  va_list args;

  va_start(args, format);
  bytes_vprintf(&text, format, args);
  va_end(args);
  if (d->json) {
    json_object(&d->out, NULL);
    json_text(&d->out, "grade", words[grade]);
    json_text(&d->out, "subject", subject);
    json_text(&d->out, "text", bytes_string(&text));
    json_end(&d->out, '}');
  } else
    printf("%s%-4s%s  %-9s  %s\n", colour(stdout, colours[grade]),
           words[grade], colour(stdout, PLAIN), subject, bytes_string(&text));
  bytes_release(&text);
}

/* ---- Devices and compilers ------------------------------------------- */

static void look_at_info(struct doctor *d, const struct device_info *i)
{
  char arch[24] = "";

  if (i->arch) snprintf(arch, sizeof arch, "sm_%d, ", i->arch);
  finding(d, GRADE_OK, i->kind, "%d: %s, %s%d SMs, %lld MiB, %s", i->index,
          i->name, arch, i->sms, (long long)(i->memory_bytes >> 20),
          *i->driver ? i->driver : "no driver");
}

static bool look_at_devices(struct doctor *d, const struct device_api *api)
{
  struct device_info info[64];
  size_t count = 0;

  if (api->list(info, COUNT_OF(info), &count)) {
    finding(d, GRADE_WARN, api->kind, "%s", dd_last_error());
    return false;
  }
  for (size_t i = 0; i < count && i < COUNT_OF(info); ++i)
    look_at_info(d, &info[i]);
  if (!count) finding(d, GRADE_WARN, api->kind, "no device is visible");
  return count > 0;
}

static bool look_at_compiler(struct doctor *d, const char *target,
                             const char *subject)
{
  struct bytes identity = BYTES_INIT;
  dd_status status = compiler_identity(target, &identity);

  if (status)
    finding(d, GRADE_WARN, subject, "%s", dd_last_error());
  else
    finding(d, GRADE_OK, subject, "%s", bytes_string(&identity));
  bytes_release(&identity);
  return !status;
}

static void look_at_kind(struct doctor *d, const struct device_api *api)
{
  bool cuda = !strcmp(api->kind, "cuda");
  bool device = look_at_devices(d, api);
  bool compiler = look_at_compiler(d, cuda ? "sm_90" : "cpu",
                                   cuda ? "nvrtc" : "c++");

  d->works += device && compiler;
}

/* ---- Sandbox --------------------------------------------------------- */

/* 0 where a file outside the allowed folders can no longer be opened. */
static int try_sandbox(void)
{
  const char *readable[] = {"/usr", NULL};
  bool enforced = false;

  if (sandbox_files(readable, NULL, &enforced) || !enforced) return 1;
  return open("/proc/self/stat", O_RDONLY | O_CLOEXEC) < 0 ? 0 : 1;
}

/* In a child: the restriction cannot be taken back. */
static void look_at_sandbox(struct doctor *d)
{
  int status = 0;
  pid_t child;

  fflush(NULL);
  child = fork();
  if (!child) _exit(try_sandbox());
  if (child > 0) waitpid(child, &status, 0);
  if (child > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
    finding(d, GRADE_OK, "sandbox", "compilers and specs run under Landlock");
  else
    finding(d, GRADE_WARN, "sandbox",
            "no Landlock: a compiler sees the files that you see; use only "
            "variants you trust");
}

/* ---- Files ----------------------------------------------------------- */

/* The folder that a file is in: "." where it names none. */
static void folder_of(const char *path, char *out, size_t size)
{
  const char *slash = strrchr(path, '/');

  if (!slash)
    snprintf(out, size, ".");
  else
    snprintf(out, size, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

/* By doing it: access() says yes to root where the file system says no. */
static bool can_write(const char *folder)
{
  char path[4128];
  int fd;

  snprintf(path, sizeof path, "%s/difftune-XXXXXX", folder);
  fd = mkstemp(path);
  if (fd < 0) return false;
  close(fd);
  unlink(path);
  return true;
}

static void look_at_db(struct doctor *d)
{
  char folder[4096];
  struct db *db;

  if (access(d->db_path, F_OK)) {
    folder_of(d->db_path, folder, sizeof folder);
    if (!can_write(folder))
      finding(d, GRADE_WARN, "database", "'%s' cannot be made: %s", d->db_path,
              strerror(errno));
    else
      finding(d, GRADE_OK, "database", "'%s' does not exist yet", d->db_path);
    return;
  }
  if (db_open(d->db_path, DB_READ, &db)) {
    finding(d, GRADE_BAD, "database", "%s", dd_last_error());
    return;
  }
  db_close(db);
  if (access(d->db_path, W_OK))
    finding(d, GRADE_WARN, "database", "'%s' is read-only", d->db_path);
  else
    finding(d, GRADE_OK, "database", "'%s' is readable and writable",
            d->db_path);
}

/* The nearest folder of `path` that exists must be writable. */
static void look_at_folder(struct doctor *d, const char *subject,
                           const char *path)
{
  char at[4096], above[4096];

  snprintf(at, sizeof at, "%s", path);
  while (access(at, F_OK) && strcmp(at, "/") && strcmp(at, ".")) {
    folder_of(at, above, sizeof above);
    memcpy(at, above, sizeof at);
  }
  if (!can_write(at))
    finding(d, GRADE_WARN, subject, "'%s' cannot be written: %s", at,
            strerror(errno));
  else
    finding(d, GRADE_OK, subject, "'%s' %s", path,
            strcmp(at, path) ? "can be made" : "is writable");
}

static void look_at_tmp(struct doctor *d)
{
  const char *tmp = getenv("TMPDIR");

  look_at_folder(d, "tmp", tmp && *tmp ? tmp : "/tmp");
}

static void look_at_specs(struct doctor *d)
{
  struct specs s;
  uint32_t schemes = 0;

  if (specs_load(&s, d->variants)) {
    finding(d, GRADE_BAD, "specs", "%s", dd_last_error());
    return;
  }
  for (uint32_t i = 0; i < s.ops.count; ++i)
    schemes += s.ops.ops[i].scheme_count;
  finding(d, GRADE_OK, "specs", "%u ops, %u schemes", s.ops.count, schemes);
  specs_release(&s);
}

/* Specs first: they fork, and a device may start threads. */
static void examine(struct doctor *d)
{
  look_at_specs(d);
  look_at_sandbox(d);
  look_at_db(d);
  look_at_tmp(d);
  for (size_t i = 0; device_kinds[i]; ++i) look_at_kind(d, device_kinds[i]);
}

int cmd_doctor(int argc, char **argv)
{
  struct doctor d = {0};
  const struct option table[] = {OPT_VARIANTS(&d.variants), OPT_DB(&d.db_path),
                                 OPT_JSON(&d.json), OPT_END};
  int code;

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  d.db_path = db_path_or_default(d.db_path);
  json_init(&d.out, stdout);
  if (d.json) json_array(&d.out, NULL);
  examine(&d);
  if (d.json) json_end(&d.out, ']');
  if (d.json) json_finish(&d.out);
  if (d.works) return EX_OK;
  say("no device can be used here");
  return EX_UNAVAILABLE;
}
