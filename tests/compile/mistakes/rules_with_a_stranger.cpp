// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: Rules{...} holds something that is neither a loss rule nor a bias rule
#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/rules.hpp>
#include <moebal/balance/switch_loss.hpp>

#ifdef MOEBAL_MISTAKE
moebal::Rules rules{moebal::SwitchLoss<>{}, 0.001f};
#else
moebal::Rules rules{moebal::SwitchLoss<>{}, moebal::LossFreeBias{}};
#endif
