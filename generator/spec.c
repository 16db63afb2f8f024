/*
 * spec.c - run untrusted specs in a child process; the only user of Lua.
 *
 * Three walls, each enough for what the one before it lets through:
 *   the words    prelude.lua hands out a dozen harmless ones
 *   the hook     every 1000 instructions: CPU time; each allocation: the cap
 *   the process  no files, no new privileges, limits, and a parent that kills
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "sandbox.h"
#include "spec.h"

enum {
  SPEC_MAX_FILE = 1 << 20,
  SPEC_MAX_MESSAGE = 16 << 20,
  SPEC_MAX_SENTENCE = 400,
  HOOK_PERIOD = 1000, /* instructions */
};

static const char prelude_path[] = "generator/prelude.lua";
static const char zoo_path[] = "variants/zoo.lua";

struct child {
  const struct tree *tree;
  const char *only; /* an op's name, or NULL */
  bool zoo;         /* variants/zoo.lua instead of the ops */
  struct spec_limits limits;
  volatile uint32_t *progress; /* shared with the parent: the file's index */
  const char *path;            /* of the file that is being read */
  bool over;                   /* the cap was hit, */
  char place[256];             /* here */
  size_t used;                 /* bytes of Lua's heap */
  lua_State *lua;
  struct bytes message;
};

static struct child *child_of(lua_State *L)
{
  return *(struct child **)lua_getextraspace(L);
}

/* ---- Where, how long, how much ---------------------------------------- */

/* "variants/x/op.lua:12", of the innermost function that a spec wrote; false
 * where there is none.  Allocates nothing: the allocator calls it. */
static bool find_place(lua_State *L, char *text, size_t size)
{
  lua_Debug ar;
  int level;

  for (level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (*ar.source != '@' || strcmp(ar.source + 1, prelude_path) == 0) continue;
    snprintf(text, size, "%s:%d", ar.source + 1, ar.currentline);
    return true;
  }
  return false;
}

static int host_place(lua_State *L)
{
  char text[256];

  if (find_place(L, text, sizeof text)) lua_pushstring(L, text);
  else lua_pushnil(L);
  return 1;
}

static void *capped(void *user, void *block, size_t old_size, size_t new_size)
{
  struct child *c = user;
  void *result;

  if (!block) old_size = 0; /* then Lua passes the kind of object */
  if (new_size > old_size &&
      new_size - old_size > c->limits.memory_bytes - c->used) {
    c->over = true;
    if (c->lua) find_place(c->lua, c->place, sizeof c->place);
    return NULL;
  }
  result = mem_resize(NULL, block, old_size, new_size);
  if (result || !new_size) c->used += new_size - old_size;
  return result;
}

