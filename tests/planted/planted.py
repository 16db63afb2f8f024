#!/usr/bin/env python3
"""The check refuses every kernel that is wrong on purpose, and says why.

usage: planted.py DIFFTUNE SOURCE_DIR

Copies variants/, adds the planted scheme, and asks `difftune check` for a
verdict on each of its faults.  Fails if any wrong kernel is accepted, or the
right one (fault 0) refused.
"""
import json, pathlib, shutil, subprocess, sys, tempfile

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
}
PROBLEM = "qknorm_rope:bf16 tokens=9 q_heads=3 kv_heads=2 head_dim=64 rope_dim=32"
STRIDED = PROBLEM + " q_stride=384,80 k_stride=192,80 align=2"


def check(program, variants, problem):
    run = subprocess.run(
        [program, "check", "--cpu", "--quiet", "--json", "--variants", variants,
         "--shapes", problem], stdout=subprocess.PIPE, text=True)
    outcome = [o for o in json.loads(run.stdout)
               if o["problem"].startswith("qknorm_rope")][0]
    return {int(c["label"].split("fault=")[1]): c
            for c in outcome["candidates"] if "fault=" in c["label"]}


def main():
    program, source = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="difftune-planted-") as folder:
        variants = pathlib.Path(folder) / "variants"
        shutil.copytree(pathlib.Path(source) / "variants", variants)
        (variants / "qknorm_rope" / "warp.lua").unlink()
        for name in ("planted.lua", "planted.cuh"):
            shutil.copy(pathlib.Path(__file__).parent / name,
                        variants / "qknorm_rope" / name)
        plain = check(program, str(variants), PROBLEM)
        strided = check(program, str(variants), STRIDED)
    bad = 0
    for fault in [0, *FAULTS]:
        # a gap exists only between strided rows
        verdicts = [strided] if fault == 10 else [plain, strided]
        for verdict in verdicts:
            c = verdict[fault]
            if c["proven"] == (fault == 0):
                continue
            bad += 1
            print("ACCEPTED" if fault else "REFUSED", fault, c)
        print(f"fault {fault:2}: {FAULTS.get(fault, 'none: right'):40} "
              f"{'proven' if plain[fault]['proven'] else plain[fault]['reason'][:110]}")
    print(f"{len(FAULTS) + 1 - bad} passed, {bad} failed")
    return bad != 0


sys.exit(main())
