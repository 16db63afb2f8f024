#!/usr/bin/env python3
"""Which finalists agree bit by bit, from a sweep to a table whose plans do.

usage: bits.py DIFFTUNE

Sweeps norm in fp32, where results show in which order they were added up, in
several sizes on the CPU device, and holds what is emitted against the rows.
"""
import math, pathlib, sqlite3, subprocess, sys, tempfile

from checks import check, end_test

program = str(pathlib.Path(sys.argv[1]).resolve())
SHAPES = [f"norm:fp32 seq={seq} hidden=128 norm=rms" for seq in (24, 70, 130)]


def difftune(*words):
    done = subprocess.run([program, *words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def finalists(db):
    """{problem: [(label, digest or None, microseconds)]}, the best first."""
    with sqlite3.connect(db) as con:
        rows = con.execute("SELECT r.problem, r.label, nullif(b.digest, 'ffffffffffffffff'), r.median_us FROM ranked AS r"
                           " LEFT JOIN bits AS b ON b.candidate = r.candidate"
                           " WHERE r.stopped = 'final' ORDER BY r.problem, r.rank").fetchall()
    found = {}
    for problem, *row in rows:
        found.setdefault(problem, []).append(tuple(row))
    return found


def wanted(rows):
    """The bits that serve the most problems, of those the ones that lose least."""
    classes = {}
    for candidates in rows.values():
        best, seen = candidates[0][2], set()
        for label, digest, us in candidates:
            if digest and digest not in seen and ".generic" not in label:
                seen.add(digest)
                count, cost = classes.get(digest, (0, 0.0))
                classes[digest] = (count + 1, cost + math.log(us / best))
    return min(classes, key=lambda d: (-classes[d][0], classes[d][1], d))


def sweep(db, shapes, *words):
    words = ["sweep", "--cpu", "--quiet", "--db", db, *words]
    for shape in shapes:
        words += ["--shapes", shape]
    code, _, err = difftune(*words)
    check("the sweep ends with 0", code == 0, err)


def check_groups(folder):
    """Two sizes whose rows have 16 lanes and one of 8: the most have their way."""
    db, table = f"{folder}/b.db", f"{folder}/b.ddt"
    sweep(db, SHAPES[:2], "--variant", "vec=16 lanes=16", "--sample", "8")
    sweep(db, SHAPES[2:], "--variant", "vec=16 lanes=8", "--sample", "8")
    rows = finalists(db)
    bits = {problem: {digest for _, digest, _ in found} for problem, found in rows.items()}
    check("they add up in two orders", len(set.union(*bits.values())) == 2 and
          bits[SHAPES[0]] == bits[SHAPES[1]] != bits[SHAPES[2]], bits)
    code, _, err = difftune("emit", "--db", db, "--same-bits", "-o", table)
    check("emit ends with 0", code == 0, err)
    check("the third is left out, and that is said",
          err.count("left out, it makes other bits") == 1 and SHAPES[2] in err, err)
    for problem in SHAPES[:2]:
        check("the others have their best", said(table, problem) == rows[problem][0][:2], problem)


def said(table, problem):
    code, out, err = difftune("explain", problem, "--cpu", "--table", table)
    check("explain ends with 0", code == 0, err)
    lines = dict(line.split(None, 1) for line in out.splitlines() if not line.startswith(" ")
                 and len(line.split(None, 1)) == 2)
    bits = lines.get("bits")
    return lines["chosen"].rsplit(" (", 1)[0], None if bits and "differ" in bits else bits


with tempfile.TemporaryDirectory(prefix="difftune-bits-") as folder:
    db, plain, same = (f"{folder}/{name}" for name in ("a.db", "plain.ddt", "same.ddt"))
    sweep(db, SHAPES, "--sample", "40")
    rows = finalists(db)
    check("every problem has finalists", sorted(rows) == sorted(SHAPES), rows)
    by_label = {}
    for found in rows.values():
        for label, digest, _ in found:
            by_label.setdefault(label, set()).add(digest)
    check("a candidate has the same bits in any size", all(len(d) == 1 for d in by_label.values()),
          by_label)

    code, _, err = difftune("emit", "--db", db, "-o", plain)
    check("emit ends with 0", code == 0, err)
    for problem, found in rows.items():
        check("a winner's bits are in the table", said(plain, problem) == found[0][:2],
              (said(plain, problem), found[0]))

    code, _, err = difftune("emit", "--db", db, "--same-bits", "-o", same)
    check("emit --same-bits ends with 0", code == 0, err)
    bits = wanted(rows)
    for problem, found in rows.items():
        label, has = said(same, problem)
        first = next((l for l, d, _ in found if d == bits and ".generic" not in l), None)
        if first:
            check("the best that has the bits of its group", (label, has) == (first, bits),
                  (label, has, first, bits))
        check("what is passed over is said", first == found[0][0] or problem in err, err)

    check_groups(folder)

    with sqlite3.connect(db) as con:
        con.execute("DELETE FROM bits")
    code, _, err = difftune("emit", "--db", db, "--same-bits", "-o", same)
    check("without any bits there is no such table", code == 65 and "no row that can be used" in err,
          (code, err))
    code, _, err = difftune("emit", "--db", db, "-o", plain)
    check("but any other", code == 0 and said(plain, SHAPES[0]) == (rows[SHAPES[0]][0][0], None), err)
end_test()
