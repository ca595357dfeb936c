// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Losses of noisy gates: importance and smooth load (Tutel, V-MoE).

#include "checks.hpp"
#include "execution.hpp"
#include "losses.hpp"

#include <moebal/balance/cv_squared.hpp>
#include <moebal/balance/importance_loss.hpp>
#include <moebal/gate/noisy_load.hpp>

#include <algorithm>

namespace golden {
namespace {

using moebal::Index;
using moebal::Variance;
using reference::Score;

/// The squared coefficient of variation of the smooth load, and its gradients.
struct LoadLoss {
  double loss = 0;
  Matrix d_clean, d_noisy; // [T, E]
};

/// deviation: of the noise, times E. clean: what the noisy logits are compared with.
template <class Real>
LoadLoss load_loss_as(Matrix const& clean, Matrix const& noisy, std::size_t top_k, double deviation, Variance variance,
                      double epsilon) {
  moebal::laws::AnyExec const& exec = chosen_execution();
  auto const T = Index(clean.rows), E = Index(clean.cols);
  moebal::NoisyLoad const policy{.top_k = Index(top_k), .threshold = moebal::LoadThreshold::KthNoisy};
  moebal::FixedNoise const noise{.deviation_times_experts = float(deviation)};
  std::vector<Real> const z(clean.data.begin(), clean.data.end()), h(noisy.data.begin(), noisy.data.end());
  moebal::MatrixView<Real const> const z_view(z.data(), T, E), h_view(h.data(), T, E);
  std::vector<std::int64_t> load(clean.cols);
  moebal::Workspace workspace(policy.workspace_bytes<Real>(exec, E));
  moebal::load_into(exec, policy, noise, z_view, {}, h_view, {}, moebal::VectorView<std::int64_t>(load),
                    moebal::WorkspaceView<>(workspace));
  std::vector<double> values, slopes(clean.cols);
  for (std::int64_t const units : load) values.push_back(double(units) / moebal::NoisyLoad::one);
  LoadLoss r;
  r.loss = moebal::cv_squared<double>(values, variance, epsilon, moebal::VectorView<double>(slopes));
  std::vector<Real> const d_load(slopes.begin(), slopes.end());
  std::vector<Real> d_z(z.size(), 0), d_h(z.size(), 0);
  moebal::load_backward_into(
      exec, policy, noise, z_view, {}, h_view, {}, d_load,
      moebal::NoisyLoadGradient<Real>{.d_clean = {d_z.data(), T, E}, .d_noisy = {d_h.data(), T, E}},
      moebal::WorkspaceView<>(workspace));
  r.d_clean = Matrix(d_z.data(), clean.rows, clean.cols);
  r.d_noisy = Matrix(d_h.data(), clean.rows, clean.cols);
  return r;
}
LoadLoss load_loss(Precision p, Matrix const& clean, Matrix const& noisy, std::size_t top_k, double deviation,
                   Variance variance, double epsilon) {
  return with_real(
      p, [&](auto real) { return load_loss_as<decltype(real)>(clean, noisy, top_k, deviation, variance, epsilon); });
}

char const* const peer_is_nan = "a NaN stays in its row, and a loss is 0 where it would be 0 / 0 (the peer's is NaN)";

template <class Rule> Terms terms_of(Precision p, Rule rule, std::size_t top_k, Answer const& a) {
  return with_real(p, [&](auto real) {
    return balance_step<decltype(real)>(moebal::MicroBatch<>{}, rule, top_k, {a.load}).front();
  });
}

Matrix noisy_logits(Case const& c, Precision p) {
  Matrix h = c.matrix("in_logits");
  Matrix const noise = c.matrix("in_noise");
  for (std::size_t i = 0; i < h.data.size(); ++i)
    h.data[i] = p == Precision::Single ? double(float(h.data[i]) + float(noise.data[i])) : h.data[i] + noise.data[i];
  return h;
}

/// The library keeps the deviation in fp32, loads in units of 2^-32 and score sums as their unit says.
Tolerance of_loss(Tolerance t, Precision p, double deviation, Matrix const& logits) {
  double const experts = double(logits.cols), tokens = double(std::max<std::size_t>(1, logits.rows));
  t.relative += deviation == 0 ? 0 : 50 * std::abs(double(float(deviation)) / deviation - 1);
  t.absolute += 8 * experts / moebal::NoisyLoad::one / std::max(1.0, tokens / experts);
  return with_fixed_point(t, p, 8 * experts);
}

/// Half the squared coefficients of variation of importance and load. The peer's layer gives probabilities and compares
/// them with a logit; its parts are ours, so they are composed alike.
void tutel_load_importance(Case& c) {
  std::size_t const K = c.count("top_k");
  c.ignore_argument("num_global_experts");
  double const noise = c.number("gate_noise");
  for (Precision const p : precisions) {
    std::string const at = name_of(p);
    Request r{.gate = {.score = Score::Softmax}, .top_k = K, .logits = c.matrix("in_logits")};
    Matrix noisy = noisy_logits(c, p);
    bool const nan = any_nan(r.logits.data) || any_nan(noisy.data);
    if (c.raises() && noise > 0 && !nan) c.by_contract("the peer throws");
    auto const clean_of = [](Matrix const& z) {
      Matrix q(z.rows, z.cols);
      for (std::size_t t = 0; t < z.rows; ++t) {
        Row const row = reference::softmax(z.row(t));
        std::copy(row.begin(), row.end(), q.data.begin() + long(t * z.cols));
      }
      return q;
    };
    moebal::ImportanceLoss const rule{.coefficient = 0.5, .variance = Variance::Sample, .epsilon = 1e-10};
    Matrix const clean = clean_of(r.logits);
    if (c.raises() && noise <= 0) {
      needs_refusal(c, [&] { load_loss(p, clean, noisy, K, noise, Variance::Sample, 1e-10); });
      continue;
    }
    Answer const a = route(r, p);
    Terms const importance = terms_of(p, rule, K, a);
    LoadLoss const load = load_loss(p, clean, noisy, K, noise, Variance::Sample, 1e-10);
    double const loss = importance.loss + load.loss / 2;
    if (c.raises()) {
      if (nan) {
        c.by_contract("a row with NaN is not seen by the loss (the peer throws)");
        Request rest{.gate = r.gate, .top_k = K, .logits = Matrix(0, r.experts())};
        Matrix rest_noisy = rest.logits;
        for (std::size_t t = 0; t < r.tokens(); ++t) {
          Row const z = r.logits.row(t), h = noisy.row(t);
          if (any_nan(z) || any_nan(h)) continue;
          rest.logits.data.insert(rest.logits.data.end(), z.begin(), z.end()), ++rest.logits.rows;
          rest_noisy.data.insert(rest_noisy.data.end(), h.begin(), h.end()), ++rest_noisy.rows;
        }
        double const needed =
            terms_of(p, rule, K, route(rest, p)).loss +
            load_loss(p, clean_of(rest.logits), rest_noisy, K, noise, Variance::Sample, 1e-10).loss / 2;
        c.close(at + " loss", loss, needed, {1e-12, 1e-12});
      } else {
        c.need(std::isfinite(loss), at + " loss", "a finite number", "another");
      }
      continue;
    }
    if (std::isnan(c.output("loss", p)[0])) {
      c.by_contract(peer_is_nan);
      c.need(std::isfinite(loss), at + " loss", "a finite number", "another");
      c.output("grad_logits", p);
      continue;
    }
    c.by_contract("the peer compares probabilities with a logit; composed here of the same parts");
    c.close(at + " loss", loss, c.output("loss", p)[0], of_loss(c.tolerance("loss", p), p, noise, r.logits));
    // Both reach the logits through the probabilities, token by token; the threshold is a logit itself.
    r.segments = one_token_segments(r.tokens());
    Matrix slopes(r.tokens(), r.experts());
    for (std::size_t t = 0; t < r.tokens(); ++t)
      for (std::size_t e = 0; e < r.experts(); ++e) slopes(t, e) = importance.slopes(0, e) + load.d_clean(t, e) / 2;
    Matrix d = backward(r, p, a.ids, {}, slopes);
    for (std::size_t i = 0; i < d.data.size(); ++i) d.data[i] += load.d_noisy.data[i] / 2;
    Tolerance tolerance = of_loss(c.tolerance("grad_logits", p), p, noise, r.logits);
    c.close(at + " grad_logits", d.data, c.output("grad_logits", p).values,
            with_noise(tolerance, p, largest(slopes.data) + largest(load.d_noisy.data)));
  }
}

void vmoe_losses(Case& c) {
  std::size_t const K = c.count("num_selected_experts");
  for (Precision const p : precisions) {
    std::string const at = name_of(p);
    Request const clean{.gate = {.score = Score::Softmax}, .top_k = K, .logits = c.matrix("in_logits")};
    Request noisy = clean;
    noisy.logits = noisy_logits(c, p);
    double const deviation = c.number("noise_std") * double(clean.experts());
    Terms const gshard = terms_of(p, moebal::SwitchLoss<moebal::Choices::First>{.coefficient = 1}, K, route(noisy, p));
    Terms const importance = terms_of(p, moebal::ImportanceLoss{.coefficient = 1}, K, route(clean, p));
    LoadLoss const load = load_loss(p, clean.logits, noisy.logits, K, deviation, Variance::Population, 0);
    auto const compare = [&](char const* output, double loss) {
      double const needed = c.raises() ? NAN : c.output(output, p)[0];
      if (!std::isnan(needed))
        return c.close(at + " " + output, loss, needed, of_loss(c.tolerance(output, p), p, deviation, clean.logits));
      c.by_contract(c.raises() ? "the peer throws" : peer_is_nan);
      c.need(std::isfinite(loss), at + " " + output, "a finite number", "another");
    };
    compare("gshard_loss", gshard.loss);
    compare("importance_loss", importance.loss);
    compare("load_loss", load.loss);
  }
}

} // namespace

Mapping noisy_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"tutel.load_importance_loss", tutel_load_importance},
      {"vmoe.router_losses", vmoe_losses},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
