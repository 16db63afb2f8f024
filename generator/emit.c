/*
 * emit.c - see emit.h.
 *
 * A variant's text is printed once as a unit of its own to know its hash; the
 * hash is of the folded text, so it changes with any byte of any file that the
 * kernel includes.
 */
#include <stdio.h>
#include <string.h>

#include "emit.h"

/* ---- Scanning for directives ------------------------------------------ */

/*
 * The compiler would obey any #include that it sees, of any file it may read.
 * So a '#' is followed here as a preprocessor would, through spliced lines and
 * comments, and whatever brings in a file is refused unless it is the one form
 * that is folded: #include "variants/...", alone on its line.
 */
struct cursor {
  const char *at, *end;
};

/* Backslash, blanks and the end of the line: the line goes on. */
static bool skip_splice(struct cursor *c)
{
  const char *p = c->at;

  if (p == c->end || *p != '\\') return false;
  for (p++; p < c->end && (*p == ' ' || *p == '\t' || *p == '\r'); p++)
    continue;
  if (p == c->end || *p != '\n') return false;
  c->at = p + 1;
  return true;
}

/* The character at the cursor, splices passed over; 0 at the end. */
static char look(struct cursor *c)
{
  while (skip_splice(c)) continue;
  return c->at < c->end ? *c->at : 0;
}

static bool skip_comment(struct cursor *c)
{
  struct cursor inner = *c;
  char last = 0, now;

  if (look(&inner) != '/') return false;
  inner.at++;
  if (look(&inner) != '*') return false;
  inner.at++;
  while ((now = look(&inner)) && !(last == '*' && now == '/')) {
    last = now;
    inner.at++;
  }
  if (now) inner.at++;
  *c = inner;
  return true;
}

static void skip_blanks(struct cursor *c)
{
  for (;;) {
    char now = look(c);
    if (now == ' ' || now == '\t' || now == '\v' || now == '\f') c->at++;
    else if (!skip_comment(c)) return;
  }
}

/* Whether a directive that brings in a file follows its '#'. */
static bool brings_in(struct cursor c)
{
  static const char *const words[] = {"include", "include_next", "import",
                                      "embed", "include_alias"};
  char word[16];
  size_t n = 0, i;

  skip_blanks(&c);
  while (n < sizeof word - 1 &&
         ((look(&c) >= 'a' && look(&c) <= 'z') || look(&c) == '_')) {
    word[n++] = *c.at;
    c.at++;
  }
  word[n] = 0;
  for (i = 0; i < COUNT_OF(words); i++)
    if (strcmp(word, words[i]) == 0) return true;
  return false;
}

/* Passes over '#' or its other spelling, the digraph %: (the trigraph is gone
 * from C++ since 2017). */
static bool skip_hash(struct cursor *c)
{
  char first = *c->at++;

  if (first == '%' && look(c) == ':') c->at++;
  else if (first != '#') return false;
  return true;
}

/* A line that hides an include; `end` is that of the file. */
static bool hides_include(const char *line, const char *line_end,
                          const char *end)
{
  const char *p;

  for (p = line; p < line_end; p++) {
    struct cursor c = {p, end};
    if (skip_hash(&c) && brings_in(c)) return true;
  }
  return false;
}

/* ---- Folding ----------------------------------------------------------- */

struct fold {
  const struct tree *tree;
  struct bytes *out;
  bool *done; /* one per file of the tree: it is in already */
};

static const char include_start[] = "#include \"variants/";

/* The path between the quotes of a line that is folded, or false. */
static bool folded_path(const char *line, size_t size, char path[256])
{
  size_t start = sizeof "#include \"" - 1, n = 0;

  if (size < sizeof include_start - 1 ||
      memcmp(line, include_start, sizeof include_start - 1))
    return false;
  while (start + n < size && line[start + n] != '"') n++;
  if (start + n == size || n > 255) return false;
  memcpy(path, line + start, n);
  path[n] = 0;
  for (start += n + 1; start < size; start++)
    if (!strchr(" \t\r", line[start])) return false;
  return true;
}

static bool is_pragma_once(const char *line, size_t size)
{
  static const char once[] = "#pragma once";

  while (size && strchr(" \t\r", line[size - 1])) size--;
  return size == sizeof once - 1 && memcmp(line, once, size) == 0;
}

static dd_status fold_file(struct fold *f, const struct tree_file *file);

static dd_status fold_include(struct fold *f, const struct tree_file *from,
                              int line, const char *path)
{
  const struct tree_file *file = tree_find(f->tree, path);

  if (!file)
    return fail(DD_BAD_SPEC, "%s:%d: there is no file '%s'", from->path, line,
                path);
  if (f->done[file - f->tree->files]) {
    bytes_text(f->out, "\n");
    return DD_OK;
  }
  TRY(fold_file(f, file));
  bytes_printf(f->out, "#line %d \"%s\"\n", line + 1, from->path);
  return DD_OK;
}

static dd_status fold_line(struct fold *f, const struct tree_file *file,
                           int number, const char *line, const char *line_end)
{
  char path[256];
  size_t size = (size_t)(line_end - line);

  if (folded_path(line, size, path))
    return fold_include(f, file, number, path);
  if (hides_include(line, line_end, file->text + file->size))
    return fail(DD_BAD_SPEC,
                "%s:%d: only #include \"variants/...\" alone on its line may "
                "bring in a file",
                file->path, number);
  if (!is_pragma_once(line, size)) bytes_add(f->out, line, size);
  bytes_text(f->out, "\n");
  return DD_OK;
}

