#!/usr/bin/env python3
"""What recheck and reproduce say, counted.

usage: again.py rows DB N              N winners, evenly over the problems
       again.py verdicts RECHECK.json
       again.py reproduced REPRODUCE.json    one object after the other
"""
import collections, json, sqlite3, statistics, sys


def rows(path, count):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as con:
        found = [r[0] for r in con.execute("SELECT measurement FROM newest ORDER BY problem, policy")]
    count = min(int(count), len(found))
    print(*(found[i * len(found) // count] for i in range(count)))


def counts(values):
    return ", ".join(f"{n} {value}" for value, n in sorted(collections.Counter(values).items()))


def verdicts(path):
    found = json.load(open(path))
    print(f"{len(found)} problems: {counts(f['class'] for f in found)};",
          counts(f["verdict"] for f in found))
    moved = [f for f in found if f["winner_now"] and f["winner_now"] != f["winner"]]
    print(f"{len(moved)} have another winner than before")


def read_all(path):
    text, decoder, at = open(path).read().strip(), json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        yield value


def reproduced(path):
    found = list(read_all(path))
    away = [abs(f["median_us_now"] / f["median_us"] - 1) for f in found]
    if found:
        print(f"{len(found)} rows reproduced: {sum(f['inside'] for f in found)} inside their interval;"
              f" {100 * statistics.median(away):.2f} % away in the median,"
              f" {100 * max(away):.2f} % at worst")
    else:
        print("no row was reproduced")


tasks = {"rows": rows, "verdicts": verdicts, "reproduced": reproduced}
if len(sys.argv) < 3 or sys.argv[1] not in tasks:
    sys.exit(__doc__)
tasks[sys.argv[1]](*sys.argv[2:])
