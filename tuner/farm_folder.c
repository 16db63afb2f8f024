/* farm_folder.c - where compile workers put their temporary files. */
#include "farm_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "difftune-farm-"

static const char *temporary(void)
{
  const char *tmp = getenv("TMPDIR");

  return tmp && *tmp ? tmp : "/tmp";
}

static int remove_one(const char *path, const struct stat *s, int type,
                      struct FTW *walk)
{
  (void)s, (void)type, (void)walk;
  remove(path);
  return 0;
}

void remove_folder(const char *path)
{
  if (*path) nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- The lock -------------------------------------------------------- */

static int open_lock(const char *folder, int flags)
{
  char path[FARM_FOLDER_MAX + 8];

  snprintf(path, sizeof path, "%s/lock", folder);
  return open(path, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool is_mine(int fd)
{
  struct stat s;

  return !fstat(fd, &s) && S_ISREG(s.st_mode) && s.st_uid == geteuid();
}

/* Of a farm that was killed: its file is there and its lock is not held. */
static void remove_if_left(const char *folder)
{
  int lock = open_lock(folder, 0);

  if (lock < 0) return;
  if (is_mine(lock) && !flock(lock, LOCK_EX | LOCK_NB)) remove_folder(folder);
  close(lock);
}

static void remove_left_behind(void)
{
  DIR *all = opendir(temporary());
  struct dirent *d;

  while (all && (d = readdir(all))) {
    char path[FARM_FOLDER_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", temporary(), d->d_name);
    if (!strncmp(d->d_name, PREFIX, strlen(PREFIX)) && n < (int)sizeof path)
      remove_if_left(path);
  }
  if (all) closedir(all);
}

/* False where somebody else's remove_if_left() came between the file and its
 * lock: the file is no longer in any folder. */
static bool hold(struct farm_folder *f)
{
  struct stat s;

  f->lock = open_lock(f->path, O_CREAT | O_EXCL);
  if (f->lock < 0) return false;
  if (!flock(f->lock, LOCK_EX) && !fstat(f->lock, &s) && s.st_nlink) return true;
  close(f->lock);
  return false;
}

/* ---- The folder ------------------------------------------------------ */

static dd_status make_folder(struct farm_folder *f)
{
  int n = snprintf(f->path, sizeof f->path, "%s/" PREFIX "XXXXXX", temporary());
  int error;

  if (n >= (int)sizeof f->path) {
    f->path[0] = 0;
    return fail(DD_IO, "TMPDIR is too long: '%s'", temporary());
  }
  if (mkdtemp(f->path)) return DD_OK;
  error = errno;
  f->path[0] = 0;
  return fail(DD_IO, "cannot make a folder in '%s': %s", temporary(),
              strerror(error));
}

dd_status farm_folder_open(struct farm_folder *f)
{
  remove_left_behind();
  for (int tries = 0; tries < 8; ++tries) {
    TRY(make_folder(f));
    if (hold(f)) return DD_OK;
    remove_folder(f->path);
  }
  f->path[0] = 0;
  return fail(DD_IO, "cannot lock a folder in '%s'", temporary());
}

void farm_folder_close(struct farm_folder *f)
{
  if (!f->path[0]) return;
  remove_folder(f->path);
  close(f->lock);
  f->path[0] = 0;
}
