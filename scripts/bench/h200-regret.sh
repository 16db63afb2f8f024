#!/bin/sh
# What the library would lose on problems that were never tuned, on a GPU: a sweep of
# scripts/bench/regret.txt, then one size of each line left out at a time (regret.py).
#
#   scripts/bench/h200-regret.sh DIFFTUNE OUT_FOLDER [BUDGET]
set -eu
difftune=$1 out=$2 here=$(dirname "$0")
mkdir -p "$out"
"$difftune" sweep --gpu 0 -q --db "$out/regret.db" --shapes "$here/regret.txt" \
  --budget "${3:-8m}" >"$out/sweep.txt" 2>"$out/sweep.log" || echo "sweep: exit $?"
python3 "$here/regret.py" "$out/regret.db" --difftune "$difftune" --folds 16 --out "$out"
