// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What laws are tried on: the same numbers on every machine, and shapes that loops get wrong.

#include "../core/errors.hpp"
#include "../core/random.hpp"
#include "../core/routing.hpp"
#include "any_exec.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace moebal::laws {

/// Sizes to try; those that a policy refuses by a ShapeError are left out, but one must be served. K is the policy's.
struct Shapes {
  std::vector<Index> tokens{0, 1, 7, 33};
  std::vector<Index> experts{1, 3, 8, 24, 60, 64};
  std::vector<AnyExec> executions{}; // beside the CPU's: these must give the same bits too
};

/// Kinds of logits.
enum class Numbers {
  Bell,         // standard normal: what a router sees
  Wide,         // 30 times as wide: scores saturate
  Huge,         // to 1e30, of both signs
  Ties,         // multiples of 1/4 in [-1, 1]
  Equal,        // one number a row
  Zeros,        // +0 and -0
  Denormals,    // of both signs
  SomeNan,      // one in five; all of every fourth row
  SomeInfinite, // one in five, of both signs
  AnyBits,      // every bit pattern of a float
};
inline constexpr Numbers all_numbers[] = {Numbers::Bell,         Numbers::Wide,   Numbers::Huge,      Numbers::Ties,
                                          Numbers::Equal,        Numbers::Zeros,  Numbers::Denormals, Numbers::SomeNan,
                                          Numbers::SomeInfinite, Numbers::AnyBits};
inline constexpr Numbers finite_numbers[] = {Numbers::Bell,  Numbers::Wide,  Numbers::Huge,     Numbers::Ties,
                                             Numbers::Equal, Numbers::Zeros, Numbers::Denormals};
inline constexpr char const* name_of(Numbers kind) {
  constexpr char const* names[] = {"bell",  "wide",      "huge",     "ties",          "equal",
                                   "zeros", "denormals", "some NaN", "some infinite", "any bits"};
  return names[int(kind)];
}

/// A row-major matrix that owns its elements.
template <class Real> struct Matrix {
  Index rows = 0, cols = 0;
  std::vector<Real> values{};
  Matrix() = default;
  Matrix(Index r, Index c, Real value = 0) : rows(r), cols(c), values(std::size_t(r * c), value) {}
  Real& operator()(Index r, Index c) { return values[std::size_t(r * cols + c)]; }
  Real operator()(Index r, Index c) const { return values[std::size_t(r * cols + c)]; }
  MatrixView<Real> view() { return {values.data(), rows, cols}; }
  MatrixView<Real const> view() const { return {values.data(), rows, cols}; }
  bool operator==(Matrix const&) const = default;
};

inline float number(Numbers kind, std::uint64_t seed, Index row, std::uint64_t n) {
  std::uint64_t const bits = random::bits(seed + 1000 * std::uint64_t(kind), n), low = bits & 0xffffffff;
  float const bell = float(random::normal(seed, n)), sign = bits >> 63 ? -1.0f : 1.0f;
  bool const one_in_five = bits >> 32 & 1 ? false : low % 5 < 2;
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  switch (kind) {
  case Numbers::Bell:
    return bell;
  case Numbers::Wide:
    return 30 * bell;
  case Numbers::Huge:
    return sign * float(low % 1000) * 1e27f;
  case Numbers::Ties:
    return float(low % 9) * 0.25f - 1;
  case Numbers::Equal:
    return float(row % 5) - 2;
  case Numbers::Zeros:
    return sign * 0.0f;
  case Numbers::Denormals:
    return sign * math::Ops<float>::from_bits(std::uint32_t(low & 0xfffff));
  case Numbers::SomeNan:
    return row % 4 == 3 || one_in_five ? nan : bell;
  case Numbers::SomeInfinite:
    return one_in_five ? sign * inf : bell;
  case Numbers::AnyBits:
    return math::Ops<float>::from_bits(std::uint32_t(low));
  }
  return 0;
}
/// Logits [T, E] of one kind.
template <class Real> Matrix<Real> matrix_of(Numbers kind, Index tokens, Index experts, std::uint64_t seed = 1) {
  Matrix<Real> m(tokens, experts);
  for (std::size_t i = 0; i < m.values.size(); ++i)
    m.values[i] = Real(number(kind, seed, Index(i) / experts, std::uint64_t(i)));
  return m;
}

/// A permutation of [0, n) that leaves nothing in its place (one cycle: Sattolo 1986).
inline std::vector<Index> shuffled(Index n, std::uint64_t seed = 1) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index(0));
  for (Index i = n; i > 1; --i)
    std::swap(order[std::size_t(i - 1)], order[std::size_t(random::below(seed, std::uint64_t(i), i - 1))]);
  return order;
}
/// Row i is row order[i] of m; order may be shorter than m.
template <class Real> Matrix<Real> rows_in_order(Matrix<Real> const& m, std::vector<Index> const& order) {
  Matrix<Real> out(Index(order.size()), m.cols);
  for (Index i = 0; i < out.rows; ++i) std::copy_n(m.view().row(order[std::size_t(i)]), m.cols, out.view().row(i));
  return out;
}
/// Column i is column order[i] of m.
template <class Real> Matrix<Real> columns_in_order(Matrix<Real> const& m, std::vector<Index> const& order) {
  Matrix<Real> out(m.rows, m.cols);
  for (Index r = 0; r < m.rows; ++r)
    for (Index c = 0; c < m.cols; ++c) out(r, c) = m(r, order[std::size_t(c)]);
  return out;
}
template <class T> std::vector<T> in_order(std::vector<T> const& values, std::vector<Index> const& order) {
  if (values.empty()) return {};
  std::vector<T> out;
  for (Index const i : order) out.push_back(values[std::size_t(i)]);
  return out;
}
/// The numbers first, first + 1, ... last - 1.
inline std::vector<Index> range(Index first, Index last) {
  std::vector<Index> all;
  for (Index i = first; i < last; ++i) all.push_back(i);
  return all;
}

/// RowOptions with memory of their own.
struct Extras {
  std::vector<float> bias{};
  std::vector<std::uint8_t> padding{};
  std::vector<Index> segments{}, tags{}, classes{};
  BiasBy bias_by = BiasBy::Adding;
  RowOptions<> view() const { return {bias, padding, segments, tags, bias_by, classes}; }
};
/// Tags as selections by domain or token id want them and two classes of tokens, with one in five tokens padding; or a
/// small bias that all tokens share.
enum class With { Tags, Padding, Bias };
inline Extras extras_of(Index tokens, Index experts, With with = With::Tags) {
  Extras extras;
  for (Index t = 0; t < tokens; ++t) {
    extras.tags.push_back(t % 5);
    if (with == With::Padding) extras.padding.push_back(random::below(7, std::uint64_t(t), 5) == 0);
    if (with != With::Bias) extras.classes.push_back(t % 2);
  }
  for (Index e = 0; with == With::Bias && e < experts; ++e)
    extras.bias.push_back(float(random::below(8, std::uint64_t(e), 33) - 16) * 0x1p-6f);
  return extras;
}
/// The extras of some of the tokens, without segments.
inline Extras rows_in_order(Extras const& extras, std::vector<Index> const& order) {
  return {
      extras.bias,   in_order(extras.padding, order), {}, in_order(extras.tags, order), in_order(extras.classes, order),
      extras.bias_by};
}

} // namespace moebal::laws
