/*
 * table_section.c - the bytes of a table, verified before they are believed.
 *
 * The file is read, never mapped: a mapped file that somebody cuts short would
 * take the host down with SIGBUS.
 */
#include "table_inner.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

static dd_status read_at(int fd, void *to, size_t size, uint64_t offset)
{
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, (char *)to + done, size - done,
                      (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_BAD_TABLE, "%s", strerror(errno));
    if (n == 0) return fail(DD_BAD_TABLE, "the table became shorter");
    done += (size_t)n;
  }
  return DD_OK;
}

dd_status table_stored_bytes(const struct table *t, uint64_t offset,
                             size_t size, struct bytes *buffer,
                             const void **out)
{
  void *room;

  if (t->data) {
    *out = t->data + offset;
    return DD_OK;
  }
  room = bytes_room(buffer, size);
  if (!room) return no_memory();
  *out = room;
  return read_at(t->fd, room, size, offset);
}

dd_status table_check_seal(const struct table *t, const void *data, size_t size,
                           const struct hash *seal)
{
  struct hash found;

  if (t->own) return DD_OK;
  found = hash_of(data, size);
  return hash_equal(&found, seal)
             ? DD_OK
             : fail(DD_BAD_TABLE, "the table is damaged: a seal does not "
                    "match");
}

static dd_status unpack(const struct table_section *s, const void *stored,
                        struct bytes *out)
{
  void *room;

  if (s->stored == s->size) {
    bytes_add(out, stored, s->size);
    return bytes_status(out);
  }
  room = bytes_room(out, s->size);
  if (!room) return no_memory();
  if (ZSTD_decompress(room, s->size, stored, s->stored) == s->size)
    return DD_OK;
  return fail(DD_BAD_TABLE, "the table is damaged: a section cannot be "
              "decompressed");
}

dd_status table_section_read(const struct table *t,
                             const struct table_section *s, struct bytes *out)
{
  struct bytes buffer = BYTES_INIT;
  const void *stored;
  dd_status status =
      table_stored_bytes(t, s->offset, s->stored, &buffer, &stored);

  bytes_clear(out);
  if (!status) status = table_check_seal(t, stored, s->stored, &s->seal);
  if (!status) status = unpack(s, stored, out);
  bytes_release(&buffer);
  return status;
}

/* ---- Counts and texts --------------------------------------------------- */

uint32_t table_count_of(struct wire_reader *r, size_t least, const char *what)
{
  size_t left = (size_t)(r->end - r->at) / least;

  return wire_count(r, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, what);
}

dd_status table_read_text(struct wire_reader *r, struct arena *a,
                          const char *what, const char **out)
{
  size_t size;
  const char *at = wire_bytes(r, &size, what);

  *out = "";
  if (!at) return wire_status(r, false, DD_BAD_TABLE);
  if (memchr(at, 0, size)) return fail(DD_BAD_TABLE, "a NUL inside %s", what);
  *out = arena_text(a, at, size);
  return *out ? DD_OK : no_memory();
}
