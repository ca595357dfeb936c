// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A gate of your own: two functions of one logit, a router that uses them, and the laws that they have to keep.

// [your own gate]
#include <moebal/laws.hpp>
#include <moebal/moebal.hpp>

#include <iostream>

/// Softsign: an S between 0 and 1 without an exponential, s = u below 0 and 1 - u above, u = 1 / (2 (1 + |z|)). Its
/// tails fall slowly, so an expert that is far behind keeps some gradient.
struct Softsign {
  moebal::Normalise normalise = moebal::Normalise::OverChosen;
  moebal::SingleChoice single_choice = moebal::SingleChoice::Raw;
  float scale = 1;
  float epsilon = 1e-20f;
  moebal::EpsilonRule epsilon_rule = moebal::EpsilonRule::Add;

  // V is a float, a double, or a pack of lanes: what works on all of them is in core/math.hpp.
  template <class V> MOEBAL_FN static V tail(V z) {
    return moebal::math::splat<V>(0.5f) / (moebal::math::splat<V>(1) + moebal::math::abs(z));
  }
  template <class V> MOEBAL_FN V score(V z) const {
    V const u = tail(z);
    return moebal::math::Ops<V>::select(z < moebal::math::splat<V>(0), u, moebal::math::splat<V>(1) - u);
  }
  /// ds/dz = 2 u^2.
  template <class V> MOEBAL_FN V slope(V z, V) const {
    V const u = tail(z);
    return moebal::math::mul<V>(u + u, u);
  }
};
static_assert(moebal::elementwise_gate<Softsign>);

/// The same with a factor forgotten.
struct Careless : Softsign {
  template <class V> MOEBAL_FN V slope(V z, V) const { return moebal::math::mul<V>(tail(z), tail(z)); }
};

int main() {
  Eigen::Matrix<float, 2, 4, Eigen::RowMajor> const logits{{2, 1, 0, -1}, {0, -3, -1, 1}}; // [tokens, experts]
  auto const routing = moebal::Router{moebal::TopK<2>{}, Softsign{}}.route(moebal::EigenExec{}, logits);
  for (auto t : {0, 1}) {
    for (auto k : {0, 1})
      std::cout << routing.expert_ids()(t, k) << " with " << routing.weights()(t, k) << (k ? "\n" : ", ");
  }
  auto const broken = moebal::laws::check_gate(Softsign{});
  std::cout << "Softsign breaks " << broken.size() << " laws\n";
  for (auto const& violation : broken)
    std::cout << violation << '\n'; // with the input, what was needed and what was there
  for (auto const& violation : moebal::laws::check_gate(Careless{})) std::cout << "Careless: " << violation.law << '\n';
}
// [your own gate]
