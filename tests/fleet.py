#!/usr/bin/env python3
"""Several boards that share a sweep store what one would, whoever is killed.

usage: fleet.py DIFFTUNE

Sweeps a few small problems on one CPU device, then on three (of the same
processor: DIFFTUNE_CPU_DEVICES), undisturbed, with one board's process killed,
with the parent killed and the sweep resumed, and after Ctrl-C.  Each time the
database must end with one complete sweep and the same proofs and measurements.
"""
import contextlib, os, pathlib, re, signal, sqlite3, subprocess, sys, tempfile, time

from checks import check, end_test

program = str(pathlib.Path(sys.argv[1]).resolve())
SHAPES = ["qknorm_rope:bf16 tokens=3 q_heads=2 head_dim=64"] + [
    f"rope:bf16 tokens={t} q_heads=1 head_dim=64" for t in range(4, 24)]


def start(db, boards, *more, shapes=SHAPES, cache=None):
    words = [program, "sweep", "--cpu", "--sample", "3", "--db", str(db), "--quiet", *more]
    for shape in shapes:
        words += ["--shapes", shape]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, DIFFTUNE_CPU_DEVICES=str(boards),
                                     **({"DIFFTUNE_CACHE": str(cache)} if cache else {})))


def finish(run, seconds=240):
    """What it printed.  One that does not end is killed, and that is a failure."""
    try:
        return run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        check(f"it ends within {seconds} s", False, run.args)
        run.kill()
        return run.communicate()


def ask(db, query):
    try:
        with sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=30) as con:
            return con.execute(query).fetchall()
    except sqlite3.OperationalError:  # it is not made yet, or a killed writer's
        return []                     # journal waits for somebody who may write


def rows(db):
    return sorted(ask(db, """
        SELECT 'proof', p.spelling, CASE c.split WHEN 1 THEN 'split' ELSE c.label END
        FROM proof AS t JOIN candidate AS c ON c.id = t.candidate
        JOIN problem AS p ON p.id = t.problem UNION ALL
        SELECT 'time', p.spelling, CASE c.split WHEN 1 THEN 'split' ELSE c.label END
        FROM measurement AS t JOIN candidate AS c ON c.id = t.candidate
        JOIN problem AS p ON p.id = t.problem"""))


def is_board(pid):
    try:
        return b"--worker-sweep" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def boards_of(run):
    """The processes that sweep for it, those that have ended aside."""
    try:
        text = pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split() if is_board(pid)]


