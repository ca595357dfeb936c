// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The global-batch balancer over NCCL: compiled and linked everywhere, run with one rank where there is a GPU.
#include "support/test.hpp"

#include <moebal/comm/nccl_staged.hpp>
#include <moebal/moebal.hpp>

#include <type_traits>
#include <vector>

using namespace moebal;

static_assert(communicator<Communicator<NcclStaged>>);

namespace {
template <class Comm> std::vector<float> bias_after_a_step(Comm comm) {
  Pipeline layer{Router{TopK<1>{}, Sigmoid{}}, Balancer{GlobalBatch<>{}, Rules{SwitchLoss<>{}, LossFreeBias{.rate = 0.5f}},
                                                        BalancerShape{.experts = 3, .top_k = 1}, comm}};
  std::vector<float> const logits{2, 1, 0, 2, 0, 1, 0, 1, 2};
  layer.begin_step(1);
  layer.forward(EigenExec{}, 0, MatrixView<float const>(logits.data(), 3, 3));
  layer.end_step();
  return {layer.balancer().bias().begin(), layer.balancer().bias().end()};
}
} // namespace

BOOST_AUTO_TEST_SUITE(comm_nccl_balancer)

BOOST_AUTO_TEST_CASE(the_bias_is_that_of_one_rank) {
  auto const needed = bias_after_a_step(Communicator<Self>{});
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    BOOST_CHECK_THROW(bias_after_a_step(Communicator<NcclStaged>(NcclStaged(NcclOptions{}))), CommError);
    return;
  }
  auto const had = bias_after_a_step(Communicator<NcclStaged>(NcclStaged(NcclOptions{.id = Nccl::make_id()})));
  BOOST_TEST(had == needed, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
