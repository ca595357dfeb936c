#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# tests/run.sh [options of ctest]   installs what is missing, builds, and passes all tests: first as built for this machine,
#                                   then what runs without -march=native and under the sanitizers. The options go to the
#                                   first run; with a selection of tests (-R, -L, -N, ...) there is no other run.
# tests/run.sh mpich              the tests of MPI over MPICH; all others take the system's MPI, as a rule Open MPI.
# tests/run.sh arm                the tests of same bits for AArch64 with NEON, under an emulator.
# tests/run.sh golden DIR           checks a folder of golden cases.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"
preset=default
[[ -z ${CI:-} ]] || preset=ci

if [[ ${1:-} == golden ]]; then
  [[ $# == 2 && -d $2 ]] || { echo "usage: tests/run.sh golden DIR (a folder of cases)" >&2; exit 2; }
  need "${test_packages[@]}"
  configure $preset
  build $preset golden_runner
  exec "$moebal/build/$preset/tests/golden/golden_runner" "$2"
fi

passed=0 failed=0 skipped=0 broken=()

# run <preset> [option of ctest]...: the tests of a preset; adds to the counts, or to what is broken.
run() {
  local preset=$1 start=$SECONDS junit=$moebal/build/$1.xml
  shift
  say "$preset: building"
  if ! { configure "$preset" "${configuration[@]}" && build "$preset"; }; then
    broken+=("$preset (does not build)")
    return 0
  fi
  say "$preset: testing (built in $((SECONDS - start)) s)"
  rm -f "$junit"
  local status=0
  "${launcher[@]}" ctest --test-dir "$moebal/build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" \
    --output-junit "$junit" "$@" || status=$?
  ((status == 0)) || broken+=("$preset")
  if [[ -e $junit ]]; then
    local tests failures idle
    tests=$(count tests "$junit") failures=$(count failures "$junit")
    idle=$(($(count skipped "$junit") + $(count disabled "$junit")))
    ((passed += tests - failures - idle, failed += failures, skipped += idle, 1))
  fi
  say "$preset: $((SECONDS - start)) s"
}

summary() {
  ((${#broken[@]} == 0)) || printf '\nfailed: %s\n' "${broken[@]}"
  printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  ((${#broken[@]} == 0))
}

# count <attribute> <file>: of the test suite in a JUnit file.
count() { sed -n "s/^\\s*$1=\"\\([0-9]*\\)\".*/\\1/p" "$2" | head -n 1; }

configuration=() launcher=(env)
if [[ ${1:-} == mpich || ${1:-} == arm ]]; then
  packages=$1_packages[@]
  need "${!packages}"
  run "$@"
  summary
  exit
fi

need "${test_packages[@]}"
need_thrust
if kokkos=$("$moebal/scripts/kokkos.sh"); then
  configuration+=(-DKokkos_ROOT="$kokkos")
else
  say "going on without Kokkos: its source package is not to be had here"
fi
run $preset "$@"

if [[ " $* " != *\ -[RELNIF]* && " $* " != *\ --rerun* && " $* " != *\ --show* && " $* " != *\ --tests-* ]]; then
  configuration=(-DMOEBAL_WERROR=$([[ $preset == ci ]] && echo ON || echo OFF))
  run baseline
  run asan
  run asan_native
  # The sanitizer cannot place its memory where the kernel spreads addresses too widely.
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    launcher=(setarch "$(uname -m)" -R)
  fi
  run tsan
fi

summary
