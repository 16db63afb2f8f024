/* maker.c - a device that makes trials: their inputs, their references. */
#include "maker.h"

#include <stdio.h>
#include <string.h>

#include "embedded.h"
#include "fill_element.h"
#include "output.h"
#include "tool_code.h"

extern const struct embedded_file embedded_kernels[];
extern const struct embedded_file embedded_shared[];
extern const unsigned long embedded_shared_count;

/* tuner/kernels/, in the order of their names */
enum { TOOL_REFERENCE = 3, TOOL_TRIAL = 5, TOOL_WORDS };

enum { MAX_REFERENCES = 32, MAX_SHARED = 128 };

_Static_assert((int)REFERENCE_TENSORS == (int)OP_MAX_TENSORS,
               "a reference has an out for every tensor");

struct compiled { /* a reference */
  const char *file;
  bool failed;
  struct bytes code;
  struct module *module; /* NULL: not loaded yet */
  struct kernel kernel;
};

struct maker {
  struct device *device;
  struct module *module;
  struct kernel fill;
  const char *before;
  struct compiled reference[MAX_REFERENCES];
  int count;
};

/* ---- As tuner/kernels/ has them ------------------------------------------ */

enum {
  FILL_BLOCK = 256 * 8, /* elements */
  FILL_THREADS = 256,
  ITEM_BLOCK = 4, /* items */
  ITEM_THREADS = 128,
};

struct fill_args {
  struct fill_source source;
  void *base;
  int64_t count, extent[OP_MAX_RANK], stride[OP_MAX_RANK];
  int32_t rank, bytes, poison, unused;
};

struct reference_args {
  int64_t plan[REFERENCE_PLAN / 8];
  struct reference_out out[OP_MAX_TENSORS];
  int64_t each[OP_MAX_TENSORS], items;
};

/* ---- Texts --------------------------------------------------------------- */

static const char include[] = "#include ";

static dd_status add_file(const char *path, size_t size,
                          bool done[MAX_SHARED], struct bytes *out);

/* Lines that bring in a file of ours become that file, the first time; others
 * are the host's. */
static dd_status add_line(const char *line, size_t size, bool done[MAX_SHARED],
                          struct bytes *out)
{
  const char *path = line + sizeof include, *end;

  if (size < sizeof include || strncmp(line, include, sizeof include - 1)) {
    bytes_add(out, line, size);
    bytes_text(out, "\n");
    return DD_OK;
  }
  end = memchr(path, '"', (size_t)(line + size - path));
  if (!end || path[-1] != '"' || strncmp(path, "variants/", 9)) return DD_OK;
  return add_file(path, (size_t)(end - path), done, out);
}

static dd_status add_file(const char *path, size_t size,
                          bool done[MAX_SHARED], struct bytes *out)
{
  unsigned long i = 0;
  const char *at;

  while (i < embedded_shared_count &&
         (strlen(embedded_shared[i].path) != size ||
          strncmp(embedded_shared[i].path, path, size)))
    i++;
  if (i == embedded_shared_count || i >= MAX_SHARED)
    return fail(DD_BUG, "the program has no text '%.*s'", (int)size, path);
  if (done[i]) return DD_OK;
  done[i] = true;
  at = embedded_shared[i].text;
  for (size_t n; *at; at += n + (at[n] == '\n')) {
    n = strcspn(at, "\n");
    TRY(add_line(at, n, done, out));
  }
  return DD_OK;
}

static dd_status add_shared(const char *path, struct bytes *out)
{
  bool done[MAX_SHARED] = {false};

  return add_file(path, strlen(path), done, out);
}

dd_status maker_fill_text(struct bytes *out)
{
  bytes_text(out, embedded_kernels[TOOL_WORDS].text);
  bytes_text(out, "#define FILL_DEVICE\n");
  TRY(add_shared("tuner/fill_element.h", out));
  bytes_text(out, embedded_kernels[TOOL_TRIAL].text);
  return bytes_status(out);
}

dd_status maker_reference_text(const struct reference *r, const char *before,
                               struct bytes *out)
{
  bytes_text(out, embedded_kernels[TOOL_WORDS].text);
  bytes_printf(out, "#define REFERENCE_DEVICE\n%s", before);
  TRY(add_shared(r->file, out));
  bytes_printf(out, "#define REFERENCE_ENTRY %s\n", r->entry);
  bytes_text(out, embedded_kernels[TOOL_REFERENCE].text);
  return bytes_status(out);
}

/* ---- Code ---------------------------------------------------------------- */

static dd_status load(struct maker *m, const struct bytes *code,
                      const char *entry, struct module **module,
                      struct kernel *kernel)
{
  const struct device_api *api = m->device->api;

  TRY(api->load(m->device, code->data, code->size, module));
  return api->kernel(m->device, *module, entry, kernel);
}

