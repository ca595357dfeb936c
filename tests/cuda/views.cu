// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Raw pointers as device views: those of a device pass, host memory is refused before anything is launched. 0 if so,
// 77 without a GPU, where every pointer is refused.
#include <moebal/backend/cuda_view.hpp>

#include <cstdio>

namespace {

using namespace moebal;

template <class E, class F> bool refused(char const* what, F const& make) {
  try {
    make();
  } catch (E const& e) {
    std::printf("%s: %s\n", what, e.what());
    return true;
  }
  std::printf("%s: NOT REFUSED\n", what);
  return false;
}

} // namespace

int main() {
  float on_host[12] = {};
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)
    return refused<CudaError>("no device", [&] { device_matrix(on_host, 3, 4); }) ? 77 : 1;
  float *on_device = nullptr, *pinned = nullptr, *managed = nullptr;
  if (cudaMalloc(&on_device, sizeof(on_host)) != cudaSuccess || cudaMallocHost(&pinned, sizeof(on_host)) != cudaSuccess ||
      cudaMallocManaged(&managed, sizeof(on_host)) != cudaSuccess)
    return 1;
  bool right = device_matrix(on_device, 3, 4).row(1) == on_device + 4 && device_vector(managed, 12).size() == 12;
  right = device_matrix(on_host, 0, 4).empty() && device_vector(static_cast<float*>(nullptr), 0).empty() && right;
  right = refused<ShapeError>("host memory", [&] { device_matrix(on_host, 3, 4); }) && right;
  right = refused<ShapeError>("host memory", [&] { device_vector(on_host, 12); }) && right;
  right = refused<ShapeError>("pinned memory", [&] { device_vector(pinned, 12); }) && right;
  cudaFree(on_device), cudaFreeHost(pinned), cudaFree(managed);
  return right ? 0 : 1;
}
