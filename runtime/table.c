/*
 * table.c - open and close .ddt files; table_write.c writes them.
 *
 * Opening reads the root and nothing else.  The file's descriptor stays open,
 * so that a file that is replaced while the host runs stays the one that was
 * opened.
 */
#include "table_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  HEAD_SIZE = 8 + 4 + 4 + 8 + 32,
  FILE_LIMIT = 1 << 30,
  SECTION_LIMIT = 64 << 20, /* as it is in memory */
  THINGS_LIMIT = 1 << 20,   /* plans, or variants */
  MAX_ARCH = 9999,
};

/* ---- The root ----------------------------------------------------------- */

static dd_status read_device(struct wire_reader *r, struct table *t)
{
  int64_t arch, sms;

  TRY(table_read_text(r, &t->arena, "the device's name", &t->device_name));
  TRY(table_read_text(r, &t->arena, "the device's kind", &t->device_kind));
  arch = wire_i64(r, "the device's arch");
  sms = wire_i64(r, "the device's SMs");
  TRY(table_read_text(r, &t->arena, "the policy", &t->policy));
  TRY(table_read_text(r, &t->arena, "the provenance", &t->provenance));
  if (arch < 0 || arch > MAX_ARCH || sms < 0 || sms > 1 << 20)
    return fail(DD_BAD_TABLE, "no device has arch %" PRId64 " and %" PRId64
                " SMs", arch, sms);
  t->arch = (int)arch;
  t->sms = (int)sms;
  if (!*t->device_kind || device_kind_find(t->device_kind)) return DD_OK;
  return fail(DD_BAD_TABLE, "no device is of kind '%.20s'", t->device_kind);
}

/* Sections follow one another: *at is where this one begins. */
static dd_status read_section(struct wire_reader *r, const struct table *t,
                              uint64_t *at, struct table_section *s)
{
  s->offset = *at;
  s->stored = wire_u32(r, "a section");
  s->size = wire_u32(r, "a section");
  s->seal = wire_hash(r, "a seal");
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (s->stored > t->size - *at || s->stored > s->size ||
      s->size > SECTION_LIMIT)
    return fail(DD_BAD_TABLE, "a section has %u bytes, and %u in the file",
                s->size, s->stored);
  *at += s->stored;
  return DD_OK;
}

/* A page, whose first thing is number `first`. */
static dd_status read_page_head(struct wire_reader *r, struct table *t,
                                bool plans, size_t least, uint64_t *at,
                                struct table_page *p)
{
  p->count = wire_u32(r, "a page");
  if (plans) {
    TRY(table_read_text(r, &t->arena, "static fields", &p->fixed));
    TRY(table_read_text(r, &t->arena, "a problem", &p->spelling));
  }
  TRY(read_section(r, t, at, &p->section));
  if (p->count && p->count <= p->section.size / least) return DD_OK;
  return fail(DD_BAD_TABLE, "a page of %u bytes has %u things",
              p->section.size, p->count);
}

