#!/bin/sh
# Does a sweep into a database keep its winners?  Sweeps into a copy of it, with
# another seed, and says how many winners are the same, and in the tie sets.
#
#   scripts/bench/h200-again.sh DIFFTUNE OUT_FOLDER DB [SHAPES] [OPTIONS...]
#
# SHAPES is `zoo` unless said, OPTIONS are `--gpu 0`; `--no-incumbent` among them
# shows what two sweeps that know nothing of each other agree on.
set -eu
difftune=$1 out=$2 db=$3 shapes=${4:-zoo}
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- --gpu 0
mkdir -p "$out"
cp "$db" "$out/again.db"
"$difftune" sweep "$@" -q -v --seed 11 --shapes "$shapes" --db "$out/again.db" \
  >"$out/again.txt" 2>"$out/again.log"
scripts/bench/agree.py "$db" "$out/again.db" | tee "$out/again-agree.txt"
