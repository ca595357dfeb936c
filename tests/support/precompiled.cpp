// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Nothing: the source of the target whose precompiled header the tests share.
