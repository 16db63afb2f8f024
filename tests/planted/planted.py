#!/usr/bin/env python3
"""The check refuses every kernel that is wrong on purpose, and says why.

usage: planted.py DIFFTUNE SOURCE_DIR

Copies variants/, adds the planted scheme, and asks `difftune check` for a
verdict on each of its faults.  Fails if any wrong kernel is accepted, or the
right one (fault 0) refused.  Then a sweep: the kernel that crashes while it is
timed (fault 13) is refused, and costs the others nothing.
"""
import json, pathlib, shutil, sqlite3, subprocess, sys, tempfile

FAULTS = {
    1: "the last row is left out",
    2: "one element is wrong",
    3: "a NaN in a tail",
    4: "a write one past the end",
    5: "a missing barrier",
    6: "a write one before the start",
    7: "an input is changed",
    8: "eps is left out",
    9: "positions are not read",
    10: "a gap between strided rows is written",
    11: "the weights of q and k are swapped",
    12: "the rotation goes the other way",
    14: "the reference is changed",
    15: "a gap between strided rows is read",
}
CRASHES_TIMED = 13  # right, until its output is not fresh
STRIDED_ONLY = (10, 15)  # a gap exists only between strided rows
RACERS = ["qknorm_rope.generic warps=4", "qknorm_rope.planted fault=0", "qknorm_rope.planted fault=10",
          "qknorm_rope.planted fault=15", "split"]
PROBLEM = "qknorm_rope:bf16 tokens=9 q_heads=3 kv_heads=2 head_dim=64 rope_dim=32"
APART = PROBLEM + " inplace=0"
PACKED = "qknorm_rope_packed:bf16 tokens=9 q_heads=3 kv_heads=2 head_dim=64"
STRIDED = PROBLEM + " q_stride=384,80 k_stride=192,80 align=2"


def check(program, variants, problem):
    run = subprocess.run(
        [program, "check", "--cpu", "--quiet", "--json", "--variants", variants,
         "--shapes", problem], stdout=subprocess.PIPE, text=True)
    outcome = [o for o in json.loads(run.stdout)
               if o["problem"].startswith("qknorm_rope")][0]
    return {int(c["label"].split("fault=")[1]): c
            for c in outcome["candidates"] if "fault=" in c["label"]}


