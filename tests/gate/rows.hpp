// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One row through a gate, by plain lanes, in the reference's types.

#include "reference/reference.hpp"

#include <moebal/gate/pull_back.hpp>
#include <moebal/gate/row.hpp>

#include <vector>

namespace gate_rows {

using moebal::ExpertId;
using moebal::Index;
using moebal::SerialLanes;

/// Weights [K] of the chosen logits.
template <class Real = double, class Gate>
reference::Row weights(Gate const& gate, reference::Row const& z, reference::Ids const& ids) {
  std::vector<Real> const row(z.begin(), z.end());
  std::vector<Real> chosen, out(ids.size());
  for (int e : ids) chosen.push_back(row[std::size_t(e)]);
  auto const g = moebal::gate::rows_of(gate);
  auto const opened = g.template open<Real>(SerialLanes{}, moebal::LogitRow<Real>{row.data()}, Index(z.size()));
  g.weigh(SerialLanes{}, opened, static_cast<Real const*>(chosen.data()), Index(ids.size()), Index(ids.size()),
          out.data());
  return reference::Row(out.begin(), out.end());
}

/// d loss / d logits [E] of d loss / d weights [K].
template <class Real = double, class Gate>
reference::Row weights_gradient(Gate const& gate, reference::Row const& z, reference::Ids const& ids,
                                reference::Row const& d_weights) {
  std::vector<Real> const row(z.begin(), z.end()), d_w(d_weights.begin(), d_weights.end());
  std::vector<ExpertId> const experts(ids.begin(), ids.end());
  std::vector<Real> scratch(3 * ids.size(), Real(1e30)), d(z.size(), Real(1e30));
  Index const top_k = Index(ids.size());
  moebal::gate::pull_row(SerialLanes{}, moebal::gate::rows_of(gate), moebal::LogitRow<Real>{row.data()}, Index(z.size()),
                         static_cast<Real const*>(nullptr),
                         moebal::gate::Choices<Real>{experts.data(), top_k, top_k, d_w.data(), scratch.data()}, d.data());
  return reference::Row(d.begin(), d.end());
}

/// Normalised scores [E], and the gradient of slopes through them.
template <class Real = double, class Gate> reference::Row balance(Gate const& gate, reference::Row const& z) {
  std::vector<Real> const row(z.begin(), z.end());
  auto const b = moebal::gate::rows_of(gate).balance();
  auto const opened = b.template open<Real>(SerialLanes{}, moebal::LogitRow<Real>{row.data()}, Index(z.size()));
  reference::Row q;
  for (Real x : row) q.push_back(double(b.score(opened, x)));
  return q;
}
template <class Real = double, class Gate>
reference::Row balance_gradient(Gate const& gate, reference::Row const& z, reference::Row const& slopes) {
  std::vector<Real> const row(z.begin(), z.end()), s(slopes.begin(), slopes.end());
  std::vector<Real> d(z.size(), 0);
  moebal::gate::pull_back(SerialLanes{}, moebal::gate::rows_of(gate).balance(), moebal::LogitRow<Real>{row.data()},
                          Index(z.size()), s.data(), d.data());
  return reference::Row(d.begin(), d.end());
}

inline bool close(reference::Row const& a, reference::Row const& b, double tolerance) {
  double scale = 1e-300;
  for (double v : b) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= tolerance * scale)) return false;
  return a.size() == b.size();
}

inline reference::Row const logits{0.3, -1.2, 2.5, 0.0, -4.0, 1.1, 1.1};
inline reference::Ids const chosen{2, 5, 0};
inline reference::Row const pulls{0.7, -1.5, 0.2};
inline reference::Row const slopes{1, 0, -2, 0.5, 3, 0, 1};

} // namespace gate_rows