static dd_status load_fill(struct maker *m)
{
  struct bytes text = BYTES_INIT, code = BYTES_INIT;
  dd_status status = maker_fill_text(&text);

  if (!status) status = tool_code(m->device, text.data, TOOL_EXACT, &code);
  if (!status) status = load(m, &code, "dt_fill", &m->module, &m->fill);
  bytes_release(&text);
  bytes_release(&code);
  return status;
}

/* Ops of one family have one. */
static struct compiled *find_compiled(struct maker *m, const char *file)
{
  for (int i = 0; i < m->count; ++i)
    if (strcmp(m->reference[i].file, file) == 0) return &m->reference[i];
  return NULL;
}

static dd_status compile(struct maker *m, const struct reference *r,
                         struct compiled *c)
{
  struct bytes text = BYTES_INIT;
  dd_status status = maker_reference_text(r, m->before, &text);

  if (!status) status = tool_code(m->device, text.data, TOOL_EXACT, &c->code);
  bytes_release(&text);
  c->failed = status == DD_COMPILE;
  if (c->failed)
    say("%s does not compile for the device, so that the host computes it, "
        "which takes longer: %s", r->file, dd_last_error());
  return c->failed ? DD_OK : status;
}

dd_status maker_compile(struct maker *m, const struct reference *r)
{
  struct compiled *c = find_compiled(m, r->file);

  if (!c && m->count == MAX_REFERENCES)
    return fail(DD_BUG, "more than %d references", (int)MAX_REFERENCES);
  if (!c) {
    c = &m->reference[m->count];
    TRY(compile(m, r, c));
    c->file = r->file;
    m->count++;
  }
  if (!c->failed) return DD_OK;
  return fail(DD_COMPILE, "%s does not compile for the device", r->file);
}

bool maker_has_failed(const struct maker *m)
{
  for (int i = 0; i < m->count; ++i)
    if (m->reference[i].failed) return true;
  return false;
}

static dd_status load_reference(struct maker *m, const struct reference *r,
                                struct kernel *out)
{
  struct compiled *c;

  TRY(maker_compile(m, r));
  c = find_compiled(m, r->file);
  if (!c->module)
    TRY(load(m, &c->code, "dt_reference", &c->module, &c->kernel));
  *out = c->kernel;
  return DD_OK;
}

dd_status maker_open(struct device *d, const char *before, struct maker **out)
{
  struct maker *m = mem_resize(NULL, NULL, 0, sizeof *m);
  dd_status status;

  *out = NULL;
  if (!m) return fail(DD_NO_MEMORY, "out of memory");
  memset(m, 0, sizeof *m);
  m->device = d;
  m->before = before;
  status = load_fill(m);
  if (status) maker_close(m);
  else *out = m;
  return status;
}

void maker_close(struct maker *m)
{
  if (!m) return;
  for (int i = 0; i < MAX_REFERENCES; ++i) {
    struct compiled *c = &m->reference[i];
    if (c->module) m->device->api->unload(m->device, c->module);
    bytes_release(&c->code);
  }
  if (m->module) m->device->api->unload(m->device, m->module);
  mem_resize(NULL, m, sizeof *m, 0);
}

/* ---- Launches ------------------------------------------------------------ */

dd_status maker_fill(struct maker *m, const struct fill_source *source,
                     const struct tensor_shape *s, bool poison, void *base)
{
  struct fill_args a = {.source = *source,
                        .base = base,
                        .count = s->count,
                        .rank = (int32_t)s->rank,
                        .bytes = (int32_t)dtype_bytes(s->dtype),
                        .poison = poison};
  struct launch l = {.kernel = m->fill,
                     .grid = {(uint32_t)((s->count + FILL_BLOCK - 1) /
                                         FILL_BLOCK), 1, 1},
                     .block = FILL_THREADS,
                     .args = &a,
                     .args_size = sizeof a};

  memcpy(a.extent, s->extent, sizeof a.extent);
  memcpy(a.stride, s->stride, sizeof a.stride);
  return m->device->api->launch(m->device, &l, NULL);
}

dd_status maker_compute(struct maker *m, const struct reference *r,
                        const void *plan,
                        const struct reference_out out[OP_MAX_TENSORS],
                        const int64_t each[OP_MAX_TENSORS], int64_t items)
{
  struct reference_args a = {.items = items};
  struct launch l = {.grid = {(uint32_t)((items + ITEM_BLOCK - 1) / ITEM_BLOCK),
                              1, 1},
                     .block = ITEM_THREADS,
                     .args = &a,
                     .args_size = sizeof a};

  TRY(load_reference(m, r, &l.kernel));
  memcpy(a.plan, plan, r->plan_size);
  memcpy(a.out, out, sizeof a.out);
  memcpy(a.each, each, sizeof a.each);
  return m->device->api->launch(m->device, &l, NULL);
}
