// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/token_sums.hpp"

#include <cmath>

namespace moebal {

/// The online k-means router (arXiv 2605.12476): an expert is a centroid, the running mean of the tokens that were
/// routed to it; a token goes to the nearest centroid by cosine. Nothing of the router is learned by gradients.
///   logits:  logits_into(exec, Cosine{.temperature = 1}, x, centroids, ...), then Router<TopK<1>, ...>
///   a step:  token_sums_into(exec, x, ids, {}, sums) for each micro-batch, added over micro-batches and ranks
///            (all_reduce_sum of E (D + 1) integers), then move(sums, centroids, counts)
/// n tokens with the sum s:  count <- keep * count + n,  c <- c + (s - n c) / count.  An expert without tokens stays.
/// keep 1: the running mean, as in the abstract, which is all that could be read; less forgets (latent prototype
/// routing, 2506.21328, moves its prototypes so, with 0.8 and the combine weights in the sums). Start: counts 0, and
/// centroids the caller's, e.g. distinct tokens; the first tokens of an expert replace them. Gradient: none. Causal:
/// centroids hold from the next step on. State: centroids [E, D] and counts [E], the caller's to save. Cost: E D.
/// Exact: from integers, so any cut of a step leaves the same bits on all ranks.
struct OnlineKMeans {
  double keep = 1;

  /// sums [E, D + 1] of TokenSums in; centroids [E, D] and counts [E] in and out. ShapeError before any work.
  template <class Real>
  void move(MatrixView<std::int64_t const> sums, MatrixView<Real> centroids, VectorView<double> counts) const {
    require_equal("online k-means: centroids [E, D], rows", sums.rows(), centroids.rows());
    require_equal("online k-means: centroids [E, D], columns", sums.cols() - 1, centroids.cols());
    require_equal("online k-means: counts [E]", sums.rows(), counts.size());
    for (Index e = 0; e < sums.rows(); ++e) {
      double const n = double(sums(e, centroids.cols())) / TokenSums::one;
      counts[e] = std::fma(keep, counts[e], n);
      if (n == 0) continue;
      for (Index d = 0; d < centroids.cols(); ++d) {
        double const c = double(centroids(e, d)), pull = std::fma(-n, c, double(sums(e, d)) / TokenSums::one);
        centroids(e, d) = Real(c + pull / counts[e]);
      }
    }
  }
};

} // namespace moebal
