// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/synthetic.hpp"

#include <moebal/balancer.hpp>

#include <sstream>

using namespace moebal;

namespace {

BalancerShape const shape{.experts = 6, .top_k = 2};
Balancer global{GlobalBatch<Accumulate::Running>{}, Rules{SwitchLoss<>{.coefficient = 1}, LossFreeBias{}}, shape};
Balancer micro{MicroBatch<>{}, SwitchLoss<>{.coefficient = 0.01}, shape};
Balancer squares{Sequence<>{}, ZLoss{}, shape};
using All = Balancers<decltype(global), decltype(micro), decltype(squares)>;
static_assert(All::has_bias && All::has_loss);

Load<synthetic::AllStatistics> load(std::uint64_t seed) {
  return synthetic::load_of({synthetic::tokens(9, 6, 2, seed), synthetic::tokens(5, 6, 2, seed + 100)}, 6);
}
std::string saved(auto const& balancer) {
  std::ostringstream out;
  balancer.save(out);
  return out.str();
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_balancers)

BOOST_AUTO_TEST_CASE(terms_are_the_sum_of_theirs) {
  Balancers all{global, micro, squares};
  auto a = global;
  auto b = micro;
  auto c = squares;
  Load<All::needs> const none(1, 6); // what they need together is enough
  all.begin_step(1);
  all.observe(0, none);
  all.end_step();

  auto const each = [&](auto const& f) { f(all), f(a), f(b), f(c); };
  each([](auto& x) { x.begin_step(2); });
  for (Index g = 0; g < 2; ++g) {
    each([&](auto& x) { x.observe(g, load(std::uint64_t(g))); });
    auto const sum = all.terms(g);
    auto const ta = a.terms(g), tb = b.terms(g);
    auto const tc = c.terms(g);
    BOOST_TEST(sum.loss == ta.loss + tb.loss + tc.loss);
    BOOST_TEST(sum.loss > ta.loss);
    BOOST_TEST(sum.slopes.rows() == 2);
    BOOST_TEST(sum.z_slopes.size() == 2);
    for (Index s = 0; s < 2; ++s) {
      for (Index e = 0; e < 6; ++e) {
        BOOST_TEST(sum.slopes(s, e) == ta.slopes(s, e) + tb.slopes(s, e));
        BOOST_TEST(sum.router_slopes(s, e) == float(sum.slopes(s, e)));
      }
      BOOST_TEST(sum.z_slopes[s] == tc.z_slopes[s]);
    }
  }
  each([](auto& x) { x.end_step(0.5f); });
  BOOST_TEST(std::vector<float>(all.bias().begin(), all.bias().end()) ==
                 std::vector<float>(a.bias().begin(), a.bias().end()),
             boost::test_tools::per_element());
  BOOST_TEST(all.steps() == 2);
}

BOOST_AUTO_TEST_CASE(they_are_saved_and_restored_together) {
  Balancers all{micro, global, squares};
  all.begin_step(1);
  all.observe(0, load(1));
  all.end_step();
  std::string const bytes = saved(all);
  Balancers other{micro, global, squares};
  auto const view = other.bias();
  std::istringstream in(bytes);
  other.restore(in);
  BOOST_TEST(saved(other) == bytes);
  BOOST_TEST(view.data() == other.bias().data());

  Balancers third{micro, global, squares};
  std::string const before = saved(third);
  std::string damaged = bytes;
  damaged[bytes.size() - 1] = char(damaged[bytes.size() - 1] ^ 1); // in the last of them
  std::istringstream bad(damaged);
  BOOST_CHECK_THROW(third.restore(bad), StateError);
  BOOST_TEST(saved(third) == before);
}

BOOST_AUTO_TEST_CASE(they_are_of_one_layer) {
  Balancer larger{MicroBatch<>{}, SwitchLoss<>{}, BalancerShape{.experts = 7, .top_k = 2}};
  BOOST_CHECK_THROW((Balancers{global, larger}), ShapeError);
  Balancers all{global, micro};
  all.begin_step(1);
  all.abandon_step();
  BOOST_CHECK_THROW(all.end_step(), StateError);
}

BOOST_AUTO_TEST_SUITE_END()
