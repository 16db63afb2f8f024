/*
 * farm_folder.h - where compile workers put their temporary files.
 *
 * $TMPDIR/difftune-farm-XXXXXX, gone when the farm closes.  A farm that is
 * killed cannot do that, so each holds a lock on a file in its folder, and the
 * next one removes the folders of this user whose lock nobody holds.
 */
#ifndef DIFFTUNE_FARM_FOLDER_H
#define DIFFTUNE_FARM_FOLDER_H

#include "base.h"

enum { FARM_FOLDER_MAX = 240 };
struct farm_folder { /* all zero: none */
  char path[FARM_FOLDER_MAX];
  int lock;
};

dd_status farm_folder_open(struct farm_folder *f);
void farm_folder_close(struct farm_folder *f);

/* A folder and all that is in it; what cannot be removed stays. */
void remove_folder(const char *path);

#endif
