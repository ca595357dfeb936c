// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: the arguments are swapped: write Balancer<GlobalBatch<>, SwitchLoss<>>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/balancer.hpp>

#ifdef MOEBAL_MISTAKE
template class moebal::Balancer<moebal::SwitchLoss<>, moebal::GlobalBatch<>>;
#else
template class moebal::Balancer<moebal::GlobalBatch<>, moebal::SwitchLoss<>>;
#endif
