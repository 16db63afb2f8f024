/* origin.c - the device and the policy whose rows make a table. */
#include "origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffdispatch.h"

/* One device, whatever its driver, as a table names it. */
struct named_device {
  struct named_device *next;
  char name[128], kind[16];
  int arch, sms;
  const char *text; /* "NVIDIA H200 (sm_90, 132 SMs)" */
};

struct choosing {
  const char *db_path, *device, *policy; /* what is asked for */
  struct arena arena;
  struct named_device *first, **end; /* in the order of the rows */
  struct texts policies;             /* of the device */
  struct origin *out;
};

/* ---- The device ---------------------------------------------------------- */

static void device_text(const struct db_row *row, struct bytes *out)
{
  char target[TARGET_TEXT];

  target_print(row->arch, target);
  bytes_printf(out, "%s (%s, %d SMs)", row->device, target, row->sms);
}

static dd_status add_device(struct choosing *c, const struct db_row *row,
                            const char *text)
{
  struct named_device *d;

  for (d = c->first; d; d = d->next)
    if (!strcmp(d->text, text)) return DD_OK;
  d = ARENA_NEW(&c->arena, struct named_device);
  if (!d) return fail(DD_NO_MEMORY, "out of memory");
  *d = (struct named_device){.arch = row->arch, .sms = row->sms};
  snprintf(d->name, sizeof d->name, "%s", row->device);
  snprintf(d->kind, sizeof d->kind, "%s", row->device_kind);
  d->text = arena_text(&c->arena, text, strlen(text));
  if (!d->text) return fail(DD_NO_MEMORY, "out of memory");
  *c->end = d;
  c->end = &d->next;
  return DD_OK;
}

static dd_status visit_device(void *user, const struct db_row *row)
{
  struct bytes text = BYTES_INIT;
  dd_status status;

  device_text(row, &text);
  status = bytes_status(&text);
  if (!status) status = add_device(user, row, text.data);
  bytes_release(&text);
  return status;
}

static bool is_meant(const struct choosing *c, const struct named_device *d,
                     bool whole)
{
  if (!c->device) return !whole;
  if (!whole) return strcasestr(d->text, c->device) != NULL;
  return !strcmp(d->name, c->device) || !strcmp(d->text, c->device);
}

static uint32_t count_meant(const struct choosing *c, bool whole,
                            const struct named_device **last,
                            struct bytes *list)
{
  uint32_t n = 0;

  for (const struct named_device *d = c->first; d; d = d->next) {
    if (!is_meant(c, d, whole)) continue;
    bytes_printf(list, "%s '%s'", n++ ? "," : "", d->text);
    *last = d;
  }
  return n;
}

static dd_status no_device(const struct choosing *c)
{
  struct bytes list = BYTES_INIT;

  for (const struct named_device *d = c->first; d; d = d->next)
    bytes_printf(&list, "%s '%s'", d != c->first ? "," : "; it has", d->text);
  fail(DD_UNTUNED, "'%s' has no measurement%s%s%s", c->db_path,
       c->device ? " on " : "", c->device ? c->device : "",
       bytes_string(&list));
  bytes_release(&list);
  return DD_UNTUNED;
}

static void take_device(const struct named_device *d, struct origin *out)
{
  memcpy(out->device, d->name, sizeof out->device);
  memcpy(out->kind, d->kind, sizeof out->kind);
  out->arch = d->arch;
  out->sms = d->sms;
  target_print(d->arch, out->target);
}

static dd_status choose_device(struct choosing *c)
{
  const struct named_device *chosen = NULL;
  struct bytes list = BYTES_INIT;
  dd_status status = DD_OK;
  uint32_t n = count_meant(c, true, &chosen, &list);

  if (!n) n = count_meant(c, false, &chosen, &list);
  if (n > 1)
    status = fail(DD_BAD_ARGUMENT, "the database has more than one device; "
                  "choose with --device:%s", bytes_string(&list));
  bytes_release(&list);
  if (!n) return no_device(c);
  if (!status) take_device(chosen, c->out);
  return status;
}

/* ---- The policy ---------------------------------------------------------- */

