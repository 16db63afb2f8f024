#!/bin/sh
# Several GPUs of a host against one, then what was measured measured again:
# the same problems swept by all (cold), by one and by all (warm), each into a copy of the
# database before, so that its winners are the incumbents; winners reproduced on
# their own GPU and on another; the races of the last rechecked.
#
#   scripts/bench/h200-fleet.sh DIFFTUNE OUT_FOLDER [SHAPES] [cpu]
#
# SHAPES is `zoo` unless said.  With `cpu` the CPU device is four, to try the
# script.  ROWS=20 are reproduced; RECHECK=0 leaves the last part out.  The
# databases stay in the working folder: fleet-*.db.
set -u
difftune=$1 out=$2 shapes=${3:-zoo} kind=${4:-gpu}
export DIFFTUNE_CACHE="${DIFFTUNE_CACHE:-$(mktemp -d)}"
mkdir -p "$out"
one='--gpu 0' all='--gpu all' other='--gpu 1' boards=1
[ "$kind" = cpu ] && one=--cpu all=--cpu other='' boards=4
"$difftune" doctor >"$out/doctor.txt"
command -v nvidia-smi >/dev/null &&
  nvidia-smi --query-gpu=index,uuid,name,driver_version --format=csv,noheader >"$out/gpus.txt"

seconds() { date +%s.%N; }
sweep() { # name, boards of the CPU device, options
  name=$1 boards_now=$2
  shift 2
  start=$(seconds)
  DIFFTUNE_CPU_DEVICES=$boards_now "$difftune" sweep "$@" -q -v --shapes "$shapes" \
    --db "fleet-$name.db" >"$out/$name.txt" 2>"$out/$name.log"
  code=$?
  took=$(echo "$(seconds) $start" | awk '{printf "%.1f", $1 - $2}')
  echo "$took" >"$out/$name.seconds"
  echo "sweep $name: exit $code, $took s, $(grep -c 'refused (' "$out/$name.log") refused"
  grep -E ' s: compile|longer' "$out/$name.log"
}
reproduce() { # name, options
  for row in $(scripts/bench/again.py rows fleet-one.db "${ROWS:-20}"); do
    # shellcheck disable=SC2086 # the options are words
    "$difftune" reproduce "$row" $2 --db fleet-one.db --json
  done >"$out/reproduce-${1##* }.json" 2>"$out/reproduce-${1##* }.log"
  echo "on $1 board: $(scripts/bench/again.py reproduced "$out/reproduce-${1##* }.json")"
}
# shellcheck disable=SC2086 # the options are words
{
  rm -f fleet-cold.db
  sweep cold $boards $all
  cp fleet-cold.db fleet-one.db
  sweep one 1 $one --seed 2
  cp fleet-one.db fleet-all.db
  sweep all $boards $all --seed 3
  paste "$out/one.seconds" "$out/all.seconds" |
    awk '{printf "all boards are %.2f times as fast as one\n", $1 / $2}'
  scripts/bench/agree.py fleet-cold.db fleet-one.db fleet-all.db
  reproduce "its own" ''
  reproduce another "$other"

  [ "${RECHECK:-1}" = 1 ] || exit 0
  start=$(seconds)
  "$difftune" recheck $one --all --db fleet-all.db --json >"$out/recheck.json" 2>"$out/recheck.log"
  echo "recheck: exit $?, $(echo "$(seconds) $start" | awk '{printf "%.1f", $1 - $2}') s"
  scripts/bench/again.py verdicts "$out/recheck.json"
} 2>&1 | tee "$out/fleet.txt"
