#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# examples/two_nodes.sh <example> [its arguments]: builds an example and runs it as 4 MPI ranks on two nodes that are network
# namespaces of this machine: shared memory inside a node, TCP over a pair of virtual cards between them. Needs root and Open MPI.
# RANKS=n: that many ranks a node (2).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"

if [[ ${1:-} == --on ]]; then # how mpiexec starts its helper on a node
  node=$2
  shift 2
  exec ip netns exec "$node" unshare --uts sh -c "hostname $node; $*"
fi

(($#)) || { echo "moebal: needed the name of an example, had none" >&2; exit 2; }
((EUID == 0)) || { echo "moebal: network namespaces need root" >&2; exit 2; }
example=$1
shift
need "${example_packages[@]}" libopenmpi-dev openmpi-bin iproute2
configure examples
build examples "$example"

nodes=("moebal-$$-1" "moebal-$$-2")
work=$(mktemp -d)
finish() {
  local node
  for node in "${nodes[@]}"; do ip netns del "$node" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
for node in "${nodes[@]}"; do
  ip netns add "$node"
  ip -n "$node" link set lo up
  echo "$node slots=${RANKS:-2}" >>"$work/hosts"
done
ip link add veth0 netns "${nodes[0]}" type veth peer name veth0 netns "${nodes[1]}"
for i in 0 1; do
  ip -n "${nodes[i]}" addr add "10.77.0.$((i + 1))/24" dev veth0
  ip -n "${nodes[i]}" link set veth0 up
done
printf '#!/bin/sh\nexec "%s" --on "$@"\n' "$moebal/examples/two_nodes.sh" >"$work/agent"
chmod +x "$work/agent"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_btl=tcp,vader,self OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_hwloc_base_binding_policy=none \
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_plm_rsh_agent=$work/agent
"$moebal/examples/two_nodes.sh" --on "${nodes[0]}" mpiexec.openmpi --hostfile "$work/hosts" -n $((2 * ${RANKS:-2})) \
  "$moebal/build/examples/examples/$example" "$@"
