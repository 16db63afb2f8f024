#!/usr/bin/env python3
"""What a sweep of the zoo found, as tables in Markdown.

usage: zoo_page.py ZOO.db [--all]

Per op: how near winners come to the copy kernel of the same traffic, to the split
plan, and how far the default variant is behind.  With --all also a line per problem.
"""
import math, sqlite3, sys

ROWS = """SELECT problem, op, label, split, rank, median_us, copy_us, split_us, stopped FROM ranked"""
LONG = 20  # us: shorter kernels are launch latency, and held against copy + 1 us


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


class Problem:
    def __init__(self, name, op):
        self.name, self.op = name, op
        self.count, self.best, self.default = 0, None, None

    def add(self, row):
        self.count += 1
        if row["rank"] == 1:
            self.best = row
        if not row["split"] and ".generic " in row["label"]:
            self.default = row["median_us"]

    def of_copy(self):
        return self.best["copy_us"] / self.best["median_us"]

    def of_split(self):
        return self.best["split_us"] / self.best["median_us"] if self.best["split_us"] else None

    def of_default(self):
        return self.default / self.best["median_us"] if self.default else None


def read(path):
    con = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    con.row_factory = sqlite3.Row
    problems = {}
    for row in con.execute(ROWS):
        problems.setdefault(row["problem"], Problem(row["problem"], row["op"])).add(row)
    con.close()
    return [p for p in problems.values() if p.best]


def say(value, digits=3):
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def summary(problems):
    print("| op | problems | candidates | of copy, geomean | least | short: µs above copy, most |"
          " × split, geomean | least | default ÷ winner, most |")
    print("|---|---|---|---|---|---|---|---|---|")
    for op in sorted({p.op for p in problems}) + [None]:
        some = [p for p in problems if op in (None, p.op)]
        fractions = [p.of_copy() for p in some if p.best["copy_us"] >= LONG]
        above = [p.best["median_us"] - p.best["copy_us"] for p in some if p.best["copy_us"] < LONG]
        splits = [p.of_split() for p in some if p.of_split()]
        defaults = [p.of_default() for p in some if p.of_default()]
        print(f"| {op or 'all'} | {len(some)} | {sum(p.count for p in some)} | {say(geomean(fractions))} |"
              f" {say(min(fractions, default=None))} | {say(max(above, default=None), 2)} |"
              f" {say(geomean(splits), 2)} | {say(min(splits, default=None), 2)} |"
              f" {say(max(defaults, default=None), 2)} |")


def lines(problems):
    print("\n| problem | winner µs | copy µs | of copy | × split | default ÷ winner | candidates | winner |")
    print("|---|---|---|---|---|---|---|---|")
    for p in sorted(problems, key=lambda p: (p.op, p.name)):
        b = p.best
        print(f"| `{p.name}` | {b['median_us']:.2f} | {b['copy_us']:.2f} | {say(p.of_copy())} |"
              f" {say(p.of_split(), 2)} | {say(p.of_default(), 2)} | {p.count} | {b['label']} |")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    problems = read(sys.argv[1])
    summary(problems)
    if "--all" in sys.argv[2:]:
        lines(problems)


main()
