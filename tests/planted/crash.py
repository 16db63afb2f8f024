#!/usr/bin/env python3
"""A kernel that crashes the compiler costs itself and no other.

usage: crash.py DIFFTUNE SOURCE_DIR

Puts a compiler into the PATH that kills the worker it runs in when it is given
fault 2 of the scheme `planted`, and sweeps a problem: first all variants of the
scheme in one unit, then each in its own.  The sweep must end with 0 and a
winner, with one failure row of stage compile whose command line shows the crash
again, and what else is wrong refused by the check as ever.
"""
import json, os, pathlib, shlex, shutil, sqlite3, subprocess, sys, tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import check, end_test

PROBLEM = "qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64 inplace=0"
LABEL = "qknorm_rope.planted fault=2"
CRASH = "the compiler crashed (signal 6)"
COMPILER = """#!/bin/sh
for word; do
  if [ -f "$word" ] && grep -q 'Planted{{.fault = 2}}' "$word"; then
    kill -ABRT $PPID
    exit 1
  fi
done
exec {} "$@"
"""
program, source = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2])


def make_compilers(folder):
    """The environment in which they are found, and may be read by a worker."""
    folder.mkdir()
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            file = folder / name
            file.write_text(COMPILER.format(shlex.quote(shutil.which(name))))
            file.chmod(0o755)
    environment = dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}",
                       LD_LIBRARY_PATH=str(folder))
    environment.pop("CXX", None)
    return environment


def make_variants(folder):
    shutil.copytree(source / "variants", folder)
    (folder / "qknorm_rope" / "warp.lua").unlink()
    for name in ("planted.lua", "planted.cuh"):
        shutil.copy(pathlib.Path(__file__).parent / name, folder / "qknorm_rope" / name)


def difftune(words, environment):
    return subprocess.run([program, *map(str, words)], text=True, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def check_sweep(folder, variants, environment, batch):
    db = folder / f"{batch}.db"
    run = difftune(["sweep", "--cpu", "--quiet", "--json", "--no-cache", "--parts", 1,
                    "--batch", batch, "--variants", variants, "--shapes", PROBLEM, "--db", db],
                   environment)
    check(f"--batch {batch}: it ends with 0", run.returncode == 0, run.stderr)
    whole = [o for o in json.loads(run.stdout) if o["problem"].startswith("qknorm_rope")][0]
    found = {c["label"]: c for c in whole["candidates"]}
    check("it has a winner", whole["winner"], whole)
    check("the crash is refused by the compiler",
          found[LABEL].get("stage") == "compile" and found[LABEL]["reason"] == CRASH, found[LABEL])
    check("fault 0 is proven", found[LABEL.replace("2", "0")]["proven"], found)
    check("fault 1 is refused by the check",
          found[LABEL.replace("2", "1")].get("stage") == "check", found)
    with sqlite3.connect(db) as con:
        rows = con.execute("SELECT label, reason, reproducer FROM failures"
                           " WHERE stage = 'compile'").fetchall()
        ended = con.execute("SELECT outcome FROM sweep").fetchall()
    check("one failure row", [r[:2] for r in rows] == [(LABEL, CRASH)], rows)
    check("the sweep is complete", ended == [("complete",)], ended)
    return rows[0][2] if rows else ""


with tempfile.TemporaryDirectory(prefix="difftune-crash-") as name:
    folder = pathlib.Path(name)
    environment = make_compilers(folder / "bin")
    make_variants(folder / "variants")
    for batch in (16, 1):
        line = check_sweep(folder, folder / "variants", environment, batch)
    words = shlex.split(line)
    check("its command line is a check of it", words[:3] == ["difftune", "check", "--cpu"], line)
    run = difftune([*words[1:], "--no-cache", "--parts", 1, "--variants", folder / "variants"],
                   environment)
    check("which shows it again", run.returncode == 65 and f"refused (compile): {LABEL}: {CRASH}"
          in run.stderr, (run.returncode, run.stderr))
end_test()
