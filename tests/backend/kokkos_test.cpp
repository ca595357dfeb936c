// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "same_as_eigen.hpp"
#include "support/allocations.hpp"

#include <moebal/backend/kokkos.hpp>

#include <algorithm>

using namespace backend_test;

namespace {
template <class F> void on_each_space(F const& f) {
#if defined(KOKKOS_ENABLE_SERIAL)
  f(KokkosExec{Kokkos::Serial{}});
  f(KokkosExec<Kokkos::Serial, KokkosRows::VectorLanes>{Kokkos::Serial{}});
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  f(KokkosExec{Kokkos::OpenMP{}});
  f(KokkosExec<Kokkos::OpenMP, KokkosRows::VectorLanes>{Kokkos::OpenMP{}});
#endif
}
template <class T> using Rows = Kokkos::View<T**, Kokkos::LayoutRight, Kokkos::HostSpace>;
} // namespace

BOOST_AUTO_TEST_SUITE(backend_kokkos)

BOOST_AUTO_TEST_CASE(primitives) {
  on_each_space([](auto const& exec) { lawful_primitives(exec); });
}

BOOST_AUTO_TEST_CASE(same_bits_as_the_cpu) {
  on_each_space([](auto const& exec) { same_layers(exec); });
}

BOOST_AUTO_TEST_CASE(nothing_is_allocated) {
  Index const T = 101, E = 60;
  auto const logits = moebal_test::logits_of(Kind::Bell, T, E);
  auto const bias = moebal_test::bias_of(E, 0.1f);
  Router const router{TopK<8>{}, Sigmoid{}};
  on_each_space([&](auto const& exec) {
    Routing<> routing(T, 8);
    Load<All> load(1, E);
    Plan plan(T, 8, E, T * 8);
    Workspace workspace(std::max(router.template workspace_bytes<All>(exec, T, E),
                                 plan_workspace_bytes(exec, PlanPolicy<>{}, T, 8, E)));
    auto const work = [&] {
      router.template route_into<All>(exec, moebal_test::matrix(logits, T, E), RowOptions<>{.bias = bias},
                                      routing.view(), load.view(), WorkspaceView<>(workspace));
      group_into(exec, E, routing.expert_ids(), plan.target(), WorkspaceView<>(workspace));
    };
    work(); // Kokkos makes room for its own scratch, and the names of regions are made
    auto const start = moebal_test::allocations();
    exec.fence();
    auto const before = moebal_test::allocations();
    work();
    if (before == start) // OpenMP of Kokkos 4 makes names in its own fence and launches
      BOOST_TEST(moebal_test::allocations() - before == 0);
    BOOST_TEST(load.get<stats::Counts>().size() == E);
  });
}

BOOST_AUTO_TEST_CASE(regions_have_the_names_of_the_api) {
  static std::vector<std::string> names;
  names.clear();
  namespace tools = Kokkos::Tools::Experimental;
  tools::set_begin_parallel_for_callback(
      [](char const* name, std::uint32_t, std::uint64_t*) { names.emplace_back(name); });
  Index const T = 7, E = 9;
  auto const logits = moebal_test::logits_of(Kind::Bell, T, E);
  auto const routed = Router{TopK<8>{}, Sigmoid{}}.route_with<All>(KokkosExec{}, moebal_test::matrix(logits, T, E));
  tools::set_begin_parallel_for_callback(nullptr);
  BOOST_TEST(routed.second.tokens() == T);
  for (char const* const name : {"moebal::fill", "moebal::Router::route", "moebal::reduce_columns"})
    BOOST_TEST(std::count(names.begin(), names.end(), name) == 1, name);
}

BOOST_AUTO_TEST_CASE(views) {
  Rows<float> z("z", 7, 9);
  auto const view = as_matrix(z);
  static_assert(std::same_as<decltype(view), MatrixView<float> const>);
  BOOST_TEST(view.data() == z.data());
  BOOST_TEST(view.rows() == 7);
  BOOST_TEST(view.cols() == 9);
  BOOST_TEST(view.row_stride() == Index(z.stride(0)));
  for (Index t = 0; t < 7; ++t)
    for (Index e = 0; e < 9; ++e) z(t, e) = float((t * 31 + e * 17) % 23);

  Kokkos::View<float const**, Kokkos::LayoutRight, Kokkos::HostSpace> const constant = z;
  static_assert(std::same_as<decltype(as_matrix(constant)), MatrixView<float const>>);
  Kokkos::View<double*, Kokkos::HostSpace> const bias("bias", 9);
  static_assert(std::same_as<decltype(as_vector(bias)), VectorView<double>>);
  BOOST_TEST(as_vector(bias).size() == 9);

  Router const router{TopK<2>{}, Softmax{}};
  auto const whole = router.route(KokkosExec{}, z);
  auto const same = router.route(EigenExec{}, MatrixView<float const>(z.data(), 7, 9, Index(z.stride(0))));
  BOOST_TEST(__builtin_memcmp(whole.weights().data(), same.weights().data(), 14 * sizeof(float)) == 0);

  // Columns 2 to 6 of each row: rows lie apart, elements do not.
  auto const part = Kokkos::subview(z, Kokkos::ALL, Kokkos::pair<int, int>(2, 7));
  BOOST_TEST(as_matrix(part).row_stride() == Index(z.stride(0)));
  BOOST_TEST(as_matrix(part).cols() == 5);
  auto const routed = router.route(KokkosExec{}, part);
  auto const expected = router.route(EigenExec{}, MatrixView<float const>(z.data() + 2, 7, 5, Index(z.stride(0))));
  BOOST_TEST(__builtin_memcmp(routed.expert_ids().data(), expected.expert_ids().data(), 14 * sizeof(ExpertId)) == 0);

  // One column: a vector whose elements lie apart.
  auto const column = Kokkos::subview(z, Kokkos::ALL, 3);
  BOOST_CHECK_EXCEPTION(as_vector(column), ShapeError, [](ShapeError const& e) {
    return std::string(e.what()).find("stride between the elements of a row of this Kokkos::View: needed 1") !=
           std::string::npos;
  });

  static_assert(!ViewTraits<Kokkos::View<float**, Kokkos::LayoutLeft, Kokkos::HostSpace>>::row_major);
  static_assert(ViewTraits<Kokkos::View<float*, Kokkos::LayoutLeft, Kokkos::HostSpace>>::row_major ||
                !ViewTraits<Kokkos::View<float*, Kokkos::LayoutLeft, Kokkos::HostSpace>>::is_matrix);
  static_assert(!foreign_view<Kokkos::View<float***, Kokkos::HostSpace>>);
}

BOOST_AUTO_TEST_SUITE_END()
