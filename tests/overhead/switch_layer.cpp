// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One of two objects that are looked at: softmax, top 2, the loss of Switch. Everything is included, and nothing else is chosen.
#include "one_thread.hpp"

using namespace moebal;
template double overhead::step(Pipeline<Router<TopK<2>, Softmax>, Balancer<MicroBatch<>, SwitchLoss<>>>&,
                               MatrixView<float const>, RoutingView<float>, MatrixView<float const>, MatrixView<float>);

auto make_layer(Index experts) {
  return Pipeline{Router{TopK<2>{}, Softmax{}},
                  Balancer{MicroBatch<>{}, SwitchLoss<>{}, BalancerShape{.experts = experts, .top_k = 2}}};
}
