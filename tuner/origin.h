/*
 * origin.h - the device and the policy whose rows make a table, and with what
 * they were measured.
 */
#ifndef DIFFTUNE_ORIGIN_H
#define DIFFTUNE_ORIGIN_H

#include "db.h"
#include "options.h"
#include "specs.h"

struct origin {
  char device[128], kind[16], policy[64], target[TARGET_TEXT];
  int arch, sms;
  struct texts drivers, compilers; /* of the rows that were noted */
  int64_t sweep, toolchain;        /* of the last of them */
};

/* Chooses among what the database has.  `device`: a part of "NVIDIA H200
 * (sm_90, 132 SMs)", of which a whole name wins over longer ones; NULL where
 * there is one.  The same for `policy`, which is named in full.
 * DD_UNTUNED (there is none), DD_BAD_ARGUMENT (there are several). */
dd_status origin_choose(struct db *db, const char *db_path, const char *device,
                        const char *policy, struct origin *out);

bool origin_has(const struct origin *o, const struct db_row *row);

/* A row that goes into the table. */
dd_status origin_note(struct db *db, const struct db_row *row,
                      struct origin *o);

/* "difftune 0.1.0, driver 13.0 580.159.04, nvrtc 13.0.88": the same for the
 * same rows, in whatever order they came. */
dd_status origin_print(struct origin *o, struct bytes *out);

#endif
