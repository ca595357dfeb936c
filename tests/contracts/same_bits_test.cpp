// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Same bits everywhere: the results of fixed inputs, as hashes that plain serial lanes produced and that every
// compiler, processor and backend must produce; and all executions of this program against each other. To make
// same_bits.inc again: compile tests/contracts with -DMOEBAL_TEST_SERIAL, and take the lines that
// --run_test=contracts_same_bits/as_stored --log_level=message prints.
#include "support/test.hpp"

#include "contracts/oracle.hpp"

using namespace contracts;
using namespace moebal_test;

namespace {

struct Case {
  std::size_t gate;
  Kind kind;
  bool grouped;
  std::uint64_t in_float, in_double, backward_float, backward_double;
};
// clang-format off
Case const cases[] = {
#include "contracts/same_bits.inc"
};
// clang-format on

Index const tokens = 67, experts = 84;

Options options_of(Case const& c) {
  return {.bias = c.kind == Kind::Wide ? std::vector<float>() : bias_of(experts, 0.2f),
          .padding = c.grouped ? padding_of(tokens) : std::vector<std::uint8_t>(), // tiles of rows have no padding
          .segments = segments_of(tokens, 3)};
}
template <class Real> Outcome<Real> run(std::size_t b, Case const& c) {
  Pick const pick = c.grouped ? Pick{3, 12, 5, moebal::GroupScore::SumTop, 2} : Pick{8};
  auto const x = logits_of<Real>(c.kind, tokens, experts, 6);
  return route(b, gates[c.gate], pick, matrix(x, tokens, experts), options_of(c));
}
template <class Real> std::uint64_t backward_hash(std::size_t b, Case const& c, Outcome<Real> const& r) {
  auto const x = logits_of<Real>(c.kind, tokens, experts, 6);
  Random random(12);
  std::vector<Real> d_weights, slopes, z;
  for (Index i = 0; i < tokens * r.top_k; ++i) d_weights.push_back(random.bell());
  for (Index i = 0; i < 3 * experts; ++i) slopes.push_back(random.bell());
  for (Index i = 0; i < 3; ++i) z.push_back(random.bell());
  moebal::RouterGradient<Real> const gradient{{d_weights.data(), tokens, r.top_k}, {slopes.data(), 3, experts}, z};
  auto const g = backward(b, gates[c.gate], r.top_k, matrix(x, tokens, experts), options_of(c), r.ids, gradient);
  std::vector<Real> finite; // NaN payloads are no contract of gradients
  for (Real d : g.d_logits) finite.push_back(std::isnan(d) ? Real(12345) : d + Real(0));
  return Hash().add(finite).value();
}

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_same_bits)

BOOST_AUTO_TEST_CASE(as_stored) {
  FOR_EACH_BACKEND(b)
  for (Case const& c : cases) {
    auto const in_float = run<float>(b, c);
    auto const in_double = run<double>(b, c);
    if (b == 0)
      BOOST_TEST_MESSAGE(std::hex << std::showbase << "    {" << c.gate << ", Kind(" << std::dec << int(c.kind) << "), "
                                  << c.grouped << std::hex << ", " << in_float.hash() << ", " << in_double.hash()
                                  << ", " << backward_hash(b, c, in_float) << ", " << backward_hash(b, c, in_double)
                                  << "},");
    BOOST_TEST_CONTEXT(gate_names[c.gate] << ", " << name_of(c.kind) << (c.grouped ? ", grouped" : "")) {
      BOOST_TEST(in_float.hash() == c.in_float);
      BOOST_TEST(in_double.hash() == c.in_double);
      BOOST_TEST(backward_hash(b, c, in_float) == c.backward_float);
      BOOST_TEST(backward_hash(b, c, in_double) == c.backward_double);
    }
  }
}

BOOST_AUTO_TEST_CASE(on_every_execution) {
  for (Kind kind : all_kinds)
    for (std::size_t g = 0; g < 4; ++g)
      for (Index e : {8, 31, 160, 1000}) {
        auto const x = logits_of(kind, 29, e, 7);
        Options const options{.bias = bias_of(e, 0.1f), .padding = {}, .segments = segments_of(29, 4)};
        auto const first = route(0, gates[g], {.k = 8}, matrix(x, 29, e), options);
        auto const again = route(0, gates[g], {.k = 8}, matrix(x, 29, e), options);
        BOOST_TEST(same_bits(first, again)); // no hidden state, and nothing read from poisoned memory
        FOR_EACH_BACKEND(b) {
          auto const other = route(b, gates[g], {.k = 8}, matrix(x, 29, e), options);
          BOOST_TEST(same_bits(first, other), gate_names[g] << ", " << name_of(kind) << ", E " << e);
        }
      }
}

BOOST_AUTO_TEST_CASE(one_bit_changes_the_hash) {
  auto r = run<float>(0, cases[0]);
  auto const before = r.hash();
  r.weights[5] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(r.weights[5]) ^ 1u);
  BOOST_TEST(r.hash() != before);
}

// 16-bit logits are the fp32 values that they stand for.
template <class Logit> void as_widened(std::size_t b) {
  for (Kind kind : {Kind::Bell, Kind::AnyBits, Kind::Specials, Kind::Equal})
    for (std::size_t g = 0; g < 4; ++g) {
      auto const x = logits_of<Logit>(kind, 33, 41, 3);
      std::vector<float> wide;
      for (Logit const& l : x) wide.push_back(moebal::widen(l));
      Options const options{
          .bias = g % 2 ? bias_of(41, 0.1f) : std::vector<float>(), .padding = padding_of(33), .segments = {}};
      auto const r = route(b, gates[g], {.k = 3}, matrix(x, 33, 41), options);
      auto const w = route(b, gates[g], {.k = 3}, matrix(wide, 33, 41), options);
      BOOST_TEST(same_bits(r, w), gate_names[g] << ", " << name_of(kind));
      if (kind != Kind::Bell) continue;
      auto const slopes = bias_of(41, 1);
      moebal::RouterGradient<float> const gradient{
          {w.weights.data(), 33, 3}, {slopes.data(), 1, 41}, {slopes.data(), 1}};
      BOOST_TEST(same_bits(backward(b, gates[g], 3, matrix(x, 33, 41), options, r.ids, gradient).d_logits,
                           backward(b, gates[g], 3, matrix(wide, 33, 41), options, r.ids, gradient).d_logits));
    }
}
BOOST_AUTO_TEST_CASE(bfloat16_as_widened) { FOR_EACH_BACKEND(b) as_widened<moebal::BFloat16>(b); }
BOOST_AUTO_TEST_CASE(half_as_widened) { FOR_EACH_BACKEND(b) as_widened<moebal::Half>(b); }

BOOST_AUTO_TEST_SUITE_END()
