/*
 * context.c - open and close: a device, the floor, and the host's table.
 *
 * Once per process and device.  What a context holds never changes while it is
 * open but for the code it has loaded, the plans it keeps and what is pinned.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Structs that grow -------------------------------------------------- */

enum { STRUCT_LIMIT = 4096 }; /* beyond it struct_size was never set */

dd_status struct_read(const char *name, const void *in, size_t least,
                      void *out, size_t known)
{
  const unsigned char *bytes = in;
  size_t size;

  if (!in) return fail(DD_BAD_ARGUMENT, "no %s was given", name);
  memcpy(&size, in, sizeof size);
  if (size < least || size > STRUCT_LIMIT)
    return fail(DD_BAD_ARGUMENT, "%s.struct_size is %zu, not %zu", name, size,
                known);
  for (size_t i = known; i < size; ++i)
    if (bytes[i])
      return fail(DD_BAD_ARGUMENT, "%s sets a field that this library, version "
                  "%d.%d.%d, does not have", name, DD_VERSION_MAJOR,
                  DD_VERSION_MINOR, DD_VERSION_PATCH);
  memset(out, 0, known);
  memcpy(out, in, size < known ? size : known);
  return DD_OK;
}

size_t text_cut(const char *text, size_t length, char *out, size_t size)
{
  size_t n = length < size ? length : size - 1;

  if (!size || !out) return length;
  memcpy(out, text, n);
  out[n] = 0;
  return length;
}

/* ---- Lines of the cache -------------------------------------------------- */

/* Before the block stands what the allocator gave. */
enum { BEFORE_LINES = sizeof(void *) + CACHE_LINE - 1 };

void *lines_new(struct allocator *a, size_t size)
{
  char *given = mem_resize(a, NULL, 0, BEFORE_LINES + size);
  uintptr_t at = (uintptr_t)given + BEFORE_LINES;
  void **block = (void **)(at - at % CACHE_LINE);

  if (!given) return NULL;
  block[-1] = given;
  return memset(block, 0, size);
}

void lines_free(struct allocator *a, void *block, size_t size)
{
  if (block) mem_resize(a, ((void **)block)[-1], BEFORE_LINES + size, 0);
}

/* ---- Opening ------------------------------------------------------------ */

#define KNOWN_FLAGS                                                            \
  (DD_OPEN_EXACT_ONLY | DD_OPEN_SHARED_TABLE | DD_OPEN_NO_SYSTEM_TABLE |       \
   DD_OPEN_TRACE | DD_OPEN_SAME_BITS | DD_OPEN_COMPILE)

static dd_status read_options(const dd_open_options *options,
                              dd_open_options *out)
{
  static const dd_open_options defaults = DD_OPEN_OPTIONS_INIT;
  const char *path;

  if (!options) options = &defaults;
  TRY(struct_read("dd_open_options", options,
                  offsetof(dd_open_options, device) + sizeof(char *), out,
                  sizeof *out));
  if (out->flags & ~KNOWN_FLAGS)
    return fail(DD_BAD_ARGUMENT, "dd_open_options.flags has unknown bits: 0x%x",
                out->flags & ~KNOWN_FLAGS);
  if (out->table && out->table_data)
    return fail(DD_BAD_ARGUMENT, "dd_open_options has both table and "
                "table_data");
  /* A program that runs with more rights than its user obeys no variable. */
  path = secure_getenv("DIFFDISPATCH_TABLE");
  if (!out->table && !out->table_data && path && *path) out->table = path;
  path = secure_getenv("DIFFDISPATCH_TRACE");
  if (path && *path) out->flags |= DD_OPEN_TRACE;
  return DD_OK;
}

static dd_status open_device(const char *kind, struct device **out)
{
  const struct device_api *api = device_kind_find(kind ? kind : "cuda");

  if (!api)
    return fail(DD_NO_DEVICE, "no device is of kind '%.40s'; known are cuda "
                "and cpu", kind);
  return api->attach(out);
}

static dd_status open_tables(struct dd_context *ctx, const dd_open_options *o)
{
  dd_status status =
      table_open_own(&ctx->floor, floor_table,
                     (size_t)(floor_table_end - floor_table),
                     &ctx->allocator, true);

  if (status)
    return fail_in(status == DD_BAD_TABLE ? DD_BUG : status,
                   "the library's own table");
  if (o->table)
    return table_open(&ctx->host, o->table, &ctx->allocator, &ctx->floor,
                      o->flags & DD_OPEN_SHARED_TABLE);
  if (!o->table_data) return DD_OK;
  status = table_open_memory(&ctx->host, o->table_data, o->table_size,
                             &ctx->allocator, &ctx->floor);
  return status ? fail_in(status, "the table in memory") : DD_OK;
}

