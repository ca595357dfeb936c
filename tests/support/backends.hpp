// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The executions that a suite runs on: those of the CPU and of every backend of this build; or, in a program that is compiled
// for it, the plain loops (MOEBAL_TEST_SERIAL) or the vector lanes of Kokkos (MOEBAL_TEST_KOKKOS_LANES).

#include <moebal/backend/eigen.hpp>

#if defined(MOEBAL_TEST_SERIAL)
#include "serial_exec.hpp"
#elif defined(MOEBAL_TEST_KOKKOS_LANES)
#include <moebal/backend/kokkos.hpp>
#else
#include "executions.hpp"
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
#elif defined(MOEBAL_TEST_KOKKOS_LANES)
template <class F> void on_each_backend(F const& f) {
  using moebal::KokkosExec, moebal::KokkosRows;
#if defined(KOKKOS_ENABLE_SERIAL)
  f("Kokkos Serial, vector lanes", KokkosExec<Kokkos::Serial, KokkosRows::VectorLanes>{Kokkos::Serial{}});
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  f("Kokkos OpenMP, vector lanes", KokkosExec<Kokkos::OpenMP, KokkosRows::VectorLanes>{Kokkos::OpenMP{}});
#endif
}
#else
template <class F> void on_each_backend(F const& f) {
  f("Eigen serial", moebal::EigenExec{});
  f("Eigen pool of 1", moebal::EigenExec{&pool_of(1)}.on_every_thread());
  f("Eigen pool of 2", moebal::EigenExec{&pool_of(2)}.on_every_thread());
  f("Eigen pool of 3", moebal::EigenExec{&pool_of(3)}.on_every_thread());
  for (auto const& exec : other_executions()) f(exec.name().c_str(), exec);
}
#endif

} // namespace moebal_test
