# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Used by our build and by the installed package: sets moebal_mpi_{target,found,missing}; `missing` is a reason, or empty.
set(moebal_mpi_target MPI::MPI_CXX)
set(moebal_mpi_missing "")
set(MPI_CXX_SKIP_MPICXX ON) # the C interface is used
find_package(MPI QUIET COMPONENTS CXX)
if(NOT TARGET MPI::MPI_CXX)
  set(moebal_mpi_missing "no MPI was found (libopenmpi-dev, libmpich-dev; MPI_HOME names yours)")
endif()
set(moebal_mpi_found "MPI ${MPI_CXX_VERSION} (${MPIEXEC_EXECUTABLE})")
