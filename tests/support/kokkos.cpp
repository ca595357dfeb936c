// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Linked to each test of Kokkos: Kokkos runs from before the first case to after the last one.
#include "support/test.hpp"

#include <Kokkos_Core.hpp>

namespace {
struct KokkosRuntime {
  KokkosRuntime() {
    if (Kokkos::is_initialized())
      return;
    Kokkos::initialize();
    mine_ = true;
  }
  ~KokkosRuntime() {
    if (mine_)
      Kokkos::finalize();
  }

private:
  bool mine_ = false;
};
} // namespace

BOOST_TEST_GLOBAL_FIXTURE(KokkosRuntime);
