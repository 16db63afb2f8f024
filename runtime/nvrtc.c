/*
 * nvrtc.c - CUDA text to a cubin, with the NVRTC found at run time.
 *
 * The library (105 MB) is loaded on first use and never unloaded.  Its C
 * interface has not changed since CUDA 11.1, so the few prototypes stand here
 * and no CUDA header is needed to compile for a GPU.  A compile takes 20 to 70
 * ms and runs beside others on other threads.
 *
 * $DIFFTUNE_NVRTC names the library; otherwise the loader's own places are
 * tried, then $CUDA_HOME, $CUDA_PATH and /usr/local/cuda.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler_kinds.h"

enum { NVRTC_OK = 0, NVRTC_COMPILATION = 6 };

typedef struct nvrtc_program *program;

struct nvrtc {
  int (*nvrtcVersion)(int *major, int *minor);
  const char *(*nvrtcGetErrorString)(int result);
  int (*nvrtcCreateProgram)(program *p, const char *text, const char *name,
                            int headers, const char *const *contents,
                            const char *const *names);
  int (*nvrtcDestroyProgram)(program *p);
  int (*nvrtcCompileProgram)(program p, int count, const char *const *options);
  int (*nvrtcGetCUBINSize)(program p, size_t *size);
  int (*nvrtcGetCUBIN)(program p, char *out);
  int (*nvrtcGetPTXSize)(program p, size_t *size);
  int (*nvrtcGetPTX)(program p, char *out);
  int (*nvrtcGetProgramLogSize)(program p, size_t *size);
  int (*nvrtcGetProgramLog)(program p, char *out);
};

static struct nvrtc nvrtc;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static dd_status answer;
static char sentence[512]; /* why not, for every later call */
static char version[32];   /* "13.0.88" */
static bool has_cache;     /* since 12.9: told to keep out of it */

/* ---- Finding it ------------------------------------------------------ */

#ifdef __aarch64__
#define TOOLKIT_TARGET "targets/sbsa-linux/lib"
#else
#define TOOLKIT_TARGET "targets/x86_64-linux/lib"
#endif

static const char *const file_names[] = {"libnvrtc.so.13", "libnvrtc.so.12",
                                         "libnvrtc.so"};

