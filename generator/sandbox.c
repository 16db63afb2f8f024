/* sandbox.c - see sandbox.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

/* Rights that are younger than the oldest kernel headers we build with. */
#define RIGHT_REFER (1ull << 13)     /* Landlock ABI 2, Linux 5.19 */
#define RIGHT_TRUNCATE (1ull << 14)  /* ABI 3, Linux 6.2 */
#define RIGHT_IOCTL_DEV (1ull << 15) /* ABI 5, Linux 6.10 */

#define RIGHTS_ABI_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define RIGHTS_READ                                                            \
  (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                 \
   LANDLOCK_ACCESS_FS_READ_DIR)
/* Those that make sense for something that is not a folder; the kernel refuses
 * a rule on a file that names any other. */
#define RIGHTS_OF_FILES                                                        \
  (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                 \
   LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE | RIGHT_IOCTL_DEV)

/* Every right that this kernel can withhold; 0 without Landlock. */
static uint64_t rights_known(void)
{
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
                     LANDLOCK_CREATE_RULESET_VERSION);
  uint64_t rights = RIGHTS_ABI_1;

  if (abi < 1) return 0;
  if (abi >= 2) rights |= RIGHT_REFER;
  if (abi >= 3) rights |= RIGHT_TRUNCATE;
  if (abi >= 5) rights |= RIGHT_IOCTL_DEV;
  return rights;
}

static dd_status allow(int ruleset, const char *path, uint64_t rights)
{
  struct landlock_path_beneath_attr rule = {.allowed_access = rights};
  struct stat st;
  int error = 0;

  rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
  if (rule.parent_fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return DD_OK;
    return fail(DD_IO, "cannot open %s: %s", path, strerror(errno));
  }
  if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
    rule.allowed_access &= RIGHTS_OF_FILES;
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule,
              0))
    error = errno;
  close(rule.parent_fd);
  if (error)
    return fail(DD_IO, "cannot allow %s: %s", path, strerror(error));
  return DD_OK;
}

static dd_status allow_all(int ruleset, const char *const *paths,
                           uint64_t rights)
{
  for (; paths && *paths; paths++) TRY(allow(ruleset, *paths, rights));
  return DD_OK;
}

static dd_status restrict_self(int ruleset, const char *const *readable,
                               const char *const *writable, uint64_t known)
{
  TRY(allow_all(ruleset, readable, RIGHTS_READ & known));
  TRY(allow_all(ruleset, writable, known));
  if (syscall(SYS_landlock_restrict_self, ruleset, 0))
    return fail(DD_IO, "cannot restrict the file system: %s", strerror(errno));
  return DD_OK;
}

dd_status sandbox_files(const char *const *readable,
                        const char *const *writable, bool *enforced)
{
  struct landlock_ruleset_attr attr = {.handled_access_fs = rights_known()};
  dd_status status;
  int ruleset;

  *enforced = false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return fail(DD_IO, "cannot give up new privileges: %s", strerror(errno));
  if (!attr.handled_access_fs) return DD_OK;
  ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
  if (ruleset < 0)
    return fail(DD_IO, "cannot make a Landlock ruleset: %s", strerror(errno));
  status =
      restrict_self(ruleset, readable, writable, attr.handled_access_fs);
  close(ruleset);
  *enforced = status == DD_OK;
  return status;
}

/* Lowers a limit; what is already lower stays. */
static dd_status lower(int resource, const char *name, rlim_t soft, rlim_t hard)
{
  struct rlimit now;

  if (getrlimit(resource, &now))
    return fail(DD_IO, "cannot read the limit %s: %s", name, strerror(errno));
  if (hard < now.rlim_max) now.rlim_max = hard;
  if (soft < now.rlim_cur) now.rlim_cur = soft;
  if (now.rlim_cur > now.rlim_max) now.rlim_cur = now.rlim_max;
  if (setrlimit(resource, &now))
    return fail(DD_IO, "cannot set the limit %s: %s", name, strerror(errno));
  return DD_OK;
}

dd_status sandbox_limits(int cpu_seconds, size_t address_bytes,
                         size_t file_bytes, int files)
{
  rlim_t cpu = (rlim_t)cpu_seconds;

  /* The soft limit sends SIGXCPU, which tells the parent why; the hard one,
   * a second later, is for whoever ignores that. */
  TRY(lower(RLIMIT_CPU, "RLIMIT_CPU", cpu, cpu + 1));
  if (address_bytes)
    TRY(lower(RLIMIT_AS, "RLIMIT_AS", address_bytes, address_bytes));
  TRY(lower(RLIMIT_FSIZE, "RLIMIT_FSIZE", file_bytes, file_bytes));
  TRY(lower(RLIMIT_NOFILE, "RLIMIT_NOFILE", (rlim_t)files, (rlim_t)files));
  return lower(RLIMIT_CORE, "RLIMIT_CORE", 0, 0);
}
