#!/usr/bin/env python3
"""A whole sweep on the CPU device, and what is made of it.

usage: sweep.py DIFFTUNE SOURCE_DIR [SAMPLE]

Sweeps the twelve problems of tests/sweep_problems.txt (every dtype, both
layouts, partial rotary, D = 80, unaligned rows, T = 1 and 37, GQA, strided q)
with all variants, or with SAMPLE variants each that cover every value of every
tunable (sanitizer builds).  Every variant must be proven; then the database is
shown, emitted twice, explained, and interrupted sweeps and refusals are tried.
"""
import functools, hashlib, json, os, pathlib, re, signal, sqlite3, subprocess, sys, tempfile

import checks

program, source = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
sample = int(sys.argv[3]) if len(sys.argv) > 3 else 0
check = functools.partial(checks.check, verbose=True)


def difftune(*words, **more):
    return subprocess.run([program, *map(str, words)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def tunables_of(label):
    return dict(re.findall(r"(\w+)=(\d+)", label))


def sweep(db):
    words = ["sweep", "--cpu", "--op", "qknorm_rope", "--json", "--quiet",
             "--batch", 8, "--shapes", source / "tests/sweep_problems.txt", "--db", db]
    if sample:
        words += ["--sample", sample]
    run = difftune(*words)
    check("the sweep ends with 0", run.returncode == 0, run.stderr[-2000:])
    outcomes = json.loads(run.stdout)
    for o in outcomes:
        wrong = [c for c in o["candidates"] if not c["proven"]]
        check(f"every variant of {o['problem']} is proven ({len(o['candidates'])})",
              not wrong, wrong[:2])
        check("it has a winner", o["winner"])
    return outcomes


def check_space(outcomes):
    whole = [o for o in outcomes if o["problem"].startswith("qknorm_rope")]
    check("there are twelve problems", len(whole) == 12, len(whole))
    check("each raced its split plan",
          all(any(c["label"].startswith("split:") for c in o["candidates"]) for o in whole))
    first = whole[0]
    check("enough variants", len(first["candidates"]) >= (min(sample, 40) if sample else 150),
          len(first["candidates"]))
    listed = difftune("generate", "qknorm_rope", "--problem", first["problem"], "--list").stdout
    values, seen = set(), set()
    for line in listed.splitlines():
        if "qknorm_rope.warp" in line:
            values |= set(tunables_of(line.split("|")[0]).items())
    for o in whole:
        for c in o["candidates"]:
            if c["label"].startswith("qknorm_rope.warp"):
                seen |= set(tunables_of(c["label"]).items())
    check("every value of every tunable was tried", values and values <= seen, values - seen)


def check_database(db, outcomes):
    con = sqlite3.connect(db)
    count = lambda table: con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    candidates = sum(len(o["candidates"]) for o in outcomes)
    check("a proof for each candidate", count("proof") == candidates, count("proof"))
    check("a measurement for each", count("measurement") == candidates)
    check("no failure", count("failure") == 0)
    check("a best row per problem", count("best") == len(outcomes), count("best"))
    check("the sweep says it is complete",
          con.execute("SELECT outcome FROM sweep").fetchone()[0] == "complete")
    con.close()


def check_table(db, folder, spelling):
    first, second = folder / "a.ddt", folder / "b.ddt"
    for path in (first, second):
        run = difftune("emit", "--db", db, "-o", path)
        check("emit ends with 0", run.returncode == 0, run.stderr)
    digest = lambda p: hashlib.sha256(p.read_bytes()).hexdigest()
    check("two emissions are the same bytes", digest(first) == digest(second))
    run = difftune("explain", spelling, "--cpu", "--table", first)
    check("explain says exact", run.returncode == 0 and "exact" in run.stdout,
          run.stdout + run.stderr)
    run = difftune("show", "--db", db)
    check("show lists the problem", run.returncode == 0 and spelling in run.stdout)


SMALL = "rope:bf16 tokens=2 q_heads=1 head_dim=64"
HUGE = "rope:bf16 tokens=2000000000 q_heads=512 head_dim=128"


def check_too_large(folder):
    """A problem that the device cannot hold costs itself and no other."""
    db = folder / "large.db"
    other = SMALL.replace("tokens=2", "tokens=3")
    words = ["--cpu", "--quiet", "--json", "--sample", 2, "--db", db, "--shapes", SMALL,
             "--shapes", HUGE, "--shapes", other]
    run = difftune("sweep", *words)
    check("a problem that is too large: 65", run.returncode == 65, (run.returncode, run.stderr))
    winners = [o["winner"] is not None for o in json.loads(run.stdout)]
    check("those around it have winners", winners == [True, False, True], winners)
    con = sqlite3.connect(db)
    rows = con.execute("SELECT f.stage, f.reproducer FROM failure f JOIN problem p"
                       " ON p.id = f.problem WHERE p.spelling LIKE '%2000000000%'").fetchall()
    check("its candidates are failure rows", rows and all(r[0] == "check" for r in rows),
          rows)
    check("with a command line that shows it again",
          all(r[1].startswith("difftune check --cpu --shapes '" + HUGE) and "--seed 1" in r[1]
              for r in rows), rows)
    check("the sweep is complete",
          con.execute("SELECT outcome FROM sweep").fetchone()[0] == "complete")
    con.close()
    run = difftune("check", *words[:5], "--shapes", HUGE)
    check("a check of it: 65", run.returncode == 65 and "cannot be set up" in run.stderr,
          (run.returncode, run.stderr))


def check_variant(folder):
    words = ["sweep", "--cpu", "--quiet", "--json", "--db", folder / "variant.db",
             "--shapes", SMALL]
    labels = lambda run: [c["label"] for o in json.loads(run.stdout) for c in o["candidates"]]
    every = labels(difftune(*words, "--sample", 6))
    run = difftune(*words, "--variant", every[0])
    check("--variant takes a whole label", labels(run) == every[:1], (labels(run), run.stderr))
    part = every[0].split()[1]
    run = difftune(*words, "--variant", part)
    check("or words of it", run.returncode == 0 and all(part in l.split() for l in labels(run)),
          (labels(run), run.stderr))
    run = difftune(*words, "--variant", every[0] + " lanes=12345")
    check("one that matches nothing is an error", run.returncode == 64
          and f"'{every[0]}'" in run.stderr, (run.returncode, run.stderr))
    whole = SMALL.replace("rope:", "qknorm_rope:")
    for shapes in ([SMALL, whole], [whole, SMALL]):
        asked = [word for shape in shapes for word in ("--shapes", shape)]
        run = difftune("check", "--cpu", "--quiet", "--json", "--sample", 2, "--parts", 1, *asked,
                       "--variant", "split")
        found = {o["problem"]: o["candidates"] for o in json.loads(run.stdout)}
        check("a part that is asked for itself still serves the split plan",
              run.returncode == 0 and not run.stderr.count("no split plan")
              and [c["label"][:6] for c in found[whole]] == ["split:"], (found, run.stderr))
    run = difftune(*words, "--variant", "split")
    check("rope has no split plan", run.returncode == 64 and "split form" in run.stderr,
          (run.returncode, run.stderr))


def check_policies(folder):
    """Each policy has rows of its own, and a table has one of them."""
    db = folder / "policies.db"
    for words in [[], ["--launch", "eager"], ["--l2", "warm", "--launch", "eager"]]:
        run = difftune("sweep", "--cpu", "--quiet", "--sample", 2, "--shapes", SMALL,
                       "--db", db, *words)
        check(f"a sweep with {words}", run.returncode == 0, run.stderr)
    con = sqlite3.connect(db)
    names = [r[0] for r in con.execute("SELECT DISTINCT policy FROM best ORDER BY policy")]
    con.close()
    check("each policy has a best row", names == ["cold eager", "cold graph", "warm eager"],
          names)
    run = difftune("sweep", "--simulate", db, "--json")
    check("the races can be run again", run.returncode == 0, run.stderr)
    told = json.loads(run.stdout)
    check("each of them", [r["policy"] for r in told["races"]] == names, told["races"])
    check("by more than one rule", len(told["rules"]) > 1 and
          all(r["timings_per_candidate"] >= 2 for r in told["rules"]), told["rules"])
    run = difftune("sweep", "--simulate", folder / "no such.db")
    check("of a database that is there", run.returncode == 66, (run.returncode, run.stderr))
    check("and check has no such option",
          difftune("check", "--simulate", db).returncode == 64)
    run = difftune("emit", "--db", db, "-o", folder / "p.ddt")
    check("emit asks which", run.returncode == 64 and "--policy" in run.stderr, run.stderr)
    run = difftune("emit", "--db", db, "--policy", "warm eager", "-o", folder / "p.ddt")
    check("and says which it took", run.returncode == 0 and "warm eager" in
          run.stdout + run.stderr, run.stdout + run.stderr)


def check_words(db):
    """What is wrong with the words is said before a device is looked for."""
    for words, word in [
            (["--op", "rope", "--shapes", "qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64"],
             "excludes"),
            (["--shapes", "nothing:bf16 tokens=1"], "nothing"),
            (["--op", "nothing"], "nothing"),
            (["--l2", "hot"], "'cold' or 'warm'"),
            (["--launch", "late"], "'graph' or 'eager'"),
            (["--gpu", ""], "--gpu")]:
        gpu = [] if "--gpu" in words else ["--gpu", "no such GPU"]
        run = difftune("sweep", *gpu, *words, "--db", db)
        check(f"{words} is refused", run.returncode == 64 and word in run.stderr,
              (run.returncode, run.stderr))
    run = difftune("sweep", "-h")
    check("-h lists the choices of --l2 once", run.stdout.count("warm") == 1, run.stdout)
    check("-h of check says that nothing is stored",
          "nothing is stored" in difftune("check", "-h").stdout)
    folder = pathlib.Path(db).parent / "no-database-here"
    folder.mkdir()
    difftune("check", "--cpu", "--quiet", "--sample", 1, "--shapes", SMALL, cwd=folder)
    check("and a check stores nothing", not list(folder.iterdir()))


def check_no_gpu(db):
    run = difftune("sweep", "--quiet", "--sample", 1, "--shapes", SMALL, "--db", db)
    fell_back = "using the CPU device" in run.stderr
    check("without a GPU the reason is said", not fell_back or
          re.search(r"no GPU here \(.+\); using the CPU device", run.stderr), run.stderr)


ZOO = ["qknorm_rope:bf16 tokens=19 q_heads=24 head_dim=128",
       "qknorm_rope_packed:bf16 tokens=1 q_heads=8 kv_heads=1 head_dim=128 layout=neox positions=i32"]


def check_coverage(folder):
    """The zoo has a plan for each site, without a table and with one of few sites."""
    db, table = folder / "zoo.db", folder / "zoo.ddt"
    run = difftune("sweep", "--cpu", "--quiet", "--sample", 2, "--parts", 1, "--db", db,
                   *[word for spelling in ZOO for word in ("--shapes", spelling)])
    check("two sites of the zoo are swept", run.returncode == 0, run.stderr[-2000:])
    run = difftune("emit", "--db", db, "-o", table)
    check("and emitted", run.returncode == 0, run.stderr)
    words = ["show", "--coverage", "--json"]
    bare = json.loads(difftune(*words).stdout)
    run = difftune(*words, "--table", table)
    rows = json.loads(run.stdout)
    check("coverage ends with 0", run.returncode == 0, run.stderr)
    check("it has every site of the zoo", len(rows) >= 130
          and [r["site"] for r in rows] == [r["site"] for r in bare], (len(rows), len(bare)))
    check("each with a plan", all(r["plan"] and r["match"] != "none" for r in rows + bare),
          [r for r in rows + bare if r["match"] == "none"][:3])
    exact = {r["problem"] for r in rows if r["match"] == "exact"}
    check("those that were swept are exact, and no others", exact == set(ZOO), exact)
    check("without a table all are defaults", {r["match"] for r in bare} == {"default"})


def check_refusals(db, folder):
    bytes_before = pathlib.Path(db).read_bytes()
    for spelling, word in [
            ("nothing:bf16 tokens=1", "nothing"),
            ("qknorm_rope:bf16 tokens=1 q_heads=1", "head_dim"),
            ("qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=0", "head_dim"),
            ("qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=7", "head_dim"),
            ("qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64 rope_dim=66", "rope_dim"),
            ("qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64 rope_dim=3", "rope_dim")]:
        run = difftune("sweep", "--cpu", "--shapes", spelling, "--db", db)
        check(f"'{spelling}' is refused", run.returncode == 64 and word in run.stderr,
              (run.returncode, run.stderr))
    run = difftune("sweep", "--gpu", "H100", "--op", "qknorm_rope", "--db", db)
    check("a GPU that is not here: 69 and what is visible",
          run.returncode == 69 and "visible" in run.stderr, (run.returncode, run.stderr))
    for name, text, word in [
            ("syntax", "return scheme { kernel = = 3 }", "bad.lua:1"),
            ("loop", "while true do end", "bad.lua"),
            ("memory", "local s = string.rep('x', 1e9) return s", "bad.lua"),
            ("require", "local m = require 'os' return m", "require")]:
        variants = folder / ("variants-" + name)
        subprocess.run(["cp", "-r", source / "variants", variants], check=True)
        (variants / "qknorm_rope" / "bad.lua").write_text(text)
        run = difftune("sweep", "--cpu", "--variants", variants, "--db", db,
                       "--op", "qknorm_rope")
        check(f"a spec with {name} is refused", run.returncode == 65 and word in run.stderr,
              (run.returncode, run.stderr))
    check("the database was not touched", pathlib.Path(db).read_bytes() == bytes_before)


def check_bad_databases(folder):
    foreign, newer, locked = folder / "foreign.db", folder / "newer.db", folder / "locked.db"
    sqlite3.connect(foreign).executescript("CREATE TABLE t(a); INSERT INTO t VALUES (1);")
    small = ["sweep", "--cpu", "--quiet", "--sample", 2, "--shapes",
             "rope:bf16 tokens=2 q_heads=1 head_dim=64"]
    check("a small sweep", difftune(*small, "--db", newer).returncode == 0)
    subprocess.run(["cp", newer, locked], check=True)
    con = sqlite3.connect(newer)
    con.execute("PRAGMA user_version = 7")
    con.commit()
    con.close()
    cases = [(foreign, "not ours"), (newer, "newer")]
    (folder / "text.db").write_text("this is no database\n" * 100)
    cases.append((folder / "text.db", "not SQLite"))
    locked.chmod(0o444)
    cases.append((locked, "read-only"))
    for path, why in cases:
        before = path.read_bytes()
        run = difftune(*small, "--db", path)
        check(f"a database that is {why} is refused", run.returncode == 65 and path.name in run.stderr,
              (run.returncode, run.stderr))
        check("and left as it was", path.read_bytes() == before)


def check_interrupt(folder):
    db = folder / "interrupted.db"
    run = subprocess.Popen([program, "sweep", "--cpu", "--op", "qknorm_rope", "--db", db,
                            "--json", "--shapes", source / "tests/sweep_problems.txt"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stderr.readline()  # it has begun
    run.send_signal(signal.SIGINT)
    run.communicate()
    check("SIGINT ends a sweep with 130", run.returncode == 130, run.returncode)
    con = sqlite3.connect(db)
    check("and its end is written down",
          con.execute("SELECT outcome FROM sweep").fetchone()[0] == "interrupted")
    check("in a database that is whole",
          con.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def check_early_interrupt():
    """Ctrl-C has its exit code where nothing looks out for it, too."""
    run = subprocess.Popen([program, "generate", "qknorm_rope", "--list", "--json"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.read(run.stdout.fileno(), 1)  # it prints more than a pipe holds, and waits
    run.send_signal(signal.SIGINT)
    run.communicate()
    check("SIGINT ends any command with 130", run.returncode == 130, run.returncode)


def check_budget(folder):
    db = folder / "budget.db"
    words = ["sweep", "--cpu", "--quiet", "--json", "--db", db, "--budget", "12s",
             "--shapes", source / "tests/sweep_problems.txt"]
    run = difftune(*words)
    outcomes = json.loads(run.stdout)
    check("a sweep that is cut short ends with 0", run.returncode == 0, run.stderr[-2000:])
    left = re.search(r"(\d+) problems are left out, and (\d+) candidates", run.stderr)
    check("and says what is left out", left, run.stderr[-500:])
    winners = [o for o in outcomes if o["winner"]]
    con = sqlite3.connect(db)
    check("what it has is stored", con.execute("SELECT count(*) FROM best").fetchone()[0]
          == len(winners), len(winners))
    check("and so is why it ended", con.execute("SELECT outcome FROM sweep").fetchone()[0]
          == ("the budget is spent" if int(left[1]) else "complete"), left[0])
    con.close()
    if winners:
        run = difftune("emit", "--db", db, "-o", folder / "budget.ddt")
        check("and makes a table", run.returncode == 0, run.stderr)
    run = difftune("sweep", "--cpu", "--budget", "soon")
    check("a budget that is none is refused", run.returncode == 64 and "1h30m" in run.stderr)


with tempfile.TemporaryDirectory(prefix="difftune-sweep-") as name:
    folder = pathlib.Path(name)
    db = folder / "tuning.db"
    outcomes = sweep(db)
    check_space(outcomes)
    check_database(db, outcomes)
    check_table(db, folder, [o["problem"] for o in outcomes
                             if o["problem"].startswith("qknorm_rope")][0])
    check_too_large(folder)
    check_variant(folder)
    check_policies(folder)
    check_words(db)
    check_no_gpu(folder / "fallback.db")
    check_coverage(folder)
    check_refusals(db, folder)
    check_bad_databases(folder)
    check_interrupt(folder)
    check_early_interrupt()
    check_budget(folder)
checks.end_test()