static double cpu_seconds(void)
{
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sticky: once late, every further instruction is. */
static void on_count(lua_State *L, lua_Debug *ar)
{
  struct child *c = child_of(L);
  char place[256];

  (void)ar;
  if (cpu_seconds() < c->limits.seconds) return;
  lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
  if (!find_place(L, place, sizeof place))
    snprintf(place, sizeof place, "%s", c->path);
  lua_pushfstring(L, "%s: ran longer than %d s", place, c->limits.seconds);
  lua_error(L);
}

/* ---- What the prelude asks of us --------------------------------------- */

struct names {
  lua_State *lua;
  int table; /* its stack index */
};

static bool resolve(void *scope, const char *name, struct expr_name *out)
{
  const struct names *n = scope;
  bool found = lua_getfield(n->lua, n->table, name) != LUA_TNIL;

  lua_pop(n->lua, 1);
  *out = (struct expr_name){true, 0};
  return found;
}

/* check(text, names): nil, or the sentence that says what is wrong. */
static int host_check(lua_State *L)
{
  struct names scope = {L, 2};
  const struct expr *e;
  struct arena arena;
  dd_status status;

  arena_init(&arena, NULL);
  status = expr_compile(&arena, luaL_checkstring(L, 1), resolve, &scope, &e);
  arena_release(&arena);
  if (status) lua_pushstring(L, dd_last_error());
  else lua_pushnil(L);
  return 1;
}

/* ---- Reading one file -------------------------------------------------- */

static void enter(lua_State *L, const struct tree_file *f)
{
  struct child *c = child_of(L);

  c->path = f->path;
  *c->progress = (uint32_t)(f - c->tree->files);
}

static void load_text(lua_State *L, const struct tree_file *f)
{
  if (f->size > SPEC_MAX_FILE)
    luaL_error(L, "%s: larger than %d bytes", f->path, SPEC_MAX_FILE);
  if (memchr(f->text, 0, f->size) || (f->size && *f->text == '\27'))
    luaL_error(L, "%s:1: a spec must be text", f->path);
  lua_pushfstring(L, "@%s", f->path);
  if (luaL_loadbufferx(L, f->text, f->size, lua_tostring(L, -1), "t"))
    lua_error(L);
  lua_remove(L, -2);
}

/* Puts what the file returns in place of the prelude's function that makes
 * environments. */
static void evaluate_in(lua_State *L, const struct tree_file *f)
{
  enter(L, f);
  load_text(L, f);
  lua_insert(L, -2);
  lua_pushstring(L, f->path);
  lua_pushlstring(L, f->text, f->size);
  lua_call(L, 2, 1);
  lua_setupvalue(L, -2, 1);
  lua_call(L, 0, 1);
}

/* Pushes what the file returns.  The prelude's table is at index 1. */
static void evaluate(lua_State *L, const struct tree_file *f)
{
  lua_getfield(L, 1, "environment");
  evaluate_in(L, f);
}

/* evaluate(path, environment): nothing where there is no such file.  Asked for
 * in the middle of another file, which goes on afterwards. */
static int host_evaluate(lua_State *L)
{
  struct child *c = child_of(L);
  const struct tree_file *f = tree_find(c->tree, luaL_checkstring(L, 1));
  const uint32_t outer = *c->progress;

  if (!f) return 0;
  evaluate_in(L, f);
  enter(L, &c->tree->files[outer]);
  return 1;
}

/* variants/FOLDER/FILE.lua */
struct spec_name {
  char folder[64], file[64];
};

static bool split_path(const char *path, struct spec_name *n)
{
  int end = 0;

  if (sscanf(path, "variants/%63[^/]/%63[^/.].lua%n", n->folder, n->file,
             &end) != 2)
    return false;
  return end && !path[end];
}

/* Pushes the list of what the op's other files return. */
static void evaluate_schemes(lua_State *L, const char *folder)
{
  const struct tree *tree = child_of(L)->tree;
  struct spec_name n;
  size_t i;

  lua_newtable(L);
  for (i = 0; i < tree->count; i++) {
    const struct tree_file *f = &tree->files[i];
    if (!split_path(f->path, &n) || strcmp(n.folder, folder) ||
        strcmp(n.file, "op") == 0)
      continue;
    lua_newtable(L);
    lua_pushstring(L, n.file);
    lua_setfield(L, -2, "name");
    lua_pushfstring(L, "variants/%s/%s.cuh", n.folder, n.file);
    lua_setfield(L, -2, "file");
    lua_pushstring(L, f->path);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, f->text, f->size);
    lua_setfield(L, -2, "source");
    evaluate(L, f);
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
}

/* Pushes an op in the shape of its message. */
static void evaluate_op(lua_State *L, const struct tree_file *f,
                        const char *folder)
{
  lua_getfield(L, 1, "finish");
  lua_pushstring(L, f->path);
  lua_pushlstring(L, f->text, f->size);
  lua_pushstring(L, folder);
  evaluate(L, f);
  evaluate_schemes(L, folder);
  enter(L, f);
  lua_call(L, 5, 1);
}

/* ---- Writing the message ----------------------------------------------- */

enum shape { TEXT, U32, I64, F64, LIST, PLAIN_LIST };

struct field {
  const char *key; /* "": the row itself */
  enum shape shape;
  const struct field *row; /* LIST: ended by a NULL key */
};

#define END {NULL, TEXT, NULL}
static const struct field text_row[] = {{"", TEXT, NULL}, END};
static const struct field i64_row[] = {{"", I64, NULL}, END};
static const struct field choice_row[] = {
    {"word", TEXT, NULL}, {"value", I64, NULL}, END};
static const struct field symbol_row[] = {
    {"name", TEXT, NULL}, {"kind", U32, NULL},
    {"dynamic", U32, NULL}, {"min", I64, NULL},
    {"max", I64, NULL}, {"otherwise", TEXT, NULL},
    {"cpp_type", TEXT, NULL}, {"tensor", U32, NULL},
    {"dim", U32, NULL}, {"choices", LIST, choice_row},
    END};
static const struct field tensor_row[] = {
    {"name", TEXT, NULL}, {"role", U32, NULL},
    {"fill", U32, NULL}, {"dtype", TEXT, NULL},
    {"when", TEXT, NULL}, {"alias", TEXT, NULL},
    {"extents", LIST, text_row}, {"strides", LIST, text_row},
    {"limit", TEXT, NULL}, END};
static const struct field attr_row[] = {
    {"name", TEXT, NULL}, {"otherwise", F64, NULL}, {"trial", F64, NULL}, END};
static const struct field argument_row[] = {
    {"name", TEXT, NULL}, {"kind", U32, NULL}, {"type", U32, NULL},
    {"what", TEXT, NULL}, END};
static const struct field rule_row[] = {
    {"expr", TEXT, NULL}, {"sentence", TEXT, NULL}, END};
static const struct field set_row[] = {
    {"field", TEXT, NULL}, {"value", TEXT, NULL}, END};
static const struct field binding_row[] = {
    {"inner", TEXT, NULL}, {"outer", TEXT, NULL}, {"at", TEXT, NULL}, END};
static const struct field step_row[] = {
    {"op", TEXT, NULL}, {"sets", LIST, set_row},
    {"tensors", LIST, binding_row}, END};
static const struct field tunable_row[] = {
    {"name", TEXT, NULL}, {"boolean", U32, NULL}, {"values", LIST, i64_row},
    END};
static const struct field scheme_row[] = {
    {"name", TEXT, NULL}, {"file", TEXT, NULL}, {"kernel", TEXT, NULL},
    {"params", TEXT, NULL}, {"fits_all", U32, NULL}, {"facts", LIST, text_row},
    {"tunables", LIST, tunable_row}, {"rules", LIST, text_row},
    {"shape", PLAIN_LIST, text_row}, END};
static const struct field op_row[] = {
    {"name", TEXT, NULL}, {"facts", TEXT, NULL},
    {"args", TEXT, NULL}, {"symbols", LIST, symbol_row},
    {"tensors", LIST, tensor_row}, {"attrs", LIST, attr_row},
    {"arguments", LIST, argument_row}, {"rules", LIST, rule_row},
    {"steps", LIST, step_row}, {"items", TEXT, NULL},
    {"read_bytes", TEXT, NULL},
    {"write_bytes", TEXT, NULL}, {"awkward", LIST, text_row},
    {"corpus", LIST, text_row},
    {"schemes", LIST, scheme_row}, END};

static void put_row(lua_State *L, struct bytes *out, const struct field *row);

/* The count goes first, except for the six expressions of a scheme's shape. */
static void put_list(lua_State *L, struct bytes *out, const struct field *f)
{
  lua_Integer i, count = (lua_Integer)lua_rawlen(L, -1);

  luaL_checkstack(L, 8, "message");
  if (f->shape == LIST) wire_put_u32(out, (uint32_t)count);
  for (i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    put_row(L, out, f->row);
    lua_pop(L, 1);
  }
}

static void put_value(lua_State *L, struct bytes *out, const struct field *f)
{
  lua_Integer whole = lua_tointeger(L, -1);

  if (f->shape >= LIST ? !lua_istable(L, -1)
      : f->shape == TEXT ? lua_type(L, -1) != LUA_TSTRING
                         : !lua_isnumber(L, -1))
    luaL_error(L, "%s: the message lacks '%s'", child_of(L)->path, f->key);
  switch (f->shape) {
  case TEXT: wire_put_text(out, lua_tostring(L, -1)); break;
  case U32: wire_put_u32(out, (uint32_t)whole); break;
  case I64: wire_put_i64(out, whole); break;
  case F64: wire_put_f64(out, lua_tonumber(L, -1)); break;
  case LIST:
  case PLAIN_LIST: put_list(L, out, f); break;
  }
}

static void put_row(lua_State *L, struct bytes *out, const struct field *row)
{
  if (out->size > SPEC_MAX_MESSAGE)
    luaL_error(L, "%s: makes a message of more than %d bytes",
               child_of(L)->path, SPEC_MAX_MESSAGE);
  for (; row->key; row++) {
    if (*row->key) lua_getfield(L, -1, row->key);
    else lua_pushvalue(L, -1);
    put_value(L, out, row);
    lua_pop(L, 1);
  }
}

/* ---- The child --------------------------------------------------------- */

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
  luaL_requiref(L, name, open, 1);
  lua_pop(L, 1);
}

