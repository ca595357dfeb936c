// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/execution.hpp"
#include "../core/routing.hpp"

namespace moebal {

/// What an expert is.
enum class ExpertKind {
  Ffn,      // a network, which the plan sends tokens to
  Zero,     // its output is 0
  Copy,     // its output is the token (LongCat calls it identity)
  Constant, // a1 x + a2 v, (a1, a2) a softmax of two products with x, v a learned vector
};

/// Zero-computation experts: of the E experts that a router chooses from, the first `ffn` are networks and the rest
/// cost nothing, so that a token chooses how much is computed for it. MoE++ (arXiv 2410.07348: zero, copy and
/// constant experts) and LongCat-Flash (2509.01322: ZeroExperts{.ffn = 512, .copy = 256}, K = 12). Any router serves,
/// with E = experts(). After it:
///   split_into         the ids for the plan: no_expert in the place of every expert that is no network
///   combine_zero_into  what the others add to the combined output (select/zero_outputs.hpp)
///   without_zero_into  MoE++'s weights, where a chosen zero expert gives its share to the others
/// Balance: MoE++ scales the loss of these experts by its tau, LongCat moves the bias of networks only; both are
/// balancing rules. Cost: one pass over the ids. Nothing is communicated: a token stays where it is for these
/// experts.
struct ZeroExperts {
  static constexpr bool causal = true;
  Index ffn = 1;      // ids [0, ffn)
  Index zero = 0;     // the next ones
  Index copy = 0;     // the next ones
  Index constant = 0; // the last ones

  MOEBAL_FN constexpr Index experts() const { return ffn + zero + copy + constant; }
  MOEBAL_FN constexpr ExpertKind kind(ExpertId id) const {
    return id < ffn                 ? ExpertKind::Ffn
           : id < ffn + zero        ? ExpertKind::Zero
           : id < ffn + zero + copy ? ExpertKind::Copy
                                    : ExpertKind::Constant;
  }
  /// Which of the constant experts this is.
  MOEBAL_FN constexpr Index constant_index(ExpertId id) const { return id - (ffn + zero + copy); }

  void check() const {
    require_at_least("networks of ZeroExperts (ffn)", 0, ffn);
    require_at_least("zero experts", 0, zero);
    require_at_least("copy experts", 0, copy);
    require_at_least("constant experts", 0, constant);
  }
};

namespace detail {

template <class M> struct SplitPair {
  ZeroExperts zeros;
  MatrixView<ExpertId const, M> ids;
  MatrixView<ExpertId, M> out;
  MOEBAL_FN void operator()(Index pair) const {
    Index const t = pair / ids.cols(), k = pair - t * ids.cols();
    ExpertId const id = ids(t, k);
    out(t, k) = id >= 0 && zeros.kind(id) == ExpertKind::Ffn ? id : no_expert;
  }
};

/// weights -> weights over the sum of those that no zero expert holds; or back, when d_out is there.
template <class Real, class M> struct WithoutZero {
  ZeroExperts zeros;
  MatrixView<ExpertId const, M> ids;
  MatrixView<Real const, M> weights, d_out;
  MatrixView<Real, M> out;
  MOEBAL_FN bool counts(Index t, Index k) const { return ids(t, k) >= 0 && zeros.kind(ids(t, k)) != ExpertKind::Zero; }
  MOEBAL_FN void operator()(Index t) const {
    Real sum = 0, pulled = 0;
    for (Index k = 0; k < ids.cols(); ++k)
      if (counts(t, k)) sum = sum + weights(t, k);
    Real const divisor = sum != Real(0) ? sum : Real(1);
    bool const back = d_out.data() != nullptr;
    if (back)
      for (Index k = 0; k < ids.cols(); ++k)
        if (counts(t, k)) pulled = math::fma(d_out(t, k), weights(t, k) / divisor, pulled);
    for (Index k = 0; k < ids.cols(); ++k) {
      Real const top = back ? d_out(t, k) - pulled : weights(t, k);
      out(t, k) = counts(t, k) ? top / divisor : Real(0);
    }
  }
};

} // namespace detail

/// ffn_ids [T, K] out: ids [T, K] with no_expert wherever the expert is no network. Places and weights stay as they
/// are.
template <execution Exec, class M>
void split_into(Exec const& exec, ZeroExperts zeros, std::type_identity_t<MatrixView<ExpertId const, M>> ids,
                MatrixView<ExpertId, M> ffn_ids) {
  zeros.check();
  require_equal("ffn_ids [T, K], rows", ids.rows(), ffn_ids.rows());
  require_equal("ffn_ids [T, K], columns", ids.cols(), ffn_ids.cols());
  exec.for_each(ids.rows() * ids.cols(), detail::SplitPair<M>{zeros, ids, ffn_ids});
}

/// out [T, K] = w / (sum of the weights of the chosen experts that are no zero experts); 0 for the zero experts. out
/// may be weights.
template <execution Exec, class Real, class M>
void without_zero_into(Exec const& exec, ZeroExperts zeros, std::type_identity_t<MatrixView<ExpertId const, M>> ids,
                       std::type_identity_t<MatrixView<Real const, M>> weights, MatrixView<Real, M> out) {
  zeros.check();
  require_equal("weights [T, K], rows", ids.rows(), weights.rows());
  require_equal("weights [T, K], columns", ids.cols(), weights.cols());
  require_equal("out [T, K], rows", ids.rows(), out.rows());
  require_equal("out [T, K], columns", ids.cols(), out.cols());
  exec.for_each(ids.rows(), detail::WithoutZero<Real, M>{zeros, ids, weights, {}, out});
}
/// d_weights [T, K] (overwritten) from d_out: dw_k = (d_k - sum_i d_i out_i) / sum. weights: those that went in.
template <execution Exec, class Real, class M>
void without_zero_backward_into(Exec const& exec, ZeroExperts zeros,
                                std::type_identity_t<MatrixView<ExpertId const, M>> ids,
                                std::type_identity_t<MatrixView<Real const, M>> weights,
                                std::type_identity_t<MatrixView<Real const, M>> d_out, MatrixView<Real, M> d_weights) {
  zeros.check();
  require_equal("d_out [T, K], rows", ids.rows(), d_out.rows());
  require_equal("d_out [T, K], columns", ids.cols(), d_out.cols());
  require_equal("d_weights [T, K], rows", ids.rows(), d_weights.rows());
  require_equal("d_weights [T, K], columns", ids.cols(), d_weights.cols());
  if (ids.rows() > 0) exec.for_each(ids.rows(), detail::WithoutZero<Real, M>{zeros, ids, weights, d_out, d_weights});
}

} // namespace moebal
