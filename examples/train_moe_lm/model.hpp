// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A byte-level language model with L residual MoE layers, written out by hand. The dense parts are Eigen products;
// which expert sees which token, and the way there and back, is moebal's. Router and balancing come in between; the
// caller runs
//   embed -> each layer (normalise -> logits of n, route -> mix) -> predict
//   predict_backward -> each layer from the last (mix_backward -> logits' backward, into n -> normalise_backward)
//   -> embed_backward.
//
//   x = [embeddings of the last 12 bytes, mean embedding of the last 64]   h_0 = x W_in
//   n = rmsnorm(h_l)   logits = n W_router   h_l+1 = h_l + sum_k w_k FFN_k(n)   p(next byte) = softmax(rmsnorm(h_L)
//   W_out)

#include "data.hpp"
#include "dispatch.hpp"
#include "experts.hpp"

namespace train {

/// Everything between forward and backward of one layer, for one micro-batch of T tokens.
template <class Real> struct LayerActivations {
  Matrix<Real> n;                 // [T, D] rmsnorm(h)
  Vector<Real> n_scale;           // [T] 1 / rms
  Matrix<Real> logits;            // [T, E] of the router
  moebal::Routing<Real> routing;  // [T, K]
  Dispatch<Real> dispatch;        // which row belongs to which (token, choice)
  Matrix<Real> rows, hidden, out; // [rows, D], [rows, H], [rows, D] in the order of experts
  Matrix<Real> y;                 // [T, D] what the experts say
  std::vector<std::uint8_t> kept; // [T, K] with a capacity: 1 where a pair has a slot
  std::vector<moebal::ExpertId> kept_ids;
  Matrix<Real> d_rows, d_hidden;    // [rows, D], [rows, H]
  Matrix<Real> d_weights, d_logits; // [T, K], [T, E]
  Matrix<Real> d_n;                 // [T, D]
};

/// The same of the whole model.
template <class Real> struct Activations {
  Batch batch;
  std::vector<Index> tags;                    // [T] what the selection reads beside the logits
  Matrix<Real> x;                             // [T, input]
  Matrix<Real> h;                             // [T, D] after as many layers as have run
  std::vector<LayerActivations<Real>> layers; // [L]
  Matrix<Real> m;                             // [T, D] rmsnorm(h_L)
  Vector<Real> m_scale;                       // [T]
  Matrix<Real> p;                             // [T, 256]; after backward: d loss / d its logits
  Matrix<Real> d_h, d_m;                      // [T, D]
  Matrix<Real> d_x;                           // [T, input]
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

/// x and h.
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
  a.layers.resize(std::size_t(s.layers));
}

/// n of the next layer, from which its router's logits are.
template <class Real> void normalise(Matrix<Real> const& h, LayerActivations<Real>& a) {
  detail::rmsnorm(h, a.n, a.n_scale);
}

/// From a.routing (and a.dispatch made from it) through the experts: adds what they say to h.
template <class Real>
void mix(ModelShape const& s, Parameters<Real> const& p, Index layer, LayerActivations<Real>& a, Matrix<Real>& h) {
  a.dispatch.gather(a.n, a.rows);
  a.hidden.resize(a.rows.rows(), s.expert_width);
  a.out.resize(a.rows.rows(), s.width);
  run_experts(p, layer, a.dispatch.offsets(), a.rows, a.hidden, a.out);
  a.dispatch.combine(a.n, a.out, a.routing, a.y);
  h += a.y;
}

/// From h to the prediction. Returns the sum over tokens of -ln p(next byte).
template <class Real> double predict(Parameters<Real> const& p, Activations<Real>& a) {
  detail::rmsnorm(a.h, a.m, a.m_scale);
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

/// Gradients of `scale` * predict(...): adds those of the weights to g and leaves a.d_h. a.p is overwritten.
template <class Real>
void predict_backward(Parameters<Real> const& p, Real scale, Activations<Real>& a, Parameters<Real>& g) {
  Index const length = a.batch.window.length, context = a.batch.window.context;
  for (Index t = 0; t < a.p.rows(); ++t) a.p(t, a.batch.windows[std::size_t(t / length)][context + t % length]) -= 1;
  a.p *= scale;
  g.output.noalias() += a.m.transpose() * a.p;
  a.d_m.noalias() = a.p * p.output.transpose();
  a.d_h.setZero(a.h.rows(), a.h.cols());
  detail::rmsnorm_backward(a.m, a.m_scale, a.d_m, a.d_h);
}

/// Gradients through the experts of a layer: adds those of the weights to g, and leaves a.d_weights and a.d_n (what
/// flows into n through the experts). d_h flows past them as it is.
template <class Real>
void mix_backward(ModelShape const& s, Parameters<Real> const& p, Index layer, Matrix<Real> const& d_h,
                  LayerActivations<Real>& a, Parameters<Real>& g) {
  a.dispatch.combine_backward(a.out, a.routing, d_h, a.d_rows, a.d_weights);
  a.d_hidden.resize(a.rows.rows(), s.expert_width);
  run_experts_backward(p, layer, a.dispatch.offsets(), a.rows, a.hidden, a.d_hidden, a.d_rows, g);
  a.dispatch.gather_backward(a.d_rows, a.d_n);
  a.dispatch.zero_backward(a.n, a.routing, d_h, a.d_weights, a.d_n);
}

/// From a.d_n (through experts and router) to d_h, adding to what flows past them.
template <class Real> void normalise_backward(LayerActivations<Real> const& a, Matrix<Real>& d_h) {
  detail::rmsnorm_backward(a.n, a.n_scale, a.d_n, d_h);
}

/// From a.d_h to the embeddings. Adds to g.
template <class Real>
void embed_backward(ModelShape const& s, Parameters<Real> const& p, Activations<Real>& a, Parameters<Real>& g) {
  g.input.noalias() += a.x.transpose() * a.d_h;
  a.d_x.noalias() = a.d_h * p.input.transpose();

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
