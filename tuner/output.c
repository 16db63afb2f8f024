/* output.c - what the program says: results on stdout, talk on stderr. */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Talk, and the end ----------------------------------------------- */

static bool line_open; /* a progress line stands on the terminal */

static void clear_line(void)
{
  if (line_open) fputs("\r\033[K", stderr);
  line_open = false;
}

/* In one piece: others of a sweep's processes may be talking too. */
static void say_list(const char *format, va_list args)
{
  char line[1024];

  clear_line();
  snprintf(line, sizeof line, "difftune: %s\n", format);
  vfprintf(stderr, line, args);
}

void say(const char *format, ...)
{
  va_list args;

  va_start(args, format);
  say_list(format, args);
  va_end(args);
}

int say_usage(const char *format, ...)
{
  va_list args;

  va_start(args, format);
  say_list(format, args);
  va_end(args);
  return EX_USAGE;
}

static int exit_code(dd_status status)
{
  switch (status) {
  case DD_OK:
    return EX_OK;
  case DD_BAD_ARGUMENT:
    return EX_USAGE;
  case DD_UNSUPPORTED:
  case DD_UNTUNED:
  case DD_BAD_TABLE:
  case DD_COMPILE:
  case DD_BAD_SPEC:
  case DD_BAD_DATABASE:
    return EX_DATAERR;
  case DD_DEVICE:
  case DD_NO_DEVICE:
    return EX_UNAVAILABLE;
  case DD_NO_MEMORY:
    return EX_OSERR;
  case DD_IO:
    return EX_IOERR;
  case DD_BUG:
  case DD_NOT_PREPARED:
  case DD_FORKED:
    break;
  }
  return EX_SOFTWARE;
}

/* The one place that tells a file that should be read and is not there from
 * other trouble with files: base.h and generator/tree.c begin the sentence for
 * reading with these words, and end it with the reason. */
static bool is_missing_input(dd_status status, const char *sentence)
{
  const char *reason = strerror(ENOENT);
  size_t size = strlen(sentence), end = strlen(reason);

  if (status != DD_IO || size < end) return false;
  if (strcmp(sentence + size - end, reason)) return false;
  return strstr(sentence, "cannot open '") || strstr(sentence, "cannot read ");
}

int say_failure(dd_status status)
{
  if (!status) return EX_OK;
  say("%s", dd_last_error());
  if (is_missing_input(status, dd_last_error())) return EX_NOINPUT;
  return exit_code(status);
}

int say_missing(const char *path)
{
  if (!access(path, F_OK)) return EX_OK;
  say("cannot read '%s': %s", path, strerror(errno));
  return EX_NOINPUT;
}

int output_finish(int code)
{
  bool bad = fflush(stdout) != 0 || ferror(stdout);

  if (!bad || errno == EPIPE) return code;
  say("cannot write to stdout: %s", strerror(errno));
  return code ? code : EX_IOERR;
}

static volatile sig_atomic_t interrupt_flag;

static void on_interrupt(int number)
{
  (void)number;
  interrupt_flag = 1;
}

static void on_early_interrupt(int number)
{
  (void)number;
  _exit(EXIT_INTERRUPTED);
}

/* A shell that starts a job beside has it ignored, and that stays. */
void interrupt_ends(void)
{
  struct sigaction action;

  if (sigaction(SIGINT, NULL, &action) || action.sa_handler == SIG_IGN) return;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_early_interrupt;
  sigaction(SIGINT, &action, NULL);
}

/* SA_RESETHAND: the second signal does what it always did.  No SA_RESTART:
 * whoever waits in poll() is woken. */
void interrupt_watch(void)
{
  struct sigaction action;

  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt;
  action.sa_flags = (int)SA_RESETHAND;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
  return interrupt_flag != 0;
}

/* ---- Colours --------------------------------------------------------- */

static bool wants_colour(FILE *to)
{
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

  if (no && *no) return false;
  if (!term || !strcmp(term, "dumb")) return false;
  return isatty(fileno(to));
}

