// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Everything that needs no more than a C++20 compiler and Eigen. Other machines and ranks are included beside it:
// backend/kokkos.hpp, backend/thrust.hpp, comm/mpi.hpp, comm/nccl.hpp.

#include "backend/eigen.hpp"
#include "balancer.hpp"
#include "comm/threads.hpp"
#include "core/topology.hpp"
#include "pipeline.hpp"
#include "plan/combine.hpp"
#include "plan/gather.hpp"
#include "plan/kept_weights.hpp"
#include "plan/make_plan.hpp"
#include "recipes.hpp"
#include "select/with_top_k.hpp"
#include "stats/metrics.hpp"
#include "stats/metrics_specialisation.hpp"
