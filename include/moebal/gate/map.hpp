// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the logit maps share. A logit map makes logits [T, E] for a router, from token activations x [T, D] or from
// other logits:
//   logits_into(exec, policy, x, ..., logits)      and      backward_into(exec, policy, ..., gradients)
// Each policy says in `causal` whether a row of logits depends on its own token alone. Nothing is communicated,
// nothing is allocated, and a row's numbers are the same bits on every execution and for any number of threads; sums
// over tokens run in the order of tokens. Padding rows are mapped like any other: the router gives them a gradient of
// 0.

#include "../core/errors.hpp"
#include "../core/execution.hpp"

#include <string>

namespace moebal::gate {

/// A matrix for reading, whatever it was.
template <matrix_like X> auto reading(X const& x) {
  auto const view = as_matrix(x);
  using View = std::remove_const_t<decltype(view)>;
  return MatrixView<typename View::element const, typename View::memory>(view.data(), view.rows(), view.cols(),
                                                                         view.row_stride());
}

/// Throws ShapeError unless the view is [rows, cols]. name: such as "logits [T, E]"
template <class View> void require_shape(std::string const& name, Index rows, Index cols, View const& view) {
  require_equal(name + ", rows", rows, view.rows());
  require_equal(name + ", columns", cols, view.cols());
}
/// The same for a part that may be left out.
template <class View> void require_shape_or_none(std::string const& name, Index rows, Index cols, View const& view) {
  if (view.data() != nullptr) require_shape(name, rows, cols, view);
}
template <class View> void require_size_or_none(std::string const& name, Index size, View const& view) {
  if (view.data() != nullptr) require_equal(name, size, view.size());
}

} // namespace moebal::gate
