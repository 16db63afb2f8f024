#!/bin/sh
# guide.sh GUIDE LIBRARY DRIVER INCLUDE CUDA FOLDER - the whole host in the
# guide for authors of hosts compiles and does what the guide says, on the
# tests' driver.
set -eu
guide=$1 library=$2 driver=$3 include=$4 cuda=$5 folder=$6

rm -rf "$folder"
mkdir -p "$folder"
sed -n '/^## A whole host/,/^## /p' "$guide" |
  sed -n '/^```c$/,/^```$/p' | grep -v '^```' >"$folder/host.c"
cc -std=c11 -Wall -Wextra -Werror -I"$include" -isystem "$cuda" \
  "$folder/host.c" -o "$folder/host" "$library" "$driver" \
  -Wl,-rpath,"$(dirname "$library"):$(dirname "$driver")"
unset DIFFDISPATCH_TABLE DIFFDISPATCH_TRACE
DIFFTUNE_LIBCUDA=$driver XDG_DATA_HOME=/nowhere XDG_DATA_DIRS=/nowhere \
  "$folder/host" >"$folder/out" 2>"$folder/warnings"
grep -q '# 2 launches, 1 captured, default$' "$folder/out"
grep -q '^chosen    norm.generic' "$folder/out"
test "$(wc -l <"$folder/warnings")" -eq 1
grep -q 'difftune sweep --gpu' "$folder/warnings"
