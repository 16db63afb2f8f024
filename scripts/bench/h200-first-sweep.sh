#!/bin/sh
# The first sweep of a GPU: the copy ceiling by a program of its own, then the
# seven qknorm_rope rows with all points, the table, and a C host that uses it.
#
#   scripts/bench/h200-first-sweep.sh DIFFTUNE COPY HOST OUT_FOLDER
set -eu
difftune=$1 copy=$2 host=$3 out=$4
db=$out/seven.db
{
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit \
    --format=csv,noheader
  grep -m1 'model name' /proc/cpuinfo
  echo "$(nproc) cores"
  "$difftune" doctor
} | tee "$out/host.txt"
"$copy" | tee "$out/copy.txt"
nvidia-smi --query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv,noheader
for run in 1 2; do
  start=$(date +%s)
  "$difftune" sweep --gpu H200 --op qknorm_rope --shapes scripts/bench/qknorm_rope.txt \
    --db "$out/seven.db" -q --seed $run >"$out/sweep$run.txt" 2>"$out/sweep$run.log"
  echo "sweep $run: $(($(date +%s) - start)) s"
  cat "$out/sweep$run.txt"
  [ $run = 1 ] && "$difftune" show --db "$db" --all --op qknorm_rope >"$out/show.txt"
  [ $run = 1 ] && mv "$db" "$out/first.db"
done
mv "$out/first.db" "$db"
"$difftune" sweep --gpu 0 --op qknorm_rope --shapes scripts/bench/quickstart-gpu.txt \
  --db "$out/host.db" -q >/dev/null 2>&1
"$difftune" emit --db "$out/host.db" -o "$out/host.ddt"
"$host" cuda "$out/host.ddt"
"$difftune" explain 'qknorm_rope:bf16 tokens=4000 q_heads=24 head_dim=128' --gpu \
  --table "$out/host.ddt"
rm -f "$out/host.db"