static dd_status read_pages(struct wire_reader *r, struct table *t, bool plans,
                            uint64_t *at, struct table_page **out,
                            uint32_t *page_count, uint32_t *count)
{
  size_t least = plans ? TABLE_PLAN_BYTES : TABLE_VARIANT_BYTES;
  uint32_t n = table_count_of(r, 4 + TABLE_SECTION_BYTES, "a list of pages");
  struct table_page *pages = ARENA_ARRAY(&t->arena, struct table_page, n);

  if (!pages) return no_memory();
  for (uint32_t i = 0; i < n; ++i) {
    struct table_page *p = &pages[i];
    p->first = *count;
    TRY(read_page_head(r, t, plans, least, at, p));
    if (p->count > THINGS_LIMIT - *count)
      return fail(DD_BAD_TABLE, "too many plans or variants");
    *count += p->count;
    if (plans && i && table_plan_order(p[-1].fixed, p[-1].spelling, p->fixed,
                                 p->spelling) >= 0)
      return fail(DD_BAD_TABLE, "plan %u is out of order", p->first);
  }
  *out = pages;
  *page_count = n;
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_packs(struct wire_reader *r, struct table *t,
                            uint64_t *at)
{
  uint32_t n = table_count_of(r, TABLE_SECTION_BYTES, "the list of packs");

  t->packs = ARENA_ARRAY(&t->arena, struct table_section, n);
  if (!t->packs) return no_memory();
  for (uint32_t i = 0; i < n; ++i)
    TRY(read_section(r, t, at, &t->packs[i]));
  t->pack_count = n;
  return wire_status(r, false, DD_BAD_TABLE);
}

/* Decompressing trusts the section's seal, parsing the hash of the specs. */
static dd_status read_own_specs(struct table *t, const struct bytes *specs,
                                const struct hash *hash)
{
  struct hash found = t->own ? *hash : hash_of(specs->data, specs->size);
  dd_status status;

  if (!hash_equal(hash, &found))
    return fail(DD_BAD_TABLE, "its specs are not those that its root names");
  status = (t->later ? op_set_read_later : op_set_read_known)(
      &t->ops, specs->data, specs->size, hash, t->arena.allocator);
  return status && status != DD_NO_MEMORY
             ? fail_in(DD_BAD_TABLE, "its specs")
             : status;
}

static dd_status read_specs(struct table *t, const struct table_section *s,
                            const struct hash *hash, const struct table *like)
{
  struct bytes specs = BYTES_INIT;
  dd_status status;

  if (like && hash_equal(hash, &like->ops.hash)) {
    t->ops = like->ops;
    t->ops_borrowed = true;
    return DD_OK;
  }
  status = table_section_read(t, s, &specs);
  if (!status) status = read_own_specs(t, &specs, hash);
  bytes_release(&specs);
  return status;
}

/* Room for all, of which only what is used becomes resident. */
static dd_status make_room(struct table *t)
{
  const struct allocator *a = t->arena.allocator;

  if (t->variant_count)
    t->variants = mem_resize(a, NULL, 0,
                             t->variant_count * sizeof *t->variants);
  if (t->plan_count)
    t->plans = mem_resize(a, NULL, 0, t->plan_count * sizeof *t->plans);
  return (t->variant_count && !t->variants) || (t->plan_count && !t->plans)
             ? no_memory()
             : DD_OK;
}

static dd_status read_root(struct table *t, const void *root, size_t size,
                           const struct table *like)
{
  uint64_t at = HEAD_SIZE + size;
  uint32_t variants = 0, plans = 0;
  struct table_section specs;
  struct wire_reader r;
  struct hash hash;

  wire_reader_init(&r, root, size);
  TRY(read_device(&r, t));
  hash = wire_hash(&r, "the hash of the specs");
  TRY(read_section(&r, t, &at, &specs));
  TRY(read_packs(&r, t, &at));
  TRY(read_pages(&r, t, false, &at, &t->variant_pages, &t->variant_page_count,
                 &variants));
  TRY(read_pages(&r, t, true, &at, &t->plan_pages, &t->plan_page_count,
                 &plans));
  TRY(read_section(&r, t, &at, &t->sources));
  TRY(wire_status(&r, true, DD_BAD_TABLE));
  if (at != t->size)
    return fail(DD_BAD_TABLE, "it has %" PRIu64 " bytes, not %" PRIu64,
                t->size, at);
  t->variant_count = variants;
  t->plan_count = plans;
  TRY(make_room(t));
  return read_specs(t, &specs, &hash, like);
}

/* Nothing but these 56 bytes is looked at before the seal is verified. */
static dd_status check_head(struct table *t, const void *head,
                            size_t *root_size)
{
  struct wire_reader r;
  uint32_t version, zero;
  uint64_t size;

  if (memcmp(head, TABLE_MAGIC, 8))
    return fail(DD_BAD_TABLE, "not a dispatch table");
  wire_reader_init(&r, (const char *)head + 8, HEAD_SIZE - 8);
  version = wire_u32(&r, "the version");
  zero = wire_u32(&r, "the head");
  size = (uint64_t)wire_i64(&r, "the size");
  t->seal = wire_hash(&r, "the seal");
  if (version != TABLE_VERSION)
    return fail(DD_BAD_TABLE, "it has version %u, and this library reads "
                "version %d; make it again with difftune emit", version,
                TABLE_VERSION);
  if (zero) return fail(DD_BAD_TABLE, "its head is damaged");
  if (size > t->size - HEAD_SIZE || size > SECTION_LIMIT)
    return fail(DD_BAD_TABLE, "it has %" PRIu64 " bytes after its head, not %"
                PRIu64, t->size - HEAD_SIZE, size);
  *root_size = (size_t)size;
  return DD_OK;
}

static dd_status open_root(struct table *t, const struct table *like,
                           struct bytes *buffer)
{
  const void *root;
  size_t size = 0;

  if (t->size < HEAD_SIZE) return fail(DD_BAD_TABLE, "not a dispatch table");
  TRY(table_stored_bytes(t, 0, HEAD_SIZE, buffer, &root));
  TRY(check_head(t, root, &size));
  bytes_clear(buffer);
  TRY(table_stored_bytes(t, HEAD_SIZE, size, buffer, &root));
  TRY(table_check_seal(t, root, size, &t->seal));
  return read_root(t, root, size, like);
}

/* ---- Opening and closing ------------------------------------------------ */

void table_init(struct table *t, const struct allocator *allocator)
{
  memset(t, 0, sizeof *t);
  t->fd = -1;
  arena_init(&t->arena, allocator);
  arena_init(&t->ops.arena, allocator);
  pthread_mutex_init(&t->lock, NULL); /* glibc's never fails */
}

static dd_status open_bytes(struct table *t, const struct table *like)
{
  struct bytes buffer = BYTES_INIT;
  dd_status status = open_root(t, like, &buffer);

  bytes_release(&buffer);
  return status;
}

static dd_status open_memory(struct table *t, const void *data, size_t size,
                             const struct table *like)
{
  dd_status status;

  if (!data) return fail(DD_BAD_TABLE, "a table in memory without an address");
  t->data = data;
  t->size = size;
  status = open_bytes(t, like);
  if (status) table_close(t);
  return status;
}

dd_status table_open_memory(struct table *t, const void *data, size_t size,
                            const struct allocator *allocator,
                            const struct table *like)
{
  table_init(t, allocator);
  return open_memory(t, data, size, like);
}

dd_status table_open_own(struct table *t, const void *data, size_t size,
                         const struct allocator *allocator, bool later)
{
  table_init(t, allocator);
  t->own = true;
  t->later = later;
  return open_memory(t, data, size, NULL);
}

/* Of the file, or of the folder that names it. */
static dd_status check_owner(const struct stat *st, const char *what)
{
  if (st->st_uid != geteuid() && st->st_uid != 0)
    return fail(DD_BAD_TABLE, "%s belongs to user %u, and its code would run "
                "as you; copy it, or open it with DD_OPEN_SHARED_TABLE", what,
                (unsigned)st->st_uid);
  if (st->st_mode & (S_IWGRP | S_IWOTH) &&
      !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
    return fail(DD_BAD_TABLE, "others may write %s (mode %03o); chmod go-w, or "
                "open it with DD_OPEN_SHARED_TABLE", what,
                (unsigned)st->st_mode & 0777);
  return DD_OK;
}

static dd_status check_file(struct table *t, bool shared)
{
  struct stat st;

  if (fstat(t->fd, &st)) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  if (!S_ISREG(st.st_mode)) return fail(DD_BAD_TABLE, "not a regular file");
  if (!shared) TRY(check_owner(&st, "it"));
  if (st.st_size > FILE_LIMIT)
    return fail(DD_BAD_TABLE, "more than %d bytes", FILE_LIMIT);
  t->size = (uint64_t)st.st_size;
  return DD_OK;
}

/* Who can write a folder can put another file in its place. */
static dd_status check_folder(int folder)
{
  struct stat st;

  if (fstat(folder, &st)) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  return check_owner(&st, "its folder");
}

/* The folder that is checked is the one that the file is then looked for in,
 * and the file no link to elsewhere.  O_NONBLOCK: a FIFO must be refused, not
 * waited for. */
static dd_status open_checked(struct table *t, const char *path)
{
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  char parent[4096] = ".";
  dd_status status;
  int folder;

  if (slash && (size_t)(slash - path) >= sizeof parent)
    return fail(DD_BAD_TABLE, "%s", strerror(ENAMETOOLONG));
  if (slash) {
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, path, length);
    parent[length] = 0;
  }
  folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  status = check_folder(folder);
  if (!status) {
    t->fd = openat(folder, name,
                   O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (t->fd < 0 && errno == ELOOP)
      status = fail(DD_BAD_TABLE, "a symbolic link; name its target, or open "
                    "it with DD_OPEN_SHARED_TABLE");
    else if (t->fd < 0)
      status = fail(DD_BAD_TABLE, "%s", strerror(errno));
  }
  close(folder);
  return status;
}

static dd_status open_file(struct table *t, const char *path, bool shared)
{
  if (!shared) return open_checked(t, path);
  t->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  return t->fd < 0 ? fail(DD_BAD_TABLE, "%s", strerror(errno)) : DD_OK;
}

dd_status table_open(struct table *t, const char *path,
                     const struct allocator *allocator,
                     const struct table *like, bool shared)
{
  dd_status status;

  table_init(t, allocator);
  status = open_file(t, path, shared);
  if (!status) status = check_file(t, shared);
  if (!status) status = open_bytes(t, like);
  if (status) table_close(t);
  return status ? fail_in(status, "'%s'", path) : DD_OK;
}

void table_close(struct table *t)
{
  const struct allocator *a = t->arena.allocator;

  if (!t->ops_borrowed) op_set_release(&t->ops);
  arena_release(&t->arena);
  mem_resize(a, t->variants, t->variant_count * sizeof *t->variants, 0);
  mem_resize(a, t->plans, t->plan_count * sizeof *t->plans, 0);
  if (t->fd >= 0) close(t->fd);
  pthread_mutex_destroy(&t->lock);
  table_init(t, a);
}
