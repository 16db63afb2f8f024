#!/usr/bin/env python3
"""An op is right, on the CPU device.

usage: prove.py DIFFTUNE FORMS OP

Two checks of every element against the reference, each problem also on the
op's awkward list: the default variant on every form there is (forms.c), and a
cover of all variants on the op's trials, which has every value of every
tunable (test_specs.c holds it to that).
"""
import json, pathlib, subprocess, sys, tempfile

program, forms, op = sys.argv[1:4]


def check(*words):
    """The outcomes, and the labels of what was refused."""
    run = subprocess.run(
        [program, "check", "--cpu", "--quiet", "--json", "--parts", "1", *map(str, words)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    outcomes = [o for o in json.loads(run.stdout or "[]") if o["problem"].startswith(op + ":")]
    wrong = [(o["problem"], c["label"], c["reason"])
             for o in outcomes for c in o["candidates"] if not c["proven"]]
    if run.returncode or wrong or not outcomes:
        sys.exit(f"{op}: exit {run.returncode}, {len(outcomes)} problems, {len(wrong)} refused: "
                 f"{wrong[:5]}\n{run.stderr[-2000:]}")
    return outcomes


def say(what, outcomes):
    candidates = [c for o in outcomes for c in o["candidates"]]
    print(f"{op}, {what}: {len(outcomes)} problems, {len(candidates)} candidates proven")
    return {c["label"] for c in candidates}


with tempfile.TemporaryDirectory(prefix="difftune-prove-") as folder:
    shapes = pathlib.Path(folder) / "forms.txt"
    run = subprocess.run([forms, op], text=True, stdout=subprocess.PIPE, check=True)
    listed = run.stdout.splitlines()
    shapes.write_text("\n".join(listed))
    outcomes = check("--sample", 1, "--shapes", shapes)
    say("every form", outcomes)
    if not listed or len(outcomes) < len(listed):
        sys.exit(f"{op}: {len(listed)} forms, but {len(outcomes)} were proven")
    labels = say("trials", check("--cover", "--op", op))
    schemes = {label.split()[0] for label in labels}
    if len(schemes) < 2:
        sys.exit(f"{op}: no scheme but the default was met: {schemes}")