/* Leaves the prelude's table at index 1.  The libraries are for the prelude;
 * a spec sees none of them.  Strings lose their methods: ("").rep would reach
 * past the words. */
static void load_prelude(lua_State *L)
{
  const struct tree_file *f = tree_find(child_of(L)->tree, prelude_path);

  open_library(L, LUA_GNAME, luaopen_base);
  open_library(L, LUA_STRLIBNAME, luaopen_string);
  open_library(L, LUA_TABLIBNAME, luaopen_table);
  open_library(L, LUA_MATHLIBNAME, luaopen_math);
  lua_pushliteral(L, "");
  lua_pushnil(L);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  if (!f) luaL_error(L, "%s is not built in", prelude_path);
  enter(L, f);
  load_text(L, f);
  lua_newtable(L);
  lua_pushcfunction(L, host_place);
  lua_setfield(L, -2, "place");
  lua_pushcfunction(L, host_check);
  lua_setfield(L, -2, "check");
  lua_pushcfunction(L, host_evaluate);
  lua_setfield(L, -2, "evaluate");
  lua_call(L, 1, 1);
}

static int evaluate_all(lua_State *L)
{
  struct child *c = child_of(L);
  struct spec_name n;
  lua_Integer count = 0, i;
  size_t at;

  load_prelude(L);
  lua_newtable(L);
  for (at = 0; at < c->tree->count; at++) {
    const struct tree_file *f = &c->tree->files[at];
    if (!split_path(f->path, &n) || strcmp(n.file, "op")) continue;
    if (c->only && strcmp(c->only, n.folder)) continue;
    evaluate_op(L, f, n.folder);
    lua_rawseti(L, 2, ++count);
  }
  wire_put_u32(&c->message, OP_WIRE_MAGIC);
  wire_put_u32(&c->message, OP_WIRE_VERSION);
  wire_put_u32(&c->message, (uint32_t)count);
  for (i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    put_row(L, &c->message, op_row);
    lua_pop(L, 1);
  }
  return 0;
}

