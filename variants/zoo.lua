-- The zoo: problems that models really run, named model.site.resolution, with
-- the number of calls per denoising step (or forward pass) where it is known.
-- Token counts: VAE /8 and patch 2, so 1024 x 1024 is 64 * 64 = 4096; a video
-- has (frames - 1) / 4 + 1 latent frames.  What a model needs and no op says
-- yet (norm across heads, index-selected modulation, split-half tables per
-- head) is here as the nearest op, and named in the comment.
local function row(hidden, seq, more)
  return "bf16 seq=" .. seq .. " hidden=" .. hidden .. (more or "")
end

local sites = {}
local function add(name, calls, spelling)
  table.insert(sites, { name, calls = calls, spelling })
end

-- 1-12: QK-norm and rotary embedding of q and k
add("qwen-image.image.1024",      60, "qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128")
add("qwen-image.text.19",         60, "qknorm_rope:bf16 tokens=19 q_heads=24 head_dim=128")
add("qwen-image.text.47",         60, "qknorm_rope:bf16 tokens=47 q_heads=24 head_dim=128")
add("qwen-image-edit.image.8424", 60, "qknorm_rope:bf16 tokens=8424 q_heads=24 head_dim=128")
add("qwen-image-edit.text.189",   60, "qknorm_rope:bf16 tokens=189 q_heads=24 head_dim=128")
add("qwen-image-edit.text.195",   60, "qknorm_rope:bf16 tokens=195 q_heads=24 head_dim=128")
add("qwen-image.image.1328",      60, "qknorm_rope:bf16 tokens=6889 q_heads=24 head_dim=128")
add("z-image.image.1024",         32, "qknorm_rope:bf16 tokens=4096 q_heads=30 head_dim=128")
add("z-image.joint.1024",         30, "qknorm_rope:bf16 tokens=4128 q_heads=30 head_dim=128")
add("z-image.caption.32",          2, "qknorm_rope:bf16 tokens=32 q_heads=30 head_dim=128")
add("joyai-edit.image.7904",     nil, "qknorm_rope:bf16 tokens=7904 q_heads=32 head_dim=128")
add("flux1.double.image",         19, "qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128 positions=none")
add("flux1.double.text",          19, "qknorm_rope:bf16 tokens=512 q_heads=24 head_dim=128 positions=none")
add("flux1.single",               38, "qknorm_rope:bf16 tokens=4608 q_heads=24 head_dim=128")
add("flux2-dev.double.image",      8, "qknorm_rope:bf16 tokens=4096 q_heads=48 head_dim=128")
add("flux2-dev.double.text",       8, "qknorm_rope:bf16 tokens=512 q_heads=48 head_dim=128")
add("flux2-dev.single",           48, "qknorm_rope:bf16 tokens=4608 q_heads=48 head_dim=128 q_stride=55296,128 k_stride=55296,128")
add("flux2-klein.double",          5, "qknorm_rope:bf16 tokens=4608 q_heads=24 head_dim=128")
add("flux2-klein.single",         20, "qknorm_rope:bf16 tokens=4608 q_heads=24 head_dim=128 q_stride=27648,128 k_stride=27648,128")
add("krea-k2.long",              nil, "qknorm_rope:bf16 tokens=28520 q_heads=32 kv_heads=8 head_dim=128")
add("hunyuan-video.image.27030", nil, "qknorm_rope:bf16 tokens=27030 q_heads=24 head_dim=128 q_stride=9216,128 k_stride=9216,128")
add("minimax-h3.attention",      nil, "qknorm_rope:bf16 tokens=37760 q_heads=14 head_dim=128 rope_dim=96 layout=neox rounding=each")

-- 13-16: the same on a packed projection, frequencies in the kernel
for _, tokens in ipairs { 1, 16, 64, 256 } do
  add("qwen3-30b.decode." .. tokens, 48, "qknorm_rope_packed:bf16 tokens=" .. tokens
    .. " q_heads=32 kv_heads=4 head_dim=128 layout=neox positions=i32")
  add("qwen3-30b-tp4.decode." .. tokens, 48, "qknorm_rope_packed:bf16 tokens=" .. tokens
    .. " q_heads=8 kv_heads=1 head_dim=128 layout=neox positions=i32")
end
for _, tokens in ipairs { 1024, 4096, 8192, 16384 } do
  add("qwen3-30b.prefill." .. tokens, 48, "qknorm_rope_packed:bf16 tokens=" .. tokens
    .. " q_heads=32 kv_heads=4 head_dim=128 layout=neox positions=i32")
end
add("qwen3-dense.prefill.4096", nil, "qknorm_rope_packed:bf16 tokens=4096 q_heads=32 kv_heads=8 head_dim=128 layout=neox positions=i32")
add("glm-4.6.prefill.4096",     nil, "qknorm_rope_packed:bf16 tokens=4096 q_heads=96 kv_heads=8 head_dim=128 rope_dim=64 layout=neox positions=i32")

