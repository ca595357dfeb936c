// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#define THRUST_HOST_SYSTEM THRUST_HOST_SYSTEM_CPP
#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_CPP
#include "support/test.hpp"

#include "thrust_cases.hpp"
