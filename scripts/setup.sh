# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by the run.sh of tests, examples and bench and by scripts/kokkos.sh: the one place that knows what must be installed.
# shellcheck shell=bash

moebal=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/moebal
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

build_packages=(g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev)
test_packages=("${build_packages[@]}" libboost-test-dev libopenmpi-dev openmpi-bin libcli11-dev libtbb-dev libbenchmark-dev)
# An example names what it reads and starts beyond this in examples/<name>/packages.txt.
example_packages=("${build_packages[@]}" libcli11-dev)
mpich_packages=("${test_packages[@]}" libmpich-dev mpich)
arm_packages=("${test_packages[@]}" g++-aarch64-linux-gnu qemu-user)
kokkos_packages=("${build_packages[@]}" xz-utils)

say() { printf '\n== %s\n' "$*" >&2; }

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "moebal: installing needs root: needed root or sudo, had neither" >&2
    return 1
  fi
}

# need <package>...: installs the Debian packages that are missing. Removes nothing; where they all lie there, asks nobody.
need() {
  local package missing=()
  if ! command -v dpkg-query apt-get >/dev/null; then
    echo "moebal: no Debian here: going on with what is installed (needed: $*)" >&2
    return 0
  fi
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends --no-remove \
      -o Dpkg::Use-Pty=0 "${missing[@]}"; } </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# need_thrust: Thrust lies in the CUDA toolkit; elsewhere Debian's is taken.
need_thrust() {
  local folder
  for folder in "${CUDA_PATH:-}" "${CUDA_HOME:-}" /usr/local/cuda; do
    [[ -n $folder && -e $folder/include/cccl/thrust/version.h ]] && return 0
  done
  need libthrust-dev
}

# configure <preset> [option of cmake]...
configure() {
  local preset=$1
  shift
  local log=$moebal/build/$preset.configure.log
  mkdir -p "$moebal/build"
  if (cd "$moebal" && cmake --preset "$preset" "$@") >"$log" 2>&1; then
    grep -E '^-- moebal|skipped: ' "$log" >&2 || true
  else
    cat "$log" >&2
    return 1
  fi
}

# build <preset> [target]...
build() {
  local preset=$1
  shift
  cmake --build "$moebal/build/$preset" ${1:+--target "$@"} >&2
}
