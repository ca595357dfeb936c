// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The steps of a layer as object code is looked at: on one thread, without the thread pool that EigenExec can be given, whose
// methods are virtual.

#include <moebal/laws/plain_exec.hpp>
#include <moebal/moebal.hpp>

namespace overhead {

using namespace moebal;

struct OneThread : laws::PlainExec {
  static constexpr Index tile_rows = detail::host_tile_rows;

  template <class Body> void for_rows(Index n, std::size_t bytes, WorkspaceView<> workspace, Body const& body) const {
    detail::host_rows(body, workspace.take<std::byte>(Index(bytes)), 0, 0, n);
  }
};

template <class Layer>
double step(Layer& layer, MatrixView<float const> logits, RoutingView<float> routing, MatrixView<float const> d_weights,
            MatrixView<float> d_logits) {
  OneThread const exec;
  layer.begin_step(1);
  layer.forward_into(exec, 0, logits, {}, routing);
  double const loss = layer.backward_into(exec, 0, logits, {}, routing.expert_ids, d_weights, d_logits);
  layer.end_step();
  return loss;
}

} // namespace overhead