static const struct field site_row[] = {
    {"name", TEXT, NULL}, {"spelling", TEXT, NULL}, {"calls", I64, NULL}, END};

static int evaluate_zoo(lua_State *L)
{
  const struct field sites = {"", LIST, site_row};
  struct child *c = child_of(L);
  const struct tree_file *f = tree_find(c->tree, zoo_path);

  load_prelude(L);
  lua_getfield(L, 1, "finish_zoo");
  lua_pushstring(L, f->path);
  lua_pushlstring(L, f->text, f->size);
  evaluate(L, f);
  lua_call(L, 3, 1);
  put_list(L, &c->message, &sites);
  return 0;
}

/* Gives a message of Lua's own the place in the spec that led to it, for
 * example "bad argument #1 to 'insert'", raised inside the prelude. */
static int add_place(lua_State *L)
{
  struct child *c = child_of(L);
  const char *text = lua_tostring(L, 1), *colon;
  char place[256];
  size_t n = sizeof prelude_path - 1;

  if (!text) text = "an error that is not a text";
  if (strncmp(text, "variants/", 9) == 0) return 1;
  if (strncmp(text, prelude_path, n) == 0) {
    colon = strstr(text + n, ": ");
    if (colon) text = colon + 2;
  }
  colon = strncmp(text, "...", 3) == 0 ? strstr(text, ".lua:") : NULL;
  if (colon) { /* Lua shortens long paths from the left */
    lua_pushfstring(L, "%s%s", c->path, colon + 4);
    return 1;
  }
  if (!find_place(L, place, sizeof place))
    snprintf(place, sizeof place, "%s", c->path);
  lua_pushfstring(L, "%s: %s", place, text);
  return 1;
}

static dd_status no_memory(const struct child *c)
{
  if (!c->over) return fail(DD_NO_MEMORY, "out of memory");
  return fail(DD_BAD_SPEC, "%s: used more than %g MiB",
              *c->place ? c->place : c->path,
              (double)c->limits.memory_bytes / (1 << 20));
}

static dd_status run_lua(struct child *c)
{
  lua_State *L = lua_newstate(capped, c);
  int code;

  if (!L) return no_memory(c);
  c->lua = L;
  *(struct child **)lua_getextraspace(L) = c;
  lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_PERIOD);
  lua_pushcfunction(L, add_place);
  lua_pushcfunction(L, c->zoo ? evaluate_zoo : evaluate_all);
  code = lua_pcall(L, 0, 0, 1);
  if (code == LUA_OK) return bytes_status(&c->message);
  if (code == LUA_ERRMEM) return no_memory(c);
  return fail(DD_BAD_SPEC, "%s", lua_tostring(L, -1));
}

