// C's words for texts that are C on the host and CUDA C++ here.
typedef int int32_t;
typedef long long int64_t;
typedef unsigned short uint16_t;
typedef unsigned uint32_t;
typedef unsigned long long uint64_t;

#ifndef INFINITY
#define INFINITY __uint_as_float(0x7f800000u)
#define NAN __uint_as_float(0x7fc00000u)
#endif

#ifndef NULL
#define NULL nullptr
#endif

enum { DD_F32 = 1, DD_F16 = 2, DD_BF16 = 3, DD_I32 = 6, DD_I64 = 7 };

#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif
