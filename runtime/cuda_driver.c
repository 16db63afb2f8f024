/*
 * cuda_driver.c - load libcuda.so.1 once, and put its failures into words.
 *
 * The driver is never unloaded: it keeps threads of its own.
 */
#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cuda_driver cuda;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dd_status answer;
static char sentence[512]; /* why not, for every later call */
static pid_t starter;

typedef void any_function(void);

struct entry {
  const char *name, *symbol;
  int version;
  bool required;
  any_function **place;
};

/* Not one macro through another: that would expand the names. */
#define REQUIRED(name, version, suffix)                                        \
  {#name, #name suffix, version, true, (any_function **)&cuda.name##_},
#define OPTIONAL(name, version, suffix)                                        \
  {#name, #name suffix, version, false, (any_function **)&cuda.name##_},
static const struct entry entries[] = {CUDA_ENTRIES(REQUIRED)
                                           CUDA_OPTIONAL_ENTRIES(OPTIONAL)};

/* One entry point, or NULL. */
static void *entry_find(void *library, PFN_cuGetProcAddress_v12000 ask,
                        const struct entry *e)
{
  CUdriverProcAddressQueryResult found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  void *at = NULL;

  if (ask &&
      ask(e->name, &at, e->version, CU_GET_PROC_ADDRESS_LEGACY_STREAM,
          &found) == CUDA_SUCCESS &&
      found == CU_GET_PROC_ADDRESS_SUCCESS && at)
    return at;
  return dlsym(library, e->symbol);
}

static dd_status entries_find(void *library)
{
  PFN_cuGetProcAddress_v12000 ask = NULL;

  *(void **)&ask = dlsym(library, "cuGetProcAddress_v2");
  for (size_t i = 0; i < COUNT_OF(entries); i++) {
    *(void **)entries[i].place = entry_find(library, ask, &entries[i]);
    if (!*entries[i].place && entries[i].required)
      return fail(DD_NO_DEVICE,
                  "the NVIDIA driver has no %s; difftune needs one for CUDA "
                  "12.4 or newer",
                  entries[i].name);
  }
  return DD_OK;
}

static dd_status driver_start(const char *path)
{
  CUresult result = cuda.cuInit_(0);

  if (result == CUDA_ERROR_STUB_LIBRARY)
    return fail(DD_NO_DEVICE,
                "%s is the CUDA toolkit's stub, not a driver; take the "
                "toolkit's stubs folder out of LD_LIBRARY_PATH",
                path);
  if (cuda_check("cuInit", result)) return DD_NO_DEVICE;
  return DD_OK;
}

static dd_status driver_load(void)
{
  const char *path = secure_getenv("DIFFTUNE_LIBCUDA");
  void *library;

  if (!path || !*path) path = "libcuda.so.1";
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return fail(DD_NO_DEVICE, "no NVIDIA driver: %s cannot be loaded", path);
  TRY(entries_find(library));
  return driver_start(path);
}

static void load_once(void)
{
  starter = getpid();
  answer = driver_load();
  if (answer) snprintf(sentence, sizeof sentence, "%s", dd_last_error());
}

dd_status cuda_driver_open(void)
{
  pthread_once(&once, load_once);
  if (answer) return fail(answer, "%s", sentence);
  if (starter != getpid())
    return fail(DD_NO_DEVICE,
                "CUDA was started before this process was forked; use it in "
                "the child only, or start the child with exec");
  return DD_OK;
}

dd_status cuda_check(const char *call, CUresult result)
{
  const char *name = NULL, *text = NULL;

  if (result == CUDA_SUCCESS) return DD_OK;
  cuda.cuGetErrorName_(result, &name);
  cuda.cuGetErrorString_(result, &text);
  if (!name) return fail(DD_DEVICE, "%s: CUDA error %d", call, (int)result);
  return fail(DD_DEVICE, "%s: %s (%s)", call, name, text ? text : "no text");
}
#else
typedef int cuda_driver_is_empty;
#endif
