// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/config.hpp"

namespace moebal::gate {

/// For a row's open(lanes, x, E, keep): nobody wants what each element has before it is divided by the row's sum.
struct KeepNothing {
  template <class E, class V> MOEBAL_FN void operator()(E, V) const {}
};

} // namespace moebal::gate
