// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks and loads out of the router, and the plan that is made of them: the bits of the plan that counts for itself.
#include "support/test.hpp"

#include "support/serial_exec.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/plan/make_plan.hpp>
#include <moebal/router.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/top_k.hpp>

using namespace moebal;

namespace {

/// A batch with experts that are chosen more often than others, equal keys, rows of NaN and of infinities.
std::vector<float> logits(Index tokens, Index experts) {
  std::vector<float> z(std::size_t(tokens * experts));
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e)
      z[std::size_t(t * experts + e)] =
          t % 29 == 3 ? NAN : t % 31 == 4 ? INFINITY : float((t * 7919 + e * e * 131) % 257) / 64 + 2 / float(1 + e);
  return z;
}
std::vector<std::uint8_t> every_fifth(Index tokens) {
  std::vector<std::uint8_t> padding(static_cast<std::size_t>(tokens));
  for (std::size_t t = 0; t < padding.size(); t += 5) padding[t] = 1;
  return padding;
}

/// Matrices whose rows lie 3 elements further apart than they are long.
template <class T> struct Apart {
  Apart(Index rows, Index cols) : memory(std::size_t(rows * (cols + 3)), T(77)), view(memory.data(), rows, cols, cols + 3) {}
  std::vector<T> memory;
  MatrixView<T> view;
};

void check_ranks(RoutingView<float> r, Index experts) {
  std::vector<Index> seen(static_cast<std::size_t>(experts));
  bool same = true;
  for (Index t = 0; t < r.ranks.rows(); ++t)
    for (Index k = 0; k < r.ranks.cols(); ++k) {
      ExpertId const id = r.expert_ids(t, k);
      same = same && r.ranks(t, k) == (id < 0 ? -1 : seen[std::size_t(id)]++);
    }
  BOOST_TEST(same);
  BOOST_TEST(std::equal(seen.begin(), seen.end(), r.loads.begin(), r.loads.end()));
}

template <class Exec, class Drop>
void check_plan(Exec const& exec, PlanPolicy<Drop> policy, RoutingView<float> ranked, Index experts) {
  Index const tokens = ranked.expert_ids.rows(), top_k = ranked.expert_ids.cols(), pairs = tokens * top_k;
  RoutingView<float> const plain{ranked.expert_ids, ranked.weights};
  std::vector<Index> memory[2][5];
  Workspace workspace(plan_workspace_bytes(exec, policy, tokens, top_k, experts));
  for (int i = 0; i < 2; ++i) {
    auto& [offsets, order, slots, loads, kept] = memory[i];
    offsets.resize(std::size_t(experts + 1), 55);
    order.resize(std::size_t(pairs + 5), 55);
    slots.resize(std::size_t(tokens * (top_k + 2)), 55);
    loads.resize(std::size_t(experts), 55);
    kept.resize(std::size_t(experts), 55);
    plan_into(exec, policy, experts, i == 0 ? plain : ranked,
              PlanTarget<>{offsets, order, {slots.data(), tokens, top_k, top_k + (pairs % 2 == 0 ? 2 : 0)}, loads, kept},
              WorkspaceView<>(workspace));
  }
  for (int v = 0; v < 5; ++v) BOOST_TEST((memory[0][v] == memory[1][v]));
}

template <class Exec, class Router> void check(Exec const& exec, Router router, Index tokens, Index experts) {
  constexpr Index K = Router::top_k;
  using Needs = stats::List<stats::FirstChoiceCounts, stats::Counts>;
  auto const z = logits(tokens, experts);
  auto const padding = every_fifth(tokens);
  Workspace workspace(router.template workspace_bytes<Needs>(exec, tokens, experts));
  for (bool const padded : {false, true})
    BOOST_TEST_CONTEXT("T " << tokens << " E " << experts << " K " << K << " padded " << padded) {
      Apart<ExpertId> ids(tokens, K);
      Apart<float> weights(tokens, K);
      Apart<std::int32_t> ranks(tokens, K);
      std::vector<Index> loads(std::size_t(experts), 99);
      Load<Needs> load(1, experts), load_beside_ranks(1, experts);
      Routing<float> plain(tokens, K), own(tokens, K, experts);
      RowOptions<> options;
      if (padded) options.padding = padding;
      auto const route = [&](RoutingView<float> out) {
        router.template route_into<Needs>(exec, MatrixView<float const>(z.data(), tokens, experts), options, out,
                                          out.has_ranks() ? load_beside_ranks.view() : load.view(),
                                          WorkspaceView<>(workspace));
      };
      RoutingView<float> const apart{ids.view, weights.view, ranks.view, loads};
      route(plain.view());
      route(own.view());
      route(apart);
      bool same = true;
      for (Index t = 0; t < tokens; ++t)
        for (Index k = 0; k < K; ++k)
          same = same && plain.expert_ids()(t, k) == apart.expert_ids(t, k) && own.ranks()(t, k) == apart.ranks(t, k);
      BOOST_TEST(same);
      BOOST_TEST((load == load_beside_ranks));
      for (RoutingView<float> const& ranked : {own.view(), apart}) {
        check_ranks(ranked, experts);
        check_plan(exec, PlanPolicy<>{}, ranked, experts);
        for (double const factor : {0.0, 0.5, 1.0, 3.0}) {
          auto const capacity = capacities::megatron(factor);
          check_plan(exec, PlanPolicy<DropByPosition<ChoiceOrder::Equal>>{.capacity = capacity}, ranked, experts);
          check_plan(exec, PlanPolicy<DropByPosition<>>{.capacity = capacity}, ranked, experts);
          check_plan(exec, PlanPolicy<DropByProbability>{.capacity = capacity}, ranked, experts);
        }
      }
    }
}

