#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# bench/run.sh [--quick] [--json FILE] [options of Google Benchmark]: installs what is missing, builds the benchmark and runs it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"
need "${build_packages[@]}" libbenchmark-dev
configure bench
build bench bench_routing
exec "$moebal/build/bench/bench/bench_routing" "$@"
