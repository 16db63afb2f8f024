/*
 * sha256.c - SHA-256 by the processor's own instructions, where it has them.
 *
 * Half of the instructions that open a table are its hashing, and these are
 * four times as fast as libsodium's portable code, which does the rest: other
 * processors, and texts in pieces.
 */
#include "sha256.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>

enum { BLOCK = 64, SHA_BIT = 1 << 29, SSE41_BIT = 1 << 19 };

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* ---- The processor ------------------------------------------------------ */

static bool ask_processor(void)
{
  unsigned a, b, c, d;

  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & SSE41_BIT)) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & SHA_BIT;
}

static bool is_able(void)
{
  static _Atomic int known; /* 0: not asked yet; 1: no; 2: yes */
  int is = atomic_load_explicit(&known, memory_order_relaxed);

  if (is) return is == 2;
  is = ask_processor() ? 2 : 1;
  atomic_store_explicit(&known, is, memory_order_relaxed);
  return is == 2;
}

/* ---- Blocks ------------------------------------------------------------- */

#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* The eight words as the instructions want them. */
struct halves {
  __m128i abef, cdgh;
};

WITH_SHA static struct halves halves_of(const uint32_t h[8])
{
  return (struct halves){
      _mm_set_epi32((int)h[0], (int)h[1], (int)h[4], (int)h[5]),
      _mm_set_epi32((int)h[2], (int)h[3], (int)h[6], (int)h[7])};
}

/* Four rounds: each instruction does two, and swaps the halves. */
WITH_SHA static inline struct halves four_rounds(struct halves s, __m128i words,
                                                 int first)
{
  const __m128i *k = (const __m128i *)(const void *)(constants + first);
  __m128i sum = _mm_add_epi32(words, _mm_loadu_si128(k));

  s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, sum);
  sum = _mm_shuffle_epi32(sum, 0x0e);
  s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, sum);
  return s;
}

/* The next four words, of the sixteen before them. */
WITH_SHA static inline __m128i next_words(const __m128i w[4])
{
  __m128i seven_back = _mm_alignr_epi8(w[3], w[2], 4);
  __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), seven_back);

  return _mm_sha256msg2_epu32(sum, w[3]);
}

WITH_SHA static struct halves add_block(struct halves s, const uint8_t *data)
{
  const __m128i big_endian =
      _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const struct halves before = s;
  __m128i w[16];

#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const __m128i *at = (const __m128i *)(const void *)data + i;
    w[i] = i < 4 ? _mm_shuffle_epi8(_mm_loadu_si128(at), big_endian)
                 : next_words(w + i - 4);
    s = four_rounds(s, w[i], 4 * i);
  }
  return (struct halves){_mm_add_epi32(s.abef, before.abef),
                         _mm_add_epi32(s.cdgh, before.cdgh)};
}

/* ---- A whole text ------------------------------------------------------- */

static void put_word(uint8_t *to, int word)
{
  uint32_t big_endian = __builtin_bswap32((uint32_t)word);

  memcpy(to, &big_endian, sizeof big_endian);
}

WITH_SHA static void put_hash(struct halves s, uint8_t hash[32])
{
  put_word(hash, _mm_extract_epi32(s.abef, 3));
  put_word(hash + 4, _mm_extract_epi32(s.abef, 2));
  put_word(hash + 8, _mm_extract_epi32(s.cdgh, 3));
  put_word(hash + 12, _mm_extract_epi32(s.cdgh, 2));
  put_word(hash + 16, _mm_extract_epi32(s.abef, 1));
  put_word(hash + 20, _mm_extract_epi32(s.abef, 0));
  put_word(hash + 24, _mm_extract_epi32(s.cdgh, 1));
  put_word(hash + 28, _mm_extract_epi32(s.cdgh, 0));
}

/* What is left, a one, and the length in bits at the end of a block. */
WITH_SHA static struct halves add_rest(struct halves s, const uint8_t *data,
                                       size_t rest, uint64_t size)
{
  uint8_t last[2 * BLOCK] = {0};
  size_t blocks = rest + 9 > BLOCK ? 2 : 1;
  uint64_t bits = __builtin_bswap64(size * 8);

  if (rest) memcpy(last, data, rest);
  last[rest] = 0x80;
  memcpy(last + blocks * BLOCK - sizeof bits, &bits, sizeof bits);
  for (size_t i = 0; i < blocks; ++i) s = add_block(s, last + i * BLOCK);
  return s;
}

WITH_SHA static void hash_whole(const uint8_t *data, size_t size,
                                uint8_t hash[32])
{
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                    0xa54ff53a, 0x510e527f, 0x9b05688c,
                                    0x1f83d9ab, 0x5be0cd19};
  struct halves s = halves_of(start);
  size_t rest = size;

  for (; rest >= BLOCK; rest -= BLOCK, data += BLOCK) s = add_block(s, data);
  put_hash(add_rest(s, data, rest, size), hash);
}

bool sha256_fast(const void *data, size_t size, uint8_t hash[32])
{
  if (!is_able()) return false;
  hash_whole(data, size, hash);
  return true;
}
#else
bool sha256_fast(const void *data, size_t size, uint8_t hash[32])
{
  (void)data, (void)size, (void)hash;
  return false;
}
#endif
