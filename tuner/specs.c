/* specs.c - the ops of a command, and the problems it was asked for. */
#include "specs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "spec.h"

dd_status specs_load(struct specs *s, const char *folder)
{
  dd_status status;

  memset(s, 0, sizeof *s);
  TRY(tree_load(&s->tree, folder));
  status = spec_evaluate(&s->tree, NULL, NULL, &s->message);
  if (!status)
    status = op_set_read(&s->ops, s->message.data, s->message.size, NULL);
  if (!status) return DD_OK;
  bytes_release(&s->message);
  tree_release(&s->tree);
  return status;
}

void specs_release(struct specs *s)
{
  op_set_release(&s->ops);
  bytes_release(&s->message);
  tree_release(&s->tree);
}

dd_status specs_know(const struct specs *s, const struct texts *names)
{
  struct bytes known = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < s->ops.count; ++i)
    bytes_printf(&known, " %s", s->ops.ops[i].name);
  for (size_t i = 0; i < names->count && !status; ++i)
    if (!op_find(&s->ops, names->item[i]))
      status = fail(DD_BAD_ARGUMENT, "no op is named '%s'; known are:%s",
                    names->item[i], bytes_string(&known));
  bytes_release(&known);
  return status;
}

/* ---- Targets and tunables -------------------------------------------- */

dd_status target_parse(const char *text, int *arch, int *sms)
{
  static const struct {
    int arch, sms;
  } known[] = {{80, 108}, {86, 84},   {87, 16},  {89, 142}, {90, 132},
               {100, 148}, {103, 148}, {110, 20}, {120, 188}, {121, 48}};
  const char *digits = strncmp(text, "sm_", 3) ? text : text + 3;
  struct device_info cpu;
  size_t count;
  char *end;
  long value = strtol(digits, &end, 10);

  *arch = *sms = 0;
  if (!strcmp(text, "cpu")) {
    TRY(cpu_device.list(&cpu, 1, &count));
    *sms = cpu.sms;
    return DD_OK;
  }
  for (size_t i = 0; i < COUNT_OF(known) && !*end; ++i)
    if (known[i].arch == value) {
      *arch = known[i].arch;
      *sms = known[i].sms;
      return DD_OK;
    }
  return fail(DD_BAD_ARGUMENT,
              "no target is named '%s'; known are: cpu sm_80 sm_86 sm_87 sm_89 "
              "sm_90 sm_100 sm_103 sm_110 sm_120 sm_121",
              text);
}

void target_print(int arch, char text[TARGET_TEXT])
{
  if (arch)
    snprintf(text, TARGET_TEXT, "sm_%d", arch);
  else
    snprintf(text, TARGET_TEXT, "cpu");
}

static dd_status no_such_value(const struct tunable *t, const char *text)
{
  struct bytes values = BYTES_INIT;

  for (uint32_t i = 0; i < t->value_count; ++i)
    bytes_printf(&values, " %lld", (long long)t->values[i]);
  fail(DD_BAD_ARGUMENT, "%s cannot be '%s'; its values are:%s", t->name, text,
       bytes_string(&values));
  bytes_release(&values);
  return DD_BAD_ARGUMENT;
}

static bool number_parse(const struct tunable *t, const char *text,
                         int64_t *value)
{
  char *end;

  *value = strtoll(text, &end, 10);
  if (*text && !*end) return true;
  if (!t->boolean) return false;
  *value = !strcmp(text, "true");
  return *value || !strcmp(text, "false");
}

static dd_status no_such_tunable(const struct scheme *s, const char *name,
                                 size_t size)
{
  struct bytes known = BYTES_INIT;

  for (uint32_t i = 0; i < s->tunable_count; ++i)
    bytes_printf(&known, " %s", s->tunables[i].name);
  fail(DD_BAD_ARGUMENT, "'%s' has no tunable named '%.*s'; known are:%s",
       s->name, (int)size, name,
       known.size ? bytes_string(&known) : " none");
  bytes_release(&known);
  return DD_BAD_ARGUMENT;
}

dd_status tunable_parse(const struct scheme *s, const char *assignment,
                        int64_t value[OP_MAX_TUNABLES])
{
  const char *equals = strchr(assignment, '=');
  int64_t wanted;

  if (!equals)
    return fail(DD_BAD_ARGUMENT, "'%s' is not TUNABLE=VALUE", assignment);
  for (uint32_t i = 0; i < s->tunable_count; ++i) {
    const struct tunable *t = &s->tunables[i];
    size_t size = (size_t)(equals - assignment);
    if (strlen(t->name) != size || memcmp(t->name, assignment, size)) continue;
    if (number_parse(t, equals + 1, &wanted))
      for (uint32_t j = 0; j < t->value_count; ++j)
        if (t->values[j] == wanted) {
          value[i] = wanted;
          return DD_OK;
        }
    return no_such_value(t, equals + 1);
  }
  return no_such_tunable(s, assignment, (size_t)(equals - assignment));
}

/* ---- Problems -------------------------------------------------------- */

void problems_release(struct problems *p)
{
  mem_resize(NULL, p->item, p->capacity * sizeof *p->item, 0);
  memset(p, 0, sizeof *p);
}

static bool problems_have(const struct problems *all, const struct problem *p)
{
  for (size_t i = 0; i < all->count; ++i)
    if (problem_equal(&all->item[i], p)) return true;
  return false;
}

