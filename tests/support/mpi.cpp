// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Linked to each test of MPI: MPI runs from before the first case to after the last one.
#include "support/test.hpp"

#include <mpi.h>

namespace {
struct MpiRuntime {
  MpiRuntime() {
    int running = 0;
    MPI_Initialized(&running);
    if (running != 0)
      return;
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
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