static dd_status fold_file(struct fold *f, const struct tree_file *file)
{
  const char *at = file->text, *end = at + file->size, *line_end;
  int line;

  f->done[file - f->tree->files] = true;
  if (memchr(at, 0, file->size))
    return fail(DD_BAD_SPEC, "%s: not a text: it holds a zero byte",
                file->path);
  bytes_printf(f->out, "#line 1 \"%s\"\n", file->path);
  for (line = 1; at < end; line++, at = line_end + 1) {
    line_end = memchr(at, '\n', (size_t)(end - at));
    if (!line_end) line_end = end;
    TRY(fold_line(f, file, line, at, line_end));
  }
  return DD_OK;
}

static int count_lines(const struct bytes *b)
{
  const char *p;
  int lines = 0;

  for (p = bytes_string(b); *p; p++) lines += *p == '\n';
  return lines;
}

/* The scheme's file and all it includes; then the lines of the unit go on
 * under a name of their own. */
static dd_status fold_scheme(const struct tree *tree, const struct variant *v,
                             struct bytes *out)
{
  struct fold f = {tree, out, NULL};
  const struct tree_file *file = tree_find(tree, v->scheme->file);
  dd_status status;

  if (!file)
    return fail(DD_BAD_SPEC, "variants/%s/%s.lua: there is no file '%s'",
                v->op->name, v->scheme->name, v->scheme->file);
  f.done = mem_resize(NULL, NULL, 0, tree->count * sizeof *f.done);
  if (!f.done) return fail(DD_NO_MEMORY, "out of memory");
  memset(f.done, 0, tree->count * sizeof *f.done);
  status = fold_file(&f, file);
  mem_resize(NULL, f.done, tree->count * sizeof *f.done, 0);
  if (status) return status;
  bytes_printf(out, "#line %d \"%s.%s.cu\"\n", count_lines(out) + 2,
               v->op->name, v->scheme->name);
  return DD_OK;
}

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

static void put_stamp(const struct variant *v, struct bytes *out)
{
  bytes_printf(out,
               "// Generated by difftune from variants/%s/%s.lua; "
               "do not edit.\n",
               v->op->name, v->scheme->name);
}

static void put_name(const struct variant *v, struct bytes *out)
{
  bytes_text(out, "// ");
  variant_print(v, out);
  bytes_text(out, " | ");
  variant_print_facts(v, out);
  bytes_text(out, "\n");
}

/* The struct of the kernel's arguments is written twice, in the spec for the
 * host and in the .cuh for the device; this is what keeps them one. */
static void put_size_check(const struct op *op, struct bytes *out)
{
  bytes_printf(out,
               "static_assert(sizeof(%s) == %u, "
               "\"the spec's arguments and %s differ\");\n",
               op->args_type, op->args_size, op->args_type);
}

static dd_status put_entry(const struct variant *v, const char *entry,
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

dd_status emit_source(const struct tree *tree, const struct variant *v,
                      struct bytes *out)
{
  put_stamp(v, out);
  TRY(fold_scheme(tree, v, out));
  put_size_check(v->op, out);
  return bytes_status(out);
}

static dd_status put_named_entry(const struct variant *v, const char *entry,
                                 struct bytes *out)
{
  bytes_text(out, "\n");
  put_name(v, out);
  TRY(put_entry(v, entry, out));
  return bytes_status(out);
}

dd_status emit_entry(const struct variant *v, struct bytes *out)
{
  char name[VARIANT_ENTRY];

  variant_entry(v, name);
  return put_named_entry(v, name, out);
}

dd_status emit_unit(const struct tree *tree, const struct variant *v,
                    size_t count, struct bytes *out)
{
  if (!count) return fail(DD_BUG, "a unit without variants");
  TRY(emit_source(tree, v, out));
  for (size_t i = 0; i < count; i++) {
    if (v[i].scheme != v->scheme)
      return fail(DD_BUG, "a unit holds variants of %s and of %s",
                  v->scheme->name, v[i].scheme->name);
    TRY(emit_entry(&v[i], out));
  }
  return DD_OK;
}

dd_status emit_scheme_make(const struct tree *tree, const struct variant *v,
                           struct emit_scheme *out)
{
  dd_status status;

  *out = (struct emit_scheme){.scheme = v->scheme, .source = BYTES_INIT};
  status = emit_source(tree, v, &out->source);
  hasher_begin(&out->hasher);
  hasher_add(&out->hasher, out->source.data, out->source.size);
  if (status) emit_scheme_release(out);
  return status;
}

void emit_scheme_release(struct emit_scheme *s)
{
  bytes_release(&s->source);
}

/* The entry has a name that no hash is in. */
dd_status emit_hash(const struct emit_scheme *s, struct variant *v)
{
  struct hasher hasher = s->hasher;
  struct bytes entry = BYTES_INIT;
  dd_status status = put_named_entry(v, "dt_entry", &entry);

  if (!status) {
    hasher_add(&hasher, entry.data, entry.size);
    v->hash = hasher_end(&hasher);
  }
  bytes_release(&entry);
  return status;
}

dd_status emit_variant(const struct tree *tree, struct variant *v,
                       struct bytes *out)
{
  struct emit_scheme scheme;
  char name[VARIANT_ENTRY];
  dd_status status;

  TRY(emit_scheme_make(tree, v, &scheme));
  status = emit_hash(&scheme, v);
  emit_scheme_release(&scheme);
  if (status) return status;
  variant_entry(v, name);
  put_stamp(v, out);
  put_name(v, out);
  bytes_printf(out, "#include \"%s\"\n\n", v->scheme->file);
  put_size_check(v->op, out);
  TRY(put_entry(v, name, out));
  return bytes_status(out);
}
