#!/usr/bin/env python3
"""How many bits agree with PyTorch's eager chain, and how far is `once` off?

usage: eager.py LIBDIFFDISPATCH.so        (needs torch and a GPU)

For four ops: the same random bf16 inputs go through the library's default
variant (rounding=each) and through the unfused chain of PyTorch ops
that it stands for; and through rounding=once, against the same mathematics in
float64 on the stored inputs.  Errors are in ulp of the exact result, of those
elements that are not next to zero: where terms cancel, an ulp of what is left
says nothing.  Prints a table in Markdown.
"""
import ctypes, sys
import torch

torch.manual_seed(1)
BF16 = torch.bfloat16
dev = "cuda"
dd = ctypes.CDLL(sys.argv[1])
dd.dd_last_error.restype = ctypes.c_char_p
dd.dd_plan_buffer_name.restype = ctypes.c_char_p
dd.dd_plan_buffer_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
dd.dd_plan_buffer_count.restype = ctypes.c_size_t
dd.dd_plan_buffer_count.argtypes = [ctypes.c_void_p]
dd.dd_plan_free.argtypes = [ctypes.c_void_p]


class Problem(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("spelling", ctypes.c_char_p),
                ("attrs", ctypes.c_void_p), ("attr_count", ctypes.c_size_t)]


def check(status):
    if status:
        raise SystemExit(dd.dd_last_error().decode())


torch.zeros(1, device=dev)  # makes the context current
ctx = ctypes.c_void_p()
check(dd.dd_open(None, ctypes.byref(ctx)))


def run(spelling, tensors):
    """Launches the plan; tensors by name, outputs are written in place."""
    plan = ctypes.c_void_p()
    problem = Problem(ctypes.sizeof(Problem), spelling.encode(), None, 0)
    check(dd.dd_plan_make(ctx, ctypes.byref(problem), ctypes.byref(plan)))
    n = dd.dd_plan_buffer_count(plan)
    names = [dd.dd_plan_buffer_name(plan, i).decode() for i in range(n)]
    buffers = (ctypes.c_void_p * n)(*[tensors[name].data_ptr() for name in names])
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    check(dd.dd_plan_launch(plan, buffers, None, stream))
    torch.cuda.synchronize()
    dd.dd_plan_free(plan)


def rand(*shape, scale=1.0, shift=0.0):
    return (torch.randn(*shape, device=dev) * scale + shift).to(BF16)


def rms(x, w, eps=1e-6):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def layer(x, eps=1e-6):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt((x - mean).pow(2).mean(-1, keepdim=True) + eps)


def ulp(v):
    e = torch.floor(torch.log2(v.abs().clamp_min(2.0**-126)))
    return 2.0 ** (e - 7)


LEAST = 0.01  # of results whose terms are about 1


def errors(got, exact):
    far = exact.abs() >= LEAST
    return ((got.double() - exact).abs() / ulp(exact))[far]


def report(name, each, eager, once, exact):
    same = [(a.view(torch.int16) == b.view(torch.int16)).double().mean().item()
            for a, b in zip(each, eager)]
    once, eager = ([errors(a, b) for a, b in zip(some, exact)] for some in (once, eager))
    print(f"| {name} | {min(same):.5f} | {max(e.mean().item() for e in once):.3f} |"
          f" {max(e.max().item() for e in once):.3f} | {max(e.mean().item() for e in eager):.3f} |"
          f" {max(e.max().item() for e in eager):.1f} |", flush=True)


def turn(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)


