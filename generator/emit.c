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
#include "variant_text.h"

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

/* ---- The text ---------------------------------------------------------- */

static void put_stamp(const struct variant *v, struct bytes *out)
{
  bytes_printf(out,
               "// Generated by difftune from variants/%s/%s.lua; "
               "do not edit.\n",
               v->op->name, v->scheme->name);
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

dd_status emit_source(const struct tree *tree, const struct variant *v,
                      struct bytes *out)
{
  put_stamp(v, out);
  TRY(fold_scheme(tree, v, out));
  put_size_check(v->op, out);
  return bytes_status(out);
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
    TRY(variant_text(&v[i], out));
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

dd_status emit_hash(const struct emit_scheme *s, struct variant *v)
{
  return variant_text_hash(v, &s->hasher);
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
  variant_text_name(v, out);
  bytes_printf(out, "#include \"%s\"\n\n", v->scheme->file);
  put_size_check(v->op, out);
  TRY(variant_text_entry(v, name, out));
  return bytes_status(out);
}
