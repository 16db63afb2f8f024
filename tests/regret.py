#!/usr/bin/env python3
"""What scripts/bench/regret.py makes of a sweep, against what the rows say.

usage: regret.py DIFFTUNE SOURCE_ROOT

Sweeps some sizes of small problems on the CPU device, whose times mean nothing.
"""
import json, pathlib, sqlite3, subprocess, sys, tempfile

from checks import check, end_test

program, root = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:3])
SHAPES = [f"rope_table:fp32 tokens={n} rope_dim=64" for n in (2, 3, 5, 9)]
ALONE = "rope:fp32 tokens=2 q_heads=1 head_dim=64"


def run(*words):
    return subprocess.run([*map(str, words)], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)


def times(db):
    """{problem: {label: us}}, the best first"""
    con, told = sqlite3.connect(db), {}
    for problem, label, us in con.execute(
            "SELECT problem, label, median_us FROM ranked ORDER BY problem, rank"):
        told.setdefault(problem, {})[label] = us
    con.close()
    return told


def check_problem(found, rows):
    race = rows[found["problem"]]
    best = next(iter(race))
    check("the best is the first of its race", found["best"] == best, found)
    check("another was not taken for it", found["rule"] in ("interval", "near"), found)
    if found["plan"] in race:
        regret = max(0, race[found["plan"]] / race[best] - 1)
        check("the regret is that of the rows", abs(found["regret"] - regret) < 1e-9, found)
    else:
        check("what did not race has no regret", found["regret"] is None, found)


def check_summary(told):
    rules, found = told["rules"], told["found"]
    by_rule = [s for name, s in rules.items() if name.startswith("library: ")]
    known = [f["regret"] for f in found if f["regret"] is not None]
    check("each problem counts once", sum(s["problems"] for s in by_rule) == len(found), rules)
    check("the worst is the worst", rules["library"]["worst"] == max(known), rules)
    check("the mean is the mean",
          abs(rules["library"]["mean"] - sum(known) / len(known)) < 1e-9, rules)
    check("other rules are compared", {"nearest shape", "powers of two"} <= rules.keys(), rules)


def main(folder):
    db, script = folder / "regret.db", pathlib.Path(root) / "scripts/bench/regret.py"
    shapes = [w for s in [*SHAPES, ALONE] for w in ("--shapes", s)]
    done = run(program, "sweep", "--cpu", "--quiet", "--sample", 2, "--db", db, *shapes)
    check("the sweep ends with 0", done.returncode == 0, done.stderr[-1000:])
    rows = times(db)
    for folds in (0, 2):
        out = folder / f"folds{folds}"
        done = run(sys.executable, script, db, "--difftune", program, "--folds", folds, "--out", out)
        check("it ends with 0", done.returncode == 0, done.stderr[-1000:])
        told = json.loads((out / "regret.json").read_text())
        check("what has a neighbour is left out, once",
              sorted(f["problem"] for f in told["found"]) == sorted(SHAPES), told["found"])
        check("in so many folds", told["folds"] == (folds or len(SHAPES)), told["folds"])
        for found in told["found"]:
            check_problem(found, rows)
        check_summary(told)
        check("the page is what was printed", (out / "regret.md").read_text() == done.stdout)
        check("and has the rules", "| powers of two | 4 |" in done.stdout, done.stdout)
    done = run(sys.executable, script, db, "--difftune", program, "--op", "rope")
    check("one problem alone is no test", done.returncode != 0 and "no problem" in done.stderr,
          done.stderr)


with tempfile.TemporaryDirectory() as name:
    main(pathlib.Path(name))
end_test()
