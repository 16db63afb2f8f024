/* abi.c - prints the sizes that programs were built with: see abi.txt. */
#include <diffdispatch.h>
#include <stdio.h>

#define PRINT(type) printf("sizeof " #type " %zu\n", sizeof(type));
#define PRINT_ARGS(op) PRINT(dd_##op##_args)
#define PRINT_STATUS(name, value, text) printf("DD_" #name " %d\n", DD_##name);

int main(void)
{
  PRINT(dd_attr)
  PRINT(dd_problem)
  PRINT(dd_open_options)
  PRINT(dd_counters)
  PRINT(dd_tensor)
  PRINT(dd_call)
  PRINT(dd_qknorm_rope_args)
  DD_OP_MAP(PRINT_ARGS)
  DD_STATUS_MAP(PRINT_STATUS)
  return 0;
}
