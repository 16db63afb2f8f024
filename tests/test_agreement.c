/*
 * test_agreement.c - processes with one table make the same choices.
 *
 * Eight processes, started by exec so that nothing but the file is common to
 * them, choose for the same random problems, each in an order of its own: pages
 * of the table are read when they are needed, and must not be what decides.
 */
#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "internal.h"
#include "tiny.h"

enum { PROCESSES = 8, PROBLEMS = 10000, RULES = DD_MATCH_PINNED };

/* What a process says. */
struct choices {
  char digest[65];
  uint32_t by_rule[RULES], refused;
  uint64_t choice[PROBLEMS]; /* a hash of its words; 0: refused */
};

/* ---- Problems ------------------------------------------------------------ */

struct dice {
  uint64_t state;
};

static uint32_t draw(struct dice *d, uint32_t below)
{
  d->state = d->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(d->state >> 33) % below;
}

/* As many small sizes as large ones; some of them are powers of two, which were
 * measured. */
static uint32_t draw_rows(struct dice *d)
{
  uint32_t octave = 1u << draw(d, 14);

  return draw(d, 4) ? octave + draw(d, octave) : octave;
}

static void spell(uint32_t number, char text[160])
{
  static const char *const ops[] = {"affine", "affine", "scale", "shift"};
  static const char *const fields[] = {"", " mode=twice", " inplace=0",
                                       " align=4", " align=8"};
  struct dice d = {number * 2654435761u + 1};
  uint32_t op = draw(&d, 9), rows = draw_rows(&d);

  if (op == 8)
    snprintf(text, 160, "qknorm_rope:bf16 tokens=%u q_heads=%u head_dim=64",
             rows, 1 + draw(&d, 32));
  else
    snprintf(text, 160, "%s:fp32 rows=%u width=%u%s", ops[op % 4], rows,
             63 + draw(&d, 2), fields[draw(&d, op % 4 == 3 ? 1 : 5)]);
}

/* ---- A process ----------------------------------------------------------- */

static uint64_t choose_one(dd_context *ctx, uint32_t number,
                           struct choices *out)
{
  struct bytes words = BYTES_INIT;
  char spelling[160];
  struct match m;
  uint64_t hash;

  spell(number, spelling);
  if (match_find(&ctx->matcher, spelling, &m)) {
    out->refused++;
    return 0;
  }
  out->by_rule[m.how]++;
  match_print(&m, &words);
  bytes_printf(&words, "%.17g", m.distance);
  hash = quick_hash(words.data, words.size);
  bytes_release(&words);
  return hash;
}

static int choose_all(const char *path, uint32_t process)
{
  struct choices *out = calloc(1, sizeof *out);
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  uint32_t first = process * (PROBLEMS / PROCESSES);
  dd_context *ctx;

  o.device = "cpu";
  o.table = path;
  if (dd_open(&o, &ctx) || dd_digest(ctx, out->digest)) return 1;
  for (uint32_t i = 0; i < PROBLEMS; ++i) {
    uint32_t at = process % 2 ? first + PROBLEMS - i : first + i;
    at %= PROBLEMS;
    out->choice[at] = choose_one(ctx, at, out);
  }
  dd_close(ctx);
  fwrite(out, sizeof *out, 1, stdout);
  free(out);
  return fflush(stdout) != 0;
}

/* ---- All of them --------------------------------------------------------- */

struct process {
  pid_t id;
  FILE *answer;
};

static void start(struct process *p, const char *path, int number)
{
  char digits[12];
  int ends[2];

  snprintf(digits, sizeof digits, "%d", number);
  assert_int_equal(pipe(ends), 0);
  p->id = fork();
  if (!p->id) {
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", "test_agreement", path, digits, (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  p->answer = fdopen(ends[0], "r");
}

static void finish(struct process *p, struct choices *out)
{
  size_t n = fread(out, sizeof *out, 1, p->answer);
  int how;

  fclose(p->answer);
  assert_int_equal(waitpid(p->id, &how, 0), p->id);
  assert_int_equal(how, 0);
  assert_int_equal(n, 1);
}

/* Fused and split plans of some sizes, and of the parts. */
static void write_table(const char *path)
{
  static const char *const fused[] = {
      "affine:fp32 rows=4 width=64", "affine:fp32 rows=64 width=64",
      "affine:fp32 rows=512 width=64", "affine:fp32 rows=64 width=64 align=8"};
  struct bytes table = BYTES_INIT;
  struct device *cpu;
  struct tiny t;

  tiny_init(&t);
  assert_ok(cpu_device.attach(&cpu));
  t.writer.sms = cpu->info.sms;
  cpu_device.close(cpu);
  tiny_variant(&t, "generic", fused[0], 32, 1);
  tiny_variant(&t, "fast", fused[0], 64, 4);
  tiny_variant(&t, "fast", fused[0], 32, 1);
  tiny_variant(&t, "fast", "scale:fp32 rows=8 width=64 mode=twice", 32, 1);
  tiny_variant(&t, "fast", "scale:fp32 rows=8 width=64", 32, 1);
  tiny_variant(&t, "fast", "shift:fp32 rows=8 width=64", 32, 1);
  for (uint32_t i = 0; i < COUNT_OF(fused); ++i)
    tiny_plan(&t, fused[i], 1, 1 + i % 2, 0);
  tiny_plan(&t, "affine:fp32 rows=32 width=64", 2, 4, 5);
  tiny_plan(&t, "scale:fp32 rows=8 width=64", 1, 4, 0);
  tiny_plan(&t, "scale:fp32 rows=128 width=64 mode=twice", 1, 3, 0);
  tiny_plan(&t, "shift:fp32 rows=8 width=64", 1, 5, 0);
  tiny_plan(&t, "shift:fp32 rows=256 width=64", 1, 5, 0);
  assert_ok(table_write(&t.writer, &table));
  assert_ok(file_write(path, table.data, table.size));
  bytes_release(&table);
  tiny_release(&t);
}

static void compare(const struct choices *first, const struct choices *other)
{
  char spelling[160];

  assert_string_equal(other->digest, first->digest);
  for (uint32_t i = 0; i < PROBLEMS; ++i) {
    if (other->choice[i] == first->choice[i]) continue;
    spell(i, spelling);
    fail_msg("two processes differ in '%s'", spelling);
  }
}

static void test_eight_processes(void **state)
{
  struct choices *c = calloc(PROCESSES, sizeof *c);
  struct process process[PROCESSES];
  char folder[64], path[128];

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/a.ddt", folder);
  write_table(path);
  for (int i = 0; i < PROCESSES; ++i) start(&process[i], path, i);
  for (int i = 0; i < PROCESSES; ++i) finish(&process[i], &c[i]);
  for (int i = 1; i < PROCESSES; ++i) compare(&c[0], &c[i]);
  /* All rules were asked, each often. */
  assert_true(c->by_rule[DD_MATCH_EXACT] > PROBLEMS / 100);
  assert_true(c->by_rule[DD_MATCH_NEAR] > PROBLEMS / 100);
  assert_true(c->by_rule[DD_MATCH_SPLIT] > PROBLEMS / 100);
  assert_true(c->by_rule[DD_MATCH_DEFAULT] > PROBLEMS / 100);
  test_folder_remove(folder);
  free(c);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_eight_processes)};

  unsetenv("DIFFDISPATCH_TABLE");
  setenv("XDG_DATA_HOME", "/nowhere", 1); /* no table of this machine's */
  setenv("XDG_DATA_DIRS", "/nowhere", 1);
  if (argc == 3) return choose_all(argv[1], (uint32_t)atoi(argv[2]));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
