// How fast can bytes be read and written in place?  Independent of difftune: the
// ceiling that its copy kernel must reproduce.
//
//   nvcc -O3 -arch=sm_90 scripts/bench/copy.cu -o copy && ./copy
//
// For each size: graph of at least 20 launches rotating over buffers that pass
// 300 MB, median of 12 replays, for several block sizes and vectors per thread.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                            \
  do {                                                                         \
    cudaError_t e_ = (call);                                                   \
    if (e_ != cudaSuccess) {                                                   \
      fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(e_));              \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

template <int Each> __global__ void touch(uint4 *data, long long vectors)
{
  const long long first = ((long long)blockIdx.x * blockDim.x) * Each + threadIdx.x;
  uint4 v[Each];
#pragma unroll
  for (int i = 0; i < Each; ++i)
    if (first + i * (long long)blockDim.x < vectors) v[i] = data[first + i * (long long)blockDim.x];
#pragma unroll
  for (int i = 0; i < Each; ++i)
    if (first + i * (long long)blockDim.x < vectors) {
      v[i].x ^= 1;
      data[first + i * (long long)blockDim.x] = v[i];
    }
}

template <int Each> double time_copy(std::vector<uint4 *> &sets, long long vectors, int block)
{
  cudaStream_t s;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaEvent_t from, to;
  const int launches = std::max<int>(20, 40 / (int)sets.size() * (int)sets.size());
  const unsigned grid = (unsigned)((vectors + (long long)block * Each - 1) / ((long long)block * Each));
  std::vector<float> ms;

  CHECK(cudaStreamCreate(&s));
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < launches; ++i) touch<Each><<<grid, block, 0, s>>>(sets[i % sets.size()], vectors);
  CHECK(cudaStreamEndCapture(s, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(cudaEventCreate(&from));
  CHECK(cudaEventCreate(&to));
  for (int i = 0; i < 14; ++i) {
    float t;
    CHECK(cudaEventRecord(from, s));
    CHECK(cudaGraphLaunch(exec, s));
    CHECK(cudaEventRecord(to, s));
    CHECK(cudaEventSynchronize(to));
    CHECK(cudaEventElapsedTime(&t, from, to));
    if (i >= 2) ms.push_back(t);
  }
  std::sort(ms.begin(), ms.end());
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaStreamDestroy(s));
  return 1000.0 * (ms[5] + ms[6]) / 2 / launches;
}

int main()
{
  const long long rows[] = {512 * 48, 4096 * 48, 4096 * 60, 4096 * 64, 4096 * 40, 16384ll * 48, 75600ll * 80};
  printf("%14s", "payload MB");
  for (const char *head : {"128x1", "256x1", "512x1", "1024x1", "256x2", "512x2", "256x4"}) printf("%9s", head);
  printf("   (threads x vectors of 16 B; us)\n");
  for (long long r : rows) {
    const long long bytes = r * 128 * 2;
    std::vector<uint4 *> sets(std::max<long long>(2, 300000000 / bytes + 1));
    for (uint4 *&p : sets) {
      CHECK(cudaMalloc(&p, bytes));
      CHECK(cudaMemset(p, 0x5b, bytes));
    }
    printf("%14.2f", 2 * bytes / 1e6);
    printf("%9.2f", time_copy<1>(sets, bytes / 16, 128));
    printf("%9.2f", time_copy<1>(sets, bytes / 16, 256));
    printf("%9.2f", time_copy<1>(sets, bytes / 16, 512));
    printf("%9.2f", time_copy<1>(sets, bytes / 16, 1024));
    printf("%9.2f", time_copy<2>(sets, bytes / 16, 256));
    printf("%9.2f", time_copy<2>(sets, bytes / 16, 512));
    printf("%9.2f\n", time_copy<4>(sets, bytes / 16, 256));
    for (uint4 *p : sets) CHECK(cudaFree(p));
  }
}
