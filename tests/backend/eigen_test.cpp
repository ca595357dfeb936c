// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU execution: every row once, by a worker of its own scratch; Eigen's types as views.
#include "support/allocations.hpp"
#include "support/test.hpp"

#include <moebal/backend/eigen.hpp>

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

using namespace moebal;

namespace {

struct Rows { // writes who was here
  using real = float;
  int* seen;
  Index* worker_of;
  Index workers;
  std::size_t bytes;
  template <class Lanes> void operator()(Lanes, std::byte* scratch, Index worker, Index row) const {
    ++seen[row];
    worker_of[row] = worker;
    for (std::size_t i = 0; i < bytes; ++i) scratch[i] = std::byte(worker); // races are for ThreadSanitizer
    for (std::size_t i = 0; i < bytes; ++i)
      if (scratch[i] != std::byte(worker)) ++seen[row];
  }
};

template <class F> void on_pools(F f) {
  f(EigenExec{});
  for (int n : {1, 2, 3, 5}) {
    Eigen::ThreadPool pool(n);
    f(EigenExec{&pool});
    f(EigenExec{&pool}.on_every_thread());
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(backend_eigen)

BOOST_AUTO_TEST_CASE(each_row_once_with_scratch_of_its_worker) {
  on_pools([](EigenExec exec) {
    for (Index n : {0, 1, 2, 7, 1000}) {
      std::vector<int> seen(std::size_t(n) + 1);
      std::vector<Index> worker(std::size_t(n) + 1, -1);
      std::size_t const bytes = 192;
      Workspace workspace(bytes * std::size_t(exec.workers()));
      exec.for_rows(n, bytes, workspace, Rows{seen.data(), worker.data(), exec.workers(), bytes});
      for (Index r = 0; r < n; ++r) {
        BOOST_TEST_REQUIRE(seen[std::size_t(r)] == 1);
        BOOST_TEST_REQUIRE((worker[std::size_t(r)] >= 0 && worker[std::size_t(r)] < exec.workers()));
      }
      BOOST_TEST(seen[std::size_t(n)] == 0);
      for (Index r = 0, run = exec.run_rows<Rows>(n); r + 1 < n; ++r) // a run is of one worker
        if ((r + 1) % run != 0) BOOST_TEST_REQUIRE(worker[std::size_t(r)] == worker[std::size_t(r + 1)]);
      BOOST_TEST((n + exec.run_rows<Rows>(n) - 1) / exec.run_rows<Rows>(n) <= exec.most_runs());
    }
  });
}

BOOST_AUTO_TEST_CASE(on_every_thread_each_has_its_share) {
  for (int n : {1, 2, 5}) {
    Eigen::ThreadPool pool(n);
    EigenExec const exec = EigenExec{&pool}.on_every_thread();
    for (Index rows : {Index(n + 1), Index(1000)}) {
      std::vector<int> seen(static_cast<std::size_t>(rows));
      std::vector<Index> worker(static_cast<std::size_t>(rows));
      exec.for_rows(rows, 0, WorkspaceView<>(), Rows{seen.data(), worker.data(), exec.workers(), 0});
      BOOST_TEST(Index(std::set<Index>(worker.begin(), worker.end()).size()) == exec.workers());
    }
  }
}

namespace {
void busy(std::chrono::microseconds time) {
  auto const end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {}
}
struct SlowRow {
  using real = float;
  std::atomic<Index>* most;
  template <class Lanes> void operator()(Lanes, std::byte*, Index worker, Index) const {
    busy(std::chrono::microseconds(20));
    for (Index seen = *most; seen < worker && !most->compare_exchange_weak(seen, worker);) {}
  }
};
} // namespace

BOOST_AUTO_TEST_CASE(help_is_asked_for_where_it_pays) {
  Eigen::ThreadPool pool(2);
  EigenExec const exec{&pool};
  std::atomic<Index> most = 0;
  for (int i = 0; i < 1000 && most == 0; ++i) exec.for_rows(500, 0, WorkspaceView<>(), SlowRow{&most}); // 10 ms each
  BOOST_TEST(most > 0);
}

// Nobody waits for a thread that is busy elsewhere; what was asked of it does no harm when it comes to it, even if nobody is left.
BOOST_AUTO_TEST_CASE(a_thread_that_comes_too_late_is_not_waited_for) {
  Eigen::ThreadPool pool(1);
  std::atomic<bool> go = false;
  std::atomic<int> over = 0;
  pool.Schedule([&] {
    while (!go) std::this_thread::yield();
  });
  std::atomic<Index> most = 0;
  {
    EigenExec const exec{&pool};
    for (int i = 0; i < 3; ++i) exec.for_rows(500, 0, WorkspaceView<>(), SlowRow{&most});
  }
  BOOST_TEST(most == 0);
  pool.Schedule([&] { ++over; });
  go = true;
  while (over == 0) std::this_thread::yield();
}

BOOST_AUTO_TEST_CASE(shared_work_allocates_nothing) {
  Eigen::ThreadPool pool(2);
  for (EigenExec const& exec : {EigenExec{&pool}, EigenExec{&pool}.on_every_thread()}) {
    std::atomic<Index> most = 0;
    exec.for_rows(200, 0, WorkspaceView<>(), SlowRow{&most});
    auto const before = moebal_test::allocations();
    for (int i = 0; i < 5; ++i) exec.for_rows(200, 0, WorkspaceView<>(), SlowRow{&most});
    BOOST_TEST(moebal_test::allocations() == before);
  }
}

BOOST_AUTO_TEST_CASE(a_small_workspace_is_refused_before_any_row) {
  on_pools([](EigenExec exec) {
    int seen = 0;
    Index worker = 0;
    Workspace workspace(64);
    BOOST_CHECK_THROW(exec.for_rows(1, 100, workspace, Rows{&seen, &worker, 1, 0}), ShapeError);
    BOOST_TEST(seen == 0);
  });
}

BOOST_AUTO_TEST_CASE(for_each_sees_each_index_once) {
  on_pools([](EigenExec exec) {
    for (Index n : {0, 1, 3, 4097}) {
      std::vector<int> seen(std::size_t(n), 0);
      int* const p = seen.data();
      exec.for_each(n, [p](Index i) { ++p[i]; });
      for (int s : seen) BOOST_TEST_REQUIRE(s == 1);
    }
  });
}

// From inside a task of the pool, waiting for the pool could wait for itself: the work stays on this thread.
BOOST_AUTO_TEST_CASE(calls_from_inside_the_pool_finish) {
  Eigen::ThreadPool pool(2);
  EigenExec const exec{&pool};
  std::atomic<int> sum = 0;
  Eigen::Barrier done(4);
  for (int task = 0; task < 4; ++task)
    pool.Schedule([&] {
      exec.for_each(100, [&](Index) { ++sum; });
      done.Notify();
    });
  done.Wait();
  BOOST_TEST(sum == 400);
}

// Several threads may share one pool.
BOOST_AUTO_TEST_CASE(calls_from_several_threads_finish) {
  Eigen::ThreadPool pool(2);
  std::atomic<int> sum = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) EigenExec{&pool}.for_each(10, [&](Index) { ++sum; });
      });
  }
  BOOST_TEST(sum == 1500);
}

