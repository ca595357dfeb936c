// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Raw device pointers as views. Their type says nothing of where they point, so the driver is asked, once, where the view is made:
// no launch asks again.

#include "cuda_stream.hpp"

#if defined(__CUDACC__)

namespace moebal {

namespace detail {
/// Refuses what does not point into the memory of a device, or memory that the driver moves to it.
inline void require_device_pointer(void const* pointer, char const* what) {
  cudaPointerAttributes attributes{};
  require_cuda(cudaPointerGetAttributes(&attributes, pointer), what);
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
    refuse<ShapeError>(what, "memory of a device", attributes.type == cudaMemoryTypeHost ? "pinned host memory" : "host memory");
}
} // namespace detail

/// Device memory [rows, cols], its rows row_stride elements apart. One question to the driver, no synchronisation.
/// @throws ShapeError for host memory, CudaError where there is no device
template <class T> MatrixView<T, DeviceMemory> device_matrix(T* data, Index rows, Index cols, Index row_stride) {
  if (rows > 0 && cols > 0) detail::require_device_pointer(data, "pointer of a device matrix");
  return {data, rows, cols, row_stride};
}
template <class T> MatrixView<T, DeviceMemory> device_matrix(T* data, Index rows, Index cols) {
  return device_matrix(data, rows, cols, cols);
}
/// Device memory [size]; the same.
template <class T> VectorView<T, DeviceMemory> device_vector(T* data, Index size) {
  if (size > 0) detail::require_device_pointer(data, "pointer of a device vector");
  return {data, size};
}

} // namespace moebal
#endif
