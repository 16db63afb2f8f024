#!/usr/bin/env python3
"""Every scheme of every op compiles for every arch, without a GPU.

usage: compile.py DIFFTUNE SOURCE_DIR

Compiles a cover of the trials: of each problem and scheme one point, and every
value of every tunable (test_specs.c holds it to that).  Then a kernel that is
broken on purpose: the report names the file, the line and the point.
Exit code 77 where there is no NVRTC.
"""
import json, pathlib, re, shutil, subprocess, sys, tempfile

program, source = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
ARCHS = ["sm_80", "sm_90", "sm_100"]
SCHEMES = {f"{path.parent.name}.{path.stem}" for path in source.glob("variants/*/*.lua")
           if path.stem != "op" and (path.parent / "op.lua").exists()}
wrong = []


def expect(what, holds, detail=""):
    print("ok  " if holds else "FAIL", what, "" if holds else detail, flush=True)
    if not holds:
        wrong.append(what)


def difftune(*words):
    return subprocess.run([program, *map(str, words)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def compile_cover():
    run = difftune("compile", "--all", "--cover", "--verbose", "--json", "--arch", ",".join(ARCHS))
    targets = {t["target"]: t for t in json.loads(run.stdout or "[]")}
    expect("compile ends with 0", run.returncode == 0, run.stderr[-2000:])
    expect("all archs were compiled for", list(targets) == ARCHS, list(targets))
    for name, target in targets.items():
        met = {v["variant"].split()[0] for v in target["variants"]}
        expect(f"{name}: {target['points']} points in {target['seconds']:.0f} s",
               target["failed"] == 0 and len(target["variants"]) == target["points"],
               target["failures"][:3])
        expect(f"{name}: every scheme is among them", met == SCHEMES, met ^ SCHEMES)


def compile_broken(folder):
    variants = folder / "variants"
    shutil.copytree(source / "variants", variants)
    kernel = variants / "rope" / "generic.cuh"
    lines = kernel.read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if line == "}")  # of the kernel
    lines.insert(last, "  int wrong = nobody_knows_this;")
    kernel.write_text("\n".join(lines) + "\n")
    for arch in ARCHS:
        run = difftune("compile", "--variants", variants, "--arch", arch, "--shapes",
                       "rope:bf16 tokens=1 q_heads=1 head_dim=64 align=2")
        expect(f"{arch}: a broken kernel is named: file, line and point",
               run.returncode == 65 and "rope.generic warps=4" in run.stdout
               and re.search(rf"variants/rope/generic\.cuh[:(]{last + 1}\b", run.stdout),
               (run.returncode, run.stdout, run.stderr))


if not re.search(r"^ok +nvrtc", difftune("doctor").stdout, re.M):
    print("no NVRTC here")
    sys.exit(77)
compile_cover()
with tempfile.TemporaryDirectory(prefix="difftune-compile-") as name:
    compile_broken(pathlib.Path(name))
sys.exit(bool(wrong))
