// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The tests of backend/thrust.hpp, on the device system that the file that includes this has chosen.

#include "same_as_eigen.hpp"
#include "support/allocations.hpp"

#include <moebal/backend/thrust.hpp>

using namespace backend_test;

BOOST_AUTO_TEST_SUITE(backend_thrust)

BOOST_AUTO_TEST_CASE(primitives) {
  lawful_primitives(ThrustExec{thrust::host});
  for (Index const workers : {1, 2, 3, 64}) lawful_primitives(ThrustExec{thrust::device, workers});
}

BOOST_AUTO_TEST_CASE(same_bits_as_the_cpu) {
  same_layers(ThrustExec{thrust::device});
  same_layers(ThrustExec{thrust::device, 7});
}

BOOST_AUTO_TEST_CASE(vectors) {
  thrust::host_vector<float> const on_host(5, 1.5f);
  static_assert(std::same_as<decltype(as_vector(on_host)), VectorView<float const>>);
  thrust::device_vector<std::int64_t> on_device(5);
  static_assert(std::same_as<decltype(as_vector(on_device)), VectorView<std::int64_t>>);
  BOOST_TEST(as_vector(on_host).size() == 5);
  ThrustExec const exec{thrust::device};
  exec.fill(as_vector(on_device), std::int64_t(3));
  exec.exclusive_scan(on_device);
  exec.fence();
  thrust::host_vector<std::int64_t> const scanned = on_device;
  BOOST_TEST(scanned[4] == 12);

  Index const T = 7, E = 9;
  thrust::host_vector<float> values(std::size_t(T * E));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = float((i * 37) % 101) * 0.1f;
  thrust::device_vector<float> const logits = values, bias(std::size_t(E), 0.5f);
  MatrixView<float const> const z(thrust::raw_pointer_cast(logits.data()), T, E);
  Router const router{TopK<8>{}, Sigmoid{}};
  auto const routed = router.route(exec, z, RowOptions<>{.bias = as_vector(bias)});
  auto const expected = router.route(EigenExec{}, z, RowOptions<>{.bias = as_vector(bias)});
  BOOST_TEST(__builtin_memcmp(routed.weights().data(), expected.weights().data(), std::size_t(T) * 8 * sizeof(float)) ==
             0);
}

BOOST_AUTO_TEST_CASE(nothing_is_allocated) {
  Index const T = 101, E = 60;
  auto const logits = moebal_test::logits_of(Kind::Bell, T, E);
  ThrustExec const exec{thrust::device};
  Router const router{TopK<8>{}, Sigmoid{}};
  Routing<> routing(T, 8);
  Load<All> load(1, E);
  Plan plan(T, 8, E, T * 8);
  Workspace workspace(
      std::max(router.workspace_bytes<All>(exec, T, E), plan_workspace_bytes(exec, PlanPolicy<>{}, T, 8, E)));
  auto const work = [&] {
    router.route_into<All>(exec, moebal_test::matrix(logits, T, E), RowOptions<>{}, routing.view(), load.view(),
                           WorkspaceView<>(workspace));
    group_into(exec, E, routing.expert_ids(), plan.target(), WorkspaceView<>(workspace));
  };
  work(); // the system's threads start
  auto const before = moebal_test::allocations();
  work();
  BOOST_TEST(moebal_test::allocations() - before == 0);
}

BOOST_AUTO_TEST_SUITE_END()
