// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "library_as.hpp"

namespace golden {
template Answer route_as<double>(Request const&);
template Matrix backward_as<double>(Request const&, std::vector<Ids> const&, Matrix const&, Matrix const&, Row const&);
} // namespace golden
