// How the `warp` schemes of qknorm_rope, qk_norm and rope divide the work: the
// tunables, and what follows from them and the facts at compile time.
#pragma once
#include "variants/common/heads_math.cuh"

// In the order in which the specs list them.
struct HeadsWarp {
  int vec = 4;      // bytes per load and store: 4, 8 or 16
  int lanes = 32;   // that share a head row: 4 to 32, or 64 (two warps)
  int heads = 1;    // rows a lane group takes per token, one after another
  int inflight = 1; // rows loaded before the first is used; divides heads
  bool persistent = false; // a group goes on to further tokens
  int ahead = 0;      // fetched before a token is computed: 1 the next token's
                      // position; 2 its rows, cos and sin as well; 3 and 4 the
                      // rows of the next 1 and 2 tokens into shared memory
  int warps = 4;      // per block
  bool grid2d = false;     // x tokens and y chunks of heads, or x for both
  bool keep_table = true;  // cos and sin in registers for all heads of a
                           // token, or read again for each
  bool keep_weight = true; // weights in registers, or read again for each head
  int hint = 0;       // 0 none, 1 streaming loads and stores, 2 streaming
                      // stores, 3 loads that bypass L1 and streaming stores
  int min_blocks = 0; // per SM that registers must allow; 0: no limit
};

namespace dt {

// What the op does, and the facts of the problem it is compiled for.
struct HeadsFacts {
  bool norm = true, rope = true;
  Dtype io = Dtype::bf16, weight = Dtype::bf16;
  int head_dim = 128, rope_dim = 128;
  Layout layout = Layout::interleaved;
  Positions positions = Positions::i64;
  Cache cache = Cache::joint;
  Table table = Table::half;
  Dtype cache_dtype = Dtype::fp32;
  Rounding rounding = Rounding::once;
  int segments = 1; // 2: rows of text come first, from tensors of their own
  bool inplace = true;
};

// How a row falls into units, and units to lanes.  A unit is one vector, or,
// where pairs are half a row apart (neox), two: then both elements of a pair
// are in one lane.  The rotary units come first, then the tail.
template <HeadsFacts F, HeadsWarp P> struct HeadsShape {
  static constexpr int count = P.vec / bytes_of(F.io); // elements of a vector
  static constexpr bool neox = F.rope && F.layout == Layout::neox;
  static constexpr int twins = neox ? 2 : 1; // vectors of a unit
  static constexpr int rotary = F.rope ? F.rope_dim / count / twins : 0;
  // What neither norm nor rope changes need not be touched in place.
  static constexpr bool skip_tail = !F.norm && F.inplace;
  static constexpr int tail =
      skip_tail ? 0 : F.head_dim / count - rotary * twins;
  static constexpr int half_tail = ceil_div(tail, twins);
  static constexpr int units = rotary + half_tail;
  static constexpr int slots = ceil_div(units, P.lanes); // units of a lane
  static constexpr int angles = neox ? count : count / 2; // pairs of a unit
  // Of the tables: values of a unit, and how many times (a full table has a
  // value for each element of a pair, half a row apart).
  static constexpr int span = F.table == Table::repeated ? 2 * angles : angles;
  static constexpr int copies = F.table == Table::full ? 2 : 1;
  static constexpr bool turns = rotary > 0;
  static constexpr bool weighs = F.norm && F.weight != Dtype::none;
  static constexpr int stages = P.ahead > 2 ? P.ahead - 2 : 0;

  static_assert(P.lanes == 4 || P.lanes == 8 || P.lanes == 16 ||
                    P.lanes == 32 || P.lanes == 64,
                "a head row is shared by 4, 8, 16, 32 or 64 lanes");
  static_assert(P.lanes <= 32 || P.warps % 2 == 0,
                "two warps per head need an even number of warps");
  static_assert(P.heads % P.inflight == 0, "inflight must divide heads");
  static_assert(P.ahead != 2 || P.inflight == P.heads,
                "registers hold all heads of the token ahead");
  static_assert(count >= 1 && P.vec <= 16, "a vector holds 1 to 16 bytes");
  static_assert(F.head_dim % count == 0, "whole vectors only: head_dim");
  static_assert(!F.rope || F.rope_dim % (count * twins) == 0,
                "whole vectors only: rope_dim");
  static_assert(!turns || neox || count % 2 == 0,
                "an interleaved pair is in one vector");
  static_assert(F.table == Table::half || F.cache == Cache::separate,
                "a joint cache holds half as many angles as elements");
  static_assert(F.table != Table::repeated || !neox,
                "angles are repeated for neighbours");
  static_assert(F.table != Table::full || neox || !F.rope,
                "pairs with two angles are half a row apart");
  static_assert(F.segments == 1 || !F.inplace,
                "two segments are written to one joint output");

  // The loops over slots are unrolled, so most of these fold to constants.
  static __device__ __forceinline__ bool rotates(int lane, int slot)
  {
    if ((slot + 1) * P.lanes <= rotary) return true;
    if (slot * P.lanes >= rotary) return false;
    return lane + slot * P.lanes < rotary;
  }
  static __device__ __forceinline__ bool holds(int lane, int slot, int twin)
  {
    const int unit = lane + slot * P.lanes;
    if ((slot + 1) * P.lanes <= rotary) return true;
    if (twin == 0 || tail % 2 == 0)
      return (slot + 1) * P.lanes <= units || unit < units;
    return unit < rotary || unit < units - 1;
  }
  // In vectors, from the lane's first.
  static __device__ __forceinline__ int place(int lane, int slot, int twin)
  {
    const int jump = rotates(lane, slot) ? twin * rotary
                                         : rotary * (twins - 1) +
                                               twin * half_tail;
    return slot * P.lanes + jump;
  }
  static constexpr Load row_load = P.hint == 1   ? Load::stream
                                   : P.hint == 3 ? Load::once
                                                 : Load::plain;
  static constexpr Store row_store =
      P.hint == 0 ? Store::plain : Store::stream;
};

} // namespace dt
