#!/usr/bin/env python3
"""What was measured is measured again: by another sweep, reproduce and recheck.

usage: again.py DIFFTUNE SOURCE_ROOT [SANITIZER]

Sweeps three small problems on the CPU device and takes up its rows with the same
and with changed specs and compilers.  Times are not asserted, but that what is
said of them is what the numbers say.
"""
import json, os, pathlib, shutil, sqlite3, subprocess, sys, tempfile

from checks import check, end_test

program, root = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:3])
SHAPES = ["qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64", "rope:bf16 tokens=5 q_heads=1 head_dim=64",
          "rope_table:fp32 tokens=5 rope_dim=64"]
CHOOSES = len(sys.argv) < 4 or not sys.argv[3]  # a sanitizer's build has one compiler
os.environ["CXX"] = "c++"  # g++ gives another name: a compiler like any other


def difftune(*words, **environment):
    done = subprocess.run([program, *words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, **environment))
    return done.returncode, done.stdout, done.stderr


def reproduce(row, *words, **environment):
    code, out, err = difftune("reproduce", str(row), "--db", DB, "--json", *words, **environment)
    return code, json.loads(out) if out else None, err


def recheck(*words, **environment):
    code, out, err = difftune("recheck", "--cpu", "--db", DB, "--json", *words, **environment)
    return code, json.loads(out) if out else None, err


def newest_sweep(query):
    with sqlite3.connect(DB) as con:
        sweep = con.execute("SELECT max(id) FROM sweep").fetchone()[0]
        return con.execute(query, (sweep,)).fetchall()


def confirmed_is_tied(found):
    """What is confirmed was tied in the race that confirmed it, and only that."""
    if any(f["verdict"] == "swept again" for f in found):
        return  # then the newest sweep is that one
    tied = newest_sweep("SELECT p.spelling, c.label FROM standing AS s JOIN race AS r ON r.id = s.race"
                        " JOIN measurement AS m ON m.id = s.measurement"
                        " JOIN candidate AS c ON c.id = m.candidate"
                        " JOIN problem AS p ON p.id = m.problem WHERE r.sweep = ? AND s.tied")
    for f in found:
        check("confirmed: the old winner is tied", f["verdict"] == "confirmed"
              and (f["problem"], f["winner"]) in tied, f)
        check("and is the winner still", f["winner_now"] == f["winner"], f)


def winners(con, sweep):
    """{problem: hash of the winner}, and the hashes of those that were tied."""
    rows = con.execute("SELECT p.spelling, c.hash, s.position, s.tied FROM standing AS s"
                       " JOIN race AS r ON r.id = s.race"
                       " JOIN measurement AS m ON m.id = s.measurement"
                       " JOIN candidate AS c ON c.id = m.candidate"
                       " JOIN problem AS p ON p.id = m.problem WHERE r.sweep = ?", (sweep,)).fetchall()
    return ({problem: name for problem, name, position, _ in rows if position == 1},
            {(problem, name) for problem, name, _, tied in rows if tied})


def check_incumbent(folder):
    """Swept again, a problem keeps its winner as long as that is tied."""
    db, sweeps = str(folder / "incumbent.db"), 4
    words = ["sweep", "--cpu", "--quiet", "--sample", "8", "--db", db]
    for tokens in range(3, 9):
        words += ["--shapes", f"rope:bf16 tokens={tokens} q_heads=1 head_dim=64"]
    for _ in range(sweeps):
        code, _, err = difftune(*words)
        check("a sweep into the same database ends with 0", code == 0, err)
    kept = 0
    with sqlite3.connect(db) as con:
        for sweep in range(2, sweeps + 1):
            old, (new, tied) = winners(con, sweep - 1)[0], winners(con, sweep)
            check("every problem has a winner again", old.keys() == new.keys(), new)
            for problem, name in old.items():
                kept += new[problem] == name
                check("a winner that is tied stays", new[problem] == name
                      or (problem, name) not in tied, (problem, name, new[problem]))
    check("some stay", kept, kept)
    code, _, err = difftune(*words, "--no-incumbent")
    check("--no-incumbent ends with 0", code == 0, err)


def says_what_it_found(what, code, found, err):
    check(f"{what}: it says something", found, err)
    if not found:
        return
    inside = (found["low_us"] * (1 - found["floor"]) <= found["median_us_now"]
              <= found["high_us"] * (1 + found["floor"]))
    check(f"{what}: inside is what the numbers say", found["inside"] == inside, found)
    check(f"{what}: and so is the exit code", code == (0 if inside else 1), code)


