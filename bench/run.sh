#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# bench/run.sh [--quick] [--torch] [--flags FLAGS] [--json FILE] [--builds] [--docs] [options of Google Benchmark]
# bench/run.sh --instructions [--store]
# Installs what is missing, builds the benchmark and runs it: one table of pairs and their ratios.
#   --quick   T = 1, 16 and 4096, friendly data, short rounds: under a minute
#   --torch   installs libtorch (some 120 MB to fetch) to compare with; without, it is compared with where it lies there already
#   --flags   for the compiler, instead of "-O3 -march=native": "-O2", "-O3 -march=haswell", ...
#   --json    also writes Google Benchmark's JSON, which bench/report.py reads
#   --builds  also builds for any x86-64 (-O2, no -march) and for AVX2, and shows what share of the ratios these keep; some more minutes
#   --docs    also writes the tables and plots of docs/performance.md from it; includes --torch and --builds
#   --instructions  counts, under callgrind, the instructions of the AVX2 build and compares them with bench/results; --store keeps them
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"

docs= torch= json= builds= instructions= flags="-O3 -march=native" options=()
avx2="-O3 -march=haswell"
while (($#)); do
  case $1 in
    --docs) docs=1 torch=1 builds=1 ;;
    --builds) builds=1 ;;
    --instructions) instructions=1 ;;
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

# with_flags NAME FLAGS TARGET: builds the target in a folder of its own, build/bench-NAME; build/bench without a name.
with_flags() {
  configure bench -B "$moebal/build/bench${1:+-$1}" -DMOEBAL_NATIVE=OFF -DCMAKE_CXX_FLAGS_RELEASE="$2"
  build "bench${1:+-$1}" "$3"
}
# Threads that wait by spinning would take the cores from those that are timed.
bench() {
  OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
    "$moebal/build/bench${1:+-$1}/bench/bench_moebal" "${@:2}"
}

need "${build_packages[@]}" libbenchmark-dev
if [[ -n $instructions ]]; then
  need valgrind python3
  with_flags avx2 "$avx2" bench_instructions
  exec /usr/bin/python3 "$moebal/bench/instructions.py" "$moebal/build/bench-avx2/bench/bench_instructions" \
    "$moebal/bench/results/instructions_avx2.json" "$avx2" "${options[@]}"
fi
if [[ -n $torch ]] && ! need libtorch-dev; then
  say "going on without libtorch: it is not to be had here"
fi
if [[ -n $builds ]]; then
  need python3
  with_flags any "-O2" bench_moebal
  with_flags avx2 "$avx2" bench_moebal
fi
with_flags "" "$flags" bench_moebal
if [[ -n $docs ]]; then
  need python3 python3-matplotlib
fi
[[ -z $docs$builds ]] || json=${json:-$moebal/build/bench/performance.json}
[[ -z $json ]] || options+=(--json "$json")

bench "" "${options[@]}"
others=()
if [[ -n $builds ]]; then
  for name in any avx2; do
    others+=("$moebal/build/bench-$name/performance.json")
    bench $name --quick --json "${others[-1]}" \
      --benchmark_filter='^(route|route_stats|plan|backward)/[^/]*/4096/(scan|torch|counting_sort|copy_floor)'
  done
fi
report() { /usr/bin/python3 "$moebal/bench/report.py" "$json" "$@" "${others[@]/#/--other=}"; } # Debian's, which has Debian's matplotlib
if [[ -n $docs ]]; then
  report "$moebal/docs"
elif [[ -n $builds ]]; then
  report
fi
