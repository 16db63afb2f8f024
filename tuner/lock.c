/* lock.c - one sweep per GPU: two would spoil each other's times. */
#include "lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cache.h"

enum { LOCK_PATH_MAX = CACHE_FOLDER_MAX + 96 };

/* The UUID as a file's name: "GPU-8a5e...". */
static bool lock_path(const struct device_info *info, char path[LOCK_PATH_MAX])
{
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  struct cache cache;

  if (strchr(info->uuid, '/')) return false;
  if (!runtime || !*runtime || access(runtime, W_OK)) {
    cache_open(&cache);
    runtime = cache.folder;
  }
  return *runtime && snprintf(path, LOCK_PATH_MAX, "%s/difftune-%s.lock",
                              runtime, info->uuid) < LOCK_PATH_MAX;
}

static dd_status say_who(int fd, const struct device_info *info)
{
  char pid[16] = "";
  ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

  close(fd);
  return fail(DD_NO_DEVICE, "%s (%s) is in use by the difftune with pid %s; "
              "wait for it, or name another with --gpu", info->name, info->uuid,
              n > 0 ? pid : "unknown");
}

dd_status device_lock(struct device_lock *l, const struct device_info *info)
{
  char path[LOCK_PATH_MAX], pid[16];
  int fd, size;

  l->fd = 0;
  if (strcmp(info->kind, "cuda") || !lock_path(info, path)) return DD_OK;
  fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return DD_OK;
  if (flock(fd, LOCK_EX | LOCK_NB)) return say_who(fd, info);
  size = snprintf(pid, sizeof pid, "%d", (int)getpid());
  if (!ftruncate(fd, 0) && pwrite(fd, pid, (size_t)size, 0) == size) l->fd = fd;
  else close(fd);
  return DD_OK;
}

void device_unlock(struct device_lock *l)
{
  if (l->fd) close(l->fd);
  l->fd = 0;
}
