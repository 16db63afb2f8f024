#!/bin/sh
# What the library would lose on problems that were never tuned, on a GPU: a sweep of
# scripts/bench/regret.txt, then one size of each line left out at a time (regret.py).
#
#   scripts/bench/h200-regret.sh DIFFTUNE OUT_FOLDER [BUDGET]     (8m; on GPU=0)
set -eu
difftune=$1 out=$2 here=$(dirname "$0")
mkdir -p "$out"
"$difftune" sweep --gpu "${GPU:-0}" -q -v --db "$out/regret.db" --shapes "$here/regret.txt" \
  --budget "${3:-8m}" >"$out/sweep.txt" 2>"$out/sweep.log" || echo "sweep: exit $?"
grep -E ' s: compile|left out' "$out/sweep.log"
python3 "$here/regret.py" "$out/regret.db" --difftune "$difftune" --folds 16 --out "$out"
