#!/usr/bin/env python3
"""What was measured is measured again: reproduce.

usage: again.py DIFFTUNE SOURCE_ROOT

Sweeps two small problems on the CPU device and takes up its rows with the same
and with changed specs and compilers.  Times are not asserted, but that what is
said of them is what the numbers say.
"""
import json, os, pathlib, shutil, subprocess, sys, tempfile

program, root = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:3])
SHAPES = ["qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64", "rope:bf16 tokens=5 q_heads=1 head_dim=64"]
os.environ["CXX"] = "c++"  # g++ gives another name: a compiler like any other
passed = failed = 0


def check(what, holds, detail=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    if not holds:
        print("FAIL", what, detail, flush=True)


def difftune(*words, **environment):
    done = subprocess.run([program, *words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, **environment))
    return done.returncode, done.stdout, done.stderr


def reproduce(row, *words, **environment):
    code, out, err = difftune("reproduce", str(row), "--db", DB, "--json", *words, **environment)
    return code, json.loads(out) if out else None, err


def says_what_it_found(what, code, found, err):
    check(f"{what}: it says something", found, err)
    if not found:
        return
    inside = (found["low_us"] * (1 - found["floor"]) <= found["median_us_now"]
              <= found["high_us"] * (1 + found["floor"]))
    check(f"{what}: inside is what the numbers say", found["inside"] == inside, found)
    check(f"{what}: and so is the exit code", code == (0 if inside else 1), code)


with tempfile.TemporaryDirectory(prefix="difftune-again-") as name:
    folder = pathlib.Path(name)
    DB = str(folder / "a.db")
    words = ["sweep", "--cpu", "--quiet", "--sample", "3", "--db", DB]
    for shape in SHAPES:
        words += ["--shapes", shape]
    code, _, err = difftune(*words)
    check("the sweep ends with 0", code == 0, err)
    rows = json.loads(difftune("show", "--db", DB, "--all", "--json")[1])
    before = pathlib.Path(DB).read_bytes()

    # ---- reproduce
    first = next(r for r in rows if r["rank"] == 1 and not r["split"])
    split = next(r for r in rows if r["split"])
    for what, row in (("a winner", first), ("a split plan", split)):
        code, found, err = reproduce(row["measurement"])
        says_what_it_found(what, code, found, err)
        check(f"{what}: it is that row's",
              found and found["variant"] == row["variant"] and found["problem"] == row["problem"]
              and abs(found["median_us"] - row["median_us"]) < 1e-6, found)
        check(f"{what}: nothing has changed", found and found["same_driver"] and
              found["same_compiler"] and found["same_source"], found)

    code, found, err = reproduce(first["measurement"], CXX="g++")
    says_what_it_found("another compiler", code, found, err)
    check("another compiler is noticed", found and not found["same_compiler"]
          and found["same_source"], found)

    specs = folder / "variants"
    shutil.copytree(pathlib.Path(root) / "variants", specs)
    for kernel in specs.glob("*/*.cuh"):
        kernel.write_text(kernel.read_text() + "\n// another source\n")
    code, found, err = reproduce(first["measurement"], "--variants", str(specs))
    says_what_it_found("another source", code, found, err)
    check("another source is noticed", found and not found["same_source"]
          and found["same_compiler"], found)

    code, found, err = reproduce(first["measurement"], CXX="/bin/false")
    check("what does not compile has 65", code == 65 and not found, (code, err))
    code, found, err = reproduce(10 ** 6)
    check("a row that is not there has 64", code == 64 and "no measurement" in err, (code, err))
    check("nothing was stored", pathlib.Path(DB).read_bytes() == before)
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
