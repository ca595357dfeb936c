#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# bench/run.sh [--quick] [--torch] [--flags FLAGS] [--json FILE] [--docs] [options of Google Benchmark]
# Installs what is missing, builds the benchmark and runs it: one table of pairs and their ratios.
#   --quick   T = 1, 16 and 4096, friendly data, short rounds: under a minute
#   --torch   installs libtorch (some 120 MB to fetch) to compare with; without, it is compared with where it lies there already
#   --flags   for the compiler, instead of "-O3 -march=native": "-O2", "-O3 -march=haswell", ...
#   --json    also writes Google Benchmark's JSON, which bench/report.py reads
#   --docs    also writes the tables and plots of docs/performance.md from it; includes --torch
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"

docs= torch= json= flags="-O3 -march=native" options=()
while (($#)); do
  case $1 in
    --docs) docs=1 torch=1 ;;
    --torch) torch=1 ;;
    --json | --flags)
      (($# > 1)) || { echo "bench/run.sh: $1: needed a value, had none" >&2; exit 2; }
      if [[ $1 == --json ]]; then json=$(realpath -m "$2"); else flags=$2; fi
      shift
      ;;
    *) options+=("$1") ;;
  esac
  shift
done

need "${build_packages[@]}" libbenchmark-dev
if [[ -n $torch ]] && ! need libtorch-dev; then
  say "going on without libtorch: it is not to be had here"
fi
configure bench -DMOEBAL_NATIVE=OFF -DCMAKE_CXX_FLAGS_RELEASE="$flags"
build bench bench_moebal
if [[ -n $docs ]]; then
  need python3 python3-matplotlib
  json=${json:-$moebal/build/bench/performance.json}
fi
[[ -z $json ]] || options+=(--json "$json")

# Threads that wait by spinning would take the cores from those that are timed.
OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
  "$moebal/build/bench/bench/bench_moebal" "${options[@]}"
if [[ -n $docs ]]; then
  /usr/bin/python3 "$moebal/bench/report.py" "$json" "$moebal/docs" # Debian's, which has Debian's matplotlib
fi
