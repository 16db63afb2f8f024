/*
 * command.h - the commands of difftune.
 *
 * Adding a command
 * 1. Add a row to COMMAND_MAP: its name, its arguments, what it is for.
 * 2. Write `int cmd_NAME(int argc, char **argv)` in tuner/cmd_NAME.c: fill an
 *    option table (options.h), call options_parse(), return an exit code
 *    (output.h).  argv[0] is the command's name.
 * 3. Name the file in tuner/CMakeLists.txt.
 * 4. Say in docs/cli.md what it prints; add cases to tests/cli/NAME.txt.
 * The help, the table in main.c and the test that asks every command for its
 * help all follow from the row.
 */
#ifndef DIFFTUNE_COMMAND_H
#define DIFFTUNE_COMMAND_H

#define COMMAND_MAP(X)                                                         \
  X(sweep, "[OPTIONS]", "measure variants and record what wins")               \
  X(check, "[OPTIONS]", "prove variants against the reference, no timing")     \
  X(generate, "OP[.SCHEME] [TUNABLE=VALUE...]",                                \
    "print the CUDA text of a variant")                                        \
  X(compile, "[OPTIONS]", "compile every variant, no GPU needed")              \
  X(show, "[SPELLING...]", "print the best of each problem")                   \
  X(recheck, "[OPTIONS]",                                                      \
    "say which winners a new driver or compiler leaves valid")                 \
  X(reproduce, "ROW", "measure one row of the database again")               \
  X(explain, "SPELLING", "say what the library would run, and why")            \
  X(emit, "-o FILE.ddt|FILE.c", "write the dispatch table of a device")        \
  X(doctor, "", "look at what this machine has and lacks")

#define COMMAND_PROTOTYPE(name, arguments, help)                               \
  int cmd_##name(int argc, char **argv);
COMMAND_MAP(COMMAND_PROTOTYPE)
#undef COMMAND_PROTOTYPE

/* Workers are this program again, started with one of these words and talking
 * over two pipes (wire.h); stdin and stdout are not used. */
#define WORKER_COMPILE "--worker-compile"
#define WORKER_DEVICE "--worker-device"
#define WORKER_SWEEP "--worker-sweep"
enum { WORKER_IN = 3, WORKER_OUT = 4, WORKER_SHARED = 5 };

/* One board's share of a sweep (fleet.h); in cmd_sweep.c. */
int sweep_worker_main(int in_fd, int out_fd);

#endif
