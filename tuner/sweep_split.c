/* sweep_split.c - the split plan: the best of each part. */
#include "sweep_inner.h"

#include <string.h>

static dd_status build_of_points(struct sweep *s, const struct outcome *o,
                                 struct entry *e)
{
  struct bytes label = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < o->point_count && !e->candidate.step_count; ++i) {
    bytes_clear(&label);
    variant_print(&o->points[i], &label);
    if (strcmp(bytes_string(&label), e->label)) continue;
    status = sweep_add_entry(s, e, &o->points[i]);
    break;
  }
  bytes_release(&label);
  return status;
}

static void take_built(const struct outcome *o, struct entry *e)
{
  for (uint32_t i = 0; i < o->built_count; ++i) {
    const struct entry *built = &o->built[i];
    if (strcmp(built->label, e->label)) continue;
    e->candidate = built->candidate;
    e->part[0] = built->part[0];
  }
}

/* The winner of a part that an earlier run or another board has swept: it is
 * not built yet, unless the part was opened before that was known. */
static dd_status build_restored(struct sweep *s, struct outcome *o)
{
  struct entry *e = &o->entries[o->best_fused];
  dd_status status = DD_OK;

  if (o->opened) take_built(o, e);
  else status = build_of_points(s, o, e);
  if (!status && !e->candidate.step_count)
    status = fail(DD_UNSUPPORTED, "'%s' is no longer a variant", e->label);
  if (!status) status = build_submit(s->build);
  while (!status && s->build->parts[e->part[0]]->state == PART_WAITING &&
         !sweep_is_stopped(s))
    status = sweep_wait_for_code(s, o);
  if (!status && s->build->parts[e->part[0]]->state != PART_COMPILED)
    status = fail(DD_UNSUPPORTED, "'%s' was not compiled again", e->label);
  return status;
}

/* The best of each part; none where a part has no winner. */
static dd_status make_split(struct sweep *s, const struct outcome *o,
                            struct entry *e)
{
  struct bytes label = BYTES_INIT;

  bytes_text(&label, "split:");
  for (uint32_t i = 0; i < o->problem.op->step_count; ++i) {
    struct problem step;
    int bind[OP_MAX_TENSORS];
    struct outcome *part;
    dd_status status =
        problem_step(&s->specs->ops, &o->problem, i, &step, bind);
    part = status ? NULL : sweep_find(s, &step);
    if (!part || part->best_fused < 0) {
      bytes_release(&label);
      return fail(DD_UNSUPPORTED, "part %u of the split form has no variant "
                  "that was proven", i + 1);
    }
    if (part->restored) TRY(build_restored(s, part));
    e->part[i] = part->entries[part->best_fused].part[0];
    e->candidate.steps[i] = part->entries[part->best_fused].candidate.steps[0];
    bytes_printf(&label, "%s %s", i ? "," : "",
                 part->entries[part->best_fused].label);
  }
  e->candidate.split = true;
  e->candidate.step_count = o->problem.op->step_count;
  e->label = arena_text(&s->arena, bytes_string(&label), label.size);
  bytes_release(&label);
  return e->label ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* What only this machine is to blame for (a full disk, no memory) says nothing
 * about the split form. */
dd_status sweep_prove_split(struct sweep *s, struct outcome *o, int *generation)
{
  struct entry *e = &o->entries[o->count];
  dd_status status;

  if (!o->has_split || sweep_is_stopped(s)) return DD_OK;
  status = o->broken ? DD_OK : make_split(s, o, e);
  if (status && status != DD_UNSUPPORTED) return status;
  if (o->broken || status) {
    if (status) say("%s: no split plan: %s", o->spelling, dd_last_error());
    o->has_split = false;
    s->done++;
    return DD_OK;
  }
  return sweep_prove(s, o, e, generation);
}
