/*
 * wire.h - write and read typed values as bytes.
 *
 * One encoding for all that crosses a process or a file: specs from the
 * sandboxed child, requests to workers, and the body of a .ddt table.  Numbers
 * are little-endian and fixed-size; text and bytes carry their length first.
 * The reader trusts nothing: a read past the end, a length beyond what is left
 * or a count beyond its limit makes it fail, once and for good, and every later
 * read returns zero or an empty text.  Check with wire_status() at the end.
 */
#ifndef DIFFTUNE_WIRE_H
#define DIFFTUNE_WIRE_H

#include "base.h"

void wire_put_u32(struct bytes *out, uint32_t value);
void wire_put_i64(struct bytes *out, int64_t value);
void wire_put_f64(struct bytes *out, double value);
void wire_put_text(struct bytes *out, const char *text); /* NULL as "" */
void wire_put_bytes(struct bytes *out, const void *data, size_t size);
void wire_put_hash(struct bytes *out, const struct hash *h);

struct wire_reader {
  const uint8_t *at, *end;
  bool failed;
  const char *what; /* the first thing that could not be read */
};
void wire_reader_init(struct wire_reader *r, const void *data, size_t size);
uint32_t wire_u32(struct wire_reader *r, const char *what);
/* A count of things that follow, at most `limit`. */
uint32_t wire_count(struct wire_reader *r, uint32_t limit, const char *what);
int64_t wire_i64(struct wire_reader *r, const char *what);
double wire_f64(struct wire_reader *r, const char *what);
/* A copy in the arena, NUL-terminated; a text with a NUL inside fails. */
const char *wire_text(struct wire_reader *r, struct arena *a, const char *what);
/* A view into the message, not a copy. */
const void *wire_bytes(struct wire_reader *r, size_t *size, const char *what);
struct hash wire_hash(struct wire_reader *r, const char *what);
/* DD_OK, or `status` with "cannot read WHAT"; bytes left over fail too when
 * `whole` is set. */
dd_status wire_status(const struct wire_reader *r, bool whole,
                      dd_status status);

/* Messages over a pipe: a 4-byte length, then that many bytes.
 * wire_receive fails with DD_IO at end of file. */
dd_status wire_send(int fd, const struct bytes *message);
dd_status wire_receive(int fd, size_t limit, struct bytes *message);

#endif
