// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans on Eigen's pool: the same bits for any number of threads, and Eigen's matrices as arguments.
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::Index;

namespace {

template <class Scalar> using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Ids = Matrix<mb::ExpertId>;

struct Results {
  std::vector<Index> order, slot_of, offsets, loads, kept;
  std::vector<mb::ExpertId> blocks;
  Matrix<float> weights, y, out, d_y, d_weights, d_x;

  bool operator==(Results const& o) const {
    auto const same = [](Matrix<float> const& a, Matrix<float> const& b) {
      return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
    };
    return order == o.order && slot_of == o.slot_of && offsets == o.offsets && loads == o.loads && kept == o.kept &&
           blocks == o.blocks && same(weights, o.weights) && same(y, o.y) && same(out, o.out) && same(d_y, o.d_y) &&
           same(d_weights, o.d_weights) && same(d_x, o.d_x);
  }
};

template <class Exec, class Drop>
Results everything(Exec const& exec, Drop drop, Ids const& ids, Matrix<float> const& weights, Index E,
                   Matrix<float> const& x) {
  mb::PlanPolicy const policy{.drop = drop, .capacity = mb::capacities::megatron(0.8)};
  mb::Plan const tight = mb::make_plan(exec, policy, E, ids, weights);
  mb::AlignedPlan const aligned = mb::make_aligned(exec, {.block = 8}, tight);
  mb::Plan const& plan = aligned.plan;
  mb::validate(plan, mb::as_matrix(ids), E);
  Results r;
  auto const copy = [](auto const& v) { return std::vector<Index>(v.begin(), v.end()); };
  r.order = copy(plan.order());
  r.offsets = copy(plan.offsets());
  r.loads = copy(plan.loads());
  r.kept = copy(plan.kept());
  r.slot_of.assign(plan.slot_of().data(), plan.slot_of().data() + ids.size());
  r.blocks = aligned.block_experts;
  r.weights.resize(weights.rows(), weights.cols());
  mb::kept_weights_into(exec, {.after_drop = mb::AfterDrop::Renormalise, .epsilon = 1e-6}, plan, weights, r.weights);
  r.y.resize(plan.slots(), x.cols());
  mb::gather_into(exec, plan, x, r.y);
  r.out.resize(x.rows(), x.cols());
  mb::combine_into(exec, plan, r.y, r.weights, r.out);
  r.d_y.resizeLike(r.y);
  r.d_weights.resizeLike(r.weights);
  mb::combine_backward_into(exec, plan, r.y, r.weights, x, r.d_y, r.d_weights);
  r.d_x.resizeLike(x);
  mb::scatter_into(exec, mb::Scatter::Sum, plan, r.d_y, r.d_x);
  return r;
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_eigen)

BOOST_AUTO_TEST_CASE(any_number_of_threads) {
  Eigen::ThreadPool two(2), five(5);
  for (auto const& [T, K, E, D] : {std::tuple<Index, Index, Index, Index>{0, 2, 3, 5},
                                   {1, 1, 1, 3},
                                   {7, 3, 3, 9},
                                   {4097, 8, 60, 19},
                                   {4097, 1, 384, 1},
                                   {4097, 3, 3, 33}}) {
    auto const batch = reference::random_batch(T, K, E, 55);
    Ids const ids = Eigen::Map<Ids const>(batch.ids.data(), T, K);
    Matrix<float> weights(T, K), x(T, D);
    for (Index i = 0; i < weights.size(); ++i) weights.data()[i] = float(1 + i * 7919 % 97) / 64;
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = std::sin(float(i));
    auto const check = [&](auto drop) {
      Results const expected = everything(moebal_test::SerialExec{}, drop, ids, weights, E, x);
      BOOST_TEST((everything(mb::EigenExec{}, drop, ids, weights, E, x) == expected));
      BOOST_TEST((everything(mb::EigenExec{&two}.on_every_thread(), drop, ids, weights, E, x) == expected));
      BOOST_TEST((everything(mb::EigenExec{&five}.on_every_thread(), drop, ids, weights, E, x) == expected));
    };
    check(mb::DropNone{});
    check(mb::DropByPosition<>{});
    check(mb::DropByPosition<mb::ChoiceOrder::Equal>{});
    check(mb::DropByProbability{});
    check(mb::DropBatchPrioritised{});
    check(mb::DropRandom{.seed = 3});
  }
}

BOOST_AUTO_TEST_SUITE_END()
