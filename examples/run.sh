#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# examples/run.sh [example] [its options]: installs what is missing, builds the example and runs it where you are.
# Without a name: train_moe_lm.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"

example=train_moe_lm
if (($#)) && [[ $1 != -* ]]; then
  example=$1
  shift
fi
if [[ ! -d $moebal/examples/$example && ! -e $moebal/examples/$example.cpp ]]; then
  echo "moebal: no such example: needed one of" >&2
  (cd "$moebal/examples" && printf '  %s\n' $(ls -d -- */ ./*.cpp 2>/dev/null | sed 's:^\./::; s:/$::; s:\.cpp$::') >&2)
  exit 2
fi

need "${example_packages[@]}"
if [[ -e $moebal/examples/$example/packages.txt ]]; then
  mapfile -t packages < <(grep -v '^#' "$moebal/examples/$example/packages.txt")
  need "${packages[@]}"
fi
configure examples
build examples "$example"
exec "$moebal/build/examples/examples/$example" "$@"
