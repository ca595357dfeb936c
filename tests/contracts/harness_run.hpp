// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What harness_*.cpp instantiate.

#include "../support/backends.hpp"
#include "harness.hpp"

#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/select/with_top_k.hpp>

#include <cstring>

namespace contracts {

// Rows of n elements, `gap` elements apart, all of it poison at first.
template <class T> struct Guarded {
  Index rows, cols, stride;
  std::vector<T> memory;

  Guarded(Index r, Index c, Index gap) : rows(r), cols(c), stride(c + gap), memory(std::size_t(r * stride + 16)) {
    std::memset(static_cast<void*>(memory.data()), 0xa5, memory.size() * sizeof(T));
  }
  moebal::MatrixView<T> view() { return {memory.data(), rows, cols, stride}; }
  std::vector<T> values() const {
    std::vector<T> v;
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < cols; ++c) v.push_back(memory[std::size_t(r * stride + c)]);
    return v;
  }
  bool intact() const {
    T poison;
    std::memset(static_cast<void*>(&poison), 0xa5, sizeof(T));
    for (Index i = 0; i < Index(memory.size()); ++i) {
      bool const outside = i >= rows * stride || i % stride >= cols;
      if (outside && std::memcmp(&memory[std::size_t(i)], &poison, sizeof(T)) != 0) return false;
    }
    return true;
  }
};

struct GuardedWorkspace {
  std::size_t bytes;
  moebal::Workspace memory;

  explicit GuardedWorkspace(std::size_t n) : bytes(n), memory(n + 128) { std::memset(data(), 0xa5, memory.bytes()); }
  std::byte* data() { return moebal::WorkspaceView<>(memory).take<std::byte>(0); }
  moebal::WorkspaceView<> view() { return {data(), bytes}; }
  bool intact() {
    for (std::size_t i = bytes; i < memory.bytes(); ++i)
      if (data()[i] != std::byte(0xa5)) return false;
    return true;
  }
};

template <class F> void on_backend(std::size_t number, F const& f) {
  std::size_t i = 0;
  moebal_test::on_each_backend([&](char const*, auto const& exec) {
    if (i++ == number) f(exec);
  });
}

template <class Logit, class Router>
Outcome<moebal::compute_t<Logit>> route_with(std::size_t backend, Router const& router,
                                             moebal::MatrixView<Logit const> logits, Options const& options) {
  using Real = moebal::compute_t<Logit>;
  Index const sequences = options.segments.empty() ? 1 : Index(options.segments.size()) - 1;
  Outcome<Real> r{logits.rows(), logits.cols(), Router::top_k, sequences, {}, {}, {}};
  Guarded<ExpertId> ids(logits.rows(), Router::top_k, 3);
  Guarded<Real> weights(logits.rows(), Router::top_k, 2);
  Guarded<std::int64_t> load(sequences, All::slots(logits.cols()), 0);
  on_backend(backend, [&](auto const& exec) {
    GuardedWorkspace workspace(
        router.template workspace_bytes<All, Logit>(exec, logits.rows(), logits.cols(), sequences));
    std::int64_t const before = allocations();
    router.template route_into<All>(exec, logits, options.view(), moebal::RoutingView<Real>{ids.view(), weights.view()},
                                    moebal::LoadView<All>(load.memory.data(), sequences, logits.cols()),
                                    workspace.view());
    r.allocations = allocations() - before;
    r.in_bounds = workspace.intact() && ids.intact() && weights.intact() && load.intact();
  });
  r.ids = ids.values(), r.weights = weights.values(), r.load = load.values();
  return r;
}

template <class Logit>
Outcome<moebal::compute_t<Logit>> route(std::size_t backend, Gate const& gate, Pick pick,
                                        moebal::MatrixView<Logit const> logits, Options const& options) {
  return std::visit(
      [&](auto const& g) {
        auto const top_k = [&](auto k) {
          return route_with<Logit>(backend, moebal::Router(moebal::TopK<int(k)>{}, g), logits, options);
        };
        if constexpr (sizeof(Logit) == 2) {
          return moebal::with_top_k<3>(pick.k, top_k);
        } else {
          if (pick.groups == 0) return moebal::with_top_k<1, 3, 8>(pick.k, top_k);
          moebal::require_equal("K of the harness' grouped selections", 3, pick.k);
          using Selection = moebal::GroupLimitedTopK<3>;
          Selection const selection{
              .groups = pick.groups, .kept = pick.kept, .score = pick.score, .sum_of = pick.sum_of};
          return route_with<Logit>(backend, moebal::Router(selection, g), logits, options);
        }
      },
      gate);
}

template <class Logit>
Gradient<moebal::compute_t<Logit>>
backward(std::size_t backend, Gate const& gate, Index k, moebal::MatrixView<Logit const> logits, Options const& options,
         std::vector<ExpertId> const& ids, moebal::RouterGradient<moebal::compute_t<Logit>> gradient) {
  using Real = moebal::compute_t<Logit>;
  Gradient<Real> r;
  Guarded<Real> d_logits(logits.rows(), logits.cols(), 5);
  std::visit(
      [&](auto const& g) {
        auto const run = [&](auto top_k) {
          moebal::Router const router(moebal::TopK<int(top_k)>{}, g);
          on_backend(backend, [&](auto const& exec) {
            Index const sequences = options.segments.empty() ? 1 : Index(options.segments.size()) - 1;
            GuardedWorkspace workspace(router.template workspace_bytes<moebal::stats::None, Logit>(
                exec, logits.rows(), logits.cols(), sequences));
            std::int64_t const before = allocations();
            router.backward_into(exec, logits, options.view(),
                                 moebal::MatrixView<ExpertId const>(ids.data(), logits.rows(), top_k), gradient,
                                 d_logits.view(), workspace.view());
            r.allocations = allocations() - before;
            r.in_bounds = workspace.intact() && d_logits.intact();
          });
        };
        if constexpr (sizeof(Logit) == 2)
          moebal::with_top_k<3>(k, run);
        else
          moebal::with_top_k<1, 3, 8>(k, run);
      },
      gate);
  r.d_logits = d_logits.values();
  return r;
}

#define MOEBAL_TEST_HARNESS(Logit)                                                                                     \
  template Outcome<moebal::compute_t<Logit>> route<Logit>(std::size_t, Gate const&, Pick,                              \
                                                          moebal::MatrixView<Logit const>, Options const&);            \
  template Gradient<moebal::compute_t<Logit>> backward<Logit>(                                                         \
      std::size_t, Gate const&, Index, moebal::MatrixView<Logit const>, Options const&, std::vector<ExpertId> const&,  \
      moebal::RouterGradient<moebal::compute_t<Logit>>);

} // namespace contracts
