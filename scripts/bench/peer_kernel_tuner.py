#!/usr/bin/env python3
"""Candidates proven and timed per second: difftune against Kernel Tuner.

usage: peer_kernel_tuner.py DIFFTUNE [--gpu N] [--lang NVCUDA|CUPY] [--points N] [--no-verify]
       peer_kernel_tuner.py DIFFTUNE --compile     (no GPU: NVRTC compiles each text)

Both look at all points of the scheme qknorm_rope.warp for one problem, on one
GPU, with nothing compiled before.  Kernel Tuner (PyPI kernel-tuner, with
cuda-python or cupy) is given the texts that `difftune generate` writes, by a
function of the point, so that its space has these points and no others; what
writing them takes is not counted.  Around the same device code stands an entry
with plain arguments, as it cannot pass a struct.  Kernel Tuner compares every
element with a reference of NumPy (--no-verify: it only times), made once, and
not counted either; difftune's wall time has its references, processes and
database in it.  Kernels that stay on the device get as many blocks as threads
allow, whatever registers say: who is fastest is not what is compared.
"""
import argparse, concurrent.futures, ctypes, json, os, pathlib, re, subprocess, sys
import tempfile, time

import numpy

PROBLEM = {"tokens": 4096, "q_heads": 24, "kv_heads": 24, "head_dim": 128}
SPELLING = "qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128"
SCHEME, ENTRY, EPS = "qknorm_rope.warp", "difftune_point", 1e-6
PARAMETERS = """void *q, void *k, const void *q_weight, const void *k_weight,
    const void *table, const void *positions, int tokens, int q_heads, int kv_heads"""
ARGUMENTS = """{
      .q = q, .k = k, .q_out = q, .k_out = k, .q_weight = q_weight, .k_weight = k_weight,
      .cos = table, .sin = nullptr, .positions = positions,
      .q_token_stride = q_heads * 128, .q_head_stride = 128,
      .k_token_stride = kv_heads * 128, .k_head_stride = 128,
      .q_out_token_stride = q_heads * 128, .q_out_head_stride = 128,
      .k_out_token_stride = kv_heads * 128, .k_out_head_stride = 128,
      .table_width = 128, .tokens = tokens, .seq = tokens, .position_offset = 0,
      .q_heads = q_heads, .kv_heads = kv_heads, .head_dim = 128, .rope_dim = 128,
      .layout = (int)dt::Layout::interleaved, .position_type = (int)dt::Positions::i64,
      .cache = (int)dt::Cache::joint, .cache_dtype = (int)dt::Dtype::fp32, .eps = 1e-6f}"""
MOST_THREADS = 4096  # a point's number times this and its threads are one parameter
OPTIONS = ["-std=c++20", "-default-device"]


# ---- Points and their texts


def difftune(*words):
    run = subprocess.run([*map(str, words)], text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    if run.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit {run.returncode}\n{run.stderr}")
    return run


def list_points(program):
    """The tunables of each point, in words."""
    text = difftune(program, "generate", SCHEME, "--problem", SPELLING, "--list").stdout
    return [line.split(SCHEME)[1].split("|")[0].split() for line in text.splitlines()
            if SCHEME in line]


def write_text(program, words):
    """The folded text, its entry replaced by one with plain arguments."""
    text = difftune(program, "generate", SCHEME, *words, "--problem", SPELLING, "--fold").stdout
    found = re.search(r'extern "C" __global__ void (__launch_bounds__\([^)]*\))\s+dt_\w+\(.*?\)\s*'
                      r"\{\s*(.*>)\(a\);\s*\}", text, re.S)
    if not found:
        sys.exit(f"difftune generate wrote no entry for {' '.join(words)}")
    return (text[:found.start()] + f'extern "C" __global__ void {found[1]}\n{ENTRY}({PARAMETERS})\n'
            + f"{{\n  const QkNormRopeArgs a = {ARGUMENTS};\n  {found[2]}(a);\n}}\n")


def write_texts(program, points):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda words: write_text(program, words), points))