def descendants(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    found = [int(child) for child in text.split()]
    return found + [below for child in found for below in descendants(child)]


def holds_claims(pid):
    try:
        return any("difftune-claims" in os.readlink(fd)
                   for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def maps_claims(pid):
    try:
        return "difftune-claims" in pathlib.Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def is_pending(pid, signal_number):
    """Sent to a stopped process, which has not met it."""
    found = re.search(r"^ShdPnd:\s*(\w+)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(found[1], 16) >> (signal_number - 1) & 1)


def until(holds, run, seconds=60):
    end = time.monotonic() + seconds
    while not holds() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    return holds()


@contextlib.contextmanager
def not_begun(db):
    """Whoever writes keeps the parent from beginning the sweep; the boards open
    their devices meanwhile."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        yield
        con.execute("ROLLBACK")


def start_held(db, *more):
    """A sweep on three boards whose last one is stopped before it begins.  What
    that one is given stays undone: the sweep is under way until it is let go,
    however long the test looks elsewhere."""
    with not_begun(db):
        run = start(db, 3, *more)
        check("all boards have their task",
              until(lambda: sum(map(maps_claims, boards_of(run))) == 3, run, 20))
        held = boards_of(run)[-1]
        os.kill(held, signal.SIGSTOP)
    check("the others are at work", until(lambda: stored(db) > 1, run), stored(db))
    return run, held


def have_ended(pids, seconds=60):
    end = time.monotonic() + seconds
    while any(is_board(pid) for pid in pids):
        if time.monotonic() > end:
            return False
    return True


def stored(db):
    found = ask(db, "SELECT count(*) FROM race")
    return found[0][0] if found else 0


def check_whole(what, db, want):
    subprocess.run([program, "show", "--db", str(db)], stdout=subprocess.DEVNULL)
    check(f"{what}: the file is whole", ask(db, "PRAGMA integrity_check") == [("ok",)])
    check(f"{what}: one sweep, complete",
          ask(db, "SELECT outcome FROM sweep") == [("complete",)],
          ask(db, "SELECT outcome FROM sweep"))
    found = rows(db)
    check(f"{what}: the rows are those of one board", found == want,
          set(found) ^ set(want) or f"{len(found)} rows, not {len(want)}")


with tempfile.TemporaryDirectory(prefix="difftune-fleet-") as name:
    folder = pathlib.Path(name)
    one = start(folder / "one.db", 1)
    finish(one)
    want = rows(folder / "one.db")
    check("one board ends with 0", one.returncode == 0)
    check("it has rows", len(want) > 3 * len(SHAPES), len(want))

    db = folder / "three.db"
    three = start(db, 3, "-j", "3", "-v")
    out, err = finish(three)
    check("three boards end with 0", three.returncode == 0, err)
    check("it says how many", "begins on 3 x cpu" in err, err)
    check("each board says what it cost to begin",
          err.count("s before it: specs and words") == 3, err)
    check("it prints every problem", all(shape in out for shape in SHAPES), out)
    check_whole("three boards", db, want)
    used = ask(db, "SELECT DISTINCT board FROM race ORDER BY 1")
    check("each has raced", used == [("cpu",), ("cpu-1",), ("cpu-2",)], used)
    anchors = ask(db, "SELECT count(*), count(DISTINCT board), count(DISTINCT candidate),"
                      " count(DISTINCT problem) FROM anchor")
    check("each has timed the same anchor", anchors == [(3, 3, 1, 1)], anchors)

    with not_begun(db):
        run = start(db, 3, "--seed", "2")
        check("boards start before the sweep begins",
              until(lambda: len(boards_of(run)) == 3, run, 20))
    out, err = finish(run)
    check("and sweep when it has", run.returncode == 0 and
          ask(db, "SELECT count(*) FROM sweep WHERE outcome = 'complete'") == [(2,)], err)

    # Two of them hear of nothing but the end, and some of them before they ask.
    for n in range(3):
        few = start(folder / f"few-{n}.db", 3, shapes=SHAPES[1:2])
        out, err = finish(few, 60)
        check("more boards than problems end with 0", few.returncode == 0, err)
    out, err = finish(start(folder / "few-0.db", 3, "--resume", shapes=SHAPES[1:2]))
    check("and what is complete is printed", SHAPES[1] in out, (out, err))

    run = start(db, 3, "--variant", "nonesuch")
    out, err = finish(run)
    check("what no board can sweep is said once", run.returncode == 64 and
          err.count("nonesuch") == 1, (run.returncode, err))
    check("and begins no sweep", ask(db, "SELECT count(*) FROM sweep") == [(2,)])

    # Nothing is in the cache, and all problems have the same units.  A board with
    # one worker compiles what the other is at only when nothing else is left;
    # and both begin with the anchor.
    db, cache, more = folder / "cold.db", folder / "cold", ("--sample", "0", "--batch", "1")
    run = start(db, 2, "-j", "2", "-v", *more, shapes=SHAPES[1:7], cache=cache)
    check("boards share their claims",
          until(lambda: sum(map(maps_claims, boards_of(run))) == 2, run))
    until(lambda: len(descendants(run.pid)) >= 6, run)  # each has a device and a compiler
    held = [pid for pid in [run.pid, *descendants(run.pid)] if holds_claims(pid)]
    check("and nobody keeps the descriptor", not held, held)
    out, err = finish(run)
    _, warm = finish(start(folder / "warm.db", 1, "-v", *more, shapes=SHAPES[1:7],
                           cache=cache))
    check_whole("two boards and an empty cache", db, rows(folder / "warm.db"))
    found = re.search(r"(\d+) units from the cache, (\d+) put into it", warm)
    units, missing = map(int, found.groups()) if found else (0, 0)
    put = [int(count) for count in re.findall(r"(\d+) put into it", err)]
    check("there was something to share", units > 8 and not missing, warm)
    check("each unit is compiled once, the last ones aside",
          len(put) == 2 and units <= sum(put) <= units + 3, (put, units))

    db = folder / "board.db"
    run, held = start_held(db)
    os.kill(boards_of(run)[0], signal.SIGKILL)
    os.kill(held, signal.SIGCONT)
    out, err = finish(run)
    check("without one of its boards it ends with 0", run.returncode == 0, err)
    check("and says so", "ended by signal 9" in err, err)
    check_whole("a board killed", db, want)

    db = folder / "all.db"
    run, held = start_held(db)
    for pid in boards_of(run):
        os.kill(pid, signal.SIGKILL)
    out, err = finish(run)
    check("without any board it ends with 69", run.returncode == 69, (run.returncode, err))
    check("and says so", "no board is left" in err, err)
    out, err = finish(start(db, 3, "--resume"))
    check_whole("all boards killed", db, want)

    db = folder / "parent.db"
    run, held = start_held(db)
    boards = boards_of(run)
    run.kill()
    os.kill(held, signal.SIGCONT)
    finish(run)
    check("no board outlives its parent", len(boards) == 3 and have_ended(boards), boards)
    for kill in range(2):  # wherever it is, the end included
        run = start(db, 3, "--resume")
        before = stored(db)
        until(lambda: stored(db) > before + 1, run)
        boards = boards_of(run)
        run.kill()
        finish(run)
        check("nor later", have_ended(boards), boards)
    last = start(db, 3, "--resume")
    out, err = finish(last)
    check("the last run ends with 0", last.returncode == 0, err)
    check_whole("the parent killed", db, want)

    db = folder / "stopped.db"
    run, held = start_held(db)
    boards = boards_of(run)
    run.send_signal(signal.SIGINT)
    check("Ctrl-C reaches the boards", until(lambda: is_pending(held, signal.SIGINT), run))
    os.kill(held, signal.SIGCONT)
    finish(run)
    check("Ctrl-C ends it with 130", run.returncode == 130, run.returncode)
    check("and its boards", have_ended(boards), boards)
    check("it is marked", ask(db, "SELECT outcome FROM sweep") == [("interrupted",)])
    out, err = finish(start(db, 3, "--resume"))
    check_whole("Ctrl-C", db, want)
end_test(f", {len(want)} rows each")
