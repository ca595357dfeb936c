// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "executions.hpp"

#include <moebal/backend/kokkos.hpp>

namespace moebal_test {
namespace {

/// Kokkos runs from here on; whoever started it ends it.
struct KokkosRuntime {
  bool const mine = !Kokkos::is_initialized();
  KokkosRuntime() {
    if (mine) Kokkos::initialize();
  }
  ~KokkosRuntime() {
    if (mine) Kokkos::finalize();
  }
};

template <class Space> void add([[maybe_unused]] Executions& to, [[maybe_unused]] char const* name) {
  if constexpr (moebal::detail::kokkos_host<Space>)
    to.emplace_back(std::string("Kokkos ").append(name), moebal::KokkosExec<Space>{Space{}});
}

} // namespace

void add_kokkos(Executions& to) {
  static KokkosRuntime const runtime; // before the spaces, which must be gone when it ends
#if defined(KOKKOS_ENABLE_SERIAL)
  add<Kokkos::Serial>(to, "Serial");
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  add<Kokkos::OpenMP>(to, "OpenMP");
#endif
#if defined(KOKKOS_ENABLE_THREADS)
  add<Kokkos::Threads>(to, "Threads");
#endif
}

} // namespace moebal_test
