// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/token_sums.hpp"

#include <cmath>

namespace moebal {

/// What a prototype is drawn to.
enum class PrototypeTarget {
  Mean, // the mean of its tokens, each by its weight
  Sum   // their weighted sum, as the published code: it grows with the batch
};

/// The alignment loss of latent prototype routing (arXiv 2506.21328; code RANDO11199/LatentPrototypeRouter): prototypes
/// follow the latent tokens that are routed to them,
///   value = coefficient / (E P) * sum_ed |p_ed - target_ed|,
/// with no gradient through the targets, so none to the tokens. The router is made of parts of this library:
///   latent  u = W silu(norm(x)) + b      Silu, Linear into P dimensions (16 in its code); the norm is the block's own
///   logits  z_e = cos(u, p_e)            Cosine{.temperature = 1}; top-K, weights SoftmaxOverChosen
///   diversity of the prototypes          RouterOrthogonality{.coefficient = 1.0 / (E * E), .norm = Norm::Squares,
///                                        .rows = Rows::Normalised}: its mean square of P P^T - I, weight 1
///   alignment                            this, of token_sums_into(u, ids, weights); coefficient 0.05, in one model 0.1
/// Its variational form (a noisy u and a KL term of weight 0.01) is not here. An expert without tokens is left alone
/// (its code pulls it to zero). Gradient: coefficient / (E P) sgn(p - target). Communicated: E (P + 1) integers where
/// ranks are to agree, else nothing. Exact: the targets are integer sums.
struct PrototypeAlignment {
  double coefficient = 0.05;
  PrototypeTarget target = PrototypeTarget::Mean;

  /// The value. prototypes [E, P] and sums [E, P + 1] of TokenSums in; d_prototypes [E, P]: added to, or empty.
  template <class Real>
  double operator()(MatrixView<Real const> prototypes, MatrixView<std::int64_t const> sums,
                    MatrixView<Real> d_prototypes = {}) const {
    Index const experts = prototypes.rows(), width = prototypes.cols();
    require_equal("prototype alignment: sums [E, P + 1], rows", experts, sums.rows());
    require_equal("prototype alignment: sums [E, P + 1], columns", width + 1, sums.cols());
    if (d_prototypes.rows() > 0 || d_prototypes.cols() > 0) {
      require_equal("prototype alignment: d_prototypes [E, P], rows", experts, d_prototypes.rows());
      require_equal("prototype alignment: d_prototypes [E, P], columns", width, d_prototypes.cols());
    }
    double const part = coefficient / double(experts * width);
    double value = 0;
    for (Index e = 0; e < experts; ++e) {
      if (sums(e, width) == 0) continue;
      double const divisor = target == PrototypeTarget::Mean ? double(sums(e, width)) : TokenSums::one;
      for (Index d = 0; d < width; ++d) {
        double const off = double(prototypes(e, d)) - double(sums(e, d)) / divisor;
        value = std::fma(part, std::abs(off), value);
        if (!d_prototypes.empty()) d_prototypes(e, d) = d_prototypes(e, d) + Real(off > 0 ? part : off < 0 ? -part : 0);
      }
    }
    return value;
  }
};

} // namespace moebal
