/* tool_code.c - code of the tuner's own kernels, compiled once per machine. */
#include "tool_code.h"

#include <stdio.h>

#include "cache.h"
#include "compiler.h"
#include "output.h"

static dd_status compile(const char *target, const char *text,
                         enum tool_rounding rounding, struct bytes *code)
{
  struct bytes log = BYTES_INIT;
  dd_status status = rounding == TOOL_EXACT
                         ? compile_exact(target, text, code, &log)
                         : compile_unit(target, text, code, &log);

  bytes_release(&log);
  return status;
}

static dd_status make_key(const char *target, const char *text,
                          enum tool_rounding rounding, struct hash *key)
{
  struct bytes identity = BYTES_INIT;
  dd_status status = compiler_identity(target, &identity);

  if (rounding == TOOL_EXACT) bytes_text(&identity, " exact");
  if (!status) status = bytes_status(&identity);
  if (!status) *key = cache_key(bytes_string(&identity), target, text);
  bytes_release(&identity);
  return status;
}

dd_status tool_code(const struct device *d, const char *text,
                    enum tool_rounding rounding, struct bytes *code)
{
  struct cache cache = {0};
  struct hash key;
  char target[16] = "cpu";

  if (d->info.arch) snprintf(target, sizeof target, "sm_%d", d->info.arch);
  TRY(make_key(target, text, rounding, &key));
  if (cache_open(&cache)) say("%s", dd_last_error());
  if (cache_find(&cache, &key, code)) return DD_OK;
  TRY(compile(target, text, rounding, code));
  cache_store(&cache, &key, code);
  return DD_OK;
}
