#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# tests/gpu.sh [--out FILE] [--kokkos DIR] [--arch NUMBER]
#   On a machine with an NVIDIA GPU and the CUDA toolkit: builds the device programs (tests/cuda, examples/route_anywhere, bench/gpu)
#   for Thrust and for Kokkos, runs them, runs compute-sanitizer on a small set, then the benches, PyTorch beside them where it is,
#   and writes one JSON. Nothing is downloaded; nothing but nvcc, a host compiler and bash is needed. Under 9 minutes.
#     --out FILE      the JSON (default: build/gpu.json)
#     --kokkos DIR    an installed Kokkos with CUDA (default: .gpu/kokkos in the working tree; without one its programs are skipped)
#     --arch NUMBER   sm_NUMBER (default: what the GPU has)
#   Ends with 0 if all passed, 1 if something failed, 2 for a wrong argument, 77 where there is no GPU or no nvcc.
# tests/gpu.sh --merge DIR
#   Prints the JSON of what a run left in DIR.
set -uo pipefail
moebal=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
most=525 # seconds

usage() {
  sed -n '3,12s/^# \?//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
no_gpu() {
  echo "tests/gpu.sh: no GPU to test on: $1" >&2
  exit 77
}

quoted() { # a text as a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$(tr -d '\000-\037' <<<"$text")"
}
# merge DIR: facts (name, tab, value), results (name, tab, passed | failed | skipped, tab, seconds, tab, note), bench.json, torch.json.
merge() {
  local name value result seconds note comma=""
  echo "{"
  while IFS=$'\t' read -r name value; do printf ' %s: %s,\n' "$(quoted "$name")" "$(quoted "$value")"; done <"$1/facts"
  printf ' "tests": ['
  while IFS=$'\t' read -r name result seconds note; do
    printf '%s\n  {"name": %s, "result": %s, "seconds": %d, "note": %s}' "$comma" "$(quoted "$name")" "$(quoted "$result")" \
      "$seconds" "$(quoted "$note")"
    comma=,
  done <"$1/results"
  printf '\n ]'
  for part in bench torch; do
    printf ',\n "%s": ' $part
    if [[ -s $1/$part.json ]]; then cat "$1/$part.json"; else printf null; fi
  done
  printf '\n}\n'
}

out="" kokkos="" arch=""
while (($#)); do
  case $1 in
    --merge)
      [[ $# == 2 && -f $2/facts && -f $2/results ]] || usage
      merge "$2"
      exit
      ;;
    --out) out=${2:-} ;;
    --kokkos) kokkos=${2:-} ;;
    --arch) arch=${2:-} ;;
    *) usage ;;
  esac
  (($# >= 2)) && [[ -n $2 ]] || usage
  shift 2
done
[[ -z $kokkos || -d $kokkos/include ]] || { echo "tests/gpu.sh: no Kokkos is installed in $kokkos" >&2; exit 2; }

PATH=$PATH:/usr/local/cuda/bin
command -v nvidia-smi >/dev/null || no_gpu "there is no nvidia-smi, so no driver"
device=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
[[ -n $device ]] || no_gpu "nvidia-smi names none"
command -v nvcc >/dev/null || no_gpu "nvcc is not on the PATH, nor in /usr/local/cuda/bin"
IFS=, read -r gpu driver capability <<<"$device"
arch=${arch:-$(tr -d ' .' <<<"$capability")}
[[ -n $kokkos || ! -d $moebal/.gpu/kokkos/include ]] || kokkos=$moebal/.gpu/kokkos

work=$(mktemp -d)
out=${out:-$moebal/build/gpu.json}
: >"$work/results"
{
  printf 'device\t%s\n' "$gpu"
  printf 'driver\t%s\n' "${driver# }"
  printf 'cuda\t%s\n' "$(nvcc --version | sed -n 's/.*release \([^,]*\),.*/\1/p')"
  printf 'date\t%s\n' "$(date -u +%F)"
  printf 'commit\t%s\n' "$(git -C "$moebal" rev-parse --short HEAD 2>/dev/null || echo unknown)"
} >"$work/facts"

failed=0
# record NAME STATUS SECONDS NOTE
record() {
  local result=passed
  case $2 in 0) ;; 77) result=skipped ;; *) result=failed failed=1 ;; esac
  printf '%s\t%s\t%d\t%s\n' "$1" $result "$3" "$4" >>"$work/results"
  printf '%-8s %s (%d s) %s\n' $result "$1" "$3" "$4"
}
# within SECONDS COMMAND...: never past the end of the time that all have together
within() {
  local left=$((most - SECONDS)) wanted=$1
  shift
  ((left > 1)) || { echo "no time is left of $most s"; return 124; }
  timeout $((left < wanted ? left : wanted)) "$@"
}
# run NAME SECONDS LOG COMMAND...
run() {
  local name=$1 seconds=$2 log=$3 start=$SECONDS status=0
  shift 3
  within "$seconds" "$@" >"$work/$log" 2>"$work/$log.err" || status=$?
  record "$name" $status $((SECONDS - start)) "$( ((status == 0)) || tail -n 1 "$work/$log.err")"
  return $status
}