static dd_status problems_add(struct problems *all, const struct problem *p)
{
  if (problems_have(all, p)) return DD_OK;
  if (all->count == all->capacity) {
    size_t more = all->capacity ? all->capacity * 2 : 32;
    struct problem *item =
        mem_resize(NULL, all->item, all->capacity * sizeof *item,
                   more * sizeof *item);
    if (!item) return fail(DD_NO_MEMORY, "out of memory");
    all->item = item;
    all->capacity = more;
  }
  all->item[all->count++] = *p;
  return DD_OK;
}

struct reading {
  const struct specs *specs;
  const struct texts *ops;
  struct problems *out;
  size_t passed_over; /* their op is not in `ops` */
};

static dd_status read_spelling(struct reading *r, const char *spelling)
{
  struct problem p;

  TRY(problem_parse(&r->specs->ops, spelling, &p));
  if (!r->ops->count || texts_have(r->ops, p.op->name))
    return problems_add(r->out, &p);
  r->passed_over++;
  return DD_OK;
}

/* One line of a file, without its comment and the blanks around it. */
static dd_status read_line(struct reading *r, struct bytes *line,
                           const char *text, size_t size)
{
  size = strcspn(text, "#") < size ? strcspn(text, "#") : size;
  while (size && strchr(" \t\r", *text)) ++text, --size;
  while (size && strchr(" \t\r", text[size - 1])) --size;
  if (!size) return DD_OK;
  bytes_clear(line);
  bytes_add(line, text, size);
  TRY(bytes_status(line));
  return read_spelling(r, line->data);
}

static dd_status read_lines(struct reading *r, const char *path,
                            const char *text)
{
  struct bytes line = BYTES_INIT;
  dd_status status = DD_OK;

  for (int number = 1; *text && !status; ++number) {
    size_t size = strcspn(text, "\n");
    status = read_line(r, &line, text, size);
    if (status) fail_in(status, "%s:%d", path, number);
    text += size + (text[size] == '\n');
  }
  bytes_release(&line);
  return status;
}

enum { SHAPES_LIMIT = 16 << 20 };

static dd_status read_file(struct reading *r, const char *path)
{
  struct bytes text = BYTES_INIT;
  dd_status status = file_read(path, SHAPES_LIMIT, &text);

  if (!status) status = read_lines(r, path, bytes_string(&text));
  bytes_release(&text);
  return status;
}

/* An op without the file has no trials, which tests/test_specs.c refuses. */
static dd_status read_trials(struct reading *r)
{
  for (uint32_t i = 0; i < r->specs->ops.count; ++i) {
    const struct op *op = &r->specs->ops.ops[i];
    const struct tree_file *file;
    char path[128];
    if (r->ops->count && !texts_have(r->ops, op->name)) continue;
    snprintf(path, sizeof path, "variants/%s/trials.txt", op->name);
    file = tree_find(&r->specs->tree, path);
    if (file) TRY(read_lines(r, path, file->text));
  }
  return DD_OK;
}

static dd_status read_zoo(struct reading *r)
{
  struct arena a;
  struct zoo_site *sites;
  uint32_t count;
  dd_status status;

  arena_init(&a, NULL);
  status = spec_zoo(&r->specs->tree, &a, &sites, &count);
  for (uint32_t i = 0; i < count && !status; ++i) {
    status = read_spelling(r, sites[i].spelling);
    if (status) fail_in(status, "zoo, %s", sites[i].name);
  }
  arena_release(&a);
  return status;
}

/* Whoever writes a spelling without its ':' should not read of files alone. */
static dd_status read_shape(struct reading *r, const char *shape)
{
  if (!strcmp(shape, "zoo")) return read_zoo(r);
  if (!access(shape, F_OK)) return read_file(r, shape);
  if (strchr(shape, ':')) return read_spelling(r, shape);
  if (strchr(shape, ' '))
    return fail(DD_BAD_ARGUMENT, "'%s' is neither a problem, which is spelled "
                "OP:IO name=value ..., nor a file", shape);
  return fail(DD_IO, "'%s' is no problem, which is spelled OP:IO name=value "
              "..., and cannot read '%s': %s", shape, shape, strerror(ENOENT));
}

dd_status problems_read(const struct specs *s, const struct texts *shapes,
                        const struct texts *ops, struct problems *out)
{
  struct reading r = {s, ops, out, 0};
  dd_status status;

  memset(out, 0, sizeof *out);
  status = specs_know(s, ops);
  if (!status && !shapes->count) status = read_trials(&r);
  for (size_t i = 0; i < shapes->count && !status; ++i)
    status = read_shape(&r, shapes->item[i]);
  if (!status && r.passed_over && !out->count)
    status = fail(DD_BAD_ARGUMENT, "--op excludes every problem of --shapes");
  if (status) problems_release(out);
  return status;
}

dd_status problems_spell(const struct specs *s, struct texts *shapes)
{
  struct texts any = {0};
  struct problems all;
  dd_status status = DD_OK;

  if (!shapes->count) return DD_OK;
  TRY(problems_read(s, shapes, &any, &all));
  shapes->count = 0;
  for (size_t i = 0; !status && i < all.count; ++i) {
    struct bytes text = BYTES_INIT;
    problem_print(&all.item[i], &text);
    status = bytes_status(&text);
    texts_add(shapes, status ? "" : keep_text(text.data));
    bytes_release(&text);
  }
  problems_release(&all);
  return status;
}
