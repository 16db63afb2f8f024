#!/usr/bin/env python3
"""Kernels that do not come back, die, do nothing or keep the compiler busy cost
themselves and no other.

usage: stuck.py DIFFTUNE SOURCE_DIR [cpu|GPU]

Checks a problem with the scheme `stuck`, whose faults end badly in as many
ways, and expects each to be refused at its stage with its reason, a failure row
with a command line for each, and the right one (fault 0) and the default
variant, which comes after the worst, to be proven.
"""
import json, os, pathlib, re, shutil, sqlite3, subprocess, sys, tempfile

program, source = sys.argv[1:3]
gpu = sys.argv[3] if len(sys.argv) > 3 else "cpu"
on_gpu = gpu != "cpu"
device = ["--gpu", gpu] if on_gpu else ["--cpu"]
FAULTS = {  # stage and words of the reason
    1: ("check", "did not answer within"),        # hangs
    2: ("check", "ILLEGAL_ADDRESS" if on_gpu else "signal 11"),
    3: ("check", "LAUNCH_FAILED|ILLEGAL_INSTRUCTION" if on_gpu else "signal 4"),  # traps
    4: ("check", "on "),                          # does nothing
    5: ("check", "on "),                          # every other launch is wrong
    6: ("compile", "took longer than"),           # keeps the compiler busy
    7: ("compile", "fault 7 does not compile"),
}
PROBLEM = "qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64"
wrong = []


def expect(what, holds):
    if not holds:
        wrong.append(what)


with tempfile.TemporaryDirectory(prefix="difftune-stuck-") as name:
    folder = pathlib.Path(name)
    variants = folder / "variants"
    shutil.copytree(pathlib.Path(source) / "variants", variants)
    (variants / "qknorm_rope" / "warp.lua").unlink()
    for file in ("stuck.lua", "stuck.cuh", "planted.cuh"):
        shutil.copy(pathlib.Path(__file__).parent / file, variants / "qknorm_rope" / file)
    words = [program, "check", *device, "--quiet", "--verbose", "--json", "--variants", str(variants),
             "--shapes", PROBLEM, "--parts", "1", "--batch", "1"]
    check = lambda *more: subprocess.run([*words, *more], text=True, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE)
    for right in ("qknorm_rope.generic", "fault=0"):  # a busy machine may take long for them
        expect(f"{right} is proven", check("--variant", right).returncode == 0)
    run = check("--compile-limit", "30", "--db", str(folder / "stuck.db"))
    expect(f"exit 65, not {run.returncode}: {run.stderr}", run.returncode == 65)
    # those of faults 1 to 3
    replaced = re.search(r"(\d+) device workers were replaced.*", run.stderr)
    expect(f"three workers were replaced: {run.stderr}", replaced and replaced[1] == "3")
    print(replaced[0] if replaced else "no worker was replaced")
    outcome = [o for o in json.loads(run.stdout) if o["problem"].startswith("qknorm_rope")][0]
    found = {c["label"]: c for c in outcome["candidates"]}
    for fault, (stage, words) in FAULTS.items():
        c = found[f"qknorm_rope.stuck fault={fault}"]
        expect(f"fault {fault} is refused at {stage}, '{words}': {c}",
               not c["proven"] and c["stage"] == stage and re.search(words, c["reason"]))
        print(f"fault {fault}: {c.get('stage')}: {c.get('reason', 'proven')[:120]}")
    others = [c for label, c in found.items() if label[-7:] not in
              [f"fault={f}" for f in FAULTS]]
    expect(f"the others are proven: {others}",
           len(others) == 3 and all(c["proven"] for c in others))
    con = sqlite3.connect(folder / "stuck.db")
    rows = dict(con.execute("SELECT label, reproducer FROM failures"))
    con.close()
    expect(f"a failure row for each: {list(rows)}", len(rows) == len(FAULTS))
    expect("each with its command line",
           all(line.startswith("difftune check --gpu" if on_gpu else "difftune check --cpu") and label.split()[1] in line
               for label, line in rows.items()))
print(*(wrong or ["each cost itself alone"]), sep="\n")
sys.exit(bool(wrong))
