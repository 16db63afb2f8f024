#!/bin/sh
# Correctness on a GPU first: every variant of every trial problem of every op
# against the reference, then a sample under compute-sanitizer.
#
#   scripts/bench/h200-check.sh DIFFTUNE OUT_FOLDER
set -u
difftune=$1 out=$2
"$difftune" doctor | tee "$out/doctor.txt"
"$difftune" check --gpu 0 -q >"$out/check.txt" 2>"$out/check.log"
echo "check of all variants: exit $?" | tee -a "$out/check.txt"
for tool in memcheck racecheck initcheck; do
  compute-sanitizer --tool $tool --target-processes all --error-exitcode 9 \
    "$difftune" check --gpu 0 -q --op qknorm_rope --sample 40 --jobs 8 \
    --shapes 'qknorm_rope:bf16 tokens=37 q_heads=4 head_dim=128' \
    --shapes 'qknorm_rope:bf16 tokens=37 q_heads=4 kv_heads=2 head_dim=128 rope_dim=64 layout=neox' \
    >"$out/$tool.txt" 2>&1
  echo "compute-sanitizer $tool: exit $?" | tee -a "$out/check.txt"
  grep -E "ERROR SUMMARY|refused" "$out/$tool.txt" | sort | uniq -c | tail -4
done
tail -60 "$out/check.txt"
