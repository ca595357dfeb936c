// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Linked to each test of MPI: MPI runs from before the first case to after the last one. CTest chooses the thread level.
#include "support/test.hpp"

#include <cstdlib>
#include <string_view>

#include <mpi.h>

namespace {
struct MpiRuntime {
  MpiRuntime() {
    int running = 0;
    MPI_Initialized(&running);
    if (running != 0)
      return;
    char const* const threads = std::getenv("MOEBAL_TEST_MPI_THREADS");
    bool const funneled = threads && std::string_view(threads) == "funneled";
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, funneled ? MPI_THREAD_FUNNELED : MPI_THREAD_MULTIPLE, &provided);
    mine_ = true;
  }
  ~MpiRuntime() {
    if (mine_)
      MPI_Finalize();
  }

private:
  bool mine_ = false;
};
} // namespace

BOOST_TEST_GLOBAL_FIXTURE(MpiRuntime);