template <int K, class Exec> void check_all(Exec const& exec, Index experts) {
  for (Index const tokens : {0, 1, 7, 4097}) check(exec, Router{TopK<K>{}, Softmax{}}, tokens, experts);
}
template <class Exec> void check_shapes(Exec const& exec) {
  check_all<1>(exec, 1);
  check_all<1>(exec, 3);
  check_all<3>(exec, 3);
  check_all<2>(exec, 8);
  check_all<4>(exec, 16);
  check_all<5>(exec, 11);
  check_all<8>(exec, 60);
  check_all<8>(exec, 160);
  check_all<1>(exec, 160);
  check_all<8>(exec, 384);
  for (Index const tokens : {0, 1, 7}) check(exec, Router{TopK<60>{}, Softmax{}}, tokens, 60);
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_ranks)

BOOST_AUTO_TEST_CASE(one_thread) { check_shapes(EigenExec{}); }
BOOST_AUTO_TEST_CASE(three_threads) {
  Eigen::ThreadPool pool(3);
  check_shapes(EigenExec{&pool}.on_every_thread());
}

BOOST_AUTO_TEST_CASE(a_selection_over_the_batch) {
  Eigen::ThreadPool pool(3);
  for (Index const tokens : {7, 300}) {
    check(EigenExec{}, Router{ExpertChoice<4>{}, Softmax{}}, tokens, 16);
    check(EigenExec{&pool}.on_every_thread(), Router{ExpertChoice<4>{}, Softmax{}}, tokens, 16);
  }
}

BOOST_AUTO_TEST_CASE(sequences_have_counts_of_their_own) {
  EigenExec const exec;
  Index const T = 300, E = 60;
  using Needs = stats::List<stats::Counts>;
  auto const z = logits(T, E);
  std::vector<Index> const segments{0, 7, 130, T};
  Router const router{TopK<4>{}, Softmax{}};
  Workspace workspace(router.workspace_bytes<Needs>(exec, T, E, 3));
  Routing<float> plain(T, 4), ranked(T, 4, E);
  Load<Needs> load(3, E), load_beside_ranks(3, E);
  for (auto const& [out, sums] : {std::pair{plain.view(), load.view()}, {ranked.view(), load_beside_ranks.view()}})
    router.route_into<Needs>(exec, MatrixView<float const>(z.data(), T, E), RowOptions<>{.segments = segments}, out, sums,
                             WorkspaceView<>(workspace));
  BOOST_TEST((load == load_beside_ranks));
  check_ranks(ranked.view(), E);
}

BOOST_AUTO_TEST_CASE(out_of_tokens) {
  Eigen::ThreadPool pool(3);
  Index const T = 1000, E = 24, D = 16;
  auto const x = logits(T, D), w = logits(E, D);
  Router const router{TopK<4>{}, Softmax{}};
  for (EigenExec const& exec : {EigenExec{}, EigenExec{&pool}.on_every_thread()}) {
    Routing<float> routing(T, 4, E);
    Workspace workspace(router.tokens_workspace_bytes(exec, T, E));
    router.route_tokens_into(exec, MatrixView<float const>(x.data(), T, D), MatrixView<float const>(w.data(), E, D),
                             RowOptions<>{}, routing.view(), LoadView<stats::None>{}, WorkspaceView<>(workspace));
    check_ranks(routing.view(), E);
  }
}

