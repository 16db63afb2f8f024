#!/usr/bin/env python3
"""Do launches go into torch.cuda.graph, and does a refused one leave it whole?

usage: torch_graph.py LIBDIFFDISPATCH.so        (needs torch and a GPU)

Two prepared ops are captured, the second on the first's output; each replay with
new inputs must give the bits of eager launches.  A capture in which a problem is
met that was not prepared must get DD_NOT_PREPARED, go on, end, and replay.
"""
import ctypes, sys
import torch

NOT_PREPARED, BFLOAT = 13, 4
dd = ctypes.CDLL(sys.argv[1])
dd.dd_last_error.restype = ctypes.c_char_p
torch.manual_seed(1)
failed = 0


class Tensor(ctypes.Structure):  # as DLPack's
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("rank", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


def view(t):
    shape = (ctypes.c_int64 * t.dim())(*t.shape)
    return Tensor(t.data_ptr(), 2, 0, t.dim(), BFLOAT, 16, 1, shape, None, 0)


def launch(op, *tensors):
    views = [view(t) for t in tensors if t is not None]
    left = iter(views)
    row = (ctypes.POINTER(Tensor) * len(tensors))(
        *[None if t is None else ctypes.pointer(next(left)) for t in tensors])
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    return dd.dd_launch(ctx, op.encode(), row, ctypes.c_size_t(len(tensors)), None, ctypes.c_size_t(0), stream)


def need(status):
    if status:
        sys.exit(f"status {status}: {dd.dd_last_error().decode()}")


def check(what, holds):
    global failed
    failed += not holds
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)


def prepare(*spellings):
    need(dd.dd_prepare(ctx, (ctypes.c_char_p * len(spellings))(*[s.encode() for s in spellings]),
                       ctypes.c_size_t(len(spellings)), None))


def rand(*shape):
    return torch.randn(*shape, device="cuda").to(torch.bfloat16)


def same(a, b):
    return torch.equal(a.view(torch.int16), b.view(torch.int16))


SEQ, HIDDEN = 4096, 3072
x, scale, shift, weight = rand(1, SEQ, HIDDEN), rand(1, 1, HIDDEN), rand(1, 1, HIDDEN), rand(HIDDEN)
mid, y = torch.empty_like(x), torch.empty_like(x)
ctx = ctypes.c_void_p()
need(dd.dd_open(None, ctypes.byref(ctx)))
prepare(f"norm_scale_shift:bf16 seq={SEQ} hidden={HIDDEN}",
        f"norm:bf16 seq={SEQ} hidden={HIDDEN} norm=rms weight=bf16")


def both():
    need(launch("norm_scale_shift:bf16", x, scale, shift, None, None, mid))
    need(launch("norm:bf16 norm=rms", mid, weight, None, y))


both()  # eager, once: torch wants a warm-up too
torch.cuda.synchronize()
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    both()
for turn in range(3):
    x.copy_(rand(1, SEQ, HIDDEN))
    y.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    got = y.clone()
    both()
    torch.cuda.synchronize()
    check(f"replay {turn} has the bits of eager launches", same(got, y) and not got.isnan().any().item())

other, out = rand(1, 77, HIDDEN), torch.full((1, 77, HIDDEN), 7., device="cuda", dtype=torch.bfloat16)
graph, statuses = torch.cuda.CUDAGraph(), []
with torch.cuda.graph(graph):
    both()
    statuses.append(launch("norm:bf16 norm=rms", other, weight, None, out))
    both()
check(f"what was not prepared is refused in a capture: {statuses}, '{dd.dd_last_error().decode()}'",
      statuses == [NOT_PREPARED])
y.fill_(float("nan"))
graph.replay()
torch.cuda.synchronize()
check("the capture ended, and its replay is right", same(got, y))
check("and nothing was launched for it", (out == 7).all().item())
need(launch("norm:bf16 norm=rms", other, weight, None, out))
torch.cuda.synchronize()
check("eagerly it is launched", not (out == 7).all().item())
dd.dd_close(ctx)
print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}: {failed} failed")
sys.exit(failed != 0)
