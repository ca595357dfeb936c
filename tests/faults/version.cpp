// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A rank that was built with OF_VERSION of the library: makes a communicator, and says why not.
#include <moebal/core/config.hpp>

#undef MOEBAL_VERSION
#define MOEBAL_VERSION OF_VERSION

#include <moebal/comm/mpi.hpp>

#include <exception>
#include <iostream>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  try {
    moebal::Mpi const comm(MPI_COMM_WORLD);
  } catch (std::exception const& error) {
    std::cerr << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return MPI_Finalize();
}
