// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Several balancers of one layer, seen as one: rules at different scopes.

#include "../core/errors.hpp"
#include "../core/routing.hpp"
#include "../stats/load.hpp"
#include "terms.hpp"

#include <algorithm>
#include <iosfwd>
#include <tuple>
#include <utility>

namespace moebal {

/// Balancers{global, micro}: the terms add, what they need is collected once, and at most one of them moves the bias.
/// For instance the global loss with a hundredth of it at micro-batch scope (2501.11873 Table 5). Used like a
/// Balancer; see there.
/// Cost: the sum of theirs; each makes its own collectives, in the order of the arguments.
template <class First, class... Rest> class Balancers {
  static_assert((int(First::has_bias) + ... + int(Rest::has_bias)) <= 1,
                "moebal: only one of several balancers may move the bias");
  static_assert((std::same_as<typename First::real, typename Rest::real> && ...),
                "moebal: several balancers of one layer have one compute type");

  template <class... Lists> struct MergeAll {
    using type = stats::None;
  };
  template <class A, class... B> struct MergeAll<A, B...> {
    using type = stats::merge_t<A, typename MergeAll<B...>::type>;
  };

public:
  using needs = typename MergeAll<typename First::needs, typename Rest::needs...>::type;
  using real = typename First::real;
  static constexpr bool has_loss = (First::has_loss || ... || Rest::has_loss);
  static constexpr bool has_bias = (First::has_bias || ... || Rest::has_bias);
  static constexpr BiasBy bias_by = ((First::bias_by == BiasBy::Scaling) || ... || (Rest::bias_by == BiasBy::Scaling))
                                        ? BiasBy::Scaling
                                        : BiasBy::Adding;

  static constexpr Index token_classes = std::max({First::token_classes, Rest::token_classes...});

  explicit Balancers(First first, Rest... rest) : all_(std::move(first), std::move(rest)...) {
    each([&](auto& b) {
      require_equal("experts of several balancers", std::get<0>(all_).shape().experts, b.shape().experts);
      require_equal("top_k of several balancers", std::get<0>(all_).shape().top_k, b.shape().top_k);
    });
  }

  /// The i-th of them.
  template <std::size_t i> auto& get() { return std::get<i>(all_); }
  auto shape() const { return std::get<0>(all_).shape(); }

  void begin_step(Index micro_batches) {
    each([&](auto& b) { b.begin_step(micro_batches); });
  }
  template <class L> void observe(Index g, L const& load) {
    each([&](auto& b) { b.observe(g, load); });
  }
  Terms<real> terms(Index g) {
    sum_.clear(0, 0, false, false, false);
    each([&](auto& b) { sum_.add(b.terms(g)); });
    return sum_.view();
  }
  void end_step(float rate_scale = 1) {
    each([&](auto& b) { b.end_step(rate_scale); });
  }
  void abandon_step() {
    each([](auto& b) { b.abandon_step(); });
  }

  /// The bias of the one that has one, else empty.
  VectorView<float const> bias() const {
    VectorView<float const> bias;
    std::apply([&](auto const&... b) { ((bias = b.has_bias ? b.bias() : bias), ...); }, all_);
    return bias;
  }
  void set_bias(VectorView<float const> bias) {
    each([&](auto& b) {
      if (b.has_bias || !has_bias) b.set_bias(bias);
    });
  }
  std::int64_t steps() const { return std::get<0>(all_).steps(); }

  void save(std::ostream& out) const {
    std::apply([&](auto const&... b) { (b.save(out), ...); }, all_);
  }
  void restore(std::istream& in) { restore(read(in)); }
  /// All are read before one is restored: a refusal of the second leaves the first as it was.
  using State = std::tuple<typename First::State, typename Rest::State...>;
  State read(std::istream& in) const {
    return std::apply([&](auto const&... b) { return State{b.read(in)...}; }, all_); // braces: in this order
  }
  void restore(State const& read) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (std::get<i>(all_).restore(std::get<i>(read)), ...);
    }(std::index_sequence_for<First, Rest...>{});
  }

private:
  template <class F> void each(F const& f) {
    std::apply([&](auto&... b) { (f(b), ...); }, all_);
  }

  std::tuple<First, Rest...> all_;
  detail::TermsBuffer<real> sum_;
};

} // namespace moebal
