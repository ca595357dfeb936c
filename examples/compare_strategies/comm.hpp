// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The communicator of the lab's strategies: any, counted. "Needs communication" is a measured number.

#include <moebal/comm/any.hpp>
#include <moebal/comm/recording.hpp>
#include <moebal/communicator.hpp>

namespace lab {

using moebal::Index;

using Comm = moebal::Communicator<moebal::Recording<moebal::AnyBackend>>;
inline Comm recorded(moebal::Communicator<moebal::AnyBackend> const& comm) {
  return Comm(moebal::Recording(comm.backend()));
}

/// What one rank has handed to collectives.
struct Traffic {
  Index calls = 0, bytes = 0;
};
inline Traffic traffic_of(Comm const& comm) {
  if (comm.size() == 1) return {}; // nobody to talk to
  moebal::CommRecord const& record = comm.backend().record();
  return {record.calls(), record.bytes()};
}
/// From here on: what is sent once, when a strategy is made, is not part of its steps.
inline void forget_traffic(Comm const& comm) { comm.backend().record().reset(); }

} // namespace lab
