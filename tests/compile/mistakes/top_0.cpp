// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: TopK<K> needs K of at least 1
#include <moebal/select/top_k.hpp>

#ifdef MOEBAL_MISTAKE
moebal::TopK<0> selection{};
#else
moebal::TopK<1> selection{};
#endif
