#!/bin/sh
# Is a time that is a mean over several places of the code worth its seconds?
# Sweeps of the zoo's short problems at 1, 8, 4 and 2 places, twice each, every one
# into a database of its own; then a table: A/A twins apart, winners that two
# sweeps share, seconds (places.py; the first of all compiles).
#
#   scripts/bench/h200-places.sh DIFFTUNE OUT_FOLDER [BELOW_US] [cpu]
#
# The problems are those that docs/results/h200-zoo.md has below BELOW_US (4: 72 of
# them).  No sweep begins that would not be over after SECONDS_MOST (280); what was
# measured until then is in the table.  With `cpu` a few problems and variants
# on the CPU device, where one place is all, to try the script.
set -eu
difftune=$1 out=$2 below=${3:-4} kind=${4:-gpu} here=$(dirname "$0")
export DIFFTUNE_CACHE="${DIFFTUNE_CACHE:-$(mktemp -d)}"
mkdir -p "$out"
rm -f "$out"/places-*
list=$out/places-problems.txt
awk -F'[|`]' -v below="$below" '/^\| `/ && $5 + 0 < below { print $3 }' \
  "$here/../../docs/results/h200-zoo.md" >"$list"
set -- --gpu 0
if [ "$kind" = cpu ]; then
  set -- --cpu --sample 3
  sed -n '/^norm/{p;q;}' "$list" >"$list.few"
  sed -n '/^rope_table/{p;q;}' "$list" >>"$list.few"
  mv "$list.few" "$list"
fi
echo "$(wc -l <"$list") problems"
"$difftune" doctor >"$out/places-doctor.txt" || echo "doctor: exit $?"

# Whether the places are any (cmake --build ... --target bench_where).
where=$(dirname "$difftune")/../tests/bench_where
if [ -x "$where" ]; then
  "$where" 32 >"$out/places-where.txt" 2>&1 || echo "bench_where: exit $?"
  tail -1 "$out/places-where.txt"
fi

began=$(date +%s) longest=0
sweep() { # places, seed
  name=places-$1-$2 start=$(date +%s)
  if [ $((start - began + longest)) -gt "${SECONDS_MOST:-280}" ]; then
    echo "$name: left out, for want of time"
    return
  fi
  code=0
  # shellcheck disable=SC2086 # the options are words
  "$difftune" sweep $words -q -v --places "$1" --seed "$2" --shapes "$list" \
    --db "$out/$name.db" >"$out/$name.txt" 2>"$out/$name.log" || code=$?
  took=$(($(date +%s) - start))
  [ $took -gt $longest ] && longest=$took
  echo $took >"$out/$name.seconds"
  echo "$name: exit $code, $took s, $(grep -c 'refused (' "$out/$name.log" || true) refused"
  grep -E ' s: compile' "$out/$name.log" || true
}
words=$*
for places in 1 8 4 2; do
  sweep $places 1
  sweep $places 2
done
python3 "$here/places.py" "$out" 2>"$out/places-outside.txt" | tee "$out/places.md"
