#!/bin/sh
# How often the race errs on simulated machines: the table of docs/measuring.md.
# usage: scripts/bench/race.sh [RACES]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
program=$(mktemp)
trap 'rm -f "$program"' EXIT
"${CC:-cc}" -O2 -std=gnu11 -Wall -Wextra -D_GNU_SOURCE -I"$root/runtime" \
  -I"$root/runtime/include" -I"$root/tuner" -I"$root/tests" \
  "$root/scripts/bench/race.c" "$root/tuner/race.c" "$root/tuner/statistics.c" \
  "$root/runtime/base.c" -lsodium -lpthread -lm -o "$program"
"$program" "$@"