with tempfile.TemporaryDirectory(prefix="difftune-again-") as name:
    folder = pathlib.Path(name)
    DB = str(folder / "a.db")
    words = ["sweep", "--cpu", "--quiet", "--sample", "3", "--db", DB]
    for shape in SHAPES:
        words += ["--shapes", shape]
    code, _, err = difftune(*words)
    check("the sweep ends with 0", code == 0, err)
    rows = json.loads(difftune("show", "--db", DB, "--all", "--json")[1])
    before = pathlib.Path(DB).read_bytes()

    check_incumbent(folder)

    # ---- reproduce
    first = next(r for r in rows if r["rank"] == 1 and not r["split"])
    split = next(r for r in rows if r["split"])
    for what, row in (("a winner", first), ("a split plan", split)):
        code, found, err = reproduce(row["measurement"])
        says_what_it_found(what, code, found, err)
        check(f"{what}: it is that row's",
              found and found["variant"] == row["variant"] and found["problem"] == row["problem"]
              and abs(found["median_us"] - row["median_us"]) < 1e-6, found)
        check(f"{what}: nothing has changed", found and found["same_driver"] and
              found["same_compiler"] and found["same_source"], found)

    code, found, err = reproduce(first["measurement"], CXX="g++")
    says_what_it_found("another compiler", code, found, err)
    check("another compiler is noticed", found and found["same_compiler"] != CHOOSES
          and found["same_source"], found)

    specs = folder / "variants"
    shutil.copytree(pathlib.Path(root) / "variants", specs)
    for kernel in specs.glob("*/*.cuh"):
        kernel.write_text(kernel.read_text() + "\n// another source\n")
    code, found, err = reproduce(first["measurement"], "--variants", str(specs))
    says_what_it_found("another source", code, found, err)
    check("another source is noticed", found and not found["same_source"]
          and found["same_compiler"], found)

    code, found, err = reproduce(first["measurement"], CXX="/bin/false")
    if CHOOSES:
        check("what does not compile has 65", code == 65 and not found, (code, err))
    code, found, err = reproduce(10 ** 6)
    check("a row that is not there has 64", code == 64 and "no measurement" in err, (code, err))
    check("nothing was stored", pathlib.Path(DB).read_bytes() == before)

    # ---- recheck
    code, found, err = recheck()
    check("nothing has changed", code == 0 and found, err)
    check("every problem is there", len(found) == len({r["problem"] for r in rows}), found)
    check("all is valid and kept", all((f["class"], f["verdict"]) == ("valid", "kept") for f in found),
          found)
    check("and nothing is stored", pathlib.Path(DB).read_bytes() == before)

    code, found, err = recheck("--all", "--sample", "1", "--op", "qknorm_rope")
    check("only that op", [f["problem"] for f in found] == [SHAPES[0]], found)
    its = [r for r in rows if r["problem"] == SHAPES[0]]
    must = sum(r["rank"] == 1 or r["tied"] or r["split"] for r in its)  # the winner may be split
    check("it raced the winner, its ties, the split plan and one more",
          found[0]["raced"] == must + (must < len(its)), (found, its))
    confirmed_is_tied(found)
    newest = json.loads(difftune("show", "--db", DB, "--json")[1])
    check("the split plan still has a time", any(r["problem"] == SHAPES[0] and r["split_us"]
                                                 for r in newest), newest)

    code, found, err = recheck("--all", "--sample", "0", "--op", "rope_table", CXX="g++")
    check("another compiler ends with 0", code == 0, err)
    check("on the CPU nothing says that code is the same",
          found[0]["class"] == ("changed" if CHOOSES else "valid"), found)
    confirmed_is_tied(found)

    code, found, err = recheck("--op", "rope_table", "--variants", str(specs))
    check("another source ends with 0", code == 0, err)
    check("its winner is gone, and it is swept again",
          (found[0]["class"], found[0]["verdict"]) == ("gone", "swept again"), found)
    points = difftune("generate", "rope_table", "--count", "--problem", SHAPES[2])[1].split()[0]
    check("all of it", newest_sweep("SELECT count(*) FROM proof WHERE sweep = ?")
          == [(int(points),)], points)
    check("it has a new winner", found[0]["winner_now"], found)

    empty = folder / "empty"
    shutil.copytree(specs, empty)
    shutil.rmtree(empty / "rope_table")
    shutil.rmtree(empty / "qknorm_rope_packed")
    code, found, err = recheck("--op", "rope_table", "--variants", str(empty))
    check("without its op a problem is lost, and that is 65",
          code == 65 and (found[0]["class"], found[0]["verdict"]) == ("gone", "lost"), (code, err))
    code, out, err = difftune("recheck", "--cpu", "--db", DB, "--policy", "warm graph")
    check("a policy that has no rows is said so", code == 65 and "warm graph" in err, (code, err))
end_test()
