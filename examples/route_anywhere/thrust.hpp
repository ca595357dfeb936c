// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "checksum.hpp"

#include <moebal/backend/thrust.hpp>

namespace machine {

struct Session {
  Session(int, char**) {}
};
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
inline auto execution() { return moebal::ThrustExec{cudaStream_t{}}; } // the default stream, as that of device_vector
#else
inline auto execution() { return moebal::ThrustExec{thrust::device}; }
#endif

/// n elements in the memory of the execution, zero at first.
template <class T> class Array {
public:
  explicit Array(moebal::Index n) : values_(std::size_t(n)) {}
  T* data() { return thrust::raw_pointer_cast(values_.data()); }
  moebal::Index size() const { return moebal::Index(values_.size()); }
  auto view() { return moebal::as_vector(values_); }
  template <class F> void fill(F const& f) { values_ = values_of<T>(size(), f); }
  std::vector<T> on_host() const {
    std::vector<T> values(values_.size());
    thrust::copy(values_.begin(), values_.end(), values.begin());
    return values;
  }

private:
  thrust::device_vector<T> values_;
};

} // namespace machine
