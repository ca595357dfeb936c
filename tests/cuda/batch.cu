// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every batch-wise selection inside kernels, as device code that needs no nvcc flag. Compiled and linked, not run.
#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/auction.hpp>
#include <moebal/select/batch_pool.hpp>
#include <moebal/select/bidirectional.hpp>
#include <moebal/select/bip.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/momentum_quantile.hpp>
#include <moebal/select/no_token_left_behind.hpp>
#include <moebal/select/overflow_recycling.hpp>
#include <moebal/select/sinkhorn.hpp>
#include <moebal/select/swipe.hpp>
#include <moebal/select/topology_capped.hpp>

namespace cuda_batch {

using namespace moebal;

template <class F> __global__ void items_kernel(F f, Index n) {
  for (Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += Index(gridDim.x) * blockDim.x) f(i);
}
template <class T> __global__ void fill_kernel(VectorView<T, DeviceMemory> v, T value) {
  for (Index i = 0; i < v.size(); ++i) v[i] = value;
}

struct ItemsOnly {
  using memory = DeviceMemory;
  Index workers() const { return 1; }
  Index copies() const { return 1; }
  template <class Body> void for_rows(Index, std::size_t, WorkspaceView<DeviceMemory>, Body const&) const {}
  template <class F> void for_each(Index n, F const& f) const { items_kernel<<<64, 128>>>(f, n); }
  void exclusive_scan(VectorView<std::int64_t, DeviceMemory>) const {}
  void reduce_columns(MatrixView<std::int64_t const, DeviceMemory>, VectorView<std::int64_t, DeviceMemory>) const {}
  template <class T> void copy(VectorView<T const, DeviceMemory>, VectorView<T, DeviceMemory>) const {}
  template <class T> void fill(VectorView<T, DeviceMemory> v, T value) const { fill_kernel<<<1, 1>>>(v, value); }
};
static_assert(execution<ItemsOnly>);

template <class Real, class Selection> void assign(Selection const& selection) {
  selection.assign(ItemsOnly{}, select::BatchCandidates<Real, DeviceMemory>{}, MatrixView<ExpertId, DeviceMemory>{},
                   WorkspaceView<DeviceMemory>{});
}
template <class Real> void every_selection() {
  assign<Real>(ExpertChoice<8>{});
  assign<Real>(BatchPool<8>{});
  assign<Real>(Sinkhorn<2>{});
  assign<Real>(Auction{});
  assign<Real>(Bidirectional<2>{});
  assign<Real>(Bip<2>{});
  assign<Real>(TopologyCapped<>{.local = {0, 2}});
  assign<Real>(NoTokenLeftBehind{});
  assign<Real>(OverflowRecycling<2>{});
  assign<Real>(Swipe<2>{});
  assign<Real>(MomentumQuantile<2>{});
  EmaThreshold{}.update(ItemsOnly{}, MatrixView<Real const, DeviceMemory>{},
                        VectorView<std::uint8_t const, DeviceMemory>{}, VectorView<float, DeviceMemory>{},
                        WorkspaceView<DeviceMemory>{});
}

} // namespace cuda_batch

int main() {
  cuda_batch::every_selection<float>();
  cuda_batch::every_selection<double>();
}
