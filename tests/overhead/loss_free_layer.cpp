// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The other object that is looked at: sigmoid, two of the two best groups, a bias. It shares no strategy with switch_layer.cpp.
#include "one_thread.hpp"

using namespace moebal;
template double overhead::step(Pipeline<Router<GroupLimitedTopK<2>, Sigmoid>, Balancer<GlobalBatch<>, LossFreeBias>>&,
                               MatrixView<float const>, RoutingView<float>, MatrixView<float const>, MatrixView<float>);

auto make_layer(Index experts) {
  return Pipeline{Router{GroupLimitedTopK<2>{.groups = 4, .kept = 2}, Sigmoid{}},
                  Balancer{GlobalBatch<>{}, LossFreeBias{}, BalancerShape{.experts = experts, .top_k = 2}}};
}
