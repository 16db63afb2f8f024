/* base.c - failure, memory, text, bytes and hashes. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Failure --------------------------------------------------------- */

/* A fixed buffer per thread: the error path never allocates. */
static _Thread_local char last_error[1024];

const char *dd_last_error(void)
{
  return last_error;
}

dd_status fail(dd_status status, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  return status;
}

dd_status fail_in(dd_status status, const char *format, ...)
{
  char before[sizeof last_error];
  va_list args;
  size_t n;

  memcpy(before, last_error, sizeof before);
  va_start(args, format);
  vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  n = strlen(last_error);
  snprintf(last_error + n, sizeof last_error - n, ": %s", before);
  return status;
}

const char *dd_status_name(dd_status status)
{
  switch (status) {
#define NAME(name, value, text)                                                \
  case DD_##name: return "DD_" #name;
    DD_STATUS_MAP(NAME)
#undef NAME
  }
  return "?";
}

const char *dd_status_text(dd_status status)
{
  switch (status) {
#define TEXT(name, value, text)                                                \
  case DD_##name: return text;
    DD_STATUS_MAP(TEXT)
#undef TEXT
  }
  return "?";
}

/* ---- Memory ---------------------------------------------------------- */

static void *resize_default(void *user, void *block, size_t old_size,
                            size_t new_size)
{
  (void)user, (void)old_size;
  if (new_size) return realloc(block, new_size);
  free(block);
  return NULL;
}

struct allocator default_allocator = {resize_default, NULL};

void *mem_resize(const struct allocator *a, void *block, size_t old_size,
                 size_t new_size)
{
  if (!a) a = &default_allocator;
  if (!block && !new_size) return NULL;
  return a->resize(a->user, block, old_size, new_size);
}

struct arena_block {
  struct arena_block *next;
  size_t size, used; /* of data */
  max_align_t data[];
};

enum { ARENA_BLOCK = 16 * 1024, ARENA_ALIGN = sizeof(max_align_t) };

void arena_init(struct arena *a, const struct allocator *allocator)
{
  a->allocator = allocator;
  a->blocks = NULL;
}

void arena_release(struct arena *a)
{
  while (a->blocks) {
    struct arena_block *b = a->blocks;
    a->blocks = b->next;
    mem_resize(a->allocator, b, sizeof *b + b->size, 0);
  }
}

static struct arena_block *arena_grow(struct arena *a, size_t size)
{
  size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
  struct arena_block *b;

  if (room > SIZE_MAX - sizeof *b) return NULL;
  b = mem_resize(a->allocator, NULL, 0, sizeof *b + room);
  if (!b) return NULL;
  b->size = room;
  b->used = 0;
  b->next = a->blocks;
  a->blocks = b;
  return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
  struct arena_block *b = a->blocks;
  char *at;

  if (size > SIZE_MAX - ARENA_ALIGN) return NULL;
  size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
  if (!size) size = ARENA_ALIGN; /* never NULL for want of bytes */
  if (!b || b->size - b->used < size) b = arena_grow(a, size);
  if (!b) return NULL;
  at = (char *)b->data + b->used;
  b->used += size;
  return memset(at, 0, size);
}

char *arena_text(struct arena *a, const char *text, size_t size)
{
  char *copy = size < SIZE_MAX ? arena_alloc(a, size + 1) : NULL;

  if (copy && size) memcpy(copy, text, size);
  return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
  struct bytes b = BYTES_INIT;
  va_list args;
  char *copy = NULL;

  va_start(args, fmt);
  bytes_vprintf(&b, fmt, args);
  va_end(args);
  if (!b.failed) copy = arena_text(a, bytes_string(&b), b.size);
  bytes_release(&b);
  return copy;
}

/* ---- Bytes ----------------------------------------------------------- */

void bytes_release(struct bytes *b)
{
  mem_resize(NULL, b->data, b->capacity, 0);
  *b = (struct bytes)BYTES_INIT;
}

void bytes_clear(struct bytes *b)
{
  b->size = 0;
  b->failed = false;
  if (b->data) b->data[0] = 0;
}

/* Room for `more` bytes and a NUL. */
static bool bytes_reserve(struct bytes *b, size_t more)
{
  size_t need, capacity;
  char *data;

  if (b->failed) return false;
  if (more > SIZE_MAX / 4 || b->size > SIZE_MAX / 4) {
    b->failed = true;
    return false;
  }
  need = b->size + more + 1;
  if (need <= b->capacity) return true;
  capacity = b->capacity ? b->capacity : 64;
  while (capacity < need) capacity *= 2;
  data = mem_resize(NULL, b->data, b->capacity, capacity);
  b->failed = !data;
  if (!data) return false;
  b->data = data;
  b->capacity = capacity;
  return true;
}

void bytes_add(struct bytes *b, const void *data, size_t size)
{
  if (!bytes_reserve(b, size)) return;
  if (size) memcpy(b->data + b->size, data, size);
  b->size += size;
  b->data[b->size] = 0;
}

void *bytes_room(struct bytes *b, size_t size)
{
  char *room;

  if (!bytes_reserve(b, size)) return NULL;
  room = b->data + b->size;
  b->size += size;
  b->data[b->size] = 0;
  return room;
}

