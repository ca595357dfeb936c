// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way of one micro-batch through the whole model and back, on one rank.

#include "layers.hpp"
#include "routed.hpp"
#include "tally.hpp"

namespace train {

/// What the passes of a step share.
struct Pass {
  Comm const& comm;
  ModelShape const& shape;
  Layers const& layers;
  Settings const& settings;
  Observer const& observer;
  Index step = 0;
};

/// n of layer l and room for what is made of it.
inline void open(Pass const& pass, Index l, Activations<float>& a) {
  LayerActivations<float>& layer = a.layers[std::size_t(l)];
  normalise(a.h, layer);
  layer.logits.resize(layer.n.rows(), pass.shape.experts);
  Index const top_k = pass.layers[l].top_k();
  if (layer.routing.tokens() != layer.n.rows()) layer.routing = moebal::Routing<float>(layer.n.rows(), top_k);
  if (pass.settings.experts_parallel) layer.dispatch.spread(pass.comm, pass.shape.experts);
}

/// Forward pass of micro-batch i. noise: for the logit maps that draw any. Returns the sum of the tokens' losses.
/// Collective where there is a capacity or experts are spread.
inline double forward(Pass const& pass, Index i, Batch const& batch, std::uint64_t noise, Parameters<float> const& p,
                      Activations<float>& a, Tally& tally) {
  embed(pass.shape, p, batch, a);
  tag(pass.layers.first(), a);
  for (Index l = 0; l < pass.shape.layers; ++l) {
    LayerActivations<float>& layer = a.layers[std::size_t(l)];
    lab::Method& method = pass.layers[l];
    open(pass, l, a);
    method.forward(view(layer.n), Layers::of_layer(noise, l), router_of(p, l), view(layer.logits));
    if (pass.step == 0 && i == 0) method.measure_statistics(view(layer.logits), a.tags, layer.routing.view());
    method.route(i, view(layer.logits), a.tags, layer.routing.view());
    auto const counts = method.counts();
    for (Index e = 0; e < counts.size(); ++e) tally.load[std::size_t(l * counts.size() + e)] += counts[e];
    tally.dropped += dispatch(method, pass.settings.capacity, layer);
    if (pass.observer.routed) pass.observer.routed(pass.step, layer, router_of(p, l), method);
    mix(pass.shape, p, l, layer, a.h);
  }
  return predict(p, a);
}

/// Adds the gradients of the micro-batch to g. Collective where experts are spread.
inline void backward(Pass const& pass, Index i, std::uint64_t noise, Parameters<float> const& p, Activations<float>& a,
                     Parameters<float>& g) {
  float const scale = 1 / float(a.batch.tokens() * pass.settings.micro_batches); // a mean over the tokens of the rank
  predict_backward(p, scale, a, g);
  for (Index l = pass.shape.layers - 1; l >= 0; --l) {
    LayerActivations<float>& layer = a.layers[std::size_t(l)];
    lab::Method& method = pass.layers[l];
    mix_backward(pass.shape, p, l, a.d_h, layer, g);
    layer.d_logits.resize(layer.logits.rows(), layer.logits.cols());
    method.backward(i, view(layer.logits), a.tags, std::as_const(layer.routing).expert_ids(),
                    moebal::as_matrix(std::as_const(layer.d_weights)), view(layer.d_logits));
    method.backward_map(view(layer.n), Layers::of_layer(noise, l), router_of(p, l), view(layer.logits),
                        view(layer.d_logits), router_of(g, l), view(layer.d_n));
    normalise_backward(layer, a.d_h);
  }
  embed_backward(pass.shape, p, a, g);
}

} // namespace train
