// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The executions of the backend that this program is compiled for: tests/contracts is compiled once for each.

#include <moebal/backend/eigen.hpp>

#if defined(MOEBAL_TEST_SERIAL)
#include "serial_exec.hpp"
#elif defined(MOEBAL_TEST_KOKKOS)
#include <moebal/backend/kokkos.hpp>
#elif defined(MOEBAL_TEST_THRUST)
#include <moebal/backend/thrust.hpp>
#include <thrust/execution_policy.h>
#endif

#include <array>
#include <string>

namespace moebal_test {

/// A pool of n threads that lives until the program ends, n = 1 .. 3.
inline Eigen::ThreadPool& pool_of(int n) {
  static Eigen::ThreadPool one(1), two(2), three(3);
  return n == 1 ? one : n == 2 ? two : three;
}

#if defined(MOEBAL_TEST_SERIAL) // plain loops: the oracle that the stored hashes come from
template <class F> void on_each_backend(F const& f) {
  f("serial lanes", SerialExec{});
  f("serial lanes, 3 workers, backwards", SerialExec{.pretended_workers = 3, .backwards = true});
}
#elif defined(MOEBAL_TEST_KOKKOS)
template <class F> void on_each_backend(F const& f) {
#if defined(KOKKOS_ENABLE_SERIAL)
  f("Kokkos Serial", moebal::KokkosExec{Kokkos::Serial{}});
  f("Kokkos Serial, vector lanes",
    moebal::KokkosExec<Kokkos::Serial, moebal::KokkosRows::VectorLanes>{Kokkos::Serial{}});
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  f("Kokkos OpenMP", moebal::KokkosExec{Kokkos::OpenMP{}});
  f("Kokkos OpenMP, vector lanes",
    moebal::KokkosExec<Kokkos::OpenMP, moebal::KokkosRows::VectorLanes>{Kokkos::OpenMP{}});
#endif
#if defined(KOKKOS_ENABLE_THREADS)
  f("Kokkos Threads", moebal::KokkosExec{Kokkos::Threads{}});
#endif
}
#elif defined(MOEBAL_TEST_THRUST)
template <class F> void on_each_backend(F const& f) {
  f("Thrust host", moebal::ThrustExec{thrust::host});
  f("Thrust device", moebal::ThrustExec{thrust::device});
}
#else
template <class F> void on_each_backend(F const& f) {
  f("Eigen serial", moebal::EigenExec{});
  f("Eigen pool of 1", moebal::EigenExec{&pool_of(1)});
  f("Eigen pool of 2", moebal::EigenExec{&pool_of(2)});
  f("Eigen pool of 3", moebal::EigenExec{&pool_of(3)});
}
#endif

} // namespace moebal_test
