// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "checksum.hpp"

#include <moebal/backend/kokkos.hpp>

#include <algorithm>

namespace machine {

using Space = Kokkos::DefaultExecutionSpace;
struct Session {
  Kokkos::ScopeGuard guard;
  Session(int& argc, char** argv) : guard(argc, argv) {}
};
inline moebal::KokkosExec<Space> execution() { return moebal::KokkosExec{Space{}}; }

/// n elements in the memory of the execution, zero at first.
template <class T> class Array {
public:
  explicit Array(moebal::Index n) : values_("array", std::size_t(n)) {}
  T* data() { return values_.data(); }
  moebal::Index size() const { return moebal::Index(values_.extent(0)); }
  auto view() { return moebal::as_vector(values_); }
  template <class F> void fill(F const& f) {
    auto const host = Kokkos::create_mirror_view(values_);
    auto const values = values_of<T>(size(), f);
    std::copy(values.begin(), values.end(), host.data());
    Kokkos::deep_copy(values_, host);
  }
  std::vector<T> on_host() const {
    auto const host = Kokkos::create_mirror_view(values_);
    Kokkos::deep_copy(host, values_);
    return {host.data(), host.data() + host.extent(0)};
  }

private:
  Kokkos::View<T*, Space> values_;
};

} // namespace machine
