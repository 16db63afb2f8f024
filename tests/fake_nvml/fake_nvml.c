/*
 * fake_nvml.c - a libnvidia-ml.so.1 without a GPU, for test_clocks: it knows
 * one device, and says what the test has told it to.
 */
#include <string.h>

extern unsigned fake_nvml_mhz;
extern unsigned long long fake_nvml_reasons;
extern int fake_nvml_result;

unsigned fake_nvml_mhz = 1980;
unsigned long long fake_nvml_reasons;
int fake_nvml_result; /* of the calls that read; 0: success */

int nvmlInit_v2(void);
int nvmlInit_v2(void)
{
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle);
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle)
{
  *handle = &fake_nvml_mhz;
  return strcmp(uuid, "GPU-1") == 0 ? 0 : 6;
}

int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *mhz);
int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *mhz)
{
  *mhz = handle == &fake_nvml_mhz && type == 1 ? fake_nvml_mhz : 1;
  return fake_nvml_result;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle,
                                              unsigned long long *bits);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle,
                                              unsigned long long *bits)
{
  *bits = handle == &fake_nvml_mhz ? fake_nvml_reasons : 0;
  return fake_nvml_result;
}