static void *open_in(const char *root, const char *folder)
{
  char path[4096];
  void *library = NULL;

  for (size_t i = 0; i < COUNT_OF(file_names) && !library; i++) {
    snprintf(path, sizeof path, "%s%s%s", root, folder, file_names[i]);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  return library;
}

static void *open_toolkit(const char *root)
{
  void *library;

  if (!root || !*root) return NULL;
  library = open_in(root, "/lib64/");
  return library ? library : open_in(root, "/" TOOLKIT_TARGET "/");
}

static void *open_anywhere(void)
{
  void *library = open_in("", "");

  if (!library) library = open_toolkit(secure_getenv("CUDA_HOME"));
  if (!library) library = open_toolkit(secure_getenv("CUDA_PATH"));
  if (!library) library = open_toolkit("/usr/local/cuda");
  return library;
}

static dd_status library_open(void **out)
{
  const char *path = secure_getenv("DIFFTUNE_NVRTC");

  *out = path && *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : open_anywhere();
  if (*out) return DD_OK;
  if (path && *path)
    return fail(DD_COMPILE,
                "no CUDA compiler: DIFFTUNE_NVRTC names '%s', which cannot be "
                "loaded",
                path);
  return fail(DD_COMPILE,
              "no CUDA compiler: libnvrtc.so is not installed; set "
              "DIFFTUNE_NVRTC or CUDA_HOME to where it is");
}

static dd_status entry_find(void *library, const char *name, void *place)
{
  *(void **)place = dlsym(library, name);
  if (*(void **)place) return DD_OK;
  return fail(DD_COMPILE,
              "the NVRTC library has no %s; difftune needs CUDA 12.0 or newer",
              name);
}

#define FIND(name) TRY(entry_find(library, #name, &nvrtc.name))

static dd_status entries_find(void *library)
{
  FIND(nvrtcVersion);
  FIND(nvrtcGetErrorString);
  FIND(nvrtcCreateProgram);
  FIND(nvrtcDestroyProgram);
  FIND(nvrtcCompileProgram);
  FIND(nvrtcGetCUBINSize);
  FIND(nvrtcGetCUBIN);
  FIND(nvrtcGetPTXSize);
  FIND(nvrtcGetPTX);
  FIND(nvrtcGetProgramLogSize);
  FIND(nvrtcGetProgramLog);
  return DD_OK;
}

/* ---- A program and what it made -------------------------------------- */

static dd_status check(const char *call, int result)
{
  if (result == NVRTC_OK) return DD_OK;
  return fail(DD_COMPILE, "%s: %s", call, nvrtc.nvrtcGetErrorString(result));
}
#define NVRTC(name, ...) check(#name, nvrtc.name(__VA_ARGS__))

/* NVRTC's way to hand out bytes: a size, then a copy. */
typedef int size_call(program p, size_t *size);
typedef int copy_call(program p, char *out);

static dd_status take(program p, size_call *get_size, copy_call *get,
                      struct bytes *out)
{
  size_t size = 0;
  char *memory;
  dd_status status;

  TRY(check("the size of NVRTC's output", get_size(p, &size)));
  if (!size) return DD_OK;
  memory = mem_resize(NULL, NULL, 0, size);
  if (!memory) return fail(DD_NO_MEMORY, "out of memory");
  status = check("NVRTC's output", get(p, memory));
  if (!status) bytes_add(out, memory, size);
  mem_resize(NULL, memory, size, 0);
  return status ? status : bytes_status(out);
}

/* Text comes with its NUL, which bytes do not count. */
static void trim(struct bytes *b)
{
  while (b->size && !b->data[b->size - 1]) b->size--;
}

/* ---- Which one it is ------------------------------------------------- */

/* The line of a PTX file that names the build:
 * "// Cuda compilation tools, release 13.0, V13.0.88". */
static bool build_find(const char *ptx, char *out, size_t size)
{
  const char *at = strstr(ptx, "tools, release");
  size_t digits;

  at = at ? strstr(at, ", V") : NULL;
  if (!at) return false;
  at += strlen(", V");
  digits = strspn(at, "0123456789.");
  if (!digits || digits >= size) return false;
  snprintf(out, size, "%.*s", (int)digits, at);
  return true;
}

/* Compiles nothing at all to PTX, to see the build and which options pass. */
static dd_status probe(const char *option, struct bytes *ptx)
{
  const char *options[] = {"--gpu-architecture=compute_80", option};
  program p = NULL;
  dd_status status;

  TRY(NVRTC(nvrtcCreateProgram, &p, "", "probe.cu", 0, NULL, NULL));
  status = NVRTC(nvrtcCompileProgram, p, option ? 2 : 1, options);
  if (!status) status = take(p, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, ptx);
  nvrtc.nvrtcDestroyProgram(&p);
  return status;
}

static dd_status version_get(void)
{
  struct bytes ptx = BYTES_INIT;
  int major = 0, minor = 0;
  dd_status status;

  TRY(NVRTC(nvrtcVersion, &major, &minor));
  has_cache = !probe("--no-cache", &ptx);
  status = has_cache ? DD_OK : probe(NULL, &ptx);
  if (!status && !build_find(bytes_string(&ptx), version, sizeof version))
    snprintf(version, sizeof version, "%d.%d", major, minor);
  bytes_release(&ptx);
  return status;
}

static dd_status nvrtc_load(void)
{
  void *library;

  TRY(library_open(&library));
  TRY(entries_find(library));
  return version_get();
}

static void load_once(void)
{
  answer = nvrtc_load();
  if (answer) snprintf(sentence, sizeof sentence, "%s", dd_last_error());
}

static dd_status nvrtc_open(void)
{
  pthread_once(&once, load_once);
  return answer ? fail(answer, "%s", sentence) : DD_OK;
}

/* ---- Compiling ------------------------------------------------------- */

/* What changes the code; the target stands apart.  Nothing here changes
 * rounding: contraction, division and denormals are NVRTC's defaults. */
static const char *const code_options[] = {"-std=c++20", "-default-device"};

dd_status cuda_compiler_identity(const char *target, struct bytes *out)
{
  TRY(nvrtc_open());
  bytes_printf(out, "nvrtc %s --gpu-architecture=%s", version, target);
  for (size_t i = 0; i < COUNT_OF(code_options); i++)
    bytes_printf(out, " %s", code_options[i]);
  return bytes_status(out);
}

/* Whether `line` reports a failure: "x.cuh(12): error: ...",
 * "ptxas error   : ..." or "ptxas fatal   : ...". */
static bool is_error(const char *line, size_t size)
{
  static const char *const words[] = {"error", "fatal"};

  for (size_t w = 0; w < COUNT_OF(words); w++)
    for (size_t i = 0; i + strlen(words[w]) < size; i++) {
      size_t end = i + strlen(words[w]);

      if (strncmp(line + i, words[w], strlen(words[w]))) continue;
      while (end < size && line[end] == ' ') end++;
      if (end < size && line[end] == ':') return true;
    }
  return false;
}

/* The first line of the log that reports a failure, "" if there is none. */
static const char *error_line(const struct bytes *log, size_t *size)
{
  const char *line = bytes_string(log);

  while (*line) {
    *size = strcspn(line, "\n");
    if (is_error(line, *size)) return line;
    line += *size + (line[*size] == '\n');
  }
  *size = 0;
  return line;
}

static dd_status refuse(int result, const char *target, const struct bytes *log)
{
  size_t size;
  const char *line = error_line(log, &size);
  const char *words = nvrtc.nvrtcGetErrorString(result);
  int width = size > 400 ? 400 : (int)size;

  if (result == NVRTC_COMPILATION && width)
    return fail(DD_COMPILE, "%.*s", width, line);
  if (width)
    return fail(DD_COMPILE, "%s: %s: %.*s", target, words, width, line);
  return fail(DD_COMPILE, "%s: %s", target, words);
}

static int compile(program p, const char *target, bool exact)
{
  char arch[48];
  const char *options[8] = {arch};
  int count = 1;

  snprintf(arch, sizeof arch, "--gpu-architecture=%s", target);
  for (size_t i = 0; i < COUNT_OF(code_options); i++)
    options[count++] = code_options[i];
  if (exact) options[count++] = "-fmad=false";
  if (has_cache) options[count++] = "--no-cache";
  return nvrtc.nvrtcCompileProgram(p, count, options);
}

static dd_status build(program p, const char *target, bool exact,
                       struct bytes *code, struct bytes *log)
{
  int result = compile(p, target, exact);
  dd_status taken;

  taken = take(p, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, log);
  trim(log);
  if (result) return refuse(result, target, log);
  TRY(taken);
  TRY(take(p, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, code));
  if (code->size) return DD_OK;
  return fail(DD_COMPILE, "NVRTC %s made no code for %s", version, target);
}

dd_status cuda_compile(const char *target, const char *text, bool exact,
                       struct bytes *code, struct bytes *log)
{
  program p = NULL;
  dd_status status;

  TRY(nvrtc_open());
  TRY(NVRTC(nvrtcCreateProgram, &p, text, "difftune.cu", 0, NULL, NULL));
  status = build(p, target, exact, code, log);
  nvrtc.nvrtcDestroyProgram(&p);
  return status;
}
