#!/bin/sh
# run.sh CMAKE BUILD SOURCE FOLDER - installs the library from BUILD, moves it,
# and builds and runs the host in SOURCE against it: by find_package and by
# pkg-config, shared and static.  Then looks at what the libraries export and
# need.  Everything is made under FOLDER.
set -eu
cmake=$1 build=$2 source=$3 folder=$4
prefix="$folder/a prefix"
unset DIFFDISPATCH_TABLE

fail() { echo "run.sh: $*" >&2; exit 1; }

rm -rf "$folder"
mkdir -p "$folder"
"$cmake" --install "$build" --prefix "$folder/first" --component library >/dev/null
mv "$folder/first" "$prefix" # nothing may remember where it was installed

echo "find_package"
"$cmake" -S "$source" -B "$folder/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
"$cmake" --build "$folder/build" >/dev/null
"$folder/build/host_shared" cpu
"$folder/build/host_static" cpu

echo "pkg-config"
pc=$(find "$prefix" -name diffdispatch.pc)
library=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="$(dirname "$pc")"
compile() { # OUTPUT LIBRARIES: pkg-config quotes blanks for a shell
  eval "cc -std=c11 -O1 $(pkg-config --cflags diffdispatch)" \
    '"$source/main.c" "$source/memory.c" -o "$1"' "$2 -lm -ldl"
}
compile "$folder/host" "$(pkg-config --libs diffdispatch)"
LD_LIBRARY_PATH=$library "$folder/host" cpu
compile "$folder/host_static" \
  "$(pkg-config --static --libs diffdispatch | sed 's/-ldiffdispatch/-l:libdiffdispatch.a/')"
"$folder/host_static" cpu
readelf -d "$folder/host_static" | grep -q libdiffdispatch &&
  fail "host_static needs the shared library"

echo "symbols"
# Some are declared by a list: the preprocessor writes them out.
cc -E -P "$prefix/include/diffdispatch.h" | tr '\n;' ' \n' |
  sed -n 's/.*visibility("default"))) [^(]*[ *]\(dd_[a-z0-9_]*\) *(.*/\1/p' |
  sort >"$folder/declared"
nm -D --defined-only "$library/libdiffdispatch.so" |
  awk '{ print $3 }' | sort >"$folder/shared"
nm -g --defined-only "$library/libdiffdispatch.a" |
  awk 'NF == 3 { print $3 }' | sort >"$folder/static"
test "$(wc -l <"$folder/declared")" -gt 10 || fail "the header declares nothing"
diff "$folder/declared" "$folder/shared" || fail "the shared library differs"
diff "$folder/declared" "$folder/static" || fail "the archive differs"

# What programs are linked with stays: a line of abi.txt that is gone or has
# another number breaks them, and a new one is added on purpose.
cc -std=c11 -I"$prefix/include" "$source/abi.c" -o "$folder/abi"
{ cat "$folder/declared"; "$folder/abi"; } >"$folder/abi.txt"
diff "$source/abi.txt" "$folder/abi.txt" ||
  fail "the interface differs from $source/abi.txt"

# The driver, NVRTC, SQLite, Lua and C++ are found at run time, or not needed.
readelf -d "$library/libdiffdispatch.so" |
  sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' >"$folder/needed"
grep -q '^libc\.so' "$folder/needed" || fail "readelf printed no libc"
grep -Ev '^(libc|libm|libdl|libpthread|libsodium|ld-linux[-a-z0-9_]*)\.so' \
  "$folder/needed" && fail "the shared library needs more than the C library"
echo "done"