/* What is mapped now: under a sanitizer that is terabytes. */
static size_t address_bytes(void)
{
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");

  if (f && fscanf(f, "%lu", &pages) != 1) pages = 0;
  if (f) fclose(f);
  return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static dd_status lock_up(const struct spec_limits *limits)
{
  const size_t room = limits->memory_bytes + (128u << 20);
  size_t address = address_bytes();
  bool enforced;

  TRY(sandbox_files(NULL, NULL, &enforced));
  return sandbox_limits(limits->seconds + 1, address ? address + room : 0, 0,
                        0);
}

static void write_all(int fd, const char *data, size_t size)
{
  size_t done = 0;

  while (done < size) {
    ssize_t n = write(fd, data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    done += (size_t)n;
  }
}

/* Never returns.  The answer is u32 status, then the message or a sentence. */
static void child_main(struct child *c, int fd)
{
  static const char exhausted[8] = {DD_NO_MEMORY};
  struct bytes answer = BYTES_INIT;
  dd_status status;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGXCPU, SIG_DFL);
  if (dup2(fd, 0) < 0) _exit(1);
  close(1);
  close_range(3, ~0u, 0); /* what the parent has open is none of a spec's */
  status = lock_up(&c->limits);
  if (!status) status = run_lua(c);
  wire_put_u32(&answer, (uint32_t)status);
  if (status) wire_put_text(&answer, dd_last_error());
  else bytes_add(&answer, c->message.data, c->message.size);
  if (answer.failed) write_all(0, exhausted, sizeof exhausted);
  else write_all(0, answer.data, answer.size);
  _exit(0);
}

/* ---- The parent -------------------------------------------------------- */

static int64_t now_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum end { END_OF_FILE, END_LATE, END_LONG, END_BROKEN };

static enum end collect(int fd, int wall_seconds, struct bytes *out)
{
  int64_t deadline = now_ms() + (int64_t)wall_seconds * 1000, left;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  char part[65536];
  ssize_t n;

  for (;;) {
    left = deadline - now_ms();
    if (left <= 0) return END_LATE;
    if (poll(&p, 1, (int)left) <= 0) continue; /* late, or a signal */
    n = read(fd, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return END_BROKEN;
    if (n == 0) return END_OF_FILE;
    bytes_add(out, part, (size_t)n);
    if (out->size > SPEC_MAX_MESSAGE + 4) return END_LONG;
  }
}

static int reap(pid_t pid)
{
  int code = 0;

  while (waitpid(pid, &code, 0) < 0)
    if (errno != EINTR) return -1;
  return code;
}

/* The child's sentence, fit for a terminal whatever the child became. */
static dd_status child_failed(struct wire_reader *r, uint32_t status)
{
  char text[SPEC_MAX_SENTENCE];
  size_t size, i;
  const char *from = wire_bytes(r, &size, "the sentence");

  if (!from) return fail(DD_BAD_SPEC, "specs: the answer cannot be read");
  if (status == DD_NO_MEMORY) return fail(DD_NO_MEMORY, "out of memory");
  if (size > sizeof text - 1) size = sizeof text - 1;
  for (i = 0; i < size; i++)
    text[i] = from[i] >= ' ' && from[i] != 127 ? from[i] : '?';
  text[size] = 0;
  if (status != DD_IO) status = DD_BAD_SPEC;
  return fail((dd_status)status, "%s", text);
}

static dd_status read_answer(const struct bytes *answer, struct bytes *message)
{
  struct wire_reader r;
  uint32_t status;

  TRY(bytes_status(answer));
  wire_reader_init(&r, answer->data, answer->size);
  status = wire_u32(&r, "the status");
  if (status || r.failed) return child_failed(&r, status);
  bytes_add(message, r.at, (size_t)(r.end - r.at));
  return bytes_status(message);
}

static dd_status judge(enum end end, int code, const char *path,
                       const struct spec_limits *limits)
{
  if (end == END_LATE)
    return fail(DD_BAD_SPEC, "%s: no answer within %d s", path,
                limits->wall_seconds);
  if (end == END_LONG)
    return fail(DD_BAD_SPEC, "%s: makes a message of more than %d bytes", path,
                SPEC_MAX_MESSAGE);
  if (end == END_BROKEN)
    return fail(DD_IO, "%s: cannot read the answer of its process", path);
  if (WIFSIGNALED(code) && WTERMSIG(code) == SIGXCPU)
    return fail(DD_BAD_SPEC, "%s: ran longer than %d s", path, limits->seconds);
  if (WIFSIGNALED(code))
    return fail(DD_BAD_SPEC, "%s: its process died of signal %d (%s)", path,
                WTERMSIG(code), strsignal(WTERMSIG(code)));
  if (WEXITSTATUS(code))
    return fail(DD_BAD_SPEC, "%s: its process ended with status %d", path,
                WEXITSTATUS(code));
  return DD_OK;
}

static dd_status run_child(struct child *c, struct bytes *answer)
{
  int fds[2], code;
  enum end end;
  uint32_t at;
  pid_t pid;

  if (pipe(fds)) return fail(DD_IO, "cannot make a pipe: %s", strerror(errno));
  pid = fork();
  if (pid == 0) child_main(c, fds[1]);
  close(fds[1]);
  if (pid < 0) {
    close(fds[0]);
    return fail(DD_IO, "cannot start a process for specs: %s", strerror(errno));
  }
  end = collect(fds[0], c->limits.wall_seconds, answer);
  close(fds[0]);
  if (end != END_OF_FILE) kill(pid, SIGKILL);
  code = reap(pid);
  at = *c->progress;
  return judge(end, code,
               at < c->tree->count ? c->tree->files[at].path : "specs",
               &c->limits);
}

static bool has_op(const struct tree *tree, const char *only)
{
  struct spec_name n;
  size_t i;

  for (i = 0; i < tree->count; i++)
    if (split_path(tree->files[i].path, &n) && strcmp(n.file, "op") == 0 &&
        (!only || strcmp(n.folder, only) == 0))
      return true;
  return false;
}

/* Runs the child and gives its message. */
static dd_status ask_child(struct child *c, const struct spec_limits *limits,
                           struct bytes *message)
{
  struct bytes answer = BYTES_INIT;
  dd_status status;

  if (limits) c->limits = *limits;
  if (!c->limits.seconds) c->limits.seconds = 2;
  if (!c->limits.wall_seconds) c->limits.wall_seconds = 15 * c->limits.seconds;
  if (!c->limits.memory_bytes) c->limits.memory_bytes = 64u << 20;
  c->progress = mmap(NULL, sizeof *c->progress, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (c->progress == MAP_FAILED) return fail(DD_NO_MEMORY, "out of memory");
  *c->progress = UINT32_MAX;
  status = run_child(c, &answer);
  if (!status) status = read_answer(&answer, message);
  munmap((void *)c->progress, sizeof *c->progress);
  bytes_release(&answer);
  return status;
}

dd_status spec_evaluate(const struct tree *tree, const char *only,
                        const struct spec_limits *limits, struct bytes *message)
{
  struct child c = {.tree = tree, .only = only};

  if (!has_op(tree, only))
    return only ? fail(DD_BAD_SPEC, "there is no variants/%s/op.lua", only)
                : fail(DD_BAD_SPEC, "there is no op.lua under variants");
  return ask_child(&c, limits, message);
}

dd_status spec_zoo(const struct tree *tree, struct arena *arena,
                   struct zoo_site **sites, uint32_t *count)
{
  struct child c = {.tree = tree, .zoo = true};
  struct bytes message = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  if (!tree_find(tree, zoo_path))
    return fail(DD_BAD_SPEC, "there is no %s", zoo_path);
  status = ask_child(&c, NULL, &message);
  wire_reader_init(&r, message.data, message.size);
  *count = status ? 0 : wire_count(&r, ZOO_MAX_SITES, "the zoo");
  *sites = ARENA_ARRAY(arena, struct zoo_site, *count);
  if (!status && !*sites) status = fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < *count && !status; i++) {
    (*sites)[i].name = wire_text(&r, arena, "a site's name");
    (*sites)[i].spelling = wire_text(&r, arena, "a site's problem");
    (*sites)[i].calls = wire_i64(&r, "a site's calls");
  }
  if (!status) status = wire_status(&r, true, DD_BAD_SPEC);
  bytes_release(&message);
  return status;
}

dd_status spec_load(const struct tree *tree, struct op_set *set)
{
  struct bytes message = BYTES_INIT;
  dd_status status;

  memset(set, 0, sizeof *set);
  status = spec_evaluate(tree, NULL, NULL, &message);
  if (!status) {
    status = op_set_read(set, message.data, message.size, NULL);
    if (status) fail_in(status, "variants");
  }
  bytes_release(&message);
  return status;
}
