#!/bin/sh
# What the pages of docs/results/ need from a GPU, part by part, in the order in
# which it matters; a part that takes too long is cut, and the next one begins.
#
#   scripts/bench/h200.sh BUILD_FOLDER OUT_FOLDER [PART...]
#
# BUILD_FOLDER is a build (preset `static` for a machine without packages) with the
# targets difftune and bench_dispatch.  Without parts: all of them, some
# 20 minutes on one H200.  `again`, `recheck` and `bits` need what `zoo` left in the
# working folder.
#
#   check     every value of every tunable of every op, proven         4 min
#   zoo       a cold sweep of the zoo                                  3 min
#   again     two more into its database: who keeps winning            5 min
#   recheck   the last database measured again, ten rows reproduced    4 min
#   bits      its tables, plain and with --same-bits, and their losses
#   dispatch  launches over the bare driver, opening a table
#   faults    kernels that hang, fault and trap; killed workers        1 min
#   regret    problems that were never tuned                           4 min
#   peer      Kernel Tuner on the same kernels (wants it installed)    3 min
set -u
build=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- check zoo again recheck bits dispatch faults regret peer
difftune=$build/tuner/difftune here=$(dirname "$0")
export DIFFTUNE_CACHE="${DIFFTUNE_CACHE:-$(mktemp -d)}"
mkdir -p "$out"

sweep_zoo() { # name of the database, seed
  timeout 280 "$difftune" sweep --gpu 0 -q -v --seed "$2" --shapes zoo --db "$1.db" \
    >"$out/$1.txt" 2>"$out/$1.log"
  echo "sweep $1: exit $?, $(grep -c 'refused (' "$out/$1.log") refused"
  grep -E ' s: |longer|before' "$out/$1.log"
}
next() { # of, name, seed
  cp "$1.db" "$2.db" && sweep_zoo "$2" "$3"
}

part_check() {
  timeout 280 "$difftune" check --gpu 0 -q --cover >"$out/check.txt" 2>"$out/check.log"
  echo "exit $?, $(grep -c 'refused (' "$out/check.log") refused"
}
part_zoo() { sweep_zoo zoo 1; }
part_again() {
  next zoo zoo-11 11
  next zoo-11 zoo-12 12
  "$here/agree.py" zoo.db zoo-11.db zoo-12.db
}
part_recheck() {
  timeout 200 "$difftune" recheck --gpu 0 --all --db zoo-12.db --json >"$out/recheck.json" 2>"$out/recheck.log"
  echo "recheck: exit $?"
  "$here/again.py" verdicts "$out/recheck.json"
  for row in $("$here/again.py" rows zoo-12.db 10); do
    timeout 30 "$difftune" reproduce "$row" --db zoo-12.db --json
  done >"$out/reproduce.json" 2>"$out/reproduce.log"
  "$here/again.py" reproduced "$out/reproduce.json"
}
part_bits() {
  "$difftune" emit --db zoo-12.db -o plain.ddt
  "$difftune" emit --db zoo-12.db --same-bits -o same.ddt 2>"$out/bits.log"
  echo "$(grep -c 'not the best' "$out/bits.log") not the best, $(grep -c 'left out' "$out/bits.log") left out"
}
part_dispatch() { # a process differs from the next more than its intervals say
  for plans in 10000 0 0 0 0; do
    DIFFTUNE_LIBCUDA=libcuda.so.1 timeout 60 "$build/tests/bench_dispatch" "$plans"
  done
}
part_faults() { timeout 150 "$here/h200-faults.sh" "$difftune" "$out/faults"; }
part_regret() { timeout 320 "$here/h200-regret.sh" "$difftune" "$out/regret" 4m; }
part_peer() { timeout 320 "$here/peer_kernel_tuner.py" "$difftune"; }

for part in "$@"; do
  began=$(date +%s)
  echo "== $part"
  "part_$part"
  echo "== $part: $(($(date +%s) - began)) s"
done 2>&1 | tee "$out/h200.txt"