def qknorm_rope(T=4096, H=24, D=128):
    q, k, wq, wk = rand(T, H, D), rand(T, H, D), rand(D, scale=.2, shift=1), rand(D, scale=.2, shift=1)
    angle = torch.rand(T, D // 2, device=dev, dtype=torch.float64) * 6.28
    cos, sin = angle.cos().to(BF16), angle.sin().to(BF16)
    positions = torch.arange(T, device=dev)
    spell = (f"qknorm_rope:bf16 tokens={T} q_heads={H} head_dim={D} cache=separate "
             "cache_dtype=bf16 rounding=%s inplace=0")
    results = {}
    for mode in ("each", "once"):
        out = [torch.full_like(q, float("nan")), torch.full_like(k, float("nan"))]
        run(spell % mode, dict(q=q, k=k, q_out=out[0], k_out=out[1], q_weight=wq, k_weight=wk,
                               cos=cos, sin=sin, positions=positions))
        results[mode] = out
    c, s = cos[:, None], sin[:, None]
    eager = [turn(rms(x.float(), w.float()).to(BF16), c, s) for x, w in ((q, wq), (k, wk))]
    exact = [turn(rms(x.double(), w.double()), c.double(), s.double()) for x, w in ((q, wq), (k, wk))]
    report(f"qknorm_rope {T} × ({H}+{H}) × {D}", results["each"], eager, results["once"], exact)


def norm_scale_shift(S=4096, D=3072):
    x, scale, shift = rand(S, D), rand(D, scale=.5), rand(D, scale=.5)
    results = {}
    for mode in ("each", "once"):
        y = torch.full_like(x, float("nan"))
        run(f"norm_scale_shift:bf16 seq={S} hidden={D} rounding={mode}",
            dict(x=x, y=y, scale=scale, shift=shift))
        results[mode] = [y]
    eager = [layer(x.float()).to(BF16) * (1 + scale) + shift]
    exact = [layer(x.double()) * (1 + scale.double()) + shift.double()]
    report(f"norm_scale_shift {S} × {D}", results["each"], eager, results["once"], exact)


def residual_norm_scale_shift(S=4096, D=3072):
    x, residual = rand(S, D), rand(S, D)
    gate, scale, shift = rand(D, scale=.5), rand(D, scale=.5), rand(D, scale=.5)
    results = {}
    for mode in ("each", "once"):
        y, r = torch.full_like(x, float("nan")), torch.full_like(x, float("nan"))
        run(f"residual_norm_scale_shift:bf16 seq={S} hidden={D} rounding={mode}",
            dict(x=x, residual=residual, gate=gate, scale=scale, shift=shift, y=y, r_out=r))
        results[mode] = [y, r]
    r = residual + gate * x
    eager = [layer(r.float()).to(BF16) * (1 + scale) + shift, r]
    r = residual.double() + gate.double() * x.double()
    exact = [layer(r) * (1 + scale.double()) + shift.double(), r]
    report(f"residual_norm_scale_shift {S} × {D}", results["each"], eager, results["once"], exact)


def z_image(S=4096, D=3840):
    x, h = rand(S, D), rand(S, D)
    gate, scale = rand(D, scale=.5), rand(D, scale=.5)
    w1, w2 = rand(D, scale=.2, shift=1), rand(D, scale=.2, shift=1)
    results = {}
    for mode in ("each", "once"):
        y, r = torch.full_like(x, float("nan")), torch.full_like(x, float("nan"))
        run(f"norm_gate_residual_norm_scale:bf16 seq={S} hidden={D} norm=rms weight=bf16 "
            f"weight2=bf16 gate_tanh=1 rounding={mode}",
            dict(x=x, h=h, gate=gate, scale=scale, weight=w1, weight2=w2, y=y, r_out=r))
        results[mode] = [y, r]
    r = x + torch.tanh(gate) * rms(h.float(), w1.float()).to(BF16)
    eager = [rms(r.float(), w2.float()).to(BF16) * (1 + scale), r]
    r = x.double() + torch.tanh(gate.double()) * rms(h.double(), w1.double())
    exact = [rms(r, w2.double()) * (1 + scale.double()), r]
    report(f"norm_gate_residual_norm_scale {S} × {D}", results["each"], eager, results["once"], exact)


print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}\n")
print("| op | `each`: bits equal to eager | `once`: mean error, ulp | largest | eager: mean error, ulp | largest |")
print("|---|---|---|---|---|---|")
for op in (qknorm_rope, norm_scale_shift, residual_norm_scale_shift, z_image):
    op()
