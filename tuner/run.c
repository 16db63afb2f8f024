/* run.c - a candidate, ready to be launched on a problem. */
#include "run.h"

#include <string.h>

/* A step's attributes are the whole op's, by name; `step` is NULL where the
 * whole is one launch. */
static void pass_attrs(const struct op *whole, const double *attr,
                       const struct step_spec *step, const struct op *inner,
                       double *out)
{
  for (uint32_t i = 0; i < inner->attr_count; ++i) {
    const char *name = inner->attrs[i].name;
    out[i] = inner->attrs[i].otherwise;
    if (step) name = step_outer_name(step, name);
    for (uint32_t j = 0; j < whole->attr_count; ++j)
      if (strcmp(name, whole->attrs[j].name) == 0) out[i] = attr[j];
  }
}

static dd_status find_offsets(const struct problem *p, uint32_t i,
                              struct run_step *s)
{
  const struct op *op = s->problem.op;

  for (uint32_t j = 0; j < op->tensor_count; ++j)
    TRY(problem_step_offset(p, i, op->tensors[j].name, &s->skip[j]));
  return DD_OK;
}

static dd_status make_step(struct device *d, const struct loaded *v,
                           struct run_step *s)
{
  const struct device_info *info = &d->info;
  const char *misfit =
      variant_misfit(&v->variant, &s->problem, info->arch, info->sms);
  int occupancy = 1;

  if (misfit)
    return fail(DD_UNSUPPORTED, "%s.%s does not fit: %s", v->variant.op->name,
                v->variant.scheme->name, misfit);
  s->kernel = v->kernel;
  TRY(variant_geometry(&v->variant, &s->problem, info->arch, info->sms, 1,
                       &s->geometry));
  TRY(d->api->occupancy(d, &s->kernel, s->geometry.block,
                        s->geometry.shared_bytes, &occupancy));
  return variant_geometry(&v->variant, &s->problem, info->arch, info->sms,
                          occupancy, &s->geometry);
}

dd_status run_make(struct device *d, const struct op_set *set,
                   const struct problem *p, bool split, uint32_t step_count,
                   const struct loaded *const *steps, const double *attr,
                   struct run *out)
{
  uint32_t expected = split ? p->op->step_count : 1;

  memset(out, 0, sizeof *out);
  if (step_count != expected)
    return fail(DD_BUG, "a candidate has %u steps, not %u", step_count, expected);
  out->whole = p->op;
  out->step_count = step_count;
  for (uint32_t i = 0; i < step_count; ++i) {
    struct run_step *s = &out->steps[i];
    if (split) {
      TRY(problem_step(set, p, i, &s->problem, s->bind));
      TRY(find_offsets(p, i, s));
    } else {
      s->problem = *p;
      for (int j = 0; j < OP_MAX_TENSORS; ++j) s->bind[j] = j;
    }
    pass_attrs(p->op, attr, split ? &p->op->steps[i] : NULL, s->problem.op,
               s->attr);
    TRY(make_step(d, steps[i], s));
    TRY(args_fill(&s->problem, s->attr, s->args));
  }
  return DD_OK;
}

/* The memory of a step's tensor; where the whole problem lacks the tensor, its
 * alias's (in place, q_out is q). */
static void *bound(const struct op *whole, const struct run_step *s, uint32_t j,
                   void *const *buffer)
{
  int tensor = s->bind[j];
  char *base;

  if (tensor < 0) return NULL;
  base = buffer[tensor];
  if (!base && whole->tensors[tensor].alias >= 0)
    base = buffer[whole->tensors[tensor].alias];
  return base ? base + s->skip[j] : NULL;
}

dd_status run_launches(const struct run *r, void *const *buffer, uint8_t *args,
                       struct launch *out)
{
  for (uint32_t i = 0; i < r->step_count; ++i) {
    const struct run_step *s = &r->steps[i];
    uint8_t *a = args + (size_t)i * OP_MAX_ARGS_SIZE;
    void *inner[OP_MAX_TENSORS] = {NULL};

    for (uint32_t j = 0; j < s->problem.op->tensor_count; ++j)
      inner[j] = bound(r->whole, s, j, buffer);
    memcpy(a, s->args, s->problem.op->args_size);
    args_bind(&s->problem, inner, a);
    out[i] = (struct launch){s->kernel,
                             {s->geometry.grid[0], s->geometry.grid[1],
                              s->geometry.grid[2]},
                             s->geometry.block, s->geometry.shared_bytes, a,
                             s->problem.op->args_size};
  }
  return DD_OK;
}
