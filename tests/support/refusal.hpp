// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The sentence of an error, for tests of what it says.

#include <moebal/core/errors.hpp>

#include <string>

/// What an Error that f throws says; empty where f throws nothing.
template <class Error = moebal::ShapeError, class F> std::string refusal(F&& f) {
  try {
    f();
  } catch (Error const& error) {
    return error.what();
  }
  return "";
}
