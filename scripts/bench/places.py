#!/usr/bin/env python3
"""What several places of the code do to A/A twins and to what two sweeps agree on, as a table.

usage: places.py FOLDER        of scripts/bench/h200-places.sh

Reads FOLDER/places-N-SEED.db, and .seconds beside it, as far as they are there.  Twins and seconds are
of both sweeps of a setting; "same winner" and "inside" take each against the other.  The last column
is the median over all problems of the winner's time over that at one place, first sweeps.
"""
import collections, contextlib, pathlib, re, sqlite3, statistics, sys

import agree

HEAD = ("places", "races", "had fewer places", "A/A above 0.5 %", "above 1 %", "A/A median %", "worst %",
        "same winner %", "inside the tie set %", "seconds", "time ÷ at 1 place")


class Sweep:
    def __init__(self, path, places):
        self.races = agree.read(path)
        self.noise = [next(iter(r.values()))["noise"] for r in self.races.values()]
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
            self.fewer = con.execute("SELECT count(*) FROM newest WHERE places < ?", (places,)).fetchone()[0]
        seconds = path.with_suffix(".seconds")
        self.seconds = seconds.read_text().strip() if seconds.exists() else "?"
        self.times = {key: agree.winner(race)["median_us"] for key, race in self.races.items()
                      if agree.winner(race)}


def agreement(sweeps):
    if len(sweeps) < 2:
        return "-", "-"
    counts = [agree.compare(a.races, b.races, ("one", "other")) for a, b in (sweeps[:2], sweeps[1::-1])]
    both, same, inside = (sum(c) for c in zip(*counts))
    return (f"{100 * same / both:.1f}", f"{100 * inside / both:.1f}") if both else ("-", "-")


def slower(sweep, one):
    ratios = [sweep.times[k] / one.times[k] for k in sweep.times.keys() & one.times.keys()] if one else []
    return f"{statistics.median(ratios):.4f}" if ratios else "-"


def row(places, sweeps, one):
    noise = [n for s in sweeps for n in s.noise]
    if not noise:
        return (places, 0) + ("-",) * 9
    return (places, len(noise), sum(s.fewer for s in sweeps), sum(n > 0.005 for n in noise),
            sum(n > 0.01 for n in noise), f"{100 * statistics.median(noise):.3f}", f"{100 * max(noise):.2f}",
            *agreement(sweeps), " + ".join(s.seconds for s in sweeps), slower(sweeps[0], one))


def main(folder):
    found = collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).glob("places-*-*.db")):
        places = int(re.fullmatch(r"places-(\d+)-\d+", path.stem)[1])
        found[places].append(Sweep(path, places))
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for places, sweeps in sorted(found.items()):
        with contextlib.redirect_stdout(sys.stderr):  # who is outside whose tie set
            cells = row(places, sweeps, found[1][0] if found.get(1) else None)
        print("| " + " | ".join(str(c) for c in cells) + " |")


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
