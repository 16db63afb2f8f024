/*
 * base.h - failure, memory, text, bytes, hashes and files for everybody else.
 *
 * Used by the library and by the program alike.  All symbols here are hidden:
 * libdiffdispatch exports dd_* only.
 */
#ifndef DIFFTUNE_BASE_H
#define DIFFTUNE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diffdispatch.h"

/* ---- Failure --------------------------------------------------------- */

/* Remembers the sentence for dd_last_error() and returns `status`, so that a
 * function can end with `return fail(DD_..., "...")`.  A sentence is lower
 * case, has no full stop, and names the value that was wrong. */
__attribute__((cold, format(printf, 2, 3))) dd_status
fail(dd_status status, const char *format, ...);

/* Puts "prefix: " before the last sentence; for callers that know which file
 * or variant it was about.  Returns `status`. */
__attribute__((cold, format(printf, 2, 3))) dd_status
fail_in(dd_status status, const char *format, ...);

#define TRY(call)                                                              \
  do {                                                                         \
    dd_status try_status_ = (call);                                            \
    if (try_status_) return try_status_;                                       \
  } while (0)

/* A launch's own functions stand together, so that few pages and lines of code
 * are fetched where caches are cold; each begins with a line. */
#define HOT __attribute__((hot, aligned(64)))
#define NOINLINE __attribute__((noinline))
#define FALL_THROUGH __attribute__((fallthrough))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Memory: one door ------------------------------------------------ */

/* Allocate (block NULL), resize or free (new_size 0) a block.  The caller
 * always knows the old size.  Returns NULL when out of memory. */
struct allocator {
  void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
  void *user;
};

/* The process's own allocator, realloc and free.  Tests replace its fields to
 * count live bytes and to fail on demand. */
extern struct allocator default_allocator;

void *mem_resize(const struct allocator *a, void *block, size_t old_size,
                 size_t new_size); /* a NULL: default_allocator */

/* An arena: many small things that die together.  Memory is zeroed. */
struct arena {
  const struct allocator *allocator;
  struct arena_block *blocks;
};
void arena_init(struct arena *a, const struct allocator *allocator);
void arena_release(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* NULL: out of memory */
char *arena_text(struct arena *a, const char *text, size_t size); /* + NUL */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *a,
                                                         const char *fmt, ...);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))

/* Growing bytes, always NUL-terminated, so that text is bytes too.
 * BYTES_INIT is a valid empty value; failed is sticky: check it once, at the
 * end, with bytes_status(). */
struct bytes {
  char *data; /* never NULL once something was added */
  size_t size, capacity;
  bool failed;
};
#define BYTES_INIT {NULL, 0, 0, false}
void bytes_release(struct bytes *b);
void bytes_clear(struct bytes *b); /* size 0, keeps the memory */
void bytes_add(struct bytes *b, const void *data, size_t size);
/* Adds `size` bytes for the caller to fill; NULL: out of memory. */
void *bytes_room(struct bytes *b, size_t size);
void bytes_text(struct bytes *b, const char *text);
__attribute__((format(printf, 2, 3))) void bytes_printf(struct bytes *b,
                                                        const char *fmt, ...);
void bytes_vprintf(struct bytes *b, const char *fmt, va_list args);
const char *bytes_string(const struct bytes *b); /* "" when empty */
dd_status bytes_status(const struct bytes *b);   /* DD_NO_MEMORY if failed */

/* ---- Hashes ---------------------------------------------------------- */

/* SHA-256.  A variant, a unit of code and a table are known by one. */
struct hash {
  uint8_t byte[32];
};
struct hash hash_of(const void *data, size_t size);

/* The same in pieces.  A copy goes on from where the original was: what many
 * texts begin with is hashed once. */
struct hasher {
  uint64_t state[16]; /* libsodium's */
};
void hasher_begin(struct hasher *h);
void hasher_add(struct hasher *h, const void *data, size_t size);
struct hash hasher_end(struct hasher *h);

bool hash_equal(const struct hash *a, const struct hash *b);
#define HASH_HEX 65 /* 64 digits and a NUL */
void hash_hex(const struct hash *h, char text[HASH_HEX]);
bool hash_parse(const char *text, struct hash *h); /* false: not 64 digits */

/* A fast hash for tables in memory; not for files. */
uint64_t quick_hash(const void *data, size_t size);

/* ---- Files ----------------------------------------------------------- */

/* Reads a whole regular file of at most `limit` bytes. */
dd_status file_read(const char *path, size_t limit, struct bytes *out);

/* Writes aside, syncs, renames: readers see the old file or the new one. */
dd_status file_write(const char *path, const void *data, size_t size);

/* ---- Dtypes ---------------------------------------------------------- */

/* name, dd_dtype value, bytes; the same numbers as dt::Dtype on the device */
#define DTYPE_MAP(X)                                                           \
  X(fp32, 1, 4)                                                                \
  X(fp16, 2, 2)                                                                \
  X(bf16, 3, 2)                                                                \
  X(i32, 6, 4)                                                                 \
  X(i64, 7, 8)

const char *dtype_name(int64_t dtype);  /* "bf16"; "?" if unknown */
int64_t dtype_parse(const char *name);  /* 0 if unknown */
int64_t dtype_bytes(int64_t dtype);     /* 0 if unknown */
double dtype_load(int64_t dtype, const void *at);        /* exact */
void dtype_store(int64_t dtype, void *at, double value); /* nearest even */
double dtype_round(int64_t dtype, double value);         /* store, then load */
/* The distance between neighbouring values of `dtype` at `value`: one ulp. */
double dtype_ulp(int64_t dtype, double value);

#endif