# build NAME SOURCE FLAGS...: in the background
build() {
  local name=$1 source=$2
  shift 2
  local start=$SECONDS status=0
  within 400 nvcc -std=c++20 -O3 -arch=sm_"$arch" --Werror=all-warnings -I "$moebal/include" -I "$moebal/tests" -x cu "$source" \
    -o "$work/$name" "$@" >"$work/$name.build" 2>&1 || status=$?
  printf '%d %d\n' $status $((SECONDS - start)) >"$work/$name.built"
}
programs=()
for source in $(grep -l '77 without a GPU' "$moebal"/tests/cuda/*.cu) "$moebal/tests/cuda/route_anywhere.cu"; do
  name=$(basename "$source" .cu)
  [[ $name != kokkos ]] || continue
  flags=()
  if [[ $name == nccl* ]]; then
    flags=(-lnccl)
    echo '#include <nccl.h>' >"$work/header.cu"
    nvcc -E "$work/header.cu" -o "$work/header.i" >/dev/null 2>&1 || { record "thrust.$name" 77 0 "nvcc finds no nccl.h"; continue; }
  fi
  programs+=("thrust.$name")
  build "thrust.$name" "$source" "${flags[@]}" &
done
build bench "$moebal/bench/gpu.cu" &
if [[ -n $kokkos ]]; then
  flags=(--extended-lambda -isystem "$kokkos/include" -L "$kokkos/lib" -L "$kokkos/lib64" -lkokkoscore -lcuda -ldl)
  programs+=(kokkos.layer kokkos.route_anywhere)
  build kokkos.layer "$moebal/tests/cuda/kokkos.cu" "${flags[@]}" &
  build kokkos.route_anywhere "$moebal/examples/route_anywhere.cpp" '-DMACHINE="route_anywhere/kokkos.hpp"' "${flags[@]}" &
else
  record kokkos 77 0 "no Kokkos with CUDA in .gpu/kokkos, and none named by --kokkos"
fi
wait
for name in "${programs[@]}" bench; do
  read -r status seconds <"$work/$name.built"
  record "build.$name" "$status" "$seconds" "$( ((status == 0)) || grep -m 1 -E 'error|warning' "$work/$name.build")"
done

for name in "${programs[@]}"; do
  [[ -x $work/$name ]] || continue
  run "$name" 90 "$name.out" "$work/$name"
  if [[ $name == *.route_anywhere ]]; then
    run "$name.same_bits" 5 "$name.diff" diff "$work/$name.out" "$moebal/examples/route_anywhere.expected"
  fi
done
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    for name in "${programs[@]}"; do
      [[ $name == *.route_anywhere && -x $work/$name ]] || continue
      run "sanitizer.$tool.$name" 60 "$name.$tool" compute-sanitizer --tool $tool --error-exitcode 9 "$work/$name"
    done
  done
else
  record sanitizer 77 0 "compute-sanitizer is not on the PATH"
fi
if [[ -x $work/bench ]]; then
  run bench 120 bench.json "$work/bench" || rm -f "$work/bench.json"
fi
if command -v python3 >/dev/null; then
  run torch 150 torch.json python3 "$moebal/bench/gpu_torch.py" || rm -f "$work/torch.json"
else
  record torch 77 0 "there is no python3"
fi
mkdir -p "$(dirname "$out")"
merge "$work" >"$out"
echo "$out ($SECONDS s)"
if ((failed)); then echo "what the programs said lies in $work"; else rm -rf "$work"; fi
exit $failed
