/* cmd_explain.c - what the library would run for a problem, and why. */
#include <stdlib.h>

#include "command.h"
#include "device.h"
#include "diffdispatch.h"
#include "options.h"
#include "output.h"

struct explain {
  const char *spelling, *table;
  bool cpu, gpu, json;
};

/* The text, in memory of the right size. */
static dd_status ask(dd_context *ctx, const char *spelling, struct bytes *text)
{
  dd_problem problem = DD_PROBLEM_INIT;
  size_t length = 0;
  char first[4096];

  problem.spelling = spelling;
  TRY(dd_explain(ctx, &problem, first, sizeof first, &length));
  if (length < sizeof first) {
    bytes_add(text, first, length);
    return bytes_status(text);
  }
  bytes_printf(text, "%*s", (int)length, ""); /* room, and one for the zero */
  TRY(bytes_status(text));
  return dd_explain(ctx, &problem, text->data, length + 1, &length);
}

static void print(const struct explain *e, const struct bytes *text)
{
  struct json j;

  if (!e->json) {
    fwrite(text->data, 1, text->size, stdout);
    if (text->size && text->data[text->size - 1] != '\n') putchar('\n');
    return;
  }
  json_init(&j, stdout);
  json_object(&j, NULL);
  json_text(&j, "problem", e->spelling);
  json_text(&j, "device", e->cpu ? "cpu" : "cuda");
  json_text(&j, "explanation", bytes_string(text));
  json_end(&j, '}');
  json_finish(&j);
}

static dd_status explain_on(const struct explain *e)
{
  dd_open_options options = DD_OPEN_OPTIONS_INIT;
  struct bytes text = BYTES_INIT;
  dd_context *ctx;
  dd_status status;

  options.device = e->cpu ? "cpu" : "cuda";
  options.table = e->table;
  options.flags = DD_OPEN_SHARED_TABLE; /* nothing of it is run here */
  TRY(dd_open(&options, &ctx));
  status = ask(ctx, e->spelling, &text);
  if (!status) print(e, &text);
  bytes_release(&text);
  dd_close(ctx);
  return status;
}

/* The library attaches to the context that a host has; here we are the host.
 * Without a word about it, the first GPU, or the CPU where there is none. */
static dd_status explain(struct explain *e)
{
  struct device *gpu = NULL;
  dd_status status = DD_OK;

  if (!e->cpu) status = cuda_device.open(0, &gpu);
  if (status && e->gpu) return status;
  e->cpu = status || e->cpu;
  status = explain_on(e);
  if (gpu) gpu->api->close(gpu);
  return status;
}

static int missing_table(const char *given)
{
  const char *table = given ? given : getenv("DIFFDISPATCH_TABLE");

  return table && *table ? say_missing(table) : EX_OK;
}

int cmd_explain(int argc, char **argv)
{
  struct explain e = {0};
  struct texts rest = {0};
  const struct option table[] = {
      OPT_TEXT("table", 0, &e.table, "FILE",
               "a .ddt file ($DIFFDISPATCH_TABLE, else none)"),
      OPT_FLAG("cpu", 0, &e.cpu, "as on the CPU device"),
      OPT_FLAG("gpu", 0, &e.gpu, "as on the first GPU; fail without one"),
      OPT_JSON(&e.json),
      OPT_END};
  int code;

  if (!options_parse(table, argc, argv, &rest, &code)) return code;
  if (e.cpu && e.gpu) return say_usage("--cpu goes without --gpu");
  if (rest.count != 1)
    return say_usage("explain wants one problem, not %zu%s", rest.count,
                     rest.count < 2 ? ""
                     : e.gpu ? "; --gpu takes no name here"
                             : "; put its spelling in quotes");
  if ((code = missing_table(e.table))) return code;
  e.spelling = rest.item[0];
  return say_failure(explain(&e));
}
