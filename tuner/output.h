/*
 * output.h - what the program says: results on stdout, talk on stderr.
 *
 * Colours only on a terminal, and never with NO_COLOR set or TERM=dumb.
 */
#ifndef DIFFTUNE_OUTPUT_H
#define DIFFTUNE_OUTPUT_H

#include <stdio.h>
#include <sysexits.h>

#include "base.h"

/* ---- Talk, and the end ----------------------------------------------- */

enum { EXIT_INTERRUPTED = 130 };

/* "difftune: ..." and a newline, on stderr. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* The same, and returns EX_USAGE: `return say_usage("...")`. */
__attribute__((format(printf, 1, 2))) int say_usage(const char *format, ...);
/* Says dd_last_error() and returns the exit code of `status`; DD_OK is 0 and
 * says nothing.  EX_NOINPUT where it says that a file to be read is missing. */
int say_failure(dd_status status);
/* EX_NOINPUT and a sentence where a file that must be there is not, else 0. */
int say_missing(const char *path);

/* Flushes stdout; what could not be written turns 0 into EX_IOERR.  A reader
 * that has gone away (`difftune show | head`) is not worth a sentence. */
int output_finish(int code);

/* SIGINT ends the process at once, with EXIT_INTERRUPTED. */
void interrupt_ends(void);
/* From the first call on, SIGINT and SIGTERM set a flag instead of ending the
 * process; a second one ends it. */
void interrupt_watch(void);
bool interrupted(void);

/* ---- Colours --------------------------------------------------------- */

enum colour { PLAIN, BOLD, RED, GREEN, YELLOW, DIM };
/* The escape that starts `c` on this stream, or "". */
const char *colour(FILE *to, enum colour c);

/* ---- Columns --------------------------------------------------------- */

/* Rows of text that line up.  Heads beginning with '>' are aligned right:
 *     columns_init(&c, "problem", ">us", NULL);
 *     columns_cell(&c, "%s", ...); columns_cell(&c, "%.2f", us);
 *     columns_print(&c, stdout);
 */
enum { COLUMNS_MAX = 16 };
struct columns {
  struct arena arena;
  const char *head[COLUMNS_MAX];
  bool right[COLUMNS_MAX];
  size_t width; /* columns */
  char **cell;  /* row after row */
  size_t count, capacity;
  bool failed;
};
void columns_init(struct columns *c, ...) __attribute__((sentinel));
__attribute__((format(printf, 2, 3))) void columns_cell(struct columns *c,
                                                        const char *fmt, ...);
void columns_print(const struct columns *c, FILE *to, const char *indent);
void columns_release(struct columns *c);

/* ---- JSON ------------------------------------------------------------ */

/* Writes one document as it goes.  `key` is NULL inside an array and for the
 * outermost value.  Bytes that are not UTF-8 become U+FFFD; a number that JSON
 * cannot say (NaN, infinity) becomes null. */
struct json {
  FILE *to;
  int depth;
  bool more; /* something stands before the next value at this depth */
};
void json_init(struct json *j, FILE *to);
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_end(struct json *j, char close); /* '}' or ']' */
/* `value` NULL: null. */
void json_text(struct json *j, const char *key, const char *value);
void json_int(struct json *j, const char *key, int64_t value);
void json_real(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_finish(struct json *j); /* the last newline */

/* ---- Progress -------------------------------------------------------- */

/* On a terminal one line that is written over, at most ten times a second;
 * elsewhere a plain line every ten seconds.  ETA from the rate so far.  `say`
 * clears the line first. */
struct progress {
  const char *what; /* "compile" */
  double started, shown;
  double low, high; /* seconds left; high 0: from the rate so far */
  bool terminal, quiet;
};
double seconds_now(void); /* monotonic */
void progress_begin(struct progress *p, const char *what, bool quiet);
__attribute__((format(printf, 4, 5))) void
progress_at(struct progress *p, double done, double total, const char *note,
            ...); /* total 0: not known */
void progress_end(struct progress *p);
/* "1.2 s", "3 min 20 s", "2 h 05 min" */
void print_seconds(double seconds, char text[32]);

#endif