-- 17-20: rotary embedding alone (18, 19: Wan norms across heads before it;
-- 20: LTX-2's tables are [B, H, S, half])
add("hunyuan-video.rope.27030", nil, "rope:bf16 tokens=27030 q_heads=24 head_dim=128 positions=none cache=separate")
add("wan2.1-1.3b.rope.480p",     30, "rope:bf16 tokens=32760 q_heads=12 head_dim=128 positions=none cache=separate")
add("wan-14b.rope.720p",         40, "rope:bf16 tokens=75600 q_heads=40 head_dim=128 positions=none cache=separate")
add("wan-14b.rope.720p-sp2",     40, "rope:bf16 tokens=37800 q_heads=40 head_dim=128 positions=none cache=separate")
add("ltx-2.rope.video",         nil, "rope:bf16 tokens=6144 q_heads=32 head_dim=128 layout=neox positions=none cache=separate cache_dtype=bf16")
add("ltx-2.rope.audio",         nil, "rope:bf16 tokens=126 q_heads=32 head_dim=64 layout=neox positions=none cache=separate cache_dtype=bf16")

-- 21-29, 31: norm and modulation
local function modulated(name, calls, hidden, seq, operand)
  local two = operand and " scale=" .. operand .. " shift=" .. operand or ""
  add(name .. ".norm1", calls, "norm_scale_shift:" .. row(hidden, seq, two))
  add(name .. ".norm2", calls, "residual_norm_scale_shift:"
    .. row(hidden, seq, (operand and " gate=" .. operand or "") .. two))
end
modulated("qwen-image.image.1024", 60, 3072, 4096)
modulated("qwen-image.image.1328", 60, 3072, 6889)
modulated("qwen-image.text.19", 60, 3072, 19)
modulated("qwen-image.text.47", 60, 3072, 47)
modulated("qwen-image-edit.image.8424", 60, 3072, 8424) -- select01 picks one of two rows per token
modulated("hunyuan-video.image.27030", nil, 3072, 27030)
modulated("hunyuan-video.joint.27085", nil, 3072, 27085)
modulated("hunyuan-video.image.720p", nil, 3072, 118800)
modulated("wan2.1-1.3b.480p", 30, 1536, 32760, "row:fp32")
for _, seq in ipairs { 75600, 37800, 74088, 37044 } do
  local fp32 = " scale=row:fp32 shift=row:fp32"
  add("wan-14b.norm1." .. seq, 40, "norm_scale_shift:" .. row(5120, seq, fp32))
  add("wan-14b.norm2." .. seq, 40, "residual_norm_scale_shift:"
    .. row(5120, seq, " weight=fp32 bias=fp32 scale=scalar shift=scalar gate=row:fp32"))
  add("wan-14b.norm3." .. seq, 40, "residual_norm_scale_shift:" .. row(5120, seq, fp32 .. " gate=none"))
  add("wan-14b.out." .. seq, 1, "norm_scale_shift:" .. row(5120, seq))
end
for _, seq in ipairs { 18144, 11040 } do
  local each = " scale=token:fp32 shift=token:fp32"
  add("wan-ti2v-5b.norm1." .. seq, 30, "norm_scale_shift:" .. row(3072, seq, each))
  add("wan-ti2v-5b.norm2." .. seq, 30, "residual_norm_scale_shift:"
    .. row(3072, seq, " weight=fp32 bias=fp32 scale=scalar shift=scalar gate=token:fp32"))
  add("wan-ti2v-5b.norm3." .. seq, 30, "residual_norm_scale_shift:" .. row(3072, seq, each .. " gate=none"))
end
modulated("mova.video.44100", nil, 5120, 44100)
modulated("mova.video.176400", nil, 5120, 176400)
modulated("mova.audio.101", nil, 1536, 101)
modulated("helios.8640", nil, 5120, 8640, "token")
modulated("helios.11040", nil, 5120, 11040, "token:fp32")
modulated("joy-edit.997", nil, 4096, 997)
modulated("joy-edit.1004", nil, 4096, 1004)
modulated("joy-edit.7904", nil, 4096, 7904)
modulated("flux1.image", 57, 3072, 4096)
modulated("flux1.text", 19, 3072, 512)
modulated("flux1.joint", 38, 3072, 4608)
modulated("flux2-dev.image", 8, 6144, 4096)
modulated("flux2-dev.joint", 48, 6144, 4608)
modulated("ideogram4", nil, 4608, 4096)
modulated("sana.1024", nil, 2240, 1024)
modulated("ernie-image.4216", nil, 4096, 4216)
modulated("ltx-2.video.6144", nil, 4096, 6144)
modulated("ltx-2.video.32640", nil, 4096, 32640)

-- 30: the Z-Image pair
for _, seq in ipairs { 4096, 4128, 4160 } do
  local rms = " norm=rms weight=bf16"
  add("z-image.attention." .. seq, 32, "norm_gate_residual_norm_scale:"
    .. row(3840, seq, rms .. " weight2=bf16 gate_tanh=1"))
  add("z-image.mlp." .. seq, 32, "norm_gate_residual:" .. row(3840, seq, rms .. " gate_tanh=1"))
end

-- 32: norms alone
add("norm.layer.8640", nil, "norm:fp32 seq=8640 hidden=5120 weight=fp32 bias=fp32")
for _, seq in ipairs { 1320, 4096, 16384, 648720, 650040 } do
  add("norm.rms." .. seq, nil, "norm:bf16 seq=" .. seq .. " hidden=128 norm=rms weight=bf16")
end

return zoo(sites)
