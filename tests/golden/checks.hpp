// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Comparisons that several files of mappings share.

#include "library.hpp"

namespace golden {

inline constexpr Precision precisions[] = {Precision::Single, Precision::Double};

bool any_nan(std::vector<double> const& values);
std::string at_row(Precision p, std::size_t t);
reference::Score score_named(std::string const& name);

/// K distinct experts.
void check_ids(Case& c, std::string const& what, Ids const& ids, std::size_t experts);

/// The choice is the contract's: by logits exactly, with a bias or groups up to the rounding of score + bias.
void check_choice(Case& c, std::string const& what, Request const& r, Row const& z, Ids const& ids, Precision p);
/// Keys (and group scores) that differ by rounding count as equal.
bool acceptable_choice(Request const& r, Row const& z, Ids const& ids, Precision p);

/// The tolerance of an output, wider where the library differs by design: its scale is fp32; and where the peer does:
/// its softplus is the identity above 20.
Tolerance widened(Case const& c, Request const& r, std::string const& output, Precision p);

/// What is left of a difference of numbers of this size: a gradient that is zero, or nearly, holds that much noise.
Tolerance with_noise(Tolerance t, Precision p, double magnitude);
double largest(std::vector<double> const& values);

/// Half a unit of a score sum a token, times `factor`.
Tolerance with_fixed_point(Tolerance t, Precision p, double factor = 1);

/// Per-token normalised scores [T, E] through the statistics: every token is its own sequence.
Matrix score_rows(Request r, Precision p);
/// Compares them with an output; a NaN counts as 0 in a statistic.
void check_score_rows(Case& c, Request const& r, std::string const& output, Precision p);

} // namespace golden
