// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Kokkos, 3.4 and newer: any of its execution spaces as an execution, its views as views.

#include "../core/execution.hpp"
#include "items.hpp"
#include "kokkos_lanes.hpp"

#include <algorithm>
#include <string>

#if defined(__CUDACC__) || defined(__HIPCC__) || defined(SYCL_LANGUAGE_VERSION)
namespace moebal::detail {
// A device compiler compiles host rows too, and SIMD packs are not for it.
inline constexpr bool kokkos_packs = false;
inline constexpr Index kokkos_tile_rows = 0, kokkos_block_rows = 0;
} // namespace moebal::detail
#else
#include "host_rows.hpp"
namespace moebal::detail {
inline constexpr bool kokkos_packs = true;
inline constexpr Index kokkos_tile_rows = host_tile_rows, kokkos_block_rows = host_block_rows;
} // namespace moebal::detail
#endif

namespace moebal {

/// What the lanes of a row are.
enum class KokkosRows {
  Fastest,     // the SIMD packs of the CPU on a host space, vector lanes elsewhere
  VectorLanes, // Kokkos's vector lanes everywhere: on a host, what a device does
};

namespace detail {

template <class Space>
inline constexpr bool kokkos_host = std::same_as<typename Space::memory_space, Kokkos::HostSpace>;
template <class Space> using kokkos_memory = std::conditional_t<kokkos_host<Space>, HostMemory, DeviceMemory>;

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

/// Each thread of a team is a worker: on a host it takes a run of rows, elsewhere every workers-th one.
template <class Space, class Body, bool packs> struct KokkosForRows {
  using Member = typename Kokkos::TeamPolicy<Space>::member_type;
  using Real = typename Body::real;

  Body body;
  std::byte* scratch;
  std::size_t bytes;
  Index n, workers;

  MOEBAL_FN void operator()(Member const& member) const {
    Index const worker = Index(member.league_rank()) * member.team_size() + member.team_rank();
    std::byte* const mine = scratch + std::size_t(worker) * bytes;
    constexpr bool runs = kokkos_host<Space>;
    Index const last = runs ? n * (worker + 1) / workers : n;
    if constexpr (packs) {
      host_rows(body, mine, worker, n * worker / workers, last);
    } else {
      int const exchange = exchange_bytes<Real>; // taken by reference, which a device cannot of a constant
      KokkosLanes<Member> const lanes(member, member.thread_scratch(0).get_shmem(exchange));
      for (Index row = runs ? n * worker / workers : worker; row < last; row += runs ? 1 : workers)
        body(lanes, mine, worker, row);
    }
  }
};

template <class F> struct KokkosForEach {
  F f;
  MOEBAL_FN void operator()(Index i) const { f(i); }
};

template <class Memory> struct KokkosScan {
  using value_type = std::int64_t;
  VectorView<std::int64_t, Memory> v;
  MOEBAL_FN void operator()(Index i, std::int64_t& sum, bool final) const {
    std::int64_t const here = v[i];
    if (final) v[i] = sum;
    sum += here;
  }
  MOEBAL_FN void init(std::int64_t& sum) const { sum = 0; }
  MOEBAL_FN void join(std::int64_t& a, std::int64_t const& b) const { a += b; }
  MOEBAL_FN void join(std::int64_t volatile& a, std::int64_t const volatile& b) const { a = a + b; } // Kokkos 3
};

/// The name that profilers show for Work; made once, for a name of more than 15 characters allocates.
template <class Work> std::string const& kokkos_region(char const* otherwise) {
  static std::string const name = [otherwise] {
    if constexpr (requires { Work::region; })
      return std::string(Work::region);
    else
      return std::string(otherwise);
  }();
  return name;
}

/// Newer releases take a name, and make one at each call where none is given.
template <class Space> void kokkos_fence(Space const& space) {
  static std::string const name("moebal::KokkosExec::fence");
  if constexpr (requires { space.fence(name); })
    space.fence(name);
  else
    space.fence();
}

} // namespace detail

/// A Kokkos execution space, with its instance (stream). On a device nothing waits for anything: the work is ordered on
/// the instance, and fence() waits for it. On a host space a call returns when its work is done. Kokkos must be
/// initialized.
///   KokkosExec exec{Kokkos::DefaultExecutionSpace{}};
template <class Space = Kokkos::DefaultExecutionSpace, KokkosRows rows = KokkosRows::Fastest> class KokkosExec {
  static constexpr bool host = detail::kokkos_host<Space>;
  static constexpr bool packs = detail::kokkos_packs && host && rows == KokkosRows::Fastest;
  static constexpr int team = host ? 1 : 4; // rows that a team works on at once

public:
  using memory = detail::kokkos_memory<Space>;
  static constexpr Index tile_rows = packs ? detail::kokkos_tile_rows : 0; // rows that a body may be asked for at once
  static constexpr Index block_rows = packs ? detail::kokkos_block_rows : 0; // rows whose logits are made at once
  /// Rows in flight on a device at most: each has private statistics, which must be cleared and summed.
  static constexpr Index most_workers = 2048;

  KokkosExec() = default;
  explicit KokkosExec(Space space) : space_(space) {}

  Space const& space() const { return space_; }

  Index workers() const {
    Index const threads = Index(space_.concurrency());
    if constexpr (host) return threads;
    Index const teams = std::min(threads / lanes(), most_workers) / team;
    return (teams < 1 ? 1 : teams) * team;
  }

  Index copies() const {
    if constexpr (host) return workers();
    return 1;
  }

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<memory> workspace, Body const& body) const {
    using Work = detail::KokkosForRows<Space, Body, packs>;
    Index const workers = this->workers();
    std::byte* const scratch = workspace.template take<std::byte>(Index(bytes) * workers);
    if (n <= 0) return;
    Kokkos::TeamPolicy<Space> policy(space_, int(workers / team), team, lanes());
    if constexpr (!packs) policy.set_scratch_size(0, Kokkos::PerThread(detail::exchange_bytes<typename Body::real>));
    Kokkos::parallel_for(detail::kokkos_region<Body>("moebal::for_rows"), policy,
                         Work{body, scratch, bytes, n, workers});
    settle();
  }
  template <class F> void for_each(Index n, F const& f) const { over<F>("moebal::for_each", n, f); }
  void exclusive_scan(VectorView<std::int64_t, memory> v) const {
    using Work = detail::KokkosScan<memory>;
    if (v.empty()) return;
    Kokkos::parallel_scan(detail::kokkos_region<Work>("moebal::exclusive_scan"), range(v.size()), Work{v});
    settle();
  }
  void reduce_columns(MatrixView<std::int64_t const, memory> m, VectorView<std::int64_t, memory> sums) const {
    over("moebal::reduce_columns", sums.size(), detail::SumColumn<memory>{m, sums});
  }
  template <class T> void copy(VectorView<T const, memory> from, VectorView<T, memory> to) const {
    over("moebal::copy", from.size(), detail::CopyElement<T, memory>{from, to});
  }
  template <class T> void fill(VectorView<T, memory> v, T value) const {
    over("moebal::fill", v.size(), detail::FillElement<T, memory>{v, value});
  }
  /// Waits for all work submitted before.
  void fence() const { detail::kokkos_fence(space_); }

private:
  using Range = Kokkos::RangePolicy<Space, Kokkos::IndexType<Index>>;
  Range range(Index n) const { return Range(space_, Index(0), n); }

  static int lanes() {
    if constexpr (host) return 1;
    int const most = int(Kokkos::TeamPolicy<Space>::vector_length_max());
    return most < partial_sums ? most : partial_sums;
  }
  template <class F> void over(char const* name, Index n, F const& f) const {
    if (n <= 0) return;
    Kokkos::parallel_for(detail::kokkos_region<F>(name), range(n), detail::KokkosForEach<F>{f});
    settle();
  }
  // A host's caller may read the results at once (some host spaces of Kokkos are asynchronous).
  void settle() const {
    if constexpr (host) fence();
  }

  Space space_{};
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
