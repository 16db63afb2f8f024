/*
 * variant_text.c - see variant_text.h.
 */
#include "variant_text.h"

#include <stdio.h>
#include <string.h>

/* ---- Launch bounds ----------------------------------------------------- */

/* What is known when a variant is compiled: facts, tunables, and the lets that
 * need no more than those. */
struct known {
  int64_t value[OP_MAX_SYMBOLS + OP_MAX_TUNABLES + DEVICE_SLOTS];
  bool have[OP_MAX_SYMBOLS + OP_MAX_TUNABLES + DEVICE_SLOTS];
};

static bool all_known(const struct known *k, const struct expr *e,
                      uint32_t slots, uint32_t *missing)
{
  for (*missing = 0; *missing < slots; ++*missing)
    if (!k->have[*missing] && expr_uses(e, *missing)) return false;
  return true;
}

static void know(const struct variant *v, struct known *k)
{
  const struct op *op = v->op;
  uint32_t i, missing;

  memset(k, 0, sizeof *k);
  for (i = 0; i < v->scheme->fact_count; i++) {
    k->value[v->scheme->facts[i]] = v->fact[i];
    k->have[v->scheme->facts[i]] = true;
  }
  for (i = 0; i < v->scheme->tunable_count; i++) {
    k->value[op->symbol_count + i] = v->tunable[i];
    k->have[op->symbol_count + i] = true;
  }
  for (i = 0; i < op->symbol_count; i++) {
    const struct symbol *s = &op->symbols[op->order[i]];
    if (s->kind == SYMBOL_LET &&
        all_known(k, s->otherwise, op->symbol_count, &missing))
      k->have[op->order[i]] =
          expr_eval(s->otherwise, k->value, &k->value[op->order[i]]) == DD_OK;
  }
}

static dd_status bound(const struct variant *v, const struct known *k,
                       const struct expr *e, const char *what, int64_t low,
                       int64_t high, int64_t *out)
{
  uint32_t slots =
      v->op->symbol_count + v->scheme->tunable_count + DEVICE_SLOTS;
  uint32_t missing;

  if (!all_known(k, e, slots, &missing))
    return fail(DD_BAD_SPEC,
                "variants/%s/%s.lua: %s '%s' uses '%s', which is neither a "
                "fact nor a tunable",
                v->op->name, v->scheme->name, what, expr_text(e),
                missing < v->op->symbol_count ? v->op->symbols[missing].name
                                              : "arch, sms or occupancy");
  TRY(expr_eval(e, k->value, out));
  if (*out < low || *out > high)
    return fail(DD_BAD_SPEC,
                "variants/%s/%s.lua: %s '%s' is %lld, not %lld to %lld",
                v->op->name, v->scheme->name, what, expr_text(e),
                (long long)*out, (long long)low, (long long)high);
  return DD_OK;
}

static dd_status put_bounds(const struct variant *v, struct bytes *out)
{
  struct known k;
  int64_t block, blocks = 0;

  know(v, &k);
  TRY(bound(v, &k, v->scheme->block, "block", 1, 1024, &block));
  if (v->scheme->min_blocks)
    TRY(bound(v, &k, v->scheme->min_blocks, "min_blocks", 0, 32, &blocks));
  bytes_printf(out, "__launch_bounds__(%lld", (long long)block);
  if (blocks) bytes_printf(out, ", %lld", (long long)blocks);
  bytes_text(out, ")");
  return DD_OK;
}

/* ---- The text ---------------------------------------------------------- */

static void put_fact(const struct symbol *s, int64_t value, struct bytes *out)
{
  uint32_t i;

  for (i = 0; i < s->choice_count; i++)
    if (s->choices[i].value == value) {
      bytes_printf(out, "%s::%s", s->cpp_type, s->choices[i].word);
      return;
    }
  bytes_printf(out, "%lld", (long long)value);
}

static void put_facts(const struct variant *v, struct bytes *out)
{
  uint32_t i;

  bytes_printf(out, "%s{", v->op->facts_type);
  for (i = 0; i < v->scheme->fact_count; i++) {
    const struct symbol *s = &v->op->symbols[v->scheme->facts[i]];
    bytes_printf(out, "%s.%s = ", i ? ", " : "", s->name);
    put_fact(s, v->fact[i], out);
  }
  bytes_text(out, "}");
}

static void put_tunables(const struct variant *v, struct bytes *out)
{
  uint32_t i;

  bytes_printf(out, "%s{", v->scheme->params);
  for (i = 0; i < v->scheme->tunable_count; i++) {
    const struct tunable *t = &v->scheme->tunables[i];
    bytes_printf(out, "%s.%s = ", i ? ", " : "", t->name);
    if (t->boolean) bytes_text(out, v->tunable[i] ? "true" : "false");
    else bytes_printf(out, "%lld", (long long)v->tunable[i]);
  }
  bytes_text(out, "}");
}

void variant_text_name(const struct variant *v, struct bytes *out)
{
  bytes_text(out, "// ");
  variant_print(v, out);
  bytes_text(out, " | ");
  variant_print_facts(v, out);
  bytes_text(out, "\n");
}

dd_status variant_text_entry(const struct variant *v, const char *entry,
                             struct bytes *out)
{
  bytes_text(out, "extern \"C\" __global__ void ");
  TRY(put_bounds(v, out));
  bytes_printf(out, "\n%s(const __grid_constant__ %s a)\n{\n  %s<", entry,
               v->op->args_type, v->scheme->function);
  put_facts(v, out);
  bytes_printf(out, ",\n  %*s", (int)strlen(v->scheme->function) + 1, "");
  put_tunables(v, out);
  bytes_printf(out, ">(a);\n}\nDT_EXPORT(%s, %s)\n", entry, v->op->args_type);
  return DD_OK;
}

static dd_status put_named_entry(const struct variant *v, const char *entry,
                                 struct bytes *out)
{
  bytes_text(out, "\n");
  variant_text_name(v, out);
  TRY(variant_text_entry(v, entry, out));
  return bytes_status(out);
}

dd_status variant_text(const struct variant *v, struct bytes *out)
{
  char name[VARIANT_ENTRY];

  variant_entry(v, name);
  return put_named_entry(v, name, out);
}

/* The entry has a name that no hash is in. */
dd_status variant_text_hash(struct variant *v, const struct hasher *source)
{
  struct hasher hasher = *source;
  struct bytes entry = BYTES_INIT;
  dd_status status = put_named_entry(v, "dt_entry", &entry);

  if (!status) {
    hasher_add(&hasher, entry.data, entry.size);
    v->hash = hasher_end(&hasher);
  }
  bytes_release(&entry);
  return status;
}
