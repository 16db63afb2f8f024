// The shim's numbers: 16-bit conversions and the bits of a word.

struct Convert {
  const float *wide;
  const unsigned short *narrow;
  unsigned short *f16, *bf16;
  float *from_f16, *from_bf16;
  int count;
};

extern "C" __global__ void convert(const __grid_constant__ Convert a)
{
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= a.count) return;
  a.f16[i] = dt_cpu_f32_to_f16(a.wide[i]);
  a.bf16[i] = dt_cpu_f32_to_bf16(a.wide[i]);
  a.from_f16[i] = dt_cpu_f16_to_f32(a.narrow[i]);
  a.from_bf16[i] = dt_cpu_bf16_to_f32(a.narrow[i]);
}
DT_EXPORT(convert, Convert)

struct Bits {
  unsigned *out;
};

// Compiles only if all of CUDA's words that kernels use are there; the values
// are what the CUDA manual says.
extern "C" __global__ void bits(const __grid_constant__ Bits a)
{
  unsigned *o = a.out;
  float s, c;
  __sincosf(0.0f, &s, &c);
  const uint4 q = __ldg((const uint4 *)o + 4);
  __stcs((uint4 *)o + 5, make_uint4(q.w, q.z, q.y, q.x));
  __stwt((ushort4 *)o + 12, make_ushort4(1, 2, 3, 4));
  __stcg((float2 *)o + 13, make_float2(1.0f, -2.0f));
  o[0] = __popc(0xf0f0u);
  o[1] = __ffs(8) + __ffs(0);
  o[2] = __clz(1) + __clz(0);
  o[3] = __byte_perm(0x03020100, 0x87060584, 0x7c35);
  o[4] = __funnelshift_r(0x11111111, 0x2222222f, 4);
  o[5] = __float_as_uint(rsqrtf(4.0f) + __frsqrt_rn(4.0f) + __fmaf_rn(2, 3, 4));
  o[6] = min(3, 4) + max(3u, 4u) + (unsigned)fmaxf(1.0f, 2.0f) +
         (unsigned)min(7.0f, 8.0f);
  o[7] = __float_as_uint(__expf(0.0f) + exp2f(3.0f) + tanhf(0.0f) + s + c);
  o[8] = __float2int_rn(2.5f) + __float2int_rn(3.5f);
  o[9] = __float2uint_rz(__uint_as_float(0x7fc00000)) + __float2int_rz(1e30f);
  o[10] = __brev(1u);
  o[11] = __umulhi(0x80000000u, 6u);
  o[12] = sizeof(float4) + alignof(float4) + sizeof(ushort4) +
          alignof(ushort4) + sizeof(float3) + alignof(float3);
  o[13] = __float_as_uint(__fdividef(1.0f, 4.0f) + __fmul_rn(2.0f, 3.0f) +
                          __fadd_rn(1.0f, 1.0f));
}
DT_EXPORT(bits, Bits)
