#!/bin/sh
# abi.sh LIBRARY INCLUDE ABI FOLDER - what programs were linked with is still
# there: compares the shared LIBRARY, through its debug information and the
# headers in INCLUDE, with the interface that the file ABI has.  After a change
# on purpose, `RENEW=1 ctest -R abi` writes the file anew.
set -eu
library=$1 include=$2 abi=$3 folder=$4
now="$folder/abi.xml"

for program in abidw abidiff; do
  command -v "$program" >/dev/null && continue
  echo "abi.sh: $program is not here; install abigail-tools"
  exit 77
done
if ! readelf -S "$library" | grep -q debug_info; then
  echo "abi.sh: $library has no debug information; build it with -g"
  exit 77
fi

# Without the folders of this machine, and with names for types that stay the
# same when others come or go.
mkdir -p "$folder"
abidw --headers-dir "$include" --drop-private-types --drop-undefined-syms \
  --exported-interfaces-only --no-corpus-path --no-comp-dir-path \
  --no-show-locs --no-architecture --no-elf-needed --type-id-style hash \
  "$library" | sed "s| path='[^']*/| path='|" >"$now"
functions=$(grep -c '<function-decl name=.dd_' "$now" || true)
if [ "$functions" -lt 30 ]; then
  echo "abi.sh: $library describes only $functions functions" >&2
  exit 1
fi
if [ "${RENEW:-}" ]; then cp "$now" "$abi"; fi
abidiff --harmless "$abi" "$now" && exit 0
echo "abi.sh: the interface differs from $abi; if that is meant," \
     "run 'RENEW=1 ctest -R abi'" >&2
exit 1
