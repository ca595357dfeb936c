// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: a GroupCapacity is decided from counts: drop by position
#include <moebal/communicator.hpp>
#include <moebal/laws/plain_exec.hpp>
#include <moebal/plan/dispatcher.hpp>

#ifdef MOEBAL_MISTAKE
using Drop = moebal::DropByProbability;
#else
using Drop = moebal::DropByPosition<>;
#endif

void plan(moebal::Communicator<moebal::Self> comm, moebal::Routing<float> const& routing) {
  moebal::Dispatcher dispatcher(comm, moebal::topology_of(comm, 8), moebal::GroupCapacity{});
  dispatcher.plan(moebal::laws::PlainExec{}, moebal::PlanPolicy<Drop>{}, routing);
}
