#!/usr/bin/env python3
"""Whether sweeps agree: same winners, winners inside each other's tie sets.

usage: agree.py A.db B.db...

Of each database the newest race of each problem counts.  Every pair is compared, in both
directions; then the noise of the A/A twins and what disturbed the races.  A false winner is
one of two twins that the race's 99 % interval says is faster by more than 0.5 %.
"""
import itertools, sqlite3, statistics, sys

ROWS = """SELECT problem, policy, candidate_hash, label, rank, tied, median_us, noise, floor,
                 again, sm_mhz, throttle, apart, sample_count FROM ranked WHERE race IN (SELECT race FROM newest)"""


def read(path):
    """{(problem, policy): {candidate: row}}"""
    con = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    con.row_factory = sqlite3.Row
    races = {}
    for row in con.execute(ROWS):
        races.setdefault((row["problem"], row["policy"]), {})[row["candidate_hash"]] = row
    con.close()
    return races


def winner(race):
    return next((r for r in race.values() if r["rank"] == 1), None)


def compare(a, b, names):
    """Counts of problems that both raced, agreed on, and left inside the tie set."""
    both = same = inside = 0
    for key in sorted(a.keys() & b.keys()):
        mine, theirs = winner(a[key]), winner(b[key])
        if not mine or not theirs:
            continue
        both += 1
        same += mine["candidate_hash"] == theirs["candidate_hash"]
        seen = b[key].get(mine["candidate_hash"])
        if seen and seen["tied"]:
            inside += 1
        else:
            behind = seen["median_us"] / theirs["median_us"] - 1 if seen else float("nan")
            print(f"outside: {key[0]} ({names[0]} in {names[1]}): {100 * behind:+.2f} %"
                  f" of {theirs['median_us']:.2f} us, floor {100 * theirs['floor']:.2f} %:"
                  f" {mine['label']}")
    return both, same, inside


def main(paths):
    sweeps = [read(p) for p in paths]
    total = [0, 0, 0]
    for i, j in itertools.permutations(range(len(sweeps)), 2):
        counts = compare(sweeps[i], sweeps[j], (paths[i], paths[j]))
        total = [x + y for x, y in zip(total, counts)]
    if total[0]:
        print(f"{total[0]} pairs of races: {total[1]} ({100 * total[1] / total[0]:.2f} %) have the same winner,"
              f" {total[2]} ({100 * total[2] / total[0]:.2f} %) winners are inside the other's tie set")
        all_of = set.intersection(*(set(s) for s in sweeps))
        agree = sum(len({winner(s[k])["candidate_hash"] for s in sweeps if winner(s[k])}) == 1 for k in all_of)
        print(f"{agree} of {len(all_of)} problems have one winner in all")
    for path, races in zip(paths, sweeps):
        rows = [next(iter(r.values())) for r in races.values()]
        if not rows:
            continue
        noise = sorted(r["noise"] for r in rows)
        for (problem, _), race in sorted(races.items(), key=lambda r: -next(iter(r[1].values()))["noise"])[:3]:
            row = winner(race) or next(iter(race.values()))
            print(f"noisy: {problem}: A/A {100 * row['noise']:.2f} % of {row['median_us']:.2f} us: {row['label']}")
        false = sum(r["apart"] > 0.005 for r in rows)
        rounds = statistics.mode(max(x["sample_count"] for x in r.values()) for r in races.values())
        longer = sorted(max(x["sample_count"] for x in r.values()) // rounds for r in races.values())
        print(f"{path}: false winners {false} of {len(rows)} ({100 * false / len(rows):.2f} %);"
              f" finals of 1, 2, 3, 4 turns: {[longer.count(n) for n in (1, 2, 3, 4)]}")
        tied = statistics.mean(sum(x["tied"] for x in r.values()) for r in races.values())
        throttle = sorted({r["throttle"] for r in rows if r["throttle"]})
        print(f"{path}: {len(rows)} races, A/A median {100 * statistics.median(noise):.3f} %,"
              f" worst {100 * noise[-1]:.3f} %, above 0.5 %: {sum(n > 0.005 for n in noise)};"
              f" tied {tied:.1f} on average; {sum(r['again'] for r in rows)} blocks again;"
              f" {statistics.median(r['sm_mhz'] for r in rows):.0f} MHz; {throttle or 'no throttle'}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
