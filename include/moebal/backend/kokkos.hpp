// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Kokkos, 3.4 and newer: any of its execution spaces as an execution, its views as views.

#include "kokkos_cuda.hpp"
#include "kokkos_space.hpp"

namespace moebal {

/// What the lanes of a row are.
enum class KokkosRows {
  Fastest,     // the SIMD packs of the CPU on a host space, warps with rows in registers on CUDA, vector lanes elsewhere
  VectorLanes, // Kokkos's vector lanes everywhere: on a host, what a device does
};

namespace detail {

/// Kokkos's 16-bit scalars are ours in memory. (On a host without them half_t is another name of float.)
template <class T> struct KokkosElement {
  template <class U> static constexpr bool is_half = std::same_as<std::remove_const_t<T>, U> && sizeof(U) == 2;
  template <class U> using with_const = std::conditional_t<std::is_const_v<T>, U const, U>;
#if KOKKOS_VERSION >= 30600
  static constexpr bool bfloat = is_half<Kokkos::Experimental::bhalf_t>;
#else
  static constexpr bool bfloat = false;
#endif
  using type = std::conditional_t<bfloat, with_const<BFloat16>,
                                  std::conditional_t<is_half<Kokkos::Experimental::half_t>, with_const<Half>, T>>;
};

template <class Space, KokkosRows rows> struct KokkosMachine {
  using type = KokkosSpace<Space, kokkos_packs && kokkos_host<Space> && rows == KokkosRows::Fastest>;
};
#if defined(KOKKOS_ENABLE_CUDA) && defined(__CUDACC__)
template <> struct KokkosMachine<Kokkos::Cuda, KokkosRows::Fastest> {
  using type = KokkosCuda;
};
#endif

} // namespace detail

/// A Kokkos execution space, with its instance (stream). On a device nothing waits for anything: the work is ordered on
/// the instance, and fence() waits for it. On a host space a call returns when its work is done. Kokkos must be
/// initialized.
///   KokkosExec exec{Kokkos::DefaultExecutionSpace{}};
template <class Space = Kokkos::DefaultExecutionSpace, KokkosRows rows = KokkosRows::Fastest>
class KokkosExec : public detail::KokkosMachine<Space, rows>::type {
public:
  KokkosExec() = default;
  explicit KokkosExec(Space space) : detail::KokkosMachine<Space, rows>::type(space) {}
};
static_assert(execution<KokkosExec<>>);

/// Views of rank 1 and 2. LayoutLeft of rank 2 is refused when compiled; a LayoutStride view with gaps inside its rows,
/// when called.
template <class Data, class... Properties>
  requires(int(Kokkos::View<Data, Properties...>::rank) == 1 || int(Kokkos::View<Data, Properties...>::rank) == 2)
struct ViewTraits<Kokkos::View<Data, Properties...>> {
  using View = Kokkos::View<Data, Properties...>;
  using memory = detail::kokkos_memory<typename View::execution_space>;
  using element = typename detail::KokkosElement<typename View::value_type>::type;
  static constexpr bool is_matrix = int(View::rank) == 2;
  static constexpr bool row_major = !std::same_as<typename View::array_layout, Kokkos::LayoutLeft>;

  static element* data(View const& x) { return reinterpret_cast<element*>(x.data()); }
  static Index rows(View const& x) { return is_matrix ? Index(x.extent(0)) : 1; }
  static Index cols(View const& x) {
    auto const last = int(View::rank) - 1;
    if (x.extent(last) > 1)
      require_equal("stride between the elements of a row of this Kokkos::View", 1, Index(x.stride(last)));
    return Index(x.extent(last));
  }
  static Index row_stride(View const& x) { return is_matrix ? Index(x.stride(0)) : cols(x); }
};

} // namespace moebal
