#!/bin/sh
# The whole zoo on a GPU: every variant of every problem and of the parts of its
# split form is proven and raced; with cold caches, with warm ones, and with
# another seed.  Do the sweeps agree?  Where does the time go?
#
#   scripts/bench/h200-zoo.sh DIFFTUNE OUT_FOLDER [GPU]
#
# The databases stay in the working folder: zoo-cold.db, zoo-warm.db, zoo-seed.db.
set -u
difftune=$1 out=$2 gpu=${3:-0}
export DIFFTUNE_CACHE=${DIFFTUNE_CACHE:-$(mktemp -d)}
"$difftune" doctor >"$out/doctor.txt"
sweep() { # name, further options
  name=$1
  shift
  start=$(date +%s)
  rm -f "zoo-$name.db"
  "$difftune" sweep --gpu "$gpu" -q -v --shapes zoo --db "zoo-$name.db" "$@" \
    >"$out/$name.txt" 2>"$out/$name.log"
  echo "$name: exit $?, $(($(date +%s) - start)) s, $(grep -c 'refused (' "$out/$name.log") refused"
  grep -E ' s: compile|pruned|from the cache' "$out/$name.log"
}
sweep cold
sweep warm
sweep seed --seed 2
scripts/bench/zoo_page.py zoo-cold.db --all >"$out/zoo.md"
scripts/bench/agree.py zoo-cold.db zoo-warm.db zoo-seed.db >"$out/agree.txt"
"$difftune" emit --db zoo-cold.db -o zoo.ddt
"$difftune" show --coverage --table zoo.ddt >"$out/coverage.txt"
sed -n 1,14p "$out/zoo.md"
cat "$out/agree.txt"