BOOST_AUTO_TEST_CASE(sums_scans_copies) {
  on_pools([](EigenExec exec) {
    std::vector<std::int64_t> v(1000);
    std::iota(v.begin(), v.end(), -3);
    auto const original = v;
    exec.exclusive_scan(v);
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < v.size(); ++i) {
      BOOST_TEST_REQUIRE(v[i] == sum);
      sum += original[i];
    }
    exec.exclusive_scan(VectorView<std::int64_t>());
    std::vector<std::int64_t> columns(4, 99);
    exec.reduce_columns(MatrixView<std::int64_t const>(original.data(), 3, 4, 10), columns);
    for (std::size_t c = 0; c < 4; ++c) BOOST_TEST(columns[c] == original[c] + original[10 + c] + original[20 + c]);
    exec.reduce_columns(MatrixView<std::int64_t const>(original.data(), 0, 4), columns);
    BOOST_TEST(columns == std::vector<std::int64_t>(4, 0));
    std::vector<float> a{1, 2, 3}, b(3);
    exec.copy(VectorView<float const>(a), VectorView<float>(b));
    BOOST_TEST(a == b);
    exec.fill(VectorView<float>(b), 7.0f);
    BOOST_TEST(b == std::vector<float>(3, 7));
  });
}

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
static_assert(matrix_like<RowMajor&> && matrix_like<Eigen::Map<RowMajor>> && matrix_like<Eigen::Block<RowMajor>>);
static_assert(vector_like<Eigen::VectorXf&> && vector_like<Eigen::RowVectorXf&> && !matrix_like<Eigen::VectorXf&>);
static_assert(std::is_same_v<decltype(as_matrix(std::declval<RowMajor const&>())), MatrixView<float const>>);
static_assert(std::is_same_v<decltype(as_matrix(std::declval<RowMajor&>())), MatrixView<float>>);

BOOST_AUTO_TEST_CASE(dense_types_are_views) {
  RowMajor m = RowMajor::Random(5, 7);
  auto const view = as_matrix(m);
  BOOST_TEST((view.rows() == 5 && view.cols() == 7 && view.row_stride() == 7));
  BOOST_TEST(view(3, 4) == m(3, 4));
  view(3, 4) = 9;
  BOOST_TEST(m(3, 4) == 9);
  auto const block = as_matrix(m.block(1, 2, 3, 4));
  BOOST_TEST((block.rows() == 3 && block.cols() == 4 && block.row_stride() == 7));
  BOOST_TEST(block(2, 2) == 9);
  Eigen::VectorXf v = Eigen::VectorXf::LinSpaced(6, 0, 5);
  BOOST_TEST((VectorView<float>(v).size() == 6 && VectorView<float>(v)[4] == 4));
  BOOST_TEST(as_vector(v.segment(2, 3))[0] == 2);
  BOOST_TEST(as_vector(v.head(2)).size() == 2);
  Eigen::RowVectorXf const r = v.transpose();
  BOOST_TEST((VectorView<float const>(r).size() == 6));
  Eigen::Matrix<float, 3, 4, Eigen::RowMajor> fixed;
  BOOST_TEST((as_matrix(fixed).rows() == 3 && as_matrix(fixed).cols() == 4));
}

BOOST_AUTO_TEST_CASE(sixteen_bit_scalars_are_ours) {
  Eigen::Matrix<Eigen::bfloat16, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> b(2, 2);
  Eigen::Matrix<Eigen::half, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> h(2, 2);
  b(1, 0) = Eigen::bfloat16(1.5f);
  h(1, 0) = Eigen::half(-2.5f);
  MatrixView<BFloat16> const bv = as_matrix(b);
  MatrixView<Half> const hv = as_matrix(h);
  BOOST_TEST(widen(bv(1, 0)) == 1.5f);
  BOOST_TEST(widen(hv(1, 0)) == -2.5f);
}

BOOST_AUTO_TEST_SUITE_END()