void bytes_text(struct bytes *b, const char *text)
{
  bytes_add(b, text, strlen(text));
}

void bytes_vprintf(struct bytes *b, const char *fmt, va_list args)
{
  char line[128]; /* most are short, and are not printed twice */
  va_list again;
  int n;

  va_copy(again, args);
  n = vsnprintf(line, sizeof line, fmt, args);
  if (n < 0) {
    b->failed = true;
  } else if ((size_t)n < sizeof line) {
    bytes_add(b, line, (size_t)n);
  } else if (bytes_reserve(b, (size_t)n)) {
    vsnprintf(b->data + b->size, (size_t)n + 1, fmt, again);
    b->size += (size_t)n;
  }
  va_end(again);
}

void bytes_printf(struct bytes *b, const char *fmt, ...)
{
  va_list args;

  va_start(args, fmt);
  bytes_vprintf(b, fmt, args);
  va_end(args);
}

const char *bytes_string(const struct bytes *b)
{
  return b->data ? b->data : "";
}

dd_status bytes_status(const struct bytes *b)
{
  return b->failed ? fail(DD_NO_MEMORY, "out of memory") : DD_OK;
}

/* ---- Hashes ---------------------------------------------------------- */

struct hash hash_of(const void *data, size_t size)
{
  struct hash h;

  crypto_hash_sha256(h.byte, data ? data : "", size);
  return h;
}

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct hasher),
               "libsodium's state has grown");

static crypto_hash_sha256_state *state_of(struct hasher *h)
{
  return (crypto_hash_sha256_state *)(void *)h->state;
}

void hasher_begin(struct hasher *h)
{
  crypto_hash_sha256_init(state_of(h));
}

void hasher_add(struct hasher *h, const void *data, size_t size)
{
  crypto_hash_sha256_update(state_of(h), data ? data : "", size);
}

struct hash hasher_end(struct hasher *h)
{
  struct hash out;

  crypto_hash_sha256_final(state_of(h), out.byte);
  return out;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
  return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

void hash_hex(const struct hash *h, char text[HASH_HEX])
{
  for (size_t i = 0; i < sizeof h->byte; ++i)
    snprintf(text + 2 * i, 3, "%02x", h->byte[i]);
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool hash_parse(const char *text, struct hash *h)
{
  for (size_t i = 0; i < sizeof h->byte; ++i) {
    int high = hex_digit(text[2 * i]);
    int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
    if (low < 0) return false;
    h->byte[i] = (uint8_t)(high * 16 + low);
  }
  return text[2 * sizeof h->byte] == 0;
}

/* FNV-1a by 8 bytes with a final mix; for keys of up to 1 kB. */
uint64_t quick_hash(const void *data, size_t size)
{
  const uint8_t *at = data;
  uint64_t h = 0xcbf29ce484222325u ^ size, word;

  for (; size >= 8; at += 8, size -= 8) {
    memcpy(&word, at, 8);
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
  }
  for (; size; ++at, --size) h = (h ^ *at) * 0x100000001b3u;
  return h ^ h >> 29;
}

/* ---- Files ----------------------------------------------------------- */

static dd_status read_fd(int fd, const char *path, size_t limit,
                         struct bytes *out)
{
  char buffer[65536];
  ssize_t n;

  while ((n = read(fd, buffer, sizeof buffer)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_IO, "cannot read '%s': %s", path, strerror(errno));
    if (out->size + (size_t)n > limit)
      return fail(DD_IO, "'%s' has more than %zu bytes", path, limit);
    bytes_add(out, buffer, (size_t)n);
  }
  return bytes_status(out);
}

dd_status file_read(const char *path, size_t limit, struct bytes *out)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  dd_status status;

  bytes_clear(out);
  if (fd < 0) return fail(DD_IO, "cannot open '%s': %s", path, strerror(errno));
  if (fstat(fd, &st) || !S_ISREG(st.st_mode))
    status = fail(DD_IO, "'%s' is not a regular file", path);
  else
    status = read_fd(fd, path, limit, out);
  close(fd);
  return status;
}

static bool write_all(int fd, const char *at, size_t size)
{
  while (size) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

dd_status file_write(const char *path, const void *data, size_t size)
{
  char aside[4096];
  mode_t mask = umask(0);
  bool done;
  int fd, error;

  umask(mask);
  if ((size_t)snprintf(aside, sizeof aside, "%s.XXXXXX", path) >= sizeof aside)
    return fail(DD_IO, "the path '%.60s...' is too long", path);
  fd = mkostemp(aside, O_CLOEXEC);
  if (fd < 0) return fail(DD_IO, "cannot write '%s': %s", path, strerror(errno));
  done = write_all(fd, data, size) && fchmod(fd, 0644 & ~mask) == 0 &&
         fsync(fd) == 0;
  error = errno;
  if (close(fd) && done) done = false, error = errno;
  if (done && rename(aside, path)) done = false, error = errno;
  if (done) return DD_OK;
  unlink(aside);
  return fail(DD_IO, "cannot write '%s': %s", path, strerror(error));
}
