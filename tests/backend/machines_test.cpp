// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every machine that was compiled in and that this processor has gives the bits of every other.

#undef MOEBAL_ONE_MACHINE // which other tests may be compiled with
#include <moebal/moebal.hpp>
#include <moebal/recipes.hpp>

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace {
using namespace moebal;

std::vector<Machine> compiled_in() {
  std::vector<Machine> all;
  for (Machine m : {Machine::serial, Machine::neon, Machine::avx2, Machine::avx512})
    if (has_machine(m)) all.push_back(m);
  return all;
}

using Needs = stats::List<stats::Counts, stats::ScoreSums>;

template <class T> struct Bytes {
  std::vector<T> v;
  friend bool operator==(Bytes const& a, Bytes const& b) {
    return a.v.size() == b.v.size() && (a.v.empty() || std::memcmp(a.v.data(), b.v.data(), a.v.size() * sizeof(T)) == 0);
  }
};

/// All that a router computes from some logits.
template <class Real> struct Results {
  Bytes<ExpertId> ids;
  Bytes<Real> weights, d_logits;
  Bytes<std::int64_t> load;
};

template <class Logit, class R>
auto results(EigenExec const& exec, R const& router, std::vector<Logit> const& logits, Index tokens, Index experts,
             RowOptions<> options) {
  using Real = compute_t<Logit>;
  constexpr Index top_k = R::top_k;
  Results<Real> r;
  r.ids.v.resize(std::size_t(tokens * top_k));
  r.weights.v.resize(r.ids.v.size());
  r.d_logits.v.resize(logits.size());
  Workspace workspace(router.template workspace_bytes<Needs, Logit>(exec, tokens, experts));
  Load<Needs> load(1, experts);
  MatrixView<Logit const> const x(logits.data(), tokens, experts);
  router.template route_into<Needs>(exec, x, options,
                                    RoutingView<Real>{{r.ids.v.data(), tokens, top_k}, {r.weights.v.data(), tokens, top_k}},
                                    load.view(), WorkspaceView<HostMemory>(workspace));
  r.load.v.assign(load.view().data(), load.view().data() + load.view().size());
  std::vector<Real> slopes(std::size_t(experts), Real(0.25)), d_weights(r.weights.v.size(), Real(-0.5));
  for (std::size_t e = 0; e < slopes.size(); e += 3) slopes[e] = Real(-1.5);
  RouterGradient<Real> gradient;
  gradient.d_weights = {d_weights.data(), tokens, top_k};
  gradient.slopes = {slopes.data(), 1, experts};
  router.backward_into(exec, x, options, MatrixView<ExpertId const>(r.ids.v.data(), tokens, top_k), gradient,
                       MatrixView<Real>(r.d_logits.v.data(), tokens, experts), WorkspaceView<HostMemory>(workspace));
  return r;
}

template <class Logit, class R> void same(R const& router, Index experts, bool biased) {
  for (Index const tokens : {0, 1, 7, 23, 257})
    for (bool const odd : {false, true}) { // with NaN, infinities and ties
      std::mt19937 random(unsigned(17 * tokens + experts));
      std::normal_distribution<float> normal;
      std::vector<Logit> logits(std::size_t(tokens * experts));
      for (std::size_t i = 0; i < logits.size(); ++i) {
        float z = 2 * normal(random);
        if (odd && i % 5 == 0) z = float(int(z));
        if (odd && i % 61 == 0) z = -std::numeric_limits<float>::infinity();
        if (odd && i % 257 == 3) z = std::numeric_limits<float>::quiet_NaN();
        if constexpr (std::is_same_v<Logit, BFloat16>)
          logits[i] = BFloat16{std::uint16_t(std::bit_cast<std::uint32_t>(z) >> 16)};
        else
          logits[i] = Logit(z);
      }
      std::vector<float> bias(std::size_t(biased ? experts : 0));
      for (float& b : bias) b = 0.05f * normal(random);
      std::vector<std::uint8_t> padding(std::size_t(odd ? tokens : 0));
      for (std::size_t t = 0; t < padding.size(); t += 11) padding[t] = 1;
      RowOptions<> options;
      options.bias = {bias.data(), Index(bias.size())};
      options.padding = {padding.data(), Index(padding.size())};
      auto const all = compiled_in();
      auto const first = results(EigenExec{}.on(all.front()), router, logits, tokens, experts, options);
      for (Machine m : all) {
        auto const other = results(EigenExec{}.on(m), router, logits, tokens, experts, options);
        BOOST_TEST_CONTEXT(name_of(m) << ", T " << tokens << ", E " << experts << ", K " << R::top_k << ", odd " << odd) {
          BOOST_TEST((first.ids == other.ids));
          BOOST_TEST((first.weights == other.weights));
          BOOST_TEST((first.load == other.load));
          BOOST_TEST((first.d_logits == other.d_logits));
        }
      }
    }
}
} // namespace

BOOST_AUTO_TEST_SUITE(machines)

BOOST_AUTO_TEST_CASE(one_is_there_and_the_best_is_the_default) {
  BOOST_TEST(has_machine(native_machine));
  BOOST_TEST(has_machine(best_machine()));
  BOOST_TEST((EigenExec{}.machine() == best_machine()));
  for (Machine m : compiled_in()) BOOST_TEST(name_of(EigenExec{}.on(m).machine()) == name_of(m));
  std::string all;
  for (Machine m : compiled_in()) all += std::string(" ") + name_of(m);
  BOOST_TEST_MESSAGE("machines:" << all);
}
BOOST_AUTO_TEST_CASE(another_is_refused) {
  for (Machine m : {Machine::serial, Machine::neon, Machine::avx2, Machine::avx512})
    if (!has_machine(m))
      BOOST_CHECK_EXCEPTION(EigenExec{}.on(m), std::invalid_argument, [m](std::invalid_argument const& e) {
        return std::string(e.what()).find(name_of(m)) != std::string::npos &&
               std::string(e.what()).find(name_of(best_machine())) != std::string::npos;
      });
}
BOOST_AUTO_TEST_CASE(softmax) {
  same<float>(Router{TopK<8>{}, Softmax{}}, 128, false);
  same<float>(Router{TopK<8>{}, Softmax{}}, 60, false);
  same<float>(Router{TopK<1>{}, Softmax{.normalise = Normalise::None}}, 1, false);
  same<float>(Router{TopK<1>{}, Softmax{.normalise = Normalise::None}}, 160, false);
  same<float>(Router{TopK<3>{}, Softmax{}}, 3, false);
  same<float>(Router{TopK<2>{}, Softmax{}}, 8, false);
  same<float>(Router{TopK<16>{}, Softmax{}}, 16, false);
}
BOOST_AUTO_TEST_CASE(softmax_over_chosen) { same<float>(Router{TopK<4>{}, SoftmaxOverChosen{}}, 130, false); }
BOOST_AUTO_TEST_CASE(sigmoid_with_bias_and_groups) {
  same<float>(recipes::DeepSeekV3::router(), 256, true);
  same<float>(recipes::KimiK2::router(), 384, true);
}
BOOST_AUTO_TEST_CASE(other_logits) {
  same<BFloat16>(Router{TopK<8>{}, Softmax{}}, 72, false);
  same<double>(Router{TopK<2>{}, Sigmoid{}}, 33, true);
}

BOOST_AUTO_TEST_SUITE_END()
