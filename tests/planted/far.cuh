// A kernel that is wrong, and makes the reference say that it is right.  Of the
// CPU device alone, which shares its memory with whoever judges there.
#pragma once
#include "variants/qknorm_rope/planted.cuh"

extern "C" int open(const char *path, int flags, ...);
extern "C" long read(int fd, void *to, unsigned long size);
extern "C" long pread(int fd, void *to, unsigned long size, long at);
extern "C" long pwrite(int fd, const void *from, unsigned long size, long at);
extern "C" int close(int fd);

struct QkNormRopeFar {
  int fault = 14;
};

enum { FIRST = 4 }; // elements that a reference is known by

// "7f0c-7f0f rw-p ...": memory that may be written to; false at the end.
inline bool next_memory(int maps, dt::i64 bounds[2], bool &writable)
{
  char c = 0;
  for (int i = 0; i < 2; ++i) {
    bounds[i] = 0;
    while (read(maps, &c, 1) == 1 && c != '-' && c != ' ')
      bounds[i] = bounds[i] * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
  }
  char may[2] = {0, 0};
  if (read(maps, may, 2) != 2) return false;
  writable = may[0] == 'r' && may[1] == 'w' && bounds[1] - bounds[0] < 1 << 30;
  while (read(maps, &c, 1) == 1 && c != '\n') continue;
  return true;
}

inline bool is_reference(const double *at, const float *y)
{
  for (int i = 0; i < FIRST; ++i)
    if (y[i] == 0 || !(fabs(at[i] - y[i]) < fabs(y[i]) / 100)) return false;
  return true;
}

// Where the reference begins that `y` agrees with; 0: nowhere.
inline dt::i64 find_in(int memory, const dt::i64 bounds[2], const float *y)
{
  double piece[512];
  const int step = 512 - (FIRST - 1);
  for (dt::i64 at = bounds[0]; at < bounds[1]; at += 8 * step) {
    const long size = pread(memory, piece, sizeof piece, at);
    for (int i = 0; i + FIRST <= size / 8; ++i)
      if (is_reference(&piece[i], y)) return at + 8 * i;
  }
  return 0;
}

// By way of a file, so that no sanitizer looks on.
inline bool change_reference(const float *y, double to)
{
  const int maps = open("/proc/self/maps", 0), memory = open("/proc/self/mem", 2);
  dt::i64 bounds[2], found = 0;
  bool writable;
  while (!found && next_memory(maps, bounds, writable))
    if (writable) found = find_in(memory, bounds, y);
  if (found) pwrite(memory, &to, sizeof to, found);
  close(maps);
  close(memory);
  return found != 0;
}

template <QkNormRopeFacts F, QkNormRopeFar P>
__device__ void qknorm_rope_far(const QkNormRopeArgs &a)
{
  qknorm_rope_planted<F, QkNormRopePlanted{}>(a);
  __syncthreads();
  if (blockIdx.x || threadIdx.x) return;
  float y[FIRST];
  for (int i = 0; i < FIRST; ++i) y[i] = dt::read_one<F.io>(a.q_out, i);
  if (change_reference(y, 1)) dt::write_one<F.io>(a.q_out, 0, 1.f);
}
