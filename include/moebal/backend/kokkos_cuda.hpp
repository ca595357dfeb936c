// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Kokkos's CUDA space: the warps of cuda_stream.hpp on the stream of the instance.

#include "cuda_stream.hpp"
#include "kokkos_space.hpp"

#if defined(KOKKOS_ENABLE_CUDA) && defined(__CUDACC__)

namespace moebal::detail {

/// What profilers show while it lives, for work that Kokkos does not launch itself.
class KokkosRegion {
public:
  explicit KokkosRegion(std::string const& name) { Kokkos::Profiling::pushRegion(name); }
  ~KokkosRegion() { Kokkos::Profiling::popRegion(); }
  KokkosRegion(KokkosRegion const&) = delete;
  KokkosRegion& operator=(KokkosRegion const&) = delete;
};

class KokkosCuda : public CudaStream {
public:
  KokkosCuda() : KokkosCuda(Kokkos::Cuda{}) {}
  explicit KokkosCuda(Kokkos::Cuda space) : CudaStream(space.cuda_stream()), space_(space) {}

  Kokkos::Cuda const& space() const { return space_; }

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<memory> workspace, Body const& body) const {
    KokkosRegion const region(kokkos_region<Body>("moebal::for_rows"));
    CudaStream::for_rows(n, bytes, workspace, body);
  }
  template <class F> void for_each(Index n, F const& f) const {
    KokkosRegion const region(kokkos_region<F>("moebal::for_each"));
    CudaStream::for_each(n, f);
  }
  void fence() const { kokkos_fence(space_); }

private:
  Kokkos::Cuda space_;
};

} // namespace moebal::detail

#endif
