/* build.c - variants on their way to the device. */
#include "build.h"

#include <string.h>

#include "cubin.h"
#include "variant_text.h"

/* Room for one more in a growing array. */
static dd_status reserve(void **array, size_t count, size_t *capacity,
                         size_t item)
{
  size_t more = *capacity ? *capacity * 2 : 256;
  void *bigger;

  if (count < *capacity) return DD_OK;
  bigger = mem_resize(NULL, *array, *capacity * item, more * item);
  if (!bigger) return fail(DD_NO_MEMORY, "out of memory");
  *array = bigger;
  *capacity = more;
  return DD_OK;
}

dd_status build_open(struct build *b, struct specs *specs, const char *target,
                     int jobs, uint32_t batch)
{
  memset(b, 0, sizeof *b);
  arena_init(&b->arena, NULL);
  b->specs = specs;
  b->batch = batch ? batch : 1;
  memcpy(b->target, target, strnlen(target, sizeof b->target - 1));
  b->queued = ARENA_ARRAY(&b->arena, uint32_t, b->batch);
  if (!b->queued) return fail(DD_NO_MEMORY, "out of memory");
  TRY(compiler_identity(target, &b->identity));
  return farm_open(jobs, &b->farm);
}

void build_close(struct build *b)
{
  farm_close(b->farm);
  for (struct scheme_text *t = b->schemes; t; t = t->next)
    emit_scheme_release(&t->emit);
  for (size_t i = 0; i < b->unit_count; ++i) bytes_release(&b->units[i].code);
  mem_resize(NULL, b->parts, b->part_capacity * sizeof *b->parts, 0);
  hash_table_release(&b->by_hash);
  mem_resize(NULL, b->units, b->unit_capacity * sizeof *b->units, 0);
  mem_resize(NULL, b->in_unit, b->in_unit_capacity * sizeof *b->in_unit, 0);
  bytes_release(&b->identity);
  arena_release(&b->arena);
  memset(b, 0, sizeof *b);
}

/* ---- Others that build the same ------------------------------------------ */

static bool claim_unit(void *user, int64_t unit)
{
  const struct build *b = user;

  return claims_take(b->claims, &b->units[unit].key);
}

static bool find_unit(void *user, int64_t unit, struct bytes *code)
{
  struct build *b = user;

  return cache_find(&b->cache, &b->units[unit].key, code);
}

static void keep_unit(void *user, int64_t unit, const struct bytes *code)
{
  struct build *b = user;

  cache_store(&b->cache, &b->units[unit].key, code);
}

void build_share(struct build *b, const struct claims *claims)
{
  const struct farm_peers peers = {.claim = claim_unit, .find = find_unit,
                                   .keep = keep_unit, .user = b,
                                   .patience = 10};

  if (!b->cache.folder[0]) return;
  b->claims = claims;
  farm_set_peers(b->farm, &peers);
}

bool build_is_shared(const struct build *b)
{
  return b->claims && b->claims->slot;
}

/* ---- Parts by hash ----------------------------------------------------------- */

static char *label_of(struct build *b, const struct variant *v)
{
  struct bytes text = BYTES_INIT;
  char *label;

  variant_print(v, &text);
  label = arena_text(&b->arena, bytes_string(&text), text.size);
  bytes_release(&text);
  return label;
}

static dd_status new_part(struct build *b, const struct variant *v,
                          uint32_t *out)
{
  struct part *p = ARENA_NEW(&b->arena, struct part);

  TRY(reserve((void **)&b->parts, b->part_count, &b->part_capacity,
              sizeof *b->parts));
  if (!p) return fail(DD_NO_MEMORY, "out of memory");
  p->variant = *v;
  p->label = label_of(b, v);
  if (!p->label) return fail(DD_NO_MEMORY, "out of memory");
  TRY(hash_table_add(&b->by_hash, &p->variant.hash, p));
  p->index = *out = (uint32_t)b->part_count;
  b->parts[b->part_count++] = p;
  return DD_OK;
}

/* ---- Texts by scheme ----------------------------------------------------- */

dd_status build_source(struct build *b, const struct variant *v,
                       const struct emit_scheme **out)
{
  struct scheme_text *t = b->schemes;

  while (t && t->emit.scheme != v->scheme) t = t->next;
  if (!t) {
    t = ARENA_NEW(&b->arena, struct scheme_text);
    if (!t) return fail(DD_NO_MEMORY, "out of memory");
    TRY(emit_scheme_make(&b->specs->tree, v, &t->emit));
    t->next = b->schemes;
    b->schemes = t;
  }
  *out = &t->emit;
  return DD_OK;
}

/* ---- What became of a unit ----------------------------------------------- */

static void part_fails(struct build *b, uint32_t part, const char *reason)
{
  struct part *p = b->parts[part];

  p->state = PART_FAILED;
  p->reason = arena_text(&b->arena, reason, strlen(reason));
  b->failed++;
}

