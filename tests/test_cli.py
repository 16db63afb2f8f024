#!/usr/bin/env python3
"""Runs difftune as a person would and compares every line.

usage: test_cli.py PROGRAM SOURCE_ROOT [CASE...]

tests/cli/*.txt hold the cases, each file in an empty folder of its own:

    # a comment
    $ difftune show nothing        a command, for sh
    a line of stdout
    2: a line of stderr
    exit 1                         0 where it is not said

"…" in an expected line stands for any text within the line.  What the program
lists of itself is tested from its list: every command, every option.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

PROGRAM, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
ONLY = sys.argv[3:]
failures = 0


def report(where, what):
    global failures
    failures += 1
    print(f"{where}: {what}")


def environment(folder):
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("DIFFTUNE_", "DIFFDISPATCH_", "XDG_"))
            or k == "DIFFTUNE_NVRTC"}
    path = os.path.dirname(PROGRAM) + ":" + os.environ["PATH"]
    kept.update(PATH=path, HOME=folder, LC_ALL="C", TERM="dumb", NO_COLOR="1",
                ROOT=ROOT)
    return kept


def run(command, folder, stdout=subprocess.PIPE):
    return subprocess.run(command, shell=isinstance(command, str), cwd=folder,
                          env=environment(folder), stdin=subprocess.DEVNULL,
                          stdout=stdout, stderr=subprocess.PIPE, text=True,
                          timeout=300)


# ---- Cases as text ---------------------------------------------------------

class Case:
    def __init__(self, where, command):
        self.where, self.command = where, command
        self.out, self.err, self.exit = [], [], 0


def read_cases(path):
    cases = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("$ "):
                where = f"{os.path.basename(path)}:{number}"
                cases.append(Case(where, line[2:]))
            elif not line or line.startswith("#"):
                continue
            elif line.startswith("2: "):
                cases[-1].err.append(line[3:])
            elif line.startswith("exit "):
                cases[-1].exit = int(line[5:])
            else:
                cases[-1].out.append(line[1:] if line[0] == "|" else line)
    return cases


def matches(expected, line):
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, line) is not None


def compare(case, name, expected, text):
    lines = [line for line in text.split("\n") if line]
    if len(lines) == len(expected) and all(map(matches, expected, lines)):
        return
    report(case.where, f"$ {case.command}\n  {name} should be:\n    "
           + "\n    ".join(expected) + "\n  but is:\n    "
           + "\n    ".join(lines))


def check_json(case, text):
    try:
        json.loads(text)
    except ValueError as error:
        report(case.where, f"$ {case.command}\n  not JSON: {error}")


def run_case(case, folder):
    done = run(case.command, folder)
    if done.returncode != case.exit:
        report(case.where, f"$ {case.command}\n  exit code {done.returncode}, "
               f"not {case.exit}: {done.stderr}")
    if "--json" in case.command and "|" not in case.command and done.stdout:
        check_json(case, done.stdout)
    compare(case, "stdout", case.out, done.stdout)
    compare(case, "stderr", case.err, done.stderr)


def run_file(path):
    cases = read_cases(path)
    if not cases:
        report(path, "holds no case")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            run_case(case, folder)
    return len(cases)


# ---- What the program lists of itself --------------------------------------

def commands(folder):
    out = run([PROGRAM, "-h"], folder).stdout
    return re.findall(r"^  ([a-z]+) +\S", out, re.M)


def check_help(command, folder):
    for word in "-h", "--help":
        done = run([PROGRAM, command, word], folder)
        if done.returncode or done.stderr or not done.stdout:
            report(command, f"{word}: exit code {done.returncode}, stderr "
                   f"'{done.stderr}'")
        if not done.stdout.startswith(f"usage: difftune {command}"):
            report(command, f"{word} begins with '{done.stdout[:40]}'")
    return re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)( \S+)?",
                      done.stdout, re.M)


def check_refused(command, arguments, part, folder):
    done = run([PROGRAM, command] + arguments, folder)
    if done.returncode != 64 or done.stdout or part not in done.stderr:
        report(command, f"{arguments}: exit code {done.returncode}, stdout "
               f"'{done.stdout}', stderr '{done.stderr}' without '{part}'")


def check_command(command, manual, folder):
    options = check_help(command, folder)
    check_refused(command, ["--no-such-thing-at-all"],
                  "--no-such-thing-at-all", folder)
    section = re.search(rf"^## {command}\b(.*?)(?=^## |\Z)", manual,
                        re.M | re.S)
    if not section:
        report(command, "docs/cli.md has no section about it")
        return
    for _, name, argument in options:
        if argument:
            check_refused(command, [f"--{name}"], f"--{name}", folder)
        elif name != "help":
            check_refused(command, [f"--{name}=1"], f"--{name}", folder)
        if name != "help" and f"--{name}" not in section.group(1):
            report(command, f"docs/cli.md does not say --{name}")


def check_full_disk(folder):
    with open("/dev/full", "w") as full:
        done = run([PROGRAM, "-h"], folder, stdout=full)
    if done.returncode != 74 or "stdout" not in done.stderr:
        report("-h", f"to a full disk: exit code {done.returncode}, "
               f"'{done.stderr}'")


def check_lists():
    with open(os.path.join(ROOT, "docs/cli.md"), encoding="utf-8") as file:
        manual = file.read()
    with tempfile.TemporaryDirectory() as folder:
        names = commands(folder)
        if len(names) < 8:
            report("-h", f"lists only {names}")
        for name in names:
            check_command(name, manual, folder)
        check_full_disk(folder)
        if os.listdir(folder):
            report("-h", f"leaves behind {os.listdir(folder)}")
    return len(names)


def main():
    cases = os.path.join(ROOT, "tests/cli")
    files = [os.path.join(cases, name) for name in sorted(os.listdir(cases))
             if name.endswith(".txt") and (not ONLY or name[:-4] in ONLY)]
    count = sum(map(run_file, files))
    names = 0 if ONLY else check_lists()
    print(f"{count} cases, {names} commands, {failures} failures")
    return 1 if failures or not count else 0


sys.exit(main())
