/*
 * compiler.c - which compiler a target needs.
 */
#include "compiler.h"

#include <string.h>

#include "compiler_kinds.h"

/* "sm_90", "sm_100", and "sm_90a", "sm_100f" for code bound to one arch. */
static bool is_cuda(const char *target)
{
  const char *digits = target + 3;
  size_t count;

  if (strncmp(target, "sm_", 3)) return false;
  count = strspn(digits, "0123456789");
  if (count < 2 || count > 3) return false;
  return !digits[count] || !strcmp(digits + count, "a") ||
         !strcmp(digits + count, "f");
}

static dd_status unknown(const char *target)
{
  return fail(DD_BAD_ARGUMENT,
              "no compiler has the target '%s'; a target is cpu or sm_NN",
              target);
}

dd_status compiler_identity(const char *target, struct bytes *out)
{
  if (!strcmp(target, "cpu")) return cpu_compiler_identity(target, out);
  if (is_cuda(target)) return cuda_compiler_identity(target, out);
  return unknown(target);
}

static dd_status compile(const char *target, const char *text, bool exact,
                         struct bytes *code, struct bytes *log)
{
  bytes_clear(code);
  bytes_clear(log);
  if (!strcmp(target, "cpu")) return cpu_compile(target, text, code, log);
  if (is_cuda(target)) return cuda_compile(target, text, exact, code, log);
  return unknown(target);
}

dd_status compile_unit(const char *target, const char *text,
                       struct bytes *code, struct bytes *log)
{
  return compile(target, text, false, code, log);
}

dd_status compile_exact(const char *target, const char *text,
                        struct bytes *code, struct bytes *log)
{
  return compile(target, text, true, code, log);
}
