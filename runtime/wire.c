/* wire.c - write and read typed values as bytes. */
#include "wire.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- Writing --------------------------------------------------------- */

static void put_number(struct bytes *out, uint64_t value, int bytes)
{
  uint8_t text[8];

  for (int i = 0; i < bytes; ++i) text[i] = (uint8_t)(value >> 8 * i);
  bytes_add(out, text, (size_t)bytes);
}

void wire_put_u32(struct bytes *out, uint32_t value)
{
  put_number(out, value, 4);
}

void wire_put_i64(struct bytes *out, int64_t value)
{
  put_number(out, (uint64_t)value, 8);
}

void wire_put_f64(struct bytes *out, double value)
{
  uint64_t bits;

  memcpy(&bits, &value, 8);
  put_number(out, bits, 8);
}

void wire_put_bytes(struct bytes *out, const void *data, size_t size)
{
  if (size > UINT32_MAX) {
    out->failed = true;
    return;
  }
  wire_put_u32(out, (uint32_t)size);
  bytes_add(out, data, size);
}

void wire_put_text(struct bytes *out, const char *text)
{
  wire_put_bytes(out, text, text ? strlen(text) : 0);
}

void wire_put_hash(struct bytes *out, const struct hash *h)
{
  bytes_add(out, h->byte, sizeof h->byte);
}

/* ---- Reading --------------------------------------------------------- */

void wire_reader_init(struct wire_reader *r, const void *data, size_t size)
{
  r->at = data;
  r->end = r->at + size;
  r->failed = false;
  r->what = "";
}

static const uint8_t *take(struct wire_reader *r, size_t size, const char *what)
{
  const uint8_t *at = r->at;

  if (r->failed) return NULL;
  if ((size_t)(r->end - r->at) < size) {
    r->failed = true;
    r->what = what;
    return NULL;
  }
  r->at += size;
  return at;
}

static uint64_t take_number(struct wire_reader *r, int bytes, const char *what)
{
  const uint8_t *at = take(r, (size_t)bytes, what);
  uint64_t value = 0;

  for (int i = 0; at && i < bytes; ++i) value |= (uint64_t)at[i] << 8 * i;
  return value;
}

uint32_t wire_u32(struct wire_reader *r, const char *what)
{
  return (uint32_t)take_number(r, 4, what);
}

uint32_t wire_count(struct wire_reader *r, uint32_t limit, const char *what)
{
  uint32_t n = wire_u32(r, what);

  if (n <= limit) return n;
  if (!r->failed) r->what = what;
  r->failed = true;
  return 0;
}

int64_t wire_i64(struct wire_reader *r, const char *what)
{
  return (int64_t)take_number(r, 8, what);
}

double wire_f64(struct wire_reader *r, const char *what)
{
  uint64_t bits = take_number(r, 8, what);
  double value;

  memcpy(&value, &bits, 8);
  return value;
}

const void *wire_bytes(struct wire_reader *r, size_t *size, const char *what)
{
  const void *at;

  *size = wire_u32(r, what);
  at = take(r, *size, what);
  if (!at) *size = 0;
  return at;
}

const char *wire_text(struct wire_reader *r, struct arena *a, const char *what)
{
  size_t size;
  const char *at = wire_bytes(r, &size, what), *copy;

  if (!at) return "";
  if (memchr(at, 0, size)) {
    r->failed = true;
    r->what = what;
    return "";
  }
  copy = arena_text(a, at, size);
  if (!copy) {
    r->failed = true;
    r->what = "a text (out of memory)";
  }
  return copy ? copy : "";
}

struct hash wire_hash(struct wire_reader *r, const char *what)
{
  struct hash h = {{0}};
  const uint8_t *at = take(r, sizeof h.byte, what);

  if (at) memcpy(h.byte, at, sizeof h.byte);
  return h;
}

dd_status wire_status(const struct wire_reader *r, bool whole, dd_status status)
{
  if (r->failed) return fail(status, "cannot read %s", r->what);
  if (whole && r->at != r->end)
    return fail(status, "%zu bytes too many", (size_t)(r->end - r->at));
  return DD_OK;
}

/* ---- Messages over a pipe -------------------------------------------- */

static dd_status write_fully(int fd, const void *data, size_t size)
{
  const char *at = data;

  while (size) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_IO, "cannot write to a pipe: %s", strerror(errno));
    at += n;
    size -= (size_t)n;
  }
  return DD_OK;
}

static dd_status read_fully(int fd, void *data, size_t size)
{
  char *at = data;

  while (size) {
    ssize_t n = read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_IO, "cannot read from a pipe: %s", strerror(errno));
    if (n == 0) return fail(DD_IO, "the other end of the pipe is closed");
    at += n;
    size -= (size_t)n;
  }
  return DD_OK;
}

dd_status wire_send(int fd, const struct bytes *message)
{
  struct bytes head = BYTES_INIT;
  dd_status status = bytes_status(message);

  if (status) return status;
  if (message->size > UINT32_MAX)
    return fail(DD_IO, "a message of %zu bytes is too long", message->size);
  wire_put_u32(&head, (uint32_t)message->size);
  status = bytes_status(&head);
  if (!status) status = write_fully(fd, head.data, head.size);
  if (!status) status = write_fully(fd, message->data, message->size);
  bytes_release(&head);
  return status;
}

dd_status wire_receive(int fd, size_t limit, struct bytes *message)
{
  uint8_t head[4];
  struct wire_reader r;
  char part[65536];
  size_t left;

  bytes_clear(message);
  TRY(read_fully(fd, head, sizeof head));
  wire_reader_init(&r, head, sizeof head);
  left = wire_u32(&r, "a message's length");
  if (left > limit)
    return fail(DD_IO, "a message of %zu bytes is longer than %zu", left,
                limit);
  while (left) {
    size_t n = left < sizeof part ? left : sizeof part;
    TRY(read_fully(fd, part, n));
    bytes_add(message, part, n);
    left -= n;
  }
  return bytes_status(message);
}
