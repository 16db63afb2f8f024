#!/bin/sh
# What a broken kernel, and a worker that is killed, cost a sweep on a GPU: the
# kernels of tests/planted/stuck.py (one hangs, one writes to an illegal address,
# one traps, ...), then a sweep whose device worker is killed (-9) every four seconds.
# (Where no new worker lives long enough to open it, a sweep takes the GPU for broken.)
#
#   scripts/bench/h200-faults.sh DIFFTUNE OUT_FOLDER [GPU]
set -u
difftune=$1 out=$2 gpu=${3:-0}
mkdir -p "$out"
python3 tests/planted/stuck.py "$difftune" . "$gpu" >"$out/stuck.txt" 2>&1
echo "stuck: exit $?"
cat "$out/stuck.txt"

rm -f killed.db
"$difftune" sweep --gpu "$gpu" -q -v --db killed.db --no-prune \
  --shapes 'norm_scale_shift:bf16 seq=4096 hidden=3072' \
  --shapes 'qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128' \
  >"$out/killed.txt" 2>"$out/killed.log" &
sweep=$! kills=0
while kill -0 $sweep 2>/dev/null; do
  sleep 4
  grep -q 'sweep begins' "$out/killed.log" || continue
  # the children of the sweep that have the GPU open
  for child in $(pgrep -P $sweep); do
    grep -q 'nvidia' "/proc/$child/maps" 2>/dev/null && [ $kills -lt 10 ] &&
      kill -9 "$child" && kills=$((kills + 1))
  done
done
wait $sweep
echo "killed: exit $?, $kills kills, $(grep -c 'refused (' "$out/killed.log") refused"
grep 'replaced' "$out/killed.log"
tail -3 "$out/killed.txt"