static void hash_machine(struct part *p, const struct bytes *code,
                         const char *entry)
{
  int64_t use[] = {p->registers, p->local_bytes, p->shared_bytes};
  struct hash both[2];
  const void *text;
  size_t size;

  if (cubin_entry_code(code->data, code->size, entry, &text, &size)) return;
  both[0] = hash_of(text, size);
  both[1] = hash_of(use, sizeof use);
  p->machine = hash_of(both, sizeof both);
  p->has_machine = true;
}

static void read_usage(const struct build *b, struct part *p,
                       const struct bytes *code)
{
  char entry[VARIANT_ENTRY];
  struct usage usage;

  variant_entry(&p->variant, entry);
  if (strcmp(b->target, "cpu") == 0) return;
  if (cubin_usage(code->data, code->size, entry, &usage)) return;
  p->registers = usage.registers;
  p->local_bytes = usage.local_bytes;
  p->shared_bytes = usage.shared_bytes;
  hash_machine(p, code, entry);
}

/* A unit has its code, fresh or from the cache; takes it over. */
static void unit_arrives(struct build *b, size_t unit, struct bytes *code)
{
  struct unit *u = &b->units[unit];

  u->code = *code;
  *code = (struct bytes)BYTES_INIT;
  u->state = PART_COMPILED;
  if (u->alone) return;
  for (uint32_t i = 0; i < u->count; ++i) {
    struct part *p = b->parts[b->in_unit[u->first + i]];
    p->state = PART_COMPILED;
    read_usage(b, p, &u->code);
  }
  b->compiled += u->count;
}

/* ---- Units ---------------------------------------------------------------------- */

static const struct variant *variant_in(const struct build *b,
                                        const struct unit *u, uint32_t i)
{
  return &b->parts[b->in_unit[u->first + i]]->variant;
}

/* emit_unit()'s, without folding again, and without hashing again what its
 * scheme's others begin with. */
static dd_status unit_text(struct build *b, const struct unit *u,
                           struct bytes *text, struct hash *hash)
{
  const char *stored = b->parts[b->in_unit[u->first]]->text;
  const struct emit_scheme *s;
  struct hasher hasher;

  if (stored) {
    bytes_text(text, stored);
    *hash = hash_of(stored, strlen(stored));
    return bytes_status(text);
  }
  TRY(build_source(b, variant_in(b, u, 0), &s));
  bytes_add(text, s->source.data, s->source.size);
  for (uint32_t i = 0; i < u->count; ++i)
    TRY(variant_text(variant_in(b, u, i), text));
  TRY(bytes_status(text));
  hasher = s->hasher;
  hasher_add(&hasher, text->data + s->source.size,
             text->size - s->source.size);
  *hash = hasher_end(&hasher);
  return DD_OK;
}

static dd_status find_or_submit(struct build *b, size_t unit,
                                const struct bytes *text,
                                const struct hash *hash)
{
  struct unit *u = &b->units[unit];
  struct bytes code = BYTES_INIT;

  u->key = cache_key_hashed(bytes_string(&b->identity), b->target, hash);
  if (cache_find(&b->cache, &u->key, &code)) {
    unit_arrives(b, unit, &code);
    return DD_OK;
  }
  bytes_release(&code);
  return (u->alone ? farm_submit_first : farm_submit)(
      b->farm, (int64_t)unit, b->target, bytes_string(text));
}

static dd_status submit_unit(struct build *b, const uint32_t *parts,
                             uint32_t count, bool alone)
{
  struct bytes text = BYTES_INIT;
  struct hash hash;
  struct unit *u;
  dd_status status;

  TRY(reserve((void **)&b->units, b->unit_count, &b->unit_capacity,
              sizeof *b->units));
  u = &b->units[b->unit_count];
  *u = (struct unit){.first = (uint32_t)b->in_unit_count, .count = count,
                     .alone = alone};
  for (uint32_t i = 0; i < count; ++i) {
    TRY(reserve((void **)&b->in_unit, b->in_unit_count, &b->in_unit_capacity,
                sizeof *b->in_unit));
    b->in_unit[b->in_unit_count++] = parts[i];
    *(alone ? &b->parts[parts[i]]->alone : &b->parts[parts[i]]->unit) =
        (uint32_t)b->unit_count;
  }
  b->unit_count++;
  status = unit_text(b, u, &text, &hash);
  if (!status) status = find_or_submit(b, b->unit_count - 1, &text, &hash);
  bytes_release(&text);
  return status;
}

/* Variants of one scheme share a unit: it has one #include. */
static bool goes_with_queue(const struct build *b, const struct variant *v)
{
  return b->queued_count == 0 ||
         b->parts[b->queued[0]]->variant.scheme == v->scheme;
}

dd_status build_submit(struct build *b)
{
  uint32_t count = (uint32_t)b->queued_count;

  b->queued_count = 0;
  return count ? submit_unit(b, b->queued, count, false) : DD_OK;
}

dd_status build_add(struct build *b, struct variant *v, uint32_t *part)
{
  const struct emit_scheme *s;
  const struct part *known;

  TRY(build_source(b, v, &s));
  TRY(emit_hash(s, v));
  known = hash_table_find(&b->by_hash, &v->hash);
  if (known) {
    *part = known->index;
    return DD_OK;
  }
  if (!goes_with_queue(b, v)) TRY(build_submit(b));
  TRY(new_part(b, v, part));
  b->queued[b->queued_count++] = *part;
  return b->queued_count == b->batch ? build_submit(b) : DD_OK;
}