BOOST_AUTO_TEST_CASE(what_no_router_wrote_stays_inside_the_buffers) {
  std::vector<ExpertId> ids{0, 1, 7, -5, 2, 1};
  std::vector<std::int32_t> ranks{0, 9, 0, 0, -3, 0};
  std::vector<float> weights(6);
  std::vector<Index> loads{1, 1, 1};
  Plan plan(3, 2, 3, 6);
  plan_into(EigenExec{}, PlanPolicy<>{}, 3,
            RoutingView<float>{{ids.data(), 3, 2}, {weights.data(), 3, 2}, {ranks.data(), 3, 2}, loads}, plan.target(),
            WorkspaceView<>{});
  std::vector<Index> const expected{0, no_slot, no_slot, no_slot, no_slot, 1};
  BOOST_TEST(std::equal(expected.begin(), expected.end(), plan.slot_of().data()));
}

BOOST_AUTO_TEST_CASE(a_map_of_local_experts_counts_for_itself) {
  EigenExec const exec;
  Index const T = 300, E = 16;
  auto const z = logits(T, E);
  Router const router{TopK<4>{}, Softmax{}};
  Routing<float> routing(T, 4, E);
  Workspace workspace(std::max(router.workspace_bytes(exec, T, E), plan_workspace_bytes(exec, PlanPolicy<>{}, T, 4, E)));
  router.route_into(exec, MatrixView<float const>(z.data(), T, E), RowOptions<>{}, routing.view(),
                    LoadView<stats::None>{}, WorkspaceView<>(workspace));
  std::vector<ExpertId> local(std::size_t(E), no_expert);
  for (Index e = 0; e < 8; ++e) local[std::size_t(2 * e)] = ExpertId(7 - e);
  ExpertMap<> const map{local, 8};
  Plan plan(T, 4, 8, T * 4);
  plan_into(exec, PlanPolicy<>{}, E, routing.view(), plan.target(), WorkspaceView<>(workspace), map);
  validate(plan, routing.expert_ids(), E, map);
}

BOOST_AUTO_TEST_CASE(refusals) {
  std::vector<float> const z = logits(5, 8);
  MatrixView<float const> const x(z.data(), 5, 8);
  Router const router{TopK<2>{}, Softmax{}};
  Routing<float> routing(5, 2, 8);
  std::vector<std::int32_t> ranks(40);
  auto const route = [&](auto const& exec, MatrixView<std::int32_t> r, VectorView<Index> loads) {
    RoutingView<float> out = routing.view();
    out.ranks = r;
    out.loads = loads;
    Workspace workspace(router.workspace_bytes(exec, 5, 8));
    router.route_into(exec, x, RowOptions<>{}, out, LoadView<stats::None>{}, WorkspaceView<>(workspace));
  };
  auto const says = [](std::string text) {
    return [text](ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  auto const good = routing.view();
  EigenExec const exec;
  BOOST_CHECK_NO_THROW(route(exec, good.ranks, good.loads));
  BOOST_CHECK_EXCEPTION(route(exec, {ranks.data(), 4, 2}, good.loads), ShapeError,
                        says("ranks [T, K], rows: needed 5, had 4"));
  BOOST_CHECK_EXCEPTION(route(exec, {ranks.data(), 5, 3}, good.loads), ShapeError,
                        says("ranks [T, K], columns: needed 2, had 3"));
  BOOST_CHECK_EXCEPTION(route(exec, good.ranks, {good.loads.data(), 7}), ShapeError,
                        says("loads [E] beside ranks: needed 8, had 7"));
  BOOST_CHECK_EXCEPTION(route(exec, good.ranks, {}), ShapeError, says("loads [E] beside ranks: needed 8, had 0"));
  BOOST_CHECK_EXCEPTION(route(exec, {}, good.loads), ShapeError, says("ranks [T, K], rows: needed 5, had 0"));
  BOOST_CHECK_EXCEPTION(route(moebal_test::SerialExec{}, good.ranks, good.loads), ShapeError,
                        says("an execution whose workers take consecutive rows"));
  Plan plan(5, 2, 8, 10);
  Workspace workspace(plan_workspace_bytes(exec, PlanPolicy<>{}, 5, 2, 8));
  RoutingView<float> wrong = good;
  wrong.ranks = {ranks.data(), 4, 2};
  BOOST_CHECK_EXCEPTION(plan_into(exec, PlanPolicy<>{}, 8, wrong, plan.target(), WorkspaceView<>(workspace)), ShapeError,
                        says("ranks [T, K], rows: needed 5, had 4"));
}

BOOST_AUTO_TEST_SUITE_END()
