// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every test includes first. `main` is in main.cpp; MPI and Kokkos are started by mpi.cpp and kokkos.cpp.

#include <boost/test/unit_test.hpp>
