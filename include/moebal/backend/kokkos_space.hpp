// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The primitives of core/execution.hpp by Kokkos's own loops, on any of its execution spaces.

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

namespace moebal::detail {

template <class Space>
inline constexpr bool kokkos_host = std::same_as<typename Space::memory_space, Kokkos::HostSpace>;
template <class Space> using kokkos_memory = std::conditional_t<kokkos_host<Space>, HostMemory, DeviceMemory>;

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

/// The primitives on any execution space. packs: rows by the CPU's SIMD packs.
template <class Space, bool packs> class KokkosSpace {
  static constexpr bool host = kokkos_host<Space>;
  static constexpr int team = host ? 1 : 4; // rows that a team works on at once

public:
  using memory = kokkos_memory<Space>;
  static constexpr Index tile_rows = packs ? kokkos_tile_rows : 0; // rows that a body may be asked for at once
  static constexpr Index block_rows = packs ? kokkos_block_rows : 0; // rows whose logits are made at once
  /// Rows in flight on a device at most: each has private statistics, which must be cleared and summed.
  static constexpr Index most_workers = 2048;

  KokkosSpace() = default;
  explicit KokkosSpace(Space space) : space_(space) {}

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
    using Work = KokkosForRows<Space, Body, packs>;
    Index const workers = this->workers();
    std::byte* const scratch = workspace.template take<std::byte>(Index(bytes) * workers);
    if (n <= 0) return;
    Kokkos::TeamPolicy<Space> policy(space_, int(workers / team), team, lanes());
    if constexpr (!packs) policy.set_scratch_size(0, Kokkos::PerThread(exchange_bytes<typename Body::real>));
    Kokkos::parallel_for(kokkos_region<Body>("moebal::for_rows"), policy,
                         Work{body, scratch, bytes, n, workers});
    settle();
  }
  template <class F> void for_each(Index n, F const& f) const { over<F>("moebal::for_each", n, f); }
  void exclusive_scan(VectorView<std::int64_t, memory> v) const {
    using Work = KokkosScan<memory>;
    if (v.empty()) return;
    Kokkos::parallel_scan(kokkos_region<Work>("moebal::exclusive_scan"), range(v.size()), Work{v});
    settle();
  }
  void reduce_columns(MatrixView<std::int64_t const, memory> m, VectorView<std::int64_t, memory> sums) const {
    over("moebal::reduce_columns", sums.size(), SumColumn<memory>{m, sums});
  }
  template <class T> void copy(VectorView<T const, memory> from, VectorView<T, memory> to) const {
    over("moebal::copy", from.size(), CopyElement<T, memory>{from, to});
  }
  template <class T> void fill(VectorView<T, memory> v, T value) const {
    over("moebal::fill", v.size(), FillElement<T, memory>{v, value});
  }
  /// Waits for all work submitted before.
  void fence() const { kokkos_fence(space_); }

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
    Kokkos::parallel_for(kokkos_region<F>(name), range(n), KokkosForEach<F>{f});
    settle();
  }
  // A host's caller may read the results at once (some host spaces of Kokkos are asynchronous).
  void settle() const {
    if constexpr (host) fence();
  }

  Space space_{};
};

} // namespace moebal::detail
