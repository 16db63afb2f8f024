/*
 * main.c - the program difftune: finds the command and runs it.
 *
 * Results go to stdout, talk to stderr; exit codes are those of sysexits.h,
 * and 130 after Ctrl-C.  command.h says how to add a command.
 */
#include <string.h>

#include "command.h"
#include "farm.h"
#include "options.h"
#include "output.h"
#include "worker.h"

struct command {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *arguments, *help;
};

static const struct command commands[] = {
#define COMMAND_ROW(name, arguments, help) {#name, cmd_##name, arguments, help},
    COMMAND_MAP(COMMAND_ROW)
#undef COMMAND_ROW
};

static int print_help(FILE *to)
{
  fprintf(to, "usage: difftune COMMAND [OPTIONS] [ARGUMENTS]\n"
              "\n"
              "Finds the fastest correct kernel for each problem on each GPU.\n"
              "\n");
  for (size_t i = 0; i < COUNT_OF(commands); ++i)
    fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
  fprintf(to, "\n"
              "'difftune COMMAND -h' lists a command's options.\n");
  return 0;
}

static int print_version(void)
{
  printf("difftune %d.%d.%d\n", DD_VERSION_MAJOR, DD_VERSION_MINOR,
         DD_VERSION_PATCH);
  return 0;
}

static const struct command *command_find(const char *name)
{
  for (size_t i = 0; i < COUNT_OF(commands); ++i)
    if (!strcmp(commands[i].name, name)) return &commands[i];
  return NULL;
}

static int unknown_command(const char *name)
{
  const char *names[COUNT_OF(commands) + 1], *near;

  for (size_t i = 0; i < COUNT_OF(commands); ++i) names[i] = commands[i].name;
  names[COUNT_OF(commands)] = NULL;
  near = nearest_word(name, names);
  if (near)
    return say_usage("no command is named '%s'; did you mean '%s'?", name,
                     near);
  return say_usage("no command is named '%s'; 'difftune -h' lists them", name);
}

static int run(int argc, char **argv)
{
  const char *word = argc > 1 ? argv[1] : "";
  const struct command *c = command_find(word);

  if (c) {
    interrupt_ends();
    return c->run(argc - 1, argv + 1);
  }
  if (!strcmp(word, "-h") || !strcmp(word, "--help")) return print_help(stdout);
  if (!strcmp(word, "--version")) return print_version();
  if (!strcmp(word, WORKER_COMPILE))
    return farm_worker_main(WORKER_IN, WORKER_OUT);
  if (!strcmp(word, WORKER_DEVICE))
    return worker_device_main(WORKER_IN, WORKER_OUT);
  if (!strcmp(word, WORKER_SWEEP))
    return sweep_worker_main(WORKER_IN, WORKER_OUT);
  if (*word) return unknown_command(word);
  print_help(stderr);
  return EX_USAGE;
}

int main(int argc, char **argv)
{
  return output_finish(run(argc, argv));
}
