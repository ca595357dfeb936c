// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: the second argument of Router is no gate
#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#ifdef MOEBAL_MISTAKE
struct Gate { // no score
  float scale = 1;
};
#else
using Gate = moebal::Sigmoid;
#endif

moebal::Router router{moebal::TopK<8>{}, Gate{.scale = 2.5f}};
