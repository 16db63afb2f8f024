// The sums of what proofs rest on (tuner/seal.h): of a hash of each word and its
// place, so that blocks may add in any order.  Stands behind judge.cuh.
struct SealPart { // in words of 4 bytes
    const unsigned* words;
    long long count;
    unsigned first_block;
    int sum;
};

struct SealSum { // `low` and `high` are of the hashes' halves
    unsigned low, high;
    unsigned long long words;
};

struct SealArgs {
    const SealPart* parts;
    SealSum* sums;
    long long count;
};

enum { SEAL_EACH = 16 };

// fill_mix() of fill_element.h
__device__ inline unsigned long long seal_mix(unsigned long long x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

extern "C" __global__ void __launch_bounds__(256) dt_seal(const __grid_constant__ SealArgs a)
{
    __shared__ unsigned low, high, words;
    const SealPart& p = part_of_block(a.parts, (int)a.count);
    const long long first = (long long)(blockIdx.x - p.first_block) * (THREADS * SEAL_EACH) + threadIdx.x;
    unsigned long long hash;
    unsigned mine[3] = {0, 0, 0};
#pragma unroll
    for (int j = 0; j < SEAL_EACH; ++j) {
        const long long i = first + j * THREADS;
        if (i >= p.count) continue;
        hash = seal_mix((unsigned long long)i << 32 | p.words[i]);
        mine[0] += (unsigned)hash;
        mine[1] += (unsigned)(hash >> 32);
        mine[2]++;
    }
    if (threadIdx.x == 0) low = high = words = 0;
    __syncthreads();
    atomicAdd(&low, mine[0]);
    atomicAdd(&high, mine[1]);
    atomicAdd(&words, mine[2]);
    __syncthreads();
    if (threadIdx.x) return;
    atomicAdd(&a.sums[p.sum].low, low);
    atomicAdd(&a.sums[p.sum].high, high);
    atomicAdd(&a.sums[p.sum].words, (unsigned long long)words);
}
DT_EXPORT(dt_seal, SealArgs)
