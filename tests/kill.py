#!/usr/bin/env python3
"""A sweep that is killed again and again loses nothing and repeats nothing.

usage: kill.py DIFFTUNE [KILLS]

Sweeps a few small problems on the CPU device undisturbed, then the same in
another database where the sweep is ended at a random moment, KILLS times, by
kill -9 or by Ctrl-C (one in four), and each time taken up with --resume.  After each kill the database must
be whole and hold all that it held before; in the end it must hold one complete
sweep with the same rows as the undisturbed one.  A sweep that comes to its end
too soon begins again in a new database.
"""
import pathlib, random, signal, sqlite3, subprocess, sys, tempfile, time

from checks import check, end_test

program = str(pathlib.Path(sys.argv[1]).resolve())
kills = int(sys.argv[2]) if len(sys.argv) > 2 else 12
SHAPES = ["qk_norm:bf16 tokens=3 q_heads=2 head_dim=64", "rope:bf16 tokens=3 q_heads=2 head_dim=64",
          "qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64"] + [
          f"rope:bf16 tokens={t} q_heads=1 head_dim=64" for t in range(4, 12)]


def start(db):
    words = [program, "sweep", "--cpu", "--quiet", "--sample", "3", "--db", db, "--resume"]
    for shape in SHAPES:
        words += ["--shapes", shape]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(db):
    """What is stored, with ids; the labels of split plans name times' winners."""
    con = sqlite3.connect(db)
    label = "CASE c.split WHEN 1 THEN 'split' ELSE c.label END"
    parts = ["FROM {} AS t JOIN candidate AS c ON c.id = t.candidate"
             " JOIN problem AS p ON p.id = t.problem".format(t)
             for t in ("proof", "measurement", "failure")]
    query = " UNION ALL ".join(
        f"SELECT '{name}', t.id, p.spelling, {label} {part}"
        for name, part in zip(("proof", "measurement", "failure"), parts))
    try:
        whole = con.execute("PRAGMA integrity_check").fetchone()[0]
        return whole, set(con.execute(query)), con.execute(
            "SELECT count(*), sum(outcome = 'complete') FROM sweep").fetchone()
    except sqlite3.OperationalError as error:  # killed before it had tables
        return ("ok" if "no such table" in str(error) else str(error)), set(), (0, 0)
    finally:
        con.close()


def without_ids(found):
    return sorted((table, problem, label) for table, _, problem, label in found)


def check_whole(db, want):
    whole, found, sweeps = rows(db)
    check("the database is whole", whole == "ok", whole)
    check("one sweep, complete", sweeps == (1, 1), sweeps)
    check("the rows are those of an undisturbed run",
          without_ids(found) == want, set(without_ids(found)) ^ set(want))


with tempfile.TemporaryDirectory(prefix="difftune-kill-") as name:
    folder = pathlib.Path(name)
    for db in (folder / "cold.db", folder / "quiet.db"):  # the first compiles
        began = time.monotonic()
        quiet = start(db)
        quiet.communicate()
        took = time.monotonic() - began
        check("the undisturbed sweep ends with 0", quiet.returncode == 0)
    _, found, _ = rows(folder / "quiet.db")
    want = without_ids(found)
    check("it has rows", len(want) > 2 * len(SHAPES), len(want))
    chance, made, before, ended = random.Random(1), 0, set(), 0
    db = folder / f"{ended}.db"
    while made < kills:
        run = start(db)
        try:
            run.communicate(timeout=chance.uniform(0, took))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGINT if made % 4 == 3 else signal.SIGKILL)
            run.communicate()
        whole, found, sweeps = rows(db) if db.exists() else ("ok", set(), (0, 0))
        check("the database is whole after a kill", whole == "ok", whole)
        check("what was stored is still there", before <= found, before - found)
        check("and is one sweep's", sweeps[0] <= 1, sweeps)
        before = found
        # An interrupt before the program looks out for it ends it as it ends any.
        if run.returncode in (-signal.SIGKILL, -signal.SIGINT, 130):
            made += 1
            continue
        check("a run that was not killed ends with 0", run.returncode == 0, run.returncode)
        check_whole(db, want)
        ended, before = ended + 1, set()
        db = folder / f"{ended}.db"
    last = start(db)
    words = last.communicate()
    check("the last run ends with 0", last.returncode == 0, words[1])
    check_whole(db, want)
    again = start(db)
    again.communicate()
    check("a complete sweep has nothing left to do", again.returncode == 0)
    check_whole(db, want)
    print(f"{kills} kills, {ended + 1} sweeps in pieces, {len(want)} rows each, "
          f"{took:.1f} s undisturbed")
end_test()
