#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# scripts/kokkos.sh [prefix]: builds Kokkos (Serial and OpenMP) from Debian's source package trilinos, from where this
# machine's apt takes its packages, and prints the prefix. What lies there already is left alone.
# Debian's binary package is no help: Serial only, and its CMake configuration names a folder that does not exist.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

prefix=${1:-$cache/kokkos}
if [[ -e $prefix/lib/cmake/Kokkos/KokkosConfig.cmake ]]; then
  echo "$prefix"
  exit
fi
need "${kokkos_packages[@]}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building Kokkos into $prefix"

# The machine's own apt sources, as deb-src, without changing the machine's.
mkdir -p "$work/parts" "$work/lists/partial"
for file in /etc/apt/sources.list.d/*.sources; do
  [[ -e $file ]] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/${file##*/}"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [[ -e $file ]] && sed -n 's/^deb\(-src\)\?\s/deb-src /p' "$file" >"$work/parts/${file##*/}"
done
apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/none" -o Dir::Etc::sourceparts="$work/parts"
  -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root)
as_root "${apt[@]}" update >&2
(cd "$work" && as_root "${apt[@]}" source --download-only trilinos >&2)

mkdir "$work/source"
archives=("$work"/trilinos_*.orig.tar.*)
tar -xf "${archives[0]}" -C "$work/source" --wildcards --strip-components=3 '*/packages/kokkos/*'
{
  cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DKokkos_CXX_STANDARD=20 \
    -DKokkos_ENABLE_SERIAL=ON -DKokkos_ENABLE_OPENMP=ON
  cmake --build "$work/build"
  cmake --install "$work/build"
} >"$work/log" 2>&1 || {
  tail -40 "$work/log" >&2
  exit 1
}
echo "$prefix"
