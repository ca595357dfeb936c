// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "pack.hpp"

#if defined(MOEBAL_NEON)

#include <arm_neon.h>

namespace moebal {

template <> struct Registers<4> {
  using V = Pack<float, 4>;

  static V fma(V a, V b, V c) { return V(V::native(vfmaq_f32(float32x4_t(c.v), float32x4_t(a.v), float32x4_t(b.v)))); }
};

} // namespace moebal

#endif