static bool is_device(const struct origin *o, const struct db_row *row)
{
  return !strcmp(row->device, o->device) && row->arch == o->arch &&
         row->sms == o->sms && !strcmp(row->device_kind, o->kind);
}

static dd_status visit_policy(void *user, const struct db_row *row)
{
  struct choosing *c = user;

  if (is_device(c->out, row) && !texts_have(&c->policies, row->policy))
    texts_add(&c->policies, keep_text(row->policy));
  return DD_OK;
}

static dd_status no_policy(const struct choosing *c)
{
  struct bytes list = BYTES_INIT;

  for (size_t i = 0; i < c->policies.count; ++i)
    bytes_printf(&list, "%s '%s'", i ? "," : "", c->policies.item[i]);
  if (c->policy)
    fail(DD_BAD_ARGUMENT, "no policy is named '%s'; the database has%s",
         c->policy, bytes_string(&list));
  else
    fail(DD_BAD_ARGUMENT, "the database has more than one policy; choose with "
         "--policy:%s", bytes_string(&list));
  bytes_release(&list);
  return DD_BAD_ARGUMENT;
}

static dd_status choose_policy(struct choosing *c)
{
  const char *name = c->policy;

  if (!name && c->policies.count == 1) name = c->policies.item[0];
  if (!name || !texts_have(&c->policies, name)) return no_policy(c);
  snprintf(c->out->policy, sizeof c->out->policy, "%s", name);
  return DD_OK;
}

dd_status origin_choose(struct db *db, const char *db_path, const char *device,
                        const char *policy, struct origin *out)
{
  struct choosing c = {.db_path = db_path, .device = device, .policy = policy,
                       .out = out};
  struct db_filter best = {.best_only = true};
  dd_status status;

  memset(out, 0, sizeof *out);
  c.end = &c.first;
  arena_init(&c.arena, NULL);
  status = db_each(db, &best, visit_device, &c);
  if (!status) status = choose_device(&c);
  if (!status) status = db_each(db, &best, visit_policy, &c);
  if (!status) status = choose_policy(&c);
  arena_release(&c.arena);
  return status;
}

/* ---- The rows ------------------------------------------------------------ */

bool origin_has(const struct origin *o, const struct db_row *row)
{
  return is_device(o, row) && !strcmp(row->policy, o->policy);
}

static void add_once(struct texts *t, const char *text)
{
  if (*text && !texts_have(t, text)) texts_add(t, keep_text(text));
}

/* A compiler's name without its options. */
static void add_compiler(struct origin *o, const char *identity)
{
  struct bytes name = BYTES_INIT;
  const char *options = strstr(identity, " -");

  bytes_add(&name, identity,
            options ? (size_t)(options - identity) : strlen(identity));
  add_once(&o->compilers, bytes_string(&name));
  bytes_release(&name);
}

dd_status origin_note(struct db *db, const struct db_row *row,
                      struct origin *o)
{
  struct db_provenance from;
  struct arena arena;
  dd_status status;

  if (row->sweep == o->sweep && row->toolchain == o->toolchain) return DD_OK;
  o->sweep = row->sweep;
  o->toolchain = row->toolchain;
  arena_init(&arena, NULL);
  status = db_provenance(db, row->measurement, &arena, &from);
  if (!status) {
    add_once(&o->drivers, from.driver);
    add_compiler(o, from.toolchain);
  }
  arena_release(&arena);
  return status;
}

static int by_text(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_sorted(struct texts *t, const char *label, struct bytes *out)
{
  if (t->count) qsort(t->item, t->count, sizeof *t->item, by_text);
  for (size_t i = 0; i < t->count; ++i)
    bytes_printf(out, "%s%s", i ? " and " : label, t->item[i]);
}

dd_status origin_print(struct origin *o, struct bytes *out)
{
  bytes_printf(out, "difftune %d.%d.%d", DD_VERSION_MAJOR, DD_VERSION_MINOR,
               DD_VERSION_PATCH);
  print_sorted(&o->drivers, ", driver ", out);
  print_sorted(&o->compilers, ", ", out);
  return bytes_status(out);
}
