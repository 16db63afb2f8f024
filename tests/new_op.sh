#!/bin/sh
# Adds an op by the recipe of variants/README.md: the files in its folder and
# nothing else.  Builds difftune from a copy of the sources and proves it.
#
#   new_op.sh CMAKE SOURCE FOLDER
set -eu
cmake=$1 source=$2 folder=$3
rm -rf "$folder"
mkdir -p "$folder/source"
for part in CMakeLists.txt scripts runtime generator db tuner variants; do
  cp -r "$source/$part" "$folder/source/"
done
cp -r "$source/tests/new_op" "$folder/source/variants/twice"
"$cmake" -S "$folder/source" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=None \
  -DDIFFTUNE_TESTS=OFF -DDIFFTUNE_FLOOR=sm_90 >/dev/null
"$cmake" --build "$folder/build" --target difftune >/dev/null
difftune=$folder/build/tuner/difftune
"$difftune" check --cpu -q --op twice
"$difftune" show --coverage | grep -q qknorm_rope
"$difftune" generate twice.generic --count | grep -qx 3
if "$difftune" doctor | grep -q '^ok  *nvrtc'; then
  "$difftune" compile --op twice --arch sm_80,sm_90,sm_100
fi
echo "1 passed, 0 failed"
