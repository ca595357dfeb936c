// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this load lacks a statistic that the rules read: collect Balancer::needs
#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/balancer.hpp>

using Balancer = moebal::Balancer<moebal::GlobalBatch<>, moebal::SwitchLoss<>>;

#ifdef MOEBAL_MISTAKE
using Needs = moebal::LossFreeBias::needs; // counts, no score sums
#else
using Needs = Balancer::needs;
#endif

void observe(Balancer& balancer, moebal::Load<Needs> const& load) { balancer.observe(0, load); }
