// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: the first argument of Router is no selection
#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#ifdef MOEBAL_MISTAKE
struct Selection { // says how many, not how
  static constexpr moebal::Index top_k = 8;
};
#else
using Selection = moebal::TopK<8>;
#endif

moebal::Router router{Selection{}, moebal::Sigmoid{}};