def sweep(program, variants, db, *more):
    return subprocess.run(
        [program, "sweep", "--cpu", "--quiet", "--json", "--variants", variants,
         "--shapes", APART, "--db", db, *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_sweep(program, variants, folder):
    """What is wrong with a sweep of the planted kernels; [] is nothing."""
    db, wrong = folder / "planted.db", []
    expect = lambda what, holds: None if holds else wrong.append(what)
    run = sweep(program, variants, db)
    whole = [o for o in json.loads(run.stdout)
             if o["problem"].startswith("qknorm_rope")][0]
    short = lambda c: "split" if c["label"].startswith("split:") else c["label"]
    raced = sorted(short(c) for c in whole["candidates"] if "median_us" in c)
    late = [c for c in whole["candidates"] if c.get("stage") == "time"]
    expect(f"exit {run.returncode}: {run.stderr}", run.returncode == 0)
    expect(f"13, and no other, is refused while timed: {late}",
           [short(c) for c in late] == ["qknorm_rope.planted fault=13"] and late[0]["proven"])
    expect(f"all others that are right raced: {raced}", raced == RACERS)
    con = sqlite3.connect(db)
    rows = con.execute("SELECT reason, reproducer FROM failure WHERE stage = 'time'").fetchall()
    expect(f"one failure row: {rows}", len(rows) == 1)
    times = con.execute("SELECT count(*) FROM measurement m JOIN problem p ON p.id = m.problem"
                        " WHERE p.spelling = ?", (whole["problem"],)).fetchone()[0]
    expect(f"a measurement of each racer: {times}", times == len(RACERS))
    expect("the sweep is complete",
           con.execute("SELECT outcome FROM sweep").fetchone()[0] == "complete")
    for _, line in rows:
        expect(f"the reproducer names it: {line}",
               line.startswith("difftune sweep --cpu") and "fault=13'" in line
               and "--seed 1" in line and "inplace=0" in line)
    con.close()
    alone = sweep(program, variants, folder / "alone.db", "--variant", "fault=13")
    expect(f"alone, the split plan is left: exit {alone.returncode}: {alone.stderr}",
           alone.returncode == 0 and "refused (time)" in alone.stderr)
    split = sweep(program, variants, folder / "split.db", "--variant", "split")
    whole = [o for o in json.loads(split.stdout)
             if o["problem"].startswith("qknorm_rope")][0]
    expect("--variant split keeps the split plan alone",
           [c["label"][:6] for c in whole["candidates"]] == ["split:"])
    return wrong


def check_packed(program, variants):
    """What is wrong with the verdicts on v, which is no output."""
    verdict = check(program, variants, PACKED)
    print("one bit of v:", verdict[1].get("reason", "ACCEPTED")[:110])
    return [f"fault {fault}: {verdict[fault]}" for fault in (0, 1)
            if verdict[fault]["proven"] != (fault == 0)]


def check_far(program, variants, doubts):
    """What is wrong where a reference is changed after others were proven."""
    words = [program, "check", "--cpu", "--quiet", "--json", "--variants", variants,
             "--shapes", PROBLEM]
    run = lambda: subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run()
    again = run()  # all code is at hand, so that the default variant comes first
    found = {c["label"]: c for c in json.loads(again.stdout)[-1]["candidates"]}
    far = found["qknorm_rope.far fault=14"]
    wrong = []
    if far["proven"] or "a kernel wrote to what" not in far["reason"]:
        wrong.append(f"the culprit: {far}")
    if ("proven again, one by one" in again.stderr) != doubts:
        wrong.append(f"who is in doubt: {again.stderr}")
    wrong += [f"{c}" for label, c in found.items() if "generic" in label and not c["proven"]]
    return wrong


def check_far_and_crash(program, source, folder):
    """The same, where the next kills the worker before anybody asks, and one comes after it."""
    here, variants = pathlib.Path(__file__).parent, folder / "crash"
    shutil.copytree(pathlib.Path(source) / "variants", variants)
    op = variants / "qknorm_rope"
    (op / "warp.lua").unlink()
    for name in ("far.lua", "far.cuh", "planted.cuh", "stuck.cuh"):
        shutil.copy(here / name, op / name)
    lua = (here / "stuck.lua").read_text()
    (op / "stuck.lua").write_text(lua.replace("0, 1, 2, 3, 4, 5, 6, 7", "2, 0"))
    return check_far(program, str(variants), False)


def main():
    program, source = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="difftune-planted-") as folder:
        variants = pathlib.Path(folder) / "variants"
        shutil.copytree(pathlib.Path(source) / "variants", variants)
        (variants / "qknorm_rope" / "warp.lua").unlink()
        for name in ("planted.lua", "planted.cuh", "far.lua", "far.cuh"):
            shutil.copy(pathlib.Path(__file__).parent / name,
                        variants / "qknorm_rope" / name)
        for name in ("planted_v.lua", "planted_v.cuh"):
            shutil.copy(pathlib.Path(__file__).parent / name,
                        variants / "qknorm_rope_packed" / name)
        plain = check(program, str(variants), PROBLEM)
        strided = check(program, str(variants), STRIDED)
        wrong_packed = check_packed(program, str(variants))
        wrong_far = check_far(program, str(variants), True)
        wrong_far += check_far_and_crash(program, source, pathlib.Path(folder))
        wrong = check_sweep(program, str(variants), pathlib.Path(folder))
    bad = len(wrong) + len(wrong_packed) + len(wrong_far)
    print(*wrong_packed, *wrong_far, sep="\n")
    print("the crash while timed:", *(wrong or ["costs the others nothing"]), sep="\n  ")
    for fault in [0, *FAULTS, CRASHES_TIMED]:
        verdicts = [strided] if fault in STRIDED_ONLY else [plain, strided]
        for verdict in verdicts:
            c = verdict[fault]
            if c["proven"] == (fault not in FAULTS):
                continue
            bad += 1
            print("ACCEPTED" if fault in FAULTS else "REFUSED", fault, c)
        print(f"fault {fault:2}: {FAULTS.get(fault, 'right, when launched once'):40} "
              f"{'proven' if plain[fault]['proven'] else plain[fault]['reason'][:110]}")
    print(f"{len(FAULTS) + 5 - bad} passed, {bad} failed")
    return bad != 0


sys.exit(main())
