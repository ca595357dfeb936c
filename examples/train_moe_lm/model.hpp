// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A byte-level language model with one MoE layer, written out by hand. The dense parts are Eigen products; which expert
// sees which token, and the way there and back, is moebal's. Router and balancing come in between: the caller runs
//   embed -> (logits of n, route) -> predict -> predict_backward -> (their backward, into n) -> embed_backward.
//
//   x = [embeddings of the last 12 bytes, mean embedding of the last 64]   h = x W_in   n = rmsnorm(h)
//   logits = n W_router    y = h + sum_k w_k FFN_k(n)    p(next byte) = softmax(rmsnorm(y) W_out)

#include "data.hpp"
#include "dispatch.hpp"
#include "parameters.hpp"

namespace train {

/// Everything between forward and backward of one micro-batch of T tokens.
template <class Real> struct Activations {
  Batch batch;
  Matrix<Real> x;                  // [T, input]
  Matrix<Real> h, n, y, m;         // [T, D]; n = rmsnorm(h), m = rmsnorm(y)
  Vector<Real> n_scale, m_scale;   // [T] 1 / rms
  Matrix<Real> logits;             // [T, E] of the router
  moebal::Routing<Real> routing;   // [T, K]
  Dispatch dispatch;               // which slot belongs to which (token, choice)
  Matrix<Real> slots, hidden, out; // [slots, D], [slots, H], [slots, D] in the order of experts
  Matrix<Real> p;                  // [T, 256]; after backward: d loss / d its logits
  Matrix<Real> d_y, d_n, d_logits; // [T, D], [T, D], [T, E]
  std::vector<Index> tags;         // [T] what the selection reads beside the logits
  std::vector<std::uint8_t> kept;  // [T, K] with a capacity: 1 where a pair has a slot
  std::vector<moebal::ExpertId> kept_ids;
  Matrix<Real> d_slots, d_hidden; // [slots, D], [slots, H]
  Matrix<Real> d_weights;         // [T, K]
  Matrix<Real> d_x;               // [T, input]
};

namespace detail {

template <class Real> void rmsnorm(Matrix<Real> const& x, Matrix<Real>& normed, Vector<Real>& scale) {
  scale = (x.rowwise().squaredNorm() / Real(x.cols())).array().operator+(Real(1e-5)).rsqrt().matrix();
  normed = scale.asDiagonal() * x;
}
/// d_x += the gradient through rmsnorm.
template <class Real>
void rmsnorm_backward(Matrix<Real> const& normed, Vector<Real> const& scale, Matrix<Real> const& d_normed,
                      Matrix<Real>& d_x) {
  for (Index t = 0; t < normed.rows(); ++t) {
    Real const along = d_normed.row(t).dot(normed.row(t)) / Real(normed.cols());
    d_x.row(t) += scale[t] * (d_normed.row(t) - along * normed.row(t));
  }
}

} // namespace detail

/// x, h and n, from which the router's logits are.
template <class Real>
void embed(ModelShape const& s, Parameters<Real> const& p, Batch const& batch, Activations<Real>& a) {
  a.batch = batch;
  Index const length = batch.window.length, context = batch.window.context;
  a.x.resize(batch.tokens(), s.input());
  Eigen::Matrix<Real, 1, Eigen::Dynamic> sum(s.bag_width);
  for (Index w = 0; w < Index(batch.windows.size()); ++w) {
    std::uint8_t const* const text = batch.windows[std::size_t(w)];
    sum.setZero();
    for (Index i = 0; i < context; ++i) sum += p.bag.row(text[i]);
    for (Index i = 0; i < length; ++i) {
      auto row = a.x.row(w * length + i);
      for (Index j = 0; j < s.recent; ++j)
        row.segment(j * s.recent_width, s.recent_width) = p.recent.row(text[context + i - s.recent + j]);
      row.tail(s.bag_width) = sum / Real(context);
      sum += p.bag.row(text[context + i]) - p.bag.row(text[i]);
    }
  }
  a.h.noalias() = a.x * p.input;
  detail::rmsnorm(a.h, a.n, a.n_scale);
}

/// From a.routing (and a.dispatch made from it) to the prediction. Returns the sum over tokens of -ln p(next byte).
template <class Real> double predict(ModelShape const& s, Parameters<Real> const& p, Activations<Real>& a) {
  a.dispatch.gather(a.n, a.slots);
  a.hidden.resize(a.slots.rows(), s.expert_width);
  a.out.resize(a.slots.rows(), s.width);
  for (Index e = 0; e < s.experts; ++e) {
    auto const [first, count] = a.dispatch.range(e);
    if (count == 0) continue;
    auto hidden = a.hidden.middleRows(first, count);
    hidden.noalias() = a.slots.middleRows(first, count) * p.up.middleRows(e * s.width, s.width);
    hidden = (hidden.rowwise() + p.up_bias.row(e)).cwiseMax(Real(0));
    a.out.middleRows(first, count).noalias() = hidden * p.down.middleRows(e * s.expert_width, s.expert_width);
  }
  a.dispatch.combine(a.n, a.out, a.routing, a.y);
  a.y += a.h;
  detail::rmsnorm(a.y, a.m, a.m_scale);
  a.p.noalias() = a.m * p.output;

  double loss = 0;
  Index const length = a.batch.window.length, context = a.batch.window.context;
  for (Index t = 0; t < a.p.rows(); ++t) {
    auto row = a.p.row(t).array();
    Real const target = row[a.batch.windows[std::size_t(t / length)][context + t % length]];
    Real const top = row.maxCoeff();
    row = (row - top).exp();
    Real const sum = row.sum();
    row *= 1 / sum;
    loss += double(std::log(sum)) - double(target - top);
  }
  return loss;
}

/// Gradients of `scale` * predict(...): adds those of the weights to g, and leaves a.d_weights, a.d_n (what flows into
/// n through the experts) and a.d_y (what flows into h past them). a.p is overwritten.
template <class Real>
void predict_backward(ModelShape const& s, Parameters<Real> const& p, Real scale, Activations<Real>& a,
                      Parameters<Real>& g) {
  Index const length = a.batch.window.length, context = a.batch.window.context;
  for (Index t = 0; t < a.p.rows(); ++t) a.p(t, a.batch.windows[std::size_t(t / length)][context + t % length]) -= 1;
  a.p *= scale;
  g.output.noalias() += a.m.transpose() * a.p;
  a.d_n.noalias() = a.p * p.output.transpose(); // d loss / d m, for a moment
  a.d_y.setZero(a.y.rows(), a.y.cols());
  detail::rmsnorm_backward(a.m, a.m_scale, a.d_n, a.d_y);

  a.dispatch.combine_backward(a.out, a.routing, a.d_y, a.d_slots, a.d_weights);
  a.d_hidden.resize(a.slots.rows(), s.expert_width);
  for (Index e = 0; e < s.experts; ++e) {
    auto const [first, count] = a.dispatch.range(e);
    if (count == 0) continue;
    auto const hidden = a.hidden.middleRows(first, count);
    auto d_hidden = a.d_hidden.middleRows(first, count);
    auto d_out = a.d_slots.middleRows(first, count);
    g.down.middleRows(e * s.expert_width, s.expert_width).noalias() += hidden.transpose() * d_out;
    d_hidden.noalias() = d_out * p.down.middleRows(e * s.expert_width, s.expert_width).transpose();
    d_hidden.array() *= (hidden.array() > Real(0)).template cast<Real>();
    g.up.middleRows(e * s.width, s.width).noalias() += a.slots.middleRows(first, count).transpose() * d_hidden;
    g.up_bias.row(e) += d_hidden.colwise().sum();
    d_out.noalias() = d_hidden * p.up.middleRows(e * s.width, s.width).transpose();
  }
  a.dispatch.gather_backward(a.d_slots, a.d_n);
  a.dispatch.zero_backward(a.n, a.routing, a.d_y, a.d_weights, a.d_n);
}

/// The rest of the way, from a.d_n (through experts and router) and a.d_y to the embeddings. Adds to g.
template <class Real>
void embed_backward(ModelShape const& s, Parameters<Real> const& p, Activations<Real>& a, Parameters<Real>& g) {
  detail::rmsnorm_backward(a.n, a.n_scale, a.d_n, a.d_y); // now d loss / d h
  g.input.noalias() += a.x.transpose() * a.d_y;
  a.d_x.noalias() = a.d_y * p.input.transpose();

  Index const length = a.batch.window.length, context = a.batch.window.context;
  Matrix<Real> running(length + 1, s.bag_width); // sums of the bag's gradient over the first i tokens of a window
  running.row(0).setZero();
  for (Index w = 0; w < Index(a.batch.windows.size()); ++w) {
    std::uint8_t const* const text = a.batch.windows[std::size_t(w)];
    for (Index i = 0; i < length; ++i) {
      auto const row = a.d_x.row(w * length + i);
      for (Index j = 0; j < s.recent; ++j)
        g.recent.row(text[context + i - s.recent + j]) += row.segment(j * s.recent_width, s.recent_width);
      running.row(i + 1) = running.row(i) + row.tail(s.bag_width) / Real(context);
    }
    // Byte b of the window is in the bags of tokens b - context + 1 ... b.
    for (Index b = 0; b < context + length - 1; ++b)
      g.bag.row(text[b]) += running.row(std::min(b + 1, length)) - running.row(std::max<Index>(0, b - context + 1));
  }
}

} // namespace train
