// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "library_as.hpp"

namespace golden {
template Answer route_as<float>(Request const&);
template Matrix backward_as<float>(Request const&, std::vector<Ids> const&, Matrix const&, Matrix const&, Row const&);
} // namespace golden
