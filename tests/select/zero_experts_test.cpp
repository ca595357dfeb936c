// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/select/zero_experts.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<ZeroExperts> && std::is_aggregate_v<ZeroExperts> && ZeroExperts::causal);

namespace {

ZeroExperts const zeros{.ffn = 4, .zero = 1, .copy = 2, .constant = 1};
std::vector<ExpertId> const ids{0, 4, 5, 7, 3, -1, 4, -1, -1, 6, 2, 4};

} // namespace

BOOST_AUTO_TEST_SUITE(select_zero_experts)

BOOST_AUTO_TEST_CASE(kinds) {
  BOOST_TEST(zeros.experts() == 8);
  ExpertKind const expected[] = {ExpertKind::Ffn,  ExpertKind::Ffn,  ExpertKind::Ffn,  ExpertKind::Ffn,
                                 ExpertKind::Zero, ExpertKind::Copy, ExpertKind::Copy, ExpertKind::Constant};
  for (ExpertId e = 0; e < 8; ++e) BOOST_TEST((zeros.kind(e) == expected[e]));
  BOOST_TEST(zeros.constant_index(7) == 0);
  BOOST_TEST((ZeroExperts{.ffn = 512, .copy = 256}.experts()) == 768);
}

BOOST_AUTO_TEST_CASE(the_plan_sees_networks_only) {
  std::vector<ExpertId> out(ids.size(), 99);
  split_into(EigenExec{&pool()}.on_every_thread(), zeros, MatrixView<ExpertId const>(ids.data(), 4, 3),
             MatrixView<ExpertId>(out.data(), 4, 3));
  BOOST_TEST((out == std::vector<ExpertId>{0, -1, -1, -1, 3, -1, -1, -1, -1, -1, 2, -1}));
  split_into(EigenExec{}, zeros, MatrixView<ExpertId const>(ids.data(), 0, 3), MatrixView<ExpertId>(out.data(), 0, 3));
  BOOST_CHECK_THROW(split_into(EigenExec{}, zeros, MatrixView<ExpertId const>(ids.data(), 4, 3),
                               MatrixView<ExpertId>(out.data(), 3, 3)),
                    ShapeError);
  BOOST_CHECK_THROW(split_into(EigenExec{}, ZeroExperts{.zero = -1}, MatrixView<ExpertId const>(ids.data(), 4, 3),
                               MatrixView<ExpertId>(out.data(), 4, 3)),
                    ShapeError);
}

BOOST_AUTO_TEST_CASE(a_zero_expert_gives_its_share_to_the_others) {
  Matrix<double> w(4, 3), out(4, 3, 9);
  w.values = {0.5, 0.3, 0.2, 0.25, 0.75, 0, 0.9, 0, 0, 0.2, 0.2, 0.6};
  without_zero_into(EigenExec{}, zeros, MatrixView<ExpertId const>(ids.data(), 4, 3), w.view(), out.view());
  using boost::test_tools::tolerance;
  BOOST_TEST(out(0, 0) == 0.5 / 0.7, tolerance(1e-15));
  BOOST_TEST(out(0, 1) == 0);
  BOOST_TEST(out(0, 2) == 0.2 / 0.7, tolerance(1e-15));
  BOOST_TEST(out(1, 0) == 0.25);
  BOOST_TEST(out(1, 2) == 0);
  BOOST_TEST(out(2, 0) == 0); // nothing but a zero expert: nothing
  BOOST_TEST(out(3, 0) == 0.5);
}

BOOST_AUTO_TEST_CASE(gradient_of_the_shares) {
  Matrix<double> w(4, 3), d(4, 3, 9);
  w.values = {0.5, 0.3, 0.2, 0.25, 0.75, 0.1, 0.9, 0.1, 0.1, 0.2, 0.2, 0.6};
  auto const pull = random_matrix<double>(4, 3, 3);
  MatrixView<ExpertId const> const view(ids.data(), 4, 3);
  without_zero_backward_into(EigenExec{}, zeros, view, w.view(), pull.view(), d.view());
  auto const loss = [&] {
    Matrix<double> out(4, 3);
    without_zero_into(EigenExec{}, zeros, view, w.view(), out.view());
    return inner(out, pull);
  };
  BOOST_TEST(gradient_error(w.values, d.values, loss) < 1e-8);
}

BOOST_AUTO_TEST_SUITE_END()
