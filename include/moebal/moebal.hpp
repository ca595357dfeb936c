// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Everything that needs no more than a C++20 compiler and Eigen.

#include "backend/eigen.hpp"
#include "gate/sigmoid.hpp"
#include "gate/softmax.hpp"
#include "gate/sqrt_softplus.hpp"
#include "router.hpp"
#include "select/group_limited_top_k.hpp"
#include "select/top_k.hpp"
#include "select/with_top_k.hpp"