const char *colour(FILE *to, enum colour c)
{
  static const char *const escape[] = {
      "\033[0m", "\033[1m", "\033[31m", "\033[32m", "\033[33m", "\033[2m"};

  return wants_colour(to) ? escape[c] : "";
}

/* ---- Columns --------------------------------------------------------- */

void columns_init(struct columns *c, ...)
{
  va_list args;
  const char *head;

  memset(c, 0, sizeof *c);
  arena_init(&c->arena, NULL);
  va_start(args, c);
  while ((head = va_arg(args, const char *)) && c->width < COLUMNS_MAX) {
    c->right[c->width] = *head == '>';
    c->head[c->width++] = head + (*head == '>');
  }
  va_end(args);
}

static bool columns_grow(struct columns *c)
{
  size_t more = c->capacity ? c->capacity * 2 : 64;
  char **cell = mem_resize(NULL, c->cell, c->capacity * sizeof *cell,
                           more * sizeof *cell);

  if (!cell) return false;
  c->cell = cell;
  c->capacity = more;
  return true;
}

void columns_cell(struct columns *c, const char *fmt, ...)
{
  struct bytes text = BYTES_INIT;
  va_list args;
  char *copy;

  va_start(args, fmt);
  bytes_vprintf(&text, fmt, args);
  va_end(args);
  copy = arena_text(&c->arena, bytes_string(&text), text.size);
  bytes_release(&text);
  if (!copy || (c->count == c->capacity && !columns_grow(c)))
    c->failed = true;
  else
    c->cell[c->count++] = copy;
}

static int column_width(const struct columns *c, size_t column)
{
  size_t widest = strlen(c->head[column]);

  for (size_t i = column; i < c->count; i += c->width)
    if (strlen(c->cell[i]) > widest) widest = strlen(c->cell[i]);
  return (int)widest;
}

/* The last column is not padded: no line ends in blanks. */
static void print_cell(const struct columns *c, size_t column, int width,
                       const char *text, FILE *to)
{
  if (column) fputs("  ", to);
  if (c->right[column])
    fprintf(to, "%*s", width, text);
  else if (column + 1 < c->width)
    fprintf(to, "%-*s", width, text);
  else
    fputs(text, to);
}

void columns_print(const struct columns *c, FILE *to, const char *indent)
{
  int width[COLUMNS_MAX];

  for (size_t i = 0; i < c->width; ++i) width[i] = column_width(c, i);
  fprintf(to, "%s%s", indent, colour(to, DIM));
  for (size_t i = 0; i < c->width; ++i)
    print_cell(c, i, width[i], c->head[i], to);
  fprintf(to, "%s\n", colour(to, PLAIN));
  for (size_t i = 0; i < c->count; ++i) {
    size_t column = i % c->width;
    if (!column) fputs(indent, to);
    print_cell(c, column, width[column], c->cell[i], to);
    if (column + 1 == c->width) fputc('\n', to);
  }
}

void columns_release(struct columns *c)
{
  mem_resize(NULL, c->cell, c->capacity * sizeof *c->cell, 0);
  arena_release(&c->arena);
}

/* ---- JSON ------------------------------------------------------------ */

/* Bytes of the UTF-8 sequence at `s`, or 0: overlong forms, surrogates and
 * numbers past U+10FFFF are not UTF-8. */
static int utf8_size(const unsigned char *s)
{
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  int size = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3
             : *s < 0xf5 ? 4 : 0;
  uint32_t point = size > 1 ? *s & (0x7fu >> size) : *s;

  for (int i = 1; i < size; ++i) {
    if ((s[i] & 0xc0) != 0x80) return 0;
    point = point << 6 | (s[i] & 0x3f);
  }
  if (size && (point < least[size] || point > 0x10ffff)) return 0;
  return point >= 0xd800 && point < 0xe000 ? 0 : size;
}

