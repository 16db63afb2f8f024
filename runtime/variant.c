/* variant.c - one point of a space, its conditions and its launch. */
#include "variant.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SLOTS = OP_MAX_SYMBOLS + OP_MAX_TUNABLES + DEVICE_SLOTS };

void variant_of(const struct scheme *scheme, const struct problem *problem,
                const int64_t *tunable, struct variant *out)
{
  memset(out, 0, sizeof *out);
  out->op = problem->op;
  out->scheme = scheme;
  for (uint32_t i = 0; i < scheme->tunable_count; ++i)
    out->tunable[i] = tunable ? tunable[i] : scheme->tunables[i].values[0];
  for (uint32_t i = 0; i < scheme->fact_count; ++i)
    out->fact[i] = problem->value[scheme->facts[i]];
}

void variant_print(const struct variant *v, struct bytes *out)
{
  bytes_printf(out, "%s.%s", v->op->name, v->scheme->name);
  for (uint32_t i = 0; i < v->scheme->tunable_count; ++i)
    bytes_printf(out, " %s=%lld", v->scheme->tunables[i].name,
                 (long long)v->tunable[i]);
}

static const char *fact_word(const struct symbol *s, int64_t value)
{
  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (s->choices[i].value == value) return s->choices[i].word;
  return NULL;
}

void variant_print_facts(const struct variant *v, struct bytes *out)
{
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i) {
    const struct symbol *s = &v->op->symbols[v->scheme->facts[i]];
    const char *word = fact_word(s, v->fact[i]);
    bytes_printf(out, "%s%s=", i ? " " : "", s->name);
    if (word) bytes_text(out, word);
    else bytes_printf(out, "%lld", (long long)v->fact[i]);
  }
}

void variant_entry(const struct variant *v, char name[VARIANT_ENTRY])
{
  char hex[HASH_HEX];

  hash_hex(&v->hash, hex);
  snprintf(name, VARIANT_ENTRY, "dt_%.16s", hex);
}

void variant_device_slots(int arch, int sms, int occupancy,
                          int64_t device[DEVICE_SLOTS])
{
  device[DEVICE_ARCH] = arch;
  device[DEVICE_SMS] = sms;
  device[DEVICE_OCCUPANCY] = occupancy;
}

/* The slots of a scheme's expressions: symbols, tunables, device. */
static void fill_slots(const struct variant *v, const struct problem *p,
                       int arch, int sms, int occupancy,
                       int64_t slots[MAX_SLOTS])
{
  uint32_t symbols = v->op->symbol_count, tunables = v->scheme->tunable_count;

  memcpy(slots, p->value, sizeof *slots * symbols);
  memcpy(slots + symbols, v->tunable, sizeof *slots * tunables);
  variant_device_slots(arch, sms, occupancy, slots + symbols + tunables);
}

const char *variant_misfit(const struct variant *v, const struct problem *p,
                           int arch, int sms)
{
  int64_t slots[MAX_SLOTS], holds;
  const struct scheme *s = v->scheme;

  for (uint32_t i = 0; i < s->fact_count; ++i)
    if (p->value[s->facts[i]] != v->fact[i])
      return v->op->symbols[s->facts[i]].name;
  fill_slots(v, p, arch, sms, 1, slots);
  for (uint32_t i = 0; i < s->rule_count; ++i)
    if (expr_eval(s->rules[i].expr, slots, &holds) || !holds)
      return expr_text(s->rules[i].expr);
  return NULL;
}

static dd_status eval_u32(const struct expr *e, const int64_t *slots,
                          int64_t otherwise, uint32_t *out)
{
  int64_t value = otherwise;

  if (e) TRY(expr_eval(e, slots, &value));
  if (value < 0 || value > INT32_MAX)
    return fail(DD_UNSUPPORTED, "'%s' is %lld, which no launch can have",
                e ? expr_text(e) : "", (long long)value);
  *out = (uint32_t)value;
  return DD_OK;
}

dd_status variant_geometry(const struct variant *v, const struct problem *p,
                           int arch, int sms, int occupancy,
                           struct geometry *out)
{
  int64_t slots[MAX_SLOTS];
  const struct scheme *s = v->scheme;

  memset(out, 0, sizeof *out);
  fill_slots(v, p, arch, sms, occupancy, slots);
  for (int i = 0; i < 3; ++i) TRY(eval_u32(s->grid[i], slots, 1, &out->grid[i]));
  TRY(eval_u32(s->block, slots, 1, &out->block));
  TRY(eval_u32(s->shared_bytes, slots, 0, &out->shared_bytes));
  TRY(eval_u32(s->min_blocks, slots, 0, &out->min_blocks));
  if (out->block == 0 || out->block > 1024)
    return fail(DD_UNSUPPORTED, "a block of %u threads cannot be launched",
                out->block);
  if (out->grid[1] > 65535 || out->grid[2] > 65535)
    return fail(DD_UNSUPPORTED, "a grid of %u x %u x %u cannot be launched",
                out->grid[0], out->grid[1], out->grid[2]);
  return DD_OK;
}

static void store_arg(const struct arg_spec *arg, int64_t whole, double real,
                      uint8_t *args)
{
  int32_t i32 = (int32_t)whole;
  float f32 = (float)real;

  switch (arg->type) {
  case ARG_PTR: break;
  case ARG_I32: memcpy(args + arg->offset, &i32, 4); break;
  case ARG_I64: memcpy(args + arg->offset, &whole, 8); break;
  case ARG_F32: memcpy(args + arg->offset, &f32, 4); break;
  }
}

dd_status args_fill(const struct problem *p, const double *attr,
                    uint8_t args[OP_MAX_ARGS_SIZE])
{
  const struct op *op = p->op;

  memset(args, 0, op->args_size);
  for (uint32_t i = 0; i < op->arg_count; ++i) {
    const struct arg_spec *arg = &op->args[i];
    double real = 0;
    int64_t whole = 0;
    if (arg->kind == ARG_VALUE) {
      TRY(expr_eval(arg->value, p->value, &whole));
      real = (double)whole;
      if (arg->type == ARG_I32 && whole != (int32_t)whole)
        return fail(DD_UNSUPPORTED, "'%s': %s=%lld needs more than 32 bits",
                    op->name, arg->name, (long long)whole);
    } else if (arg->kind == ARG_ATTR) {
      real = attr[arg->index];
      whole = (int64_t)real;
    }
    store_arg(arg, whole, real, args);
  }
  return DD_OK;
}

void args_bind(const struct problem *p, void *const *buffer,
               uint8_t args[OP_MAX_ARGS_SIZE])
{
  const struct op *op = p->op;

  for (uint32_t i = 0; i < op->arg_count; ++i) {
    const struct arg_spec *arg = &op->args[i];
    const struct tensor_spec *t;
    int64_t present = 1;
    void *pointer = NULL;

    if (arg->kind != ARG_TENSOR) continue;
    t = &op->tensors[arg->index];
    if (t->when && expr_eval(t->when, p->value, &present)) present = 0;
    if (present) pointer = buffer[arg->index];
    else if (t->alias >= 0) pointer = buffer[t->alias];
    memcpy(args + arg->offset, &pointer, sizeof pointer);
  }
}