/* True: it is there and can be used. */
static bool open_system_in(struct dd_context *ctx, const char *folder,
                           size_t length, const char *more, uint32_t flags)
{
  const struct device_info *d = &ctx->device->info;
  char path[4096], target[24] = "cpu";
  int n;

  if (!length || *folder != '/') return false; /* as the XDG rules have it */
  if (strcmp(d->kind, "cpu"))
    snprintf(target, sizeof target, "sm_%d", d->arch);
  n = snprintf(path, sizeof path, "%.*s%s/difftune/%s.ddt", (int)length,
               folder, more, target);
  if (n < 0 || (size_t)n >= sizeof path) return false;
  return !table_open(&ctx->system, path, &ctx->allocator, &ctx->floor,
                     flags & DD_OPEN_SHARED_TABLE);
}

static bool open_system(struct dd_context *ctx, uint32_t flags)
{
  const char *home = secure_getenv("XDG_DATA_HOME"), *more = "";
  const char *at = secure_getenv("XDG_DATA_DIRS");

  if (flags & DD_OPEN_NO_SYSTEM_TABLE) return false;
  if (!home || !*home) {
    home = secure_getenv("HOME");
    more = "/.local/share";
  }
  if (home && open_system_in(ctx, home, strlen(home), more, flags))
    return true;
  if (!at || !*at) at = "/usr/local/share:/usr/share";
  for (size_t n; *at; at += n + (at[n] == ':')) {
    n = strcspn(at, ":");
    if (open_system_in(ctx, at, n, "", flags)) return true;
  }
  return false;
}

static void init_matcher(struct dd_context *ctx, const dd_open_options *o)
{
  bool has_host = o->table || o->table_data;

  ctx->matcher.table = has_host ? &ctx->host : NULL;
  ctx->matcher.floor = &ctx->floor;
  ctx->matcher.device = &ctx->device->info;
  ctx->matcher.exact_only = o->flags & DD_OPEN_EXACT_ONLY;
  ctx->matcher.same_bits = o->flags & DD_OPEN_SAME_BITS;
  if (!open_system(ctx, o->flags)) return;
  ctx->under = ctx->matcher;
  ctx->under.table = &ctx->system;
  ctx->matcher.under = &ctx->under;
}

static struct dd_context *new_context(const dd_open_options *o)
{
  struct allocator a = default_allocator;
  struct dd_context *ctx;

  if (o->allocate) a = (struct allocator){o->allocate, o->user};
  ctx = mem_resize(&a, NULL, 0, sizeof *ctx);
  if (!ctx) return NULL;
  memset(ctx, 0, sizeof *ctx);
  ctx->allocator = a;
  ctx->traced = o->flags & DD_OPEN_TRACE;
  ctx->compiles = o->flags & DD_OPEN_COMPILE;
  ctx->warn = o->warn;
  ctx->user = o->user;
  forks_watch();
  ctx->forks = forks_seen();
  pthread_mutex_init(&ctx->lock, NULL); /* glibc's never fails */
  table_init(&ctx->floor, &ctx->allocator);
  table_init(&ctx->host, &ctx->allocator);
  table_init(&ctx->system, &ctx->allocator);
  return ctx;
}

dd_status dd_open(const dd_open_options *options, dd_context **out)
{
  dd_open_options o;
  struct dd_context *ctx;
  dd_status status;

  if (!out) return fail(DD_BAD_ARGUMENT, "no place for the context was given");
  *out = NULL;
  TRY(read_options(options, &o));
  ctx = new_context(&o);
  if (!ctx) return fail(DD_NO_MEMORY, "out of memory");
  status = open_device(o.device, &ctx->device);
  if (!status) status = open_tables(ctx, &o);
  if (status) {
    dd_close(ctx);
    return status;
  }
  init_matcher(ctx, &o);
  *out = ctx;
  return DD_OK;
}

void dd_close(dd_context *ctx)
{
  struct allocator a;

  if (!ctx) return;
  a = ctx->allocator;
  trace_write(ctx);
  typed_free(ctx);
  prepared_free(ctx);
  pins_free(ctx);
  loaded_free(ctx);
  table_close(&ctx->system);
  table_close(&ctx->host);
  table_close(&ctx->floor);
  if (ctx->device && !context_forked(ctx))
    ctx->device->api->close(ctx->device);
  pthread_mutex_destroy(&ctx->lock);
  mem_resize(&a, ctx, sizeof *ctx, 0);
}
