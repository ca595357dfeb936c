// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "executions.hpp"

#include <moebal/backend/thrust.hpp>

#include <thrust/system/cpp/execution_policy.h>
#if defined(MOEBAL_TEST_OMP)
#include <thrust/system/omp/execution_policy.h>
#endif
#if defined(MOEBAL_TEST_TBB)
#include <thrust/system/tbb/execution_policy.h>
#endif

namespace moebal_test {

void add_thrust(Executions& to) {
  to.emplace_back("Thrust CPP", moebal::ThrustExec{thrust::cpp::par});
#if defined(MOEBAL_TEST_OMP)
  to.emplace_back("Thrust OMP", moebal::ThrustExec{thrust::omp::par});
  to.emplace_back("Thrust OMP, 7 workers", moebal::ThrustExec{thrust::omp::par, 7});
#endif
#if defined(MOEBAL_TEST_TBB)
  to.emplace_back("Thrust TBB", moebal::ThrustExec{thrust::tbb::par});
#endif
}

} // namespace moebal_test
