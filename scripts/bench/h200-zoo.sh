#!/bin/sh
# Every op on a GPU: the whole zoo with all variants is proven, then a few sites
# of each op are raced, and the rounding modes are held against PyTorch's chain.
#
#   scripts/bench/h200-zoo.sh DIFFTUNE LIBDIFFDISPATCH.so OUT_FOLDER
set -u
difftune=$1 library=$2 out=$3
"$difftune" doctor >"$out/doctor.txt"
start=$(date +%s)
timeout -s INT "${CHECK_SECONDS:-590}" "$difftune" check --gpu 0 -q --shapes zoo >"$out/zoo.txt" 2>"$out/zoo.log"
echo "check of the zoo: exit $?, $(($(date +%s) - start)) s" | tee -a "$out/zoo.txt"
head -c 3000 "$out/zoo.log"
python3 scripts/bench/eager.py "$library" 2>&1 | tee "$out/eager.txt"
start=$(date +%s)
timeout -s INT "${SWEEP_SECONDS:-590}" "$difftune" sweep --gpu 0 -q --shapes scripts/bench/sites.txt --db "$out/sites.db" \
  >"$out/sites.txt" 2>"$out/sites.log"
echo "sweep of the sites: exit $?, $(($(date +%s) - start)) s"
cat "$out/sites.txt"
"$difftune" show --db "$out/sites.db" --all | grep -E 'generic' >"$out/defaults.txt"
"$difftune" emit --db "$out/sites.db" -o "$out/sites.ddt"
"$difftune" show --coverage --table "$out/sites.ddt" >"$out/coverage.txt" 2>&1
awk '{print $3}' "$out/coverage.txt" | sort | uniq -c
