#!/usr/bin/env python3
"""What the library would lose on problems that were never tuned.

usage: regret.py TUNING.db [--difftune PROGRAM] [--folds N] [--out FOLDER]
                 [--op OP]... [--device NAME] [--policy POLICY] [--loss PERCENT]

Leaves a fold of the problems out, with the parts of their split forms, emits a table
from the rest, and asks the library what it would take for those left out.  What that
took is in their own races: the regret is how much longer than their best.  --folds 0
leaves out one at a time.  The same for two rules that others use: the nearest measured
shape, and buckets of powers of two.  Writes regret.json and regret.md.

A split form races with the best of its parts only.  One of other parts is estimated: by
the split form that raced, times what these parts took in their own races over what
those did.

Needs no GPU: the table is asked as on the device that it was made on.
"""
import argparse, collections, json, math, pathlib, re, sqlite3, subprocess, sys, tempfile

ROWS = """SELECT problem, sweep, label, rank, median_us, stopped FROM ranked
          WHERE device = ? AND policy = ? ORDER BY problem, rank"""
BARS = {"mean": 0.02, "p95": 0.05, "worst": 0.10}
NEVER_RACED = "never raced"


def fail(sentence):
    sys.exit(f"regret.py: {sentence}")


class Tuner:
    """The program, for one device and policy of one database."""

    def __init__(self, options, folder):
        self.program, self.db, self.folder = options.difftune, options.db, pathlib.Path(folder)
        self.emits = [f"--{k}={v}" for k, v in (("device", options.device),
                      ("policy", options.policy), ("loss", options.loss)) if v]

    def run(self, *words):
        done = subprocess.run([self.program, *map(str, words)], text=True, capture_output=True)
        if done.returncode:
            fail(f"difftune {words[0]}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def listed(self, name, problems):
        path = self.folder / name
        path.write_text("".join(p + "\n" for p in problems))
        return path

    def table(self, without):
        """A table as if these had not been measured; what emit says of it."""
        path = self.folder / "fold.ddt"
        words = ["--without", self.listed("without.txt", without)] if without else []
        told = self.run("emit", "--db", self.db, "--json", "-o", path, *self.emits, *words)
        return path, json.loads(told)

    def ask(self, table, problems):
        """{problem: what the library would take, by which rule}"""
        path = self.listed("asked.txt", problems)
        told = self.run("show", "--coverage", "--json", "--table", table, path)
        return {a["problem"]: a for a in json.loads(told)}


def spelled(label):
    """As the library prints it: a split form's parts with " + " between."""
    return label.removeprefix("split: ").replace(", ", " + ")


def read_races(db, device, policy):
    """{problem: {label: us}} of the newest sweep of each, and {problem: the best label}"""
    con = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    races, best, sweep = {}, {}, {}
    for problem, number, label, rank, us, stopped in con.execute(ROWS, (device, policy)):
        if rank == 1:
            best[problem], sweep[problem] = label, number
        if problem in best and number == sweep[problem]:
            races.setdefault(problem, {}).setdefault(spelled(label), us)
    con.close()
    return races, {p: spelled(label) for p, label in best.items()}


# ---- Rules of others -------------------------------------------------------------------


def log_sizes(answer):
    return {name: math.log2(max(size, 1)) for name, size in answer["sizes"].items()}


def distance(a, b):
    return math.sqrt(sum((a[name] - b[name]) ** 2 for name in a))


def in_buckets(sizes):
    return {name: math.ceil(size) for name, size in sizes.items()}


def nearest(problem, kept, sizes, raced, measure):
    """The best of the kept problem that `measure` puts nearest, and that fits this one."""
    by_distance = sorted(kept, key=lambda p: (measure(sizes[p], sizes[problem]), p))
    return next((label for label in map(raced["best"].get, by_distance)
                 if label in raced["races"][problem]), None)


RULES = {
    "nearest shape": distance,
    "powers of two": lambda a, b: distance(in_buckets(a), in_buckets(b)),
}


# ---- Regret ----------------------------------------------------------------------------


def sum_of_parts(label, parts, raced):
    """What the parts took, each in its own race; None: one of them has no time."""
    labels = label.split(" + ")
    times = [raced["races"].get(part, {}).get(l) for part, l in zip(parts, labels)]
    return sum(times) if len(labels) == len(parts) and None not in times else None


def estimate(problem, label, raced):
    """The time of a split form of other parts than those that raced."""
    parts = raced["parts"][problem]
    for other, us in raced["races"][problem].items():
        if " + " not in other or " + " not in label:
            continue
        mine, its = sum_of_parts(label, parts, raced), sum_of_parts(other, parts, raced)
        if mine and its:
            return us * mine / its
    return None


def regret_of(problem, label, raced):
    race = raced["races"][problem]
    us = race.get(label) or estimate(problem, label, raced)
    return None if us is None else max(0.0, us / race[raced["best"][problem]] - 1)


def split_into(problems, folds):
    """Folds of neighbours would leave nothing near: every Nth problem is one."""
    count = folds or len(problems)
    return [problems[i::count] for i in range(min(count, len(problems)))]


def judge(problem, answer, kept, sizes, raced):
    found = {"problem": problem, "rule": answer["match"], "plan": answer["plan"],
             "best": raced["best"][problem], "expected": answer.get("loss"),
             "estimated": answer["plan"] not in raced["races"][problem],
             "regret": regret_of(problem, answer["plan"], raced)}
    for name, measure in RULES.items():
        label = nearest(problem, kept, sizes, raced, measure) if kept else None
        found[name] = regret_of(problem, label, raced) if label else None
    return found


def judge_fold(fold, raced, tuner):
    parts = {p for problem in fold for p in raced["parts"][problem]}
    without = sorted(set(fold) | (parts & raced["races"].keys()))
    table, _ = tuner.table(without)
    answers = tuner.ask(table, fold)
    for problem in fold:
        kept = [p for p in raced["alike"][raced["static"][problem]] if p not in without]
        yield judge(problem, answers[problem], kept, raced["sizes"], raced)


def static_of(problem, answer):
    """The spelling without its dynamic fields."""
    names = "|".join(map(re.escape, answer["sizes"]))
    return re.sub(rf" (?:{names})=\S+", "", problem)


def prepare(options, tuner):
    path, told = tuner.table([])
    races, best = read_races(options.db, told["device"], told["policy"])
    answers = tuner.ask(path, sorted(best))
    answers = {p: a for p, a in answers.items() if a["match"] == "exact"}
    if not answers:
        fail(f"'{options.db}' has no problem that a table can be made of")
    raced = {"races": races, "best": best, "static": {}, "sizes": {}, "parts": {},
             "alike": collections.defaultdict(list), "told": told}
    for problem, answer in answers.items():
        raced["static"][problem] = static_of(problem, answer)
        raced["alike"][raced["static"][problem]].append(problem)
        raced["sizes"][problem] = log_sizes(answer)
        raced["parts"][problem] = answer["parts"]
    return answers, raced


def left_out(answers, raced, ops):
    """Problems that have a neighbour: the others say nothing of how one chooses."""
    return [p for p in sorted(answers) if len(raced["alike"][raced["static"][p]]) > 1
            and (not ops or p.split(":")[0] in ops)]


# ---- The page --------------------------------------------------------------------------


def summary(values):
    known = sorted(v for v in values if v is not None)
    told = {"problems": len(values), NEVER_RACED: len(values) - len(known)}
    if known:
        told.update(mean=sum(known) / len(known), worst=known[-1],
                    p95=known[math.ceil(0.95 * len(known)) - 1])
    return told


def summaries(found):
    rules = collections.defaultdict(list)
    for f in found:
        rules[f["rule"]].append(f["regret"])
    told = {"library": summary([f["regret"] for f in found])}
    told.update({f"library: {rule}": summary(rules[rule]) for rule in sorted(rules)})
    told.update({name: summary([f[name] for f in found]) for name in RULES})
    return told


def percent(value):
    return "-" if value is None else f"{100 * value:.2f}"


def page(told):
    lines = ["# Regret on problems that were left out", "",
             f"{told['device']}, {told['policy']}: {told['problems']} problems of "
             f"`{told['database']}`, in {told['folds']} folds. Percent longer than the best of "
             "each problem's own race; the bars are "
             + ", ".join(f"{k} {100 * v:.0f}" for k, v in BARS.items()) + ".", "",
             "| rule | problems | mean % | p95 % | worst % | never raced |",
             "|---|--:|--:|--:|--:|--:|"]
    for name, s in told["rules"].items():
        lines.append(f"| {name} | {s['problems']} | {percent(s.get('mean'))} | "
                     f"{percent(s.get('p95'))} | {percent(s.get('worst'))} | {s[NEVER_RACED]} |")
    guessed = sum(f["estimated"] and f["regret"] is not None for f in told["found"])
    lines += ["", f"*Never raced*: what would have been taken has no time on that problem, though "
              f"its twin may have. {guessed} times are estimated from those of a split form's parts.", "",
              "| regret % | expected % | rule | problem | taken | best |",
              "|--:|--:|---|---|---|---|"]
    known = [f for f in told["found"] if f["regret"] is not None]
    for f in sorted(known, key=lambda f: (-f["regret"], f["problem"]))[:20]:
        lines.append(f"| {percent(f['regret'])} | {percent(f['expected'])} | {f['rule']} | "
                     f"`{f['problem']}` | {f['plan']} | {f['best']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("db")
    parser.add_argument("--difftune", default="difftune")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--op", action="append", default=[])
    for name in ("device", "policy", "loss"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(options, folder)
        answers, raced = prepare(options, tuner)
        problems = left_out(answers, raced, options.op)
        if not problems:
            fail("no problem has another of the same static fields to learn from")
        folds = split_into(problems, options.folds)
        found = [f for fold in folds for f in judge_fold(fold, raced, tuner)]
    told = {"database": pathlib.Path(options.db).name, "device": raced["told"]["device"],
            "policy": raced["told"]["policy"], "problems": len(found), "folds": len(folds),
            "rules": summaries(found), "found": found}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "regret.json").write_text(json.dumps(told, indent=1) + "\n")
    (options.out / "regret.md").write_text(page(told))
    print(page(told), end="")


main()
