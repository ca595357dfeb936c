// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The warps of a CUDA device, as backend/warp_lanes.hpp wants them.

#include "../core/ids.hpp"

#if defined(__CUDACC__)

namespace moebal {

/// A warp whose integer sums lie in the device's memory.
struct CudaWarp {
  static constexpr int size = 32;
  static constexpr unsigned all = 0xffffffffu;

  static __device__ int lane() { return int(threadIdx.x % 32); } // blocks are whole warps of one dimension
  static __device__ void sync() { __syncwarp(); }
  static __device__ unsigned ballot(bool b) { return __ballot_sync(all, b); }
  static __device__ unsigned match(std::uint32_t value) { return __match_any_sync(all, value); }

  template <class T> static __device__ T shuffle_xor(T value, int mask) {
    if constexpr (sizeof(T) <= 4) {
      return __shfl_xor_sync(all, value, mask);
    } else {
      constexpr int words = int(sizeof(T) / 4);
      static_assert(sizeof(T) % 4 == 0);
      std::uint32_t part[words];
      __builtin_memcpy(part, &value, sizeof(T));
      for (int i = 0; i < words; ++i) part[i] = __shfl_xor_sync(all, part[i], mask);
      __builtin_memcpy(&value, part, sizeof(T));
      return value;
    }
  }

  static __device__ std::uint32_t max(std::uint32_t value) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    return __reduce_max_sync(all, value);
#else
    for (int half = 16; half > 0; half /= 2) {
      std::uint32_t const other = __shfl_xor_sync(all, value, half);
      value = other > value ? other : value;
    }
    return value;
#endif
  }
  static __device__ std::uint64_t max(std::uint64_t value) {
    std::uint32_t const high = std::uint32_t(value >> 32), best = max(high);
    return std::uint64_t(best) << 32 | max(high == best ? std::uint32_t(value) : 0u);
  }

  static __device__ void add(std::int64_t* p, std::int64_t value) {
    atomicAdd(reinterpret_cast<unsigned long long*>(p), static_cast<unsigned long long>(value));
  }
};

/// A warp whose integer sums lie in the memory that its block shares, where a processor adds 32 bits at once: the carry
/// is what the old low half shows.
struct CudaBlockWarp : CudaWarp {
  static __device__ void add(std::int64_t* p, std::int64_t value) {
    unsigned* const half = reinterpret_cast<unsigned*>(p); // little-endian
    unsigned const low = unsigned(value), old = atomicAdd(half, low);
    unsigned const high = unsigned(std::uint64_t(value) >> 32) + (old + low < old ? 1u : 0u);
    if (high != 0) atomicAdd(half + 1, high);
  }
};

} // namespace moebal

#endif
