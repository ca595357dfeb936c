// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Every refusal is one of these, thrown on the host before any work, and names what was needed and what was given.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace moebal {

/// Base of everything that the library throws itself.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A shape, size or index that does not fit.
struct ShapeError : Error {
  using Error::Error;
};
/// A call at the wrong moment, or saved state that is damaged or belongs to something else.
struct StateError : Error {
  using Error::Error;
};
/// A rank failed, never arrived, or disagrees with the others.
struct CommError : Error {
  using Error::Error;
};

namespace detail {
template <class E>
[[noreturn]] inline void refuse(std::string_view what, std::string_view needed, std::string_view had) {
  std::string text("moebal: ");
  text.append(what).append(": needed ").append(needed).append(", had ").append(had);
  throw E(text);
}
} // namespace detail

/// Throws ShapeError "moebal: <what>: needed <needed>, had <had>" unless both are equal.
inline void require_equal(std::string_view what, std::int64_t needed, std::int64_t had) {
  if (needed != had) detail::refuse<ShapeError>(what, std::to_string(needed), std::to_string(had));
}
/// Throws ShapeError unless low <= had <= high.
inline void require_within(std::string_view what, std::int64_t low, std::int64_t high, std::int64_t had) {
  if (had < low || had > high)
    detail::refuse<ShapeError>(what, std::to_string(low) + " to " + std::to_string(high), std::to_string(had));
}
/// Throws ShapeError unless had >= needed.
inline void require_at_least(std::string_view what, std::int64_t needed, std::int64_t had) {
  if (had < needed) detail::refuse<ShapeError>(what, "at least " + std::to_string(needed), std::to_string(had));
}

} // namespace moebal
