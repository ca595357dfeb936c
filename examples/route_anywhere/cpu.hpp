// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "checksum.hpp"

#include <moebal/backend/eigen.hpp>

namespace machine {

struct Session {
  Session(int, char**) {}
};
inline moebal::EigenExec execution() { return {}; }

/// n elements in the memory of the execution, zero at first.
template <class T> class Array {
public:
  explicit Array(moebal::Index n) : values_(std::size_t(n)) {}
  T* data() { return values_.data(); }
  moebal::Index size() const { return moebal::Index(values_.size()); }
  moebal::VectorView<T> view() { return values_; }
  template <class F> void fill(F const& f) { values_ = values_of<T>(size(), f); }
  std::vector<T> on_host() const { return values_; }

private:
  std::vector<T> values_;
};

} // namespace machine