static void json_string(FILE *to, const char *text)
{
  const unsigned char *s = (const unsigned char *)text;

  fputc('"', to);
  while (*s) {
    int size = utf8_size(s);
    if (!size)
      fputs("\\ufffd", to);
    else if (*s == '"' || *s == '\\')
      fprintf(to, "\\%c", *s);
    else if (*s < 0x20 || *s == 0x7f)
      fprintf(to, "\\u%04x", *s);
    else
      fwrite(s, 1, (size_t)size, to);
    s += size ? size : 1;
  }
  fputc('"', to);
}

void json_init(struct json *j, FILE *to)
{
  j->to = to;
  j->depth = 0;
  j->more = false;
}

static void json_line(struct json *j)
{
  fprintf(j->to, "\n%*s", 2 * j->depth, "");
}

static void json_key(struct json *j, const char *key)
{
  if (j->more) fputc(',', j->to);
  if (j->depth) json_line(j);
  j->more = true;
  if (!key) return;
  json_string(j->to, key);
  fputs(": ", j->to);
}

static void json_open(struct json *j, const char *key, char open)
{
  json_key(j, key);
  fputc(open, j->to);
  j->depth++;
  j->more = false;
}

void json_object(struct json *j, const char *key)
{
  json_open(j, key, '{');
}

void json_array(struct json *j, const char *key)
{
  json_open(j, key, '[');
}

void json_end(struct json *j, char close)
{
  j->depth--;
  if (j->more) json_line(j);
  fputc(close, j->to);
  j->more = true;
}

void json_text(struct json *j, const char *key, const char *value)
{
  json_key(j, key);
  if (value)
    json_string(j->to, value);
  else
    fputs("null", j->to);
}

void json_int(struct json *j, const char *key, int64_t value)
{
  json_key(j, key);
  fprintf(j->to, "%lld", (long long)value);
}

void json_real(struct json *j, const char *key, double value)
{
  json_key(j, key);
  if (isfinite(value))
    fprintf(j->to, "%.9g", value);
  else
    fputs("null", j->to);
}

void json_bool(struct json *j, const char *key, bool value)
{
  json_key(j, key);
  fputs(value ? "true" : "false", j->to);
}

void json_finish(struct json *j)
{
  fputc('\n', j->to);
}

/* ---- Progress -------------------------------------------------------- */

double seconds_now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void print_seconds(double seconds, char text[32])
{
  long whole = (long)(seconds + 0.5);

  if (seconds < 0.9995)
    snprintf(text, 32, "%.0f ms", seconds * 1e3);
  else if (seconds < 59.95)
    snprintf(text, 32, "%.1f s", seconds);
  else if (whole < 3600)
    snprintf(text, 32, "%ld min %02ld s", whole / 60, whole % 60);
  else
    snprintf(text, 32, "%ld h %02ld min", whole / 3600, whole / 60 % 60);
}

void progress_begin(struct progress *p, const char *what, bool quiet)
{
  p->what = what;
  p->started = p->shown = seconds_now();
  p->low = p->high = 0;
  p->terminal = isatty(STDERR_FILENO) && !getenv("CI");
  p->quiet = quiet;
}

static void print_eta(const struct progress *p, double done, double total)
{
  char text[32];

  if (!(done > 0) || done >= total) return;
  if (p->high > 0) {
    print_seconds(p->low, text);
    fprintf(stderr, ", %s", text);
    print_seconds(p->high, text);
    fprintf(stderr, " to %s left", text);
    return;
  }
  print_seconds((seconds_now() - p->started) * (total - done) / done, text);
  fprintf(stderr, ", %s left", text);
}

void progress_at(struct progress *p, double done, double total,
                 const char *note, ...)
{
  double now = seconds_now();
  va_list args;

  if (p->quiet || now - p->shown < (p->terminal ? 0.1 : 10)) return;
  p->shown = now;
  clear_line();
  fprintf(stderr, "%s: ", p->what);
  if (total > 0) fprintf(stderr, "%.0f %%, ", 100 * done / total);
  va_start(args, note);
  vfprintf(stderr, note, args);
  va_end(args);
  print_eta(p, done, total);
  if (!p->terminal) fputc('\n', stderr);
  line_open = p->terminal;
  fflush(stderr);
}

void progress_end(struct progress *p)
{
  if (!p->quiet) clear_line();
}
