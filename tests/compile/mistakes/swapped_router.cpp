// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: the arguments are swapped: write Router<TopK<8>, Sigmoid>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#ifdef MOEBAL_MISTAKE
moebal::Router router{moebal::Sigmoid{}, moebal::TopK<8>{}};
#else
moebal::Router router{moebal::TopK<8>{}, moebal::Sigmoid{}};
#endif
