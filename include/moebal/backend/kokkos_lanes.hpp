// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Kokkos's vector lanes as a lane group.

#include "../core/lanes.hpp"

#include <Kokkos_Core.hpp>

namespace moebal {
namespace detail {

/// A maximum that starts from `least`, over values of any width that Kokkos can move between lanes.
template <class T, class Space> struct KokkosLargest {
  using reducer = KokkosLargest;
  using value_type = T;
  using result_view_type = Kokkos::View<T, Space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

  T* result;
  T least;

  MOEBAL_FN void join(T& a, T const& b) const { a = b > a ? b : a; }
  MOEBAL_FN void join(T volatile& a, T const volatile& b) const { // Kokkos 3
    T const other = b;
    if (other > a) a = other;
  }
  MOEBAL_FN void init(T& value) const { value = least; }
  MOEBAL_FN T& reference() const { return *result; }
  MOEBAL_FN result_view_type view() const { return result_view_type(result); }
  MOEBAL_FN bool references_scalar() const { return true; }
};

/// Bytes that a lane group needs to exchange the partial sums of Real.
template <class Real> inline constexpr int exchange_bytes = int(partial_sums * sizeof(Real));

} // namespace detail

/// The vector lanes of one thread of a Kokkos team. Every loop over them, reduction and `single` ends with the lanes in
/// step.
template <class Member> class KokkosLanes {
public:
  static constexpr int width = 1;

  /// exchange: detail::exchange_bytes of memory for this thread alone.
  MOEBAL_FN KokkosLanes(Member const& member, void* exchange) : member_(member), exchange_(exchange) {}

  template <class F> MOEBAL_FN void each(Index n, F f) const {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(member_, n), [&](Index e) { f(e); });
  }
  template <class F> MOEBAL_FN void each_one(Index n, F f) const { each(n, f); }
  template <class F> MOEBAL_FN void once(F f) const {
    Kokkos::single(Kokkos::PerThread(member_), [&] { f(); });
  }
  MOEBAL_FN void add(std::int64_t* p, Index e, std::int64_t value) const {
    if constexpr (std::is_same_v<typename Member::execution_space::memory_space, Kokkos::HostSpace>)
      p[e] += value; // a host worker has its own copy
    else
      Kokkos::atomic_add(p + e, value);
  }

  template <class Real, class F> MOEBAL_FN Real sum(Index n, F f) const {
    return fold<Real>([&](Index j) {
      Real partial = 0;
      for (Index e = j; e < n; e += partial_sums) partial = partial + f(e);
      return partial;
    });
  }
  template <class Real, class F, class G> MOEBAL_FN Real dot(Index n, F f, G g) const {
    return fold<Real>([&](Index j) {
      Real partial = 0;
      for (Index e = j; e < n; e += partial_sums) partial = math::fma(Real(f(e)), Real(g(e)), partial);
      return partial;
    });
  }
  template <class T, class F> MOEBAL_FN T max(Index n, F f, T least) const {
    T best = least;
    Kokkos::parallel_reduce(
        Kokkos::ThreadVectorRange(member_, n),
        [&](Index e, T& so_far) {
          T const value = f(e);
          if (value > so_far) so_far = value;
        },
        detail::KokkosLargest<T, typename Member::execution_space>{&best, least});
    return best;
  }
  template <class F> MOEBAL_FN bool any(Index n, F f) const {
    return max<int>(n, [&](Index e) { return f(e) ? 1 : 0; }, 0) != 0;
  }

private:
  // The order of a Kokkos reduction is Kokkos's own; this one is ours. Lane 0 alone reads the result, so that the next
  // fold cannot overwrite it under a slower lane.
  template <class Real, class Partial> MOEBAL_FN Real fold(Partial partial_of) const {
    Real* const partial = static_cast<Real*>(exchange_);
    each(partial_sums, [&](Index j) { partial[j] = partial_of(j); });
    for (int half = partial_sums / 2; half > 0; half /= 2)
      each(half, [&](Index j) { partial[j] = partial[j] + partial[j + half]; });
    Real result = 0;
    Kokkos::single(Kokkos::PerThread(member_), [&](Real& out) { out = partial[0]; }, result);
    return result;
  }

  Member const& member_;
  void* exchange_;
};
static_assert(lane_group<KokkosLanes<Kokkos::TeamPolicy<Kokkos::DefaultExecutionSpace>::member_type>>);

} // namespace moebal