# ---- A launch, as variants/qknorm_rope/warp.lua has it


def ceil_div(a, b):
    return -(-a // b)


def launch_of(words, sms):
    """Threads, and blocks in x and y."""
    p = {name: int(value) for name, value in (word.split("=") for word in words)}
    threads, rows = p["warps"] * 32, PROBLEM["tokens"]
    groups, resident = threads // p["lanes"], sms * (2048 // threads)
    chunks = sum(ceil_div(PROBLEM[heads], p["heads"]) for heads in ("q_heads", "kv_heads"))
    if p["grid2d"]:
        x, most = ceil_div(rows, groups), max(resident // chunks, 1)
    else:
        x, most = ceil_div(rows * chunks, groups), max(resident, ceil_div(chunks, groups))
    return threads, min(x, most) if p["persistent"] else x, chunks if p["grid2d"] else 1


def count_sms(gpu):
    driver, sms, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int()
    multiprocessor_count = 16
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), gpu) or \
            driver.cuDeviceGetAttribute(ctypes.byref(sms), multiprocessor_count, device):
        sys.exit(f"the driver has no GPU {gpu}")
    return sms.value


# ---- Inputs and the reference


def to_bf16(values):
    """The nearest, ties to even, as bits."""
    bits = values.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def to_float(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def make_arguments():
    random, tokens, dim = numpy.random.default_rng(1), PROBLEM["tokens"], PROBLEM["head_dim"]
    heads = [PROBLEM["q_heads"], PROBLEM["kv_heads"]]
    rows = [to_bf16(random.standard_normal((tokens, n, dim), numpy.float32)) for n in heads]
    weights = [to_bf16(1 + 0.1 * random.standard_normal(dim, numpy.float32)) for _ in heads]
    angles = numpy.arange(tokens)[:, None] * 10000.0 ** (-numpy.arange(dim // 2) / (dim // 2))
    table = numpy.concatenate([numpy.cos(angles), numpy.sin(angles)], 1).astype(numpy.float32)
    positions = random.permutation(tokens).astype(numpy.int64)
    return [*rows, *weights, table, positions, numpy.int32(tokens), *map(numpy.int32, heads)]


def reference(rows, weight, table, positions):
    x = to_float(rows).astype(numpy.float64)
    x *= to_float(weight) / numpy.sqrt((x * x).mean(-1, keepdims=True) + EPS)
    cos, sin = numpy.split(table[positions][:, None, :].astype(numpy.float64), 2, -1)
    out = numpy.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., 1::2] * cos + x[..., 0::2] * sin
    return out.astype(numpy.float32)


def is_right(want, got):
    """Half an ulp of bf16 at the store, and what fp32 adds before it."""
    return bool(numpy.all(numpy.abs(to_float(got) - want) <= abs(want) * 2.0 ** -8 * 1.01 + 1e-5))


# ---- Running


def run_kernel_tuner(texts, launches, arguments, asked):
    want = [reference(arguments[i], arguments[2 + i], *arguments[4:6]) for i in (0, 1)]
    rest, wrong = [None] * (len(arguments) - 2), []

    def verify(_, results, atol=None):  # False would end the whole run
        wrong.extend(1 for pair in zip(want, results) if not is_right(*pair))
        return True

    began = time.monotonic()
    import kernel_tuner  # difftune's process begins in its time too

    results, env = kernel_tuner.tune_kernel(
        ENTRY, lambda p: texts[p["POINT"] // MOST_THREADS],
        lambda p: launches[p["POINT"] // MOST_THREADS][1:], arguments,
        {"POINT": [i * MOST_THREADS + l[0] for i, l in enumerate(launches)],
         "THREADS": sorted({l[0] for l in launches})},
        restrictions=[f"THREADS == POINT % {MOST_THREADS}"],
        block_size_names=["THREADS", "Y", "Z"], grid_div_x=[], grid_div_y=[],
        answer=[arguments[0], arguments[1], *rest] if asked.verify else None,
        verify=verify if asked.verify else None,
        lang=asked.lang, device=asked.gpu, compiler_options=OPTIONS, quiet=True)
    seconds = time.monotonic() - began
    times = [r["time"] for r in results if isinstance(r["time"], float)]
    return {"tuner": f"Kernel Tuner {kernel_tuner.__version__}, {asked.lang}", "points": len(texts),
            "done": len(times), "wrong": len(wrong), "seconds": seconds, "best_us": 1e3 * min(times, default=0),
            "detail": {k: v for k, v in env.items() if "time" in k and isinstance(v, (int, float))}}


def run_difftune(program, asked):
    with tempfile.TemporaryDirectory(prefix="difftune-bench-") as folder:
        os.environ["DIFFTUNE_CACHE"] = folder  # for its own kernels: nothing is there
        began = time.monotonic()
        run = difftune(program, "sweep", "--gpu", asked.gpu, "--shapes", SPELLING, "--variant", SCHEME,
                       "--parts", 1, "--no-cache", "--no-prune", "--json", "--quiet", "--verbose",
                       "--db", pathlib.Path(folder) / "bench.db")
        seconds = time.monotonic() - began
    found = [c for o in json.loads(run.stdout) for c in o["candidates"]
             if c["label"].startswith(SCHEME + " ")]
    done = [c for c in found if c["proven"] and ("median_us" in c or "same_as" in c)]
    return {"tuner": difftune(program, "--version").stdout.strip(), "points": len(found),
            "done": len(done), "wrong": len(found) - len(done), "seconds": seconds,
            "best_us": min((c["median_us"] for c in done if "median_us" in c), default=0),
            "detail": run.stderr.strip().splitlines()}


def compile_all(texts):
    """Whether NVRTC takes them; needs cuda-python and no GPU."""
    from cuda.bindings import nvrtc

    options = [option.encode() for option in ["--gpu-architecture=sm_90", *OPTIONS]]
    began, good = time.monotonic(), 0
    for text in texts:
        _, program = nvrtc.nvrtcCreateProgram(text.encode(), b"point.cu", 0, None, None)
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
            nvrtc.nvrtcGetProgramLog(program, log)
            sys.exit(log.decode())
        good += 1
    print(f"{good} of {len(texts)} points compiled in {time.monotonic() - began:.1f} s")


def print_table(rows):
    print("| tuner | points | timed | not proven or timed | seconds | per second | best us |")
    print("|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['tuner']} | {r['points']} | {r['done']} | {r['wrong']} | {r['seconds']:.1f} | "
              f"{r['done'] / r['seconds']:.2f} | {r['best_us']:.2f} |")
    rates = [r["done"] / r["seconds"] for r in rows]
    if rates[1]:
        print(f"\ndifftune proves and times {rates[0] / rates[1]:.1f} times as many per second\n")
    for r in rows:
        print(f"{r['tuner']}: {json.dumps(r['detail'])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("difftune")
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--lang", default="NVCUDA", choices=["NVCUDA", "CUPY"])
    parser.add_argument("--points", type=int, help="Kernel Tuner gets the first N only")
    parser.add_argument("--no-verify", dest="verify", action="store_false")
    parser.add_argument("--compile", action="store_true", help="no GPU: only compile the texts")
    asked = parser.parse_args()
    points = list_points(asked.difftune)[:asked.points]
    texts = write_texts(asked.difftune, points)
    if asked.compile:
        return compile_all(texts)
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # nothing is compiled before
    launches = [launch_of(words, count_sms(asked.gpu)) for words in points]
    rows = [run_difftune(asked.difftune, asked),
            run_kernel_tuner(texts, launches, make_arguments(), asked)]
    print_table(rows)


main()