dd_status build_add_text(struct build *b, const struct variant *v,
                         const char *text, uint32_t *part)
{
  const struct part *known = hash_table_find(&b->by_hash, &v->hash);

  if (known) {
    *part = known->index;
    return DD_OK;
  }
  TRY(new_part(b, v, part));
  b->parts[*part]->text = text;
  return submit_unit(b, part, 1, false);
}

static void alone_fails(struct build *b, struct unit *u, const char *reason)
{
  u->state = PART_FAILED;
  u->reason = arena_text(&b->arena, reason, strlen(reason));
}

/* By index: submitting may move the units.  What only this machine is to blame
 * for (no memory, a full disk, no sandbox) is no verdict on any variant. */
static dd_status take_result(struct build *b, struct farm_result *r)
{
  uint32_t first = b->units[r->id].first, count = b->units[r->id].count;

  if (r->status == DD_OK) {
    if (!r->kept) cache_store(&b->cache, &b->units[r->id].key, &r->code);
    unit_arrives(b, (size_t)r->id, &r->code);
    return DD_OK;
  }
  if (r->status != DD_COMPILE)
    return fail(r->status, "a unit could not be compiled: %s",
                bytes_string(&r->error));
  if (b->units[r->id].alone) {
    alone_fails(b, &b->units[r->id], bytes_string(&r->error));
    return DD_OK;
  }
  if (count == 1) {
    part_fails(b, b->in_unit[first], bytes_string(&r->error));
    return DD_OK;
  }
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t part = b->in_unit[first + i];
    TRY(submit_unit(b, &part, 1, false));
  }
  return DD_OK;
}

dd_status build_pump(struct build *b, bool wait)
{
  struct farm_result r;
  dd_status status;

  while (farm_next(b->farm, &r, wait)) {
    status = take_result(b, &r);
    farm_result_release(&r);
    if (status) return status;
    wait = false;
  }
  return DD_OK;
}

dd_status build_load(struct build *b, uint32_t part, struct client *c)
{
  uint32_t unit = b->parts[part]->unit; /* units may move during the call */
  const struct unit *u = &b->units[unit];
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status;

  if (u->loaded == c->generation) return DD_OK;
  wire_put_u32(&request, REQUEST_LOAD);
  wire_put_bytes(&request, u->code.data, u->code.size);
  wire_put_u32(&request, u->count);
  for (uint32_t i = 0; i < u->count; ++i)
    put_variant(&request, &b->parts[b->in_unit[u->first + i]]->variant);
  status = client_call(c, &request, 60, &reply);
  if (!status) b->units[unit].loaded = c->generation;
  bytes_release(&request);
  bytes_release(&reply);
  return status;
}

/* ---- One part alone -------------------------------------------------------------- */

static bool same_machine_code(const struct part *p, const struct bytes *a,
                              const void *other, size_t other_size)
{
  char entry[VARIANT_ENTRY];
  const void *code[2];
  size_t size[2];

  variant_entry(&p->variant, entry);
  if (cubin_entry_code(a->data, a->size, entry, &code[0], &size[0]) ||
      cubin_entry_code(other, other_size, entry, &code[1], &size[1]))
    return false;
  return size[0] == size[1] && memcmp(code[0], code[1], size[0]) == 0;
}

bool build_has_code(const struct build *b, uint32_t part, const void *code,
                    size_t size)
{
  const struct part *p = b->parts[part];

  return p->state == PART_COMPILED &&
         same_machine_code(p, &b->units[p->unit].code, code, size);
}

static bool is_alone(const struct build *b, const struct part *p)
{
  return b->units[p->unit].count == 1;
}

dd_status build_want_alone(struct build *b, uint32_t part)
{
  const struct part *p = b->parts[part];

  return is_alone(b, p) || p->alone ? DD_OK : submit_unit(b, &part, 1, true);
}

bool build_has_alone(const struct build *b, uint32_t part)
{
  const struct part *p = b->parts[part];

  return is_alone(b, p) ||
         (p->alone && b->units[p->alone].state != PART_WAITING);
}

dd_status build_alone(struct build *b, uint32_t part, const struct bytes **code)
{
  const struct part *p = b->parts[part];
  const struct unit *alone;

  *code = &b->units[p->unit].code;
  if (is_alone(b, p)) return DD_OK;
  TRY(build_want_alone(b, part));
  while (!build_has_alone(b, part) && farm_pending(b->farm) &&
         !farm_is_over(b->farm))
    TRY(build_pump(b, true));
  alone = &b->units[p->alone];
  if (alone->state != PART_COMPILED)
    return fail(DD_COMPILE, "%s: %s", p->label,
                alone->reason ? alone->reason : "it was not compiled");
  *code = &alone->code;
  if (same_machine_code(p, &b->units[p->unit].code, alone->code.data,
                        alone->code.size))
    return DD_OK;
  return fail(DD_COMPILE, "%s: compiled alone its machine code is not what was "
              "proven; use --batch 1", p->label);
}
