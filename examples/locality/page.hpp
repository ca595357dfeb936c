// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// docs/locality.md and its figure, from the JSON of --study: every number is read or reckoned from it.

#include <nlohmann/json.hpp>

#include <string>

namespace locality {

/// Throws std::invalid_argument for a JSON that lacks what the page shows.
std::string page(nlohmann::json const& study);
std::string figure(nlohmann::json const& study);

} // namespace locality
