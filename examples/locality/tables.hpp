// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The tables of docs/locality.md: what runs have shown, and what the step-time model says.

#include "results.hpp"

namespace locality {

// tables_of_runs.cpp
std::string claims(Results const& results);
std::string seen(Results const& results, Group const& group);
std::string pull(Results const& results);
std::string nodes_table(Results const& results);

// tables_of_model.cpp; links: what mpi_links has written
std::string reach();
std::string figures_table();
std::string sensitivity();
std::string measured(nlohmann::json const& links);
std::string measured_words(nlohmann::json const& links);
std::string global_batch();

} // namespace locality
