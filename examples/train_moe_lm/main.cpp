// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "program.hpp"

int main(int argc, char** argv) { return train::program(argc, argv); }
