// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/balancer.hpp>

#include <bit>
#include <sstream>

using namespace moebal;

namespace {

BalancerShape const shape{.experts = 5, .top_k = 2};
template <class Scope = GlobalBatch<>, class Rule = LossFreeBias>
auto balancer_of(Scope scope = {}, Rule rule = {}, BalancerShape of = shape) {
  return Balancer{scope, rule, of};
}
template <class B> void step(B& balancer, Index busy) {
  Load<typename B::needs> load(1, balancer.shape().experts);
  load.view().tokens() = 3;
  load.view().template get<stats::Counts>()[busy] = 6;
  balancer.begin_step(1);
  balancer.observe(0, load);
  balancer.end_step();
}
auto trained() {
  auto balancer = balancer_of();
  for (Index e : {0, 1, 1, 4}) step(balancer, e);
  return balancer;
}
std::string saved(auto const& balancer) {
  std::ostringstream out;
  balancer.save(out);
  return out.str();
}
std::vector<std::uint32_t> bits(VectorView<float const> bias) {
  std::vector<std::uint32_t> all;
  for (float const b : bias) all.push_back(std::bit_cast<std::uint32_t>(b));
  return all;
}
/// Restoring `bytes` is refused with a sentence that has these words, and changes nothing.
void check_refused(auto& balancer, std::string const& bytes, std::string const& words) {
  std::string const before = saved(balancer);
  std::istringstream in(bytes);
  try {
    balancer.restore(in);
  } catch (StateError const& error) {
    if (std::string(error.what()).find(words) == std::string::npos)
      BOOST_ERROR("'" + words + "' not in: " + error.what());
    if (saved(balancer) != before) BOOST_ERROR("the refused state has changed something: " + words);
    return;
  }
  BOOST_ERROR("not refused: " + words);
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_state)

BOOST_AUTO_TEST_CASE(what_was_saved_comes_back) {
  auto const balancer = trained();
  auto other = balancer_of();
  std::istringstream in(saved(balancer));
  other.restore(in);
  BOOST_TEST(bits(other.bias()) == bits(balancer.bias()), boost::test_tools::per_element());
  BOOST_TEST(other.steps() == 4);
  BOOST_TEST(saved(other) == saved(balancer));
}

BOOST_AUTO_TEST_CASE(the_bytes_are_fixed) {
  std::string const bytes = saved(trained());
  std::string const name = "global_batch+loss_free_bias";
  BOOST_TEST(bytes.size() == 8 + 4 + 4 + 4 * 8 + name.size() + 5 * 4 + 8);
  BOOST_TEST(bytes.substr(0, 8) == "moebal-B");
  BOOST_TEST((bytes.substr(8, 8) == std::string("\1\0\0\0", 4) + std::string{char(name.size()), 0, 0, 0}));
  BOOST_TEST((bytes.substr(16, 9) == std::string("\5\0\0\0\0\0\0\0\2", 9)));
  BOOST_TEST(bytes.substr(48, name.size()) == name);
  float const second = trained().bias()[1]; // least byte first
  BOOST_TEST(int(std::uint8_t(bytes[48 + name.size() + 4])) == int(std::bit_cast<std::uint32_t>(second) & 0xff));
}

BOOST_AUTO_TEST_CASE(every_damaged_byte_is_noticed) {
  std::string const bytes = saved(trained());
  auto balancer = balancer_of();
  step(balancer, 3);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (int const change : {1, 0x80, 0xff, 0x55}) {
      std::string damaged = bytes;
      damaged[i] = char(damaged[i] ^ change);
      check_refused(balancer, damaged, "moebal: restore");
    }
}

BOOST_AUTO_TEST_CASE(every_truncation_is_noticed) {
  std::string const bytes = saved(trained());
  auto balancer = balancer_of();
  step(balancer, 3);
  for (std::size_t n = 0; n < bytes.size(); ++n)
    check_refused(balancer, bytes.substr(0, n), "had " + std::to_string(n));
}

BOOST_AUTO_TEST_CASE(foreign_state_is_refused) {
  auto balancer = balancer_of();
  check_refused(balancer, saved(balancer_of(GlobalBatch<>{}, LossFreeBias{}, {.experts = 6, .top_k = 2})),
                "experts: needed 5, had 6");
  check_refused(balancer, saved(balancer_of(GlobalBatch<>{}, LossFreeBias{}, {.experts = 5, .top_k = 1})),
                "top_k: needed 2, had 1");
  check_refused(balancer, saved(balancer_of(MicroBatch<>{})), "had micro_batch+loss_free_bias");
  check_refused(balancer, saved(balancer_of(GlobalBatch<Accumulate::Running>{})),
                "had global_batch,running+loss_free_bias");
  check_refused(balancer, saved(balancer_of(GlobalBatch<>{}, Rules{SwitchLoss<>{}, LossFreeBias{}})),
                "needed global_batch+loss_free_bias");
  check_refused(balancer, saved(balancer_of(GlobalBatch<>{}, SwitchLoss<>{})), "had global_batch+switch");
  check_refused(balancer, std::string(1000, 'x'), "a saved balancer");
  std::string newer = saved(balancer);
  newer[8] = 2;
  check_refused(balancer, newer, "format version: needed 1, had 2");
}

BOOST_AUTO_TEST_CASE(layers_follow_one_another_in_one_stream) {
  std::stringstream stream;
  auto a = trained(), b = balancer_of();
  step(b, 2);
  a.save(stream);
  b.save(stream);
  stream << "rest";
  auto c = balancer_of(), d = balancer_of();
  c.restore(stream);
  d.restore(stream);
  BOOST_TEST(saved(c) == saved(a));
  BOOST_TEST(saved(d) == saved(b));
  std::string rest;
  stream >> rest;
  BOOST_TEST(rest == "rest");
}

BOOST_AUTO_TEST_CASE(an_open_step_is_neither_saved_nor_overwritten) {
  auto balancer = trained();
  std::string const bytes = saved(balancer);
  balancer.begin_step(1);
  std::stringstream stream(bytes);
  BOOST_CHECK_THROW(balancer.save(stream), StateError);
  BOOST_CHECK_THROW(balancer.restore(stream), StateError);
  BOOST_CHECK_THROW(balancer.set_bias(std::vector<float>(5)), StateError);
  balancer.abandon_step();
  balancer.restore(stream);
}

BOOST_AUTO_TEST_CASE(a_stream_that_takes_nothing) {
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  BOOST_CHECK_THROW(trained().save(out), StateError);
}

BOOST_AUTO_TEST_CASE(views_of_the_bias_stay_valid) {
  auto balancer = balancer_of();
  auto const view = balancer.bias();
  std::istringstream in(saved(trained()));
  balancer.restore(in);
  BOOST_TEST(view.data() == balancer.bias().data());
}

BOOST_AUTO_TEST_SUITE_END()
