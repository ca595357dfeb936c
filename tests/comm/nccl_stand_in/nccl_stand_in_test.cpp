// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// comm/nccl*.hpp on the stand-in (stand_in.hpp): packing, order and error paths without a GPU.
#include "support/test.hpp"

#include "run_nccl.hpp"

#include "comm/balancer_law.hpp"
#include "comm/conformance.hpp"

#include <boost/test/data/test_case.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

using namespace moebal;
using namespace nccl_stand_in;
using namespace std::chrono_literals;
using conformance_cases::check;
namespace data = boost::unit_test::data;

namespace {

using Comm = Communicator<NcclStaged>;

constexpr auto soon = 1s; // for what is to be late: long enough for what is not, on a busy machine

/// Each test finds the stand-in as at the start, and leaves nothing alive and nobody stuck.
struct Clean {
  Clean() { reset(); }
  ~Clean() {
    BOOST_TEST(communicators() == 0);
    BOOST_TEST(allocations() == 0);
    BOOST_TEST(events() == 0);
    BOOST_TEST(hangs() == 0);
    if (mutant == Mutant::None) BOOST_TEST(misuses() == 0);
    mutant = Mutant::None;
  }
};

void conform(Communicator<Threads> const& threads, NcclOptions const& options) {
  Comm const comm{NcclStaged(options)};
  conformance(comm);
  done_waits_for_the_last_rank(comm, [&] { threads.barrier(); });
}

/// The text that each rank's f ends with, when it makes a communicator and goes on from there.
template <class F> std::vector<std::string> endings(Index ranks, F&& f, std::chrono::milliseconds timeout = soon) {
  std::vector<std::string> texts(static_cast<std::size_t>(ranks));
  run_nccl(
      ranks,
      [&](Communicator<Threads> const& threads, NcclOptions const& options) {
        texts[std::size_t(threads.rank())] = thrown_by([&] { f(threads, options); });
      },
      timeout);
  return texts;
}
void sum_of_three(Comm const& comm) {
  std::vector<std::int64_t> values{1, 2, 3};
  comm.all_reduce_sum(values);
}
bool has(std::string const& text, std::string const& words) { return text.find(words) != std::string::npos; }

} // namespace

BOOST_FIXTURE_TEST_SUITE(comm_nccl_stand_in, Clean)

BOOST_DATA_TEST_CASE(conforms, data::make({1, 2, 3, 4, 8}), ranks) { run_nccl(ranks, conform, 60s, 2); }

BOOST_AUTO_TEST_CASE(conforms_whether_calls_stay_in_progress_or_not) {
  for (int const polls : {0, 1, 7}) {
    set_polls(polls);
    run_nccl(3, conform);
  }
}

BOOST_DATA_TEST_CASE(parts_of_nodes_conform, data::make({1, 4, 5}) * data::make({0, 1, 2}), ranks, ranks_per_node) {
  run_nccl(
      ranks,
      [&](Communicator<Threads> const&, NcclOptions const& options) {
        Nccl const whole(options);
        Index const block = ranks_per_node == 0 ? ranks : ranks_per_node, me = whole.rank();
        Comm const within{NcclStaged(whole.within_node())}, across{NcclStaged(whole.across_nodes())};
        check(within.rank() == me % block, "rank in the node");
        check(within.size() == std::min(block, ranks - me / block * block), "ranks of the node");
        check(within.node_of(within.size() - 1) == 0, "one node");
        check(across.rank() == me / block, "rank across nodes is the node's number");
        check(across.size() == (ranks - me % block + block - 1) / block, "nodes that have such a rank");
        check(across.node_of(across.size() - 1) == across.size() - 1, "one rank a node");
        conformance(within);
        conformance(across);
        conformance(Comm(NcclStaged(whole)));
        check(Comm(NcclStaged(NcclStaged(whole).within_node().across_nodes())).size() == 1, "parts of parts");
      },
      60s, ranks_per_node);
}

BOOST_DATA_TEST_CASE(global_batches_are_those_of_threads_and_of_one_rank, data::make({1, 2, 3, 4, 8}), ranks) {
  auto const hold = [&](auto scope) {
    balancer_law::Law const law(ranks, scope);
    run_nccl(ranks, [&](auto const&, NcclOptions const& options) { law.hold(Comm(NcclStaged(options))); });
  };
  hold(GlobalBatch<>{});
  hold(GlobalBatch<Accumulate::Running>{});
  hold(GlobalBatch<Accumulate::TwoPass>{});
}

// The suite above sees results in wait() alone.
BOOST_AUTO_TEST_CASE(what_follows_on_the_stream_needs_no_wait) {
  run_nccl(3, [](Communicator<Threads> const&, NcclOptions const& options) {
    Communicator<Nccl> const comm{Nccl(options)};
    std::int64_t* memory = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&memory), 4 * sizeof(std::int64_t));
    memory[0] = comm.rank() + 1;
    VectorView<std::int64_t, DeviceMemory> const sum(memory, 1), all(memory + 1, 3);
    auto first = comm.start_all_reduce_sum(sum);
    auto second = comm.start_all_reduce_sum(sum); // 3 * 6
    auto third = comm.start_all_gather(VectorView<std::int64_t const, DeviceMemory>(sum), all);
    third.wait();
    check(memory[0] == 18 && memory[1] == 18 && memory[3] == 18, "three verbs in the order of the stream");
    MatrixView<std::int64_t, DeviceMemory> const strided(memory, 1, 1, 2);
    std::vector<Index> const none(3, 0);
    conformance_cases::check_refused([&] { comm.all_to_all_v(strided, none, strided, none); }, "rows are packed");
    cudaFree(memory);
  });
}

BOOST_AUTO_TEST_CASE(counts_go_beyond_an_int) {
  run_nccl(1, [](Communicator<Threads> const&, NcclOptions const& options) {
    Communicator<Nccl> const comm{Nccl(options)};
    Index const many = (Index(1) << 31) + 5;
    void* memory = nullptr;
    if (cudaMalloc(&memory, std::size_t(many) * sizeof(float)) == cudaSuccess) // pages that nobody touches
      comm.all_reduce_sum(VectorView<float, DeviceMemory>(static_cast<float*>(memory), many));
    cudaFree(memory);
  });
  auto const all = calls();
  BOOST_WARN_MESSAGE(!all.empty(), "this machine does not lend so many pages");
  if (!all.empty()) BOOST_TEST(all[0].count == (std::size_t(1) << 31) + 5);
}

BOOST_AUTO_TEST_CASE(rows_without_bytes_and_empty_sums_are_not_sent) {
  run_nccl(2, [](Communicator<Threads> const&, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    std::vector<float> nothing;
    comm.all_reduce_sum(nothing);
    comm.all_gather(nothing, nothing);
    std::vector<float> rows(4);
    MatrixView<float> const two(rows.data(), 2, 2);
    std::vector<Index> const to_first{2, 0}, from_both{2, 2}, none{0, 0};
    std::vector<float> in(8);
    comm.all_to_all_v(two, to_first, MatrixView<float>(in.data(), 4, 2), comm.rank() == 0 ? from_both : none);
  });
  std::vector<std::string> functions;
  for (Call const& call : calls()) functions.push_back(call.function + std::to_string(call.count));
  std::sort(functions.begin(), functions.end());
  BOOST_TEST(functions == (std::vector<std::string>{"ncclRecv16", "ncclRecv16", "ncclSend16", "ncclSend16"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_wait_is_for_its_own_verb_alone) {
  run_nccl(2, [](Communicator<Threads> const& threads, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    std::vector<std::int64_t> a{1}, b{10};
    auto first = comm.start_all_reduce_sum(a);
    if (comm.rank() == 1) threads.barrier(); // rank 0 comes here when its first wait is over
    auto second = comm.start_all_reduce_sum(b);
    first.wait();
    check(a[0] == 2, "the first sum");
    if (comm.rank() == 0) threads.barrier();
    second.wait();
    check(b[0] == 20, "the second sum");
  });
}

BOOST_AUTO_TEST_CASE(memory_of_requests_is_used_again) {
  run_nccl(2, [](Communicator<Threads> const& threads, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    std::vector<std::int64_t> a(60), b(60);
    auto const step = [&] {
      auto first = comm.start_all_reduce_sum(a);
      auto second = comm.start_all_reduce_sum(b);
      first.wait();
      second.wait();
    };
    step();
    threads.barrier();
    int const before = allocations();
    threads.barrier();
    for (int i = 0; i < 10; ++i) step();
    check(allocations() == before, "no allocation after the first step");
  });
}

BOOST_AUTO_TEST_CASE(memory_of_a_dropped_request_is_not_used_while_it_is_under_way) {
  run_nccl(2, [](Communicator<Threads> const& threads, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    std::vector<std::int64_t> a{1}, b{10};
    if (comm.rank() == 1) threads.barrier(); // rank 0 has started both sums
    { auto const dropped = comm.start_all_reduce_sum(a); }
    auto request = comm.start_all_reduce_sum(b);
    if (comm.rank() == 0) threads.barrier();
    request.wait();
    check(b[0] == 20, "the sum after a dropped one");
  });
}

// ---- what goes wrong

BOOST_AUTO_TEST_CASE(an_older_library_is_refused) {
  set_version(21805);
  std::string const header = detail::nccl_version_text(NCCL_VERSION_CODE);
  BOOST_TEST(thrown_by([] { Nccl{NcclOptions{}}; }) ==
             "moebal: NCCL library: needed " + header + " or newer, as the nccl.h of this program, had 2.18.5");
  set_version(NCCL_VERSION_CODE + 100);
  BOOST_TEST(thrown_by([] { Nccl{NcclOptions{.id = Nccl::make_id()}}; }) == "");
}

BOOST_AUTO_TEST_CASE(no_device_no_version_no_id_no_memory) {
  set_devices(0);
  BOOST_TEST(thrown_by([] { Nccl{NcclOptions{}}; }) ==
             "moebal: NCCL: looking for a CUDA device: no CUDA-capable device is detected");
  set_devices(1);
  fail("ncclGetVersion", -1, ncclSystemError);
  BOOST_TEST(thrown_by([] { Nccl{NcclOptions{}}; }).starts_with("moebal: NCCL: ncclGetVersion: unhandled system"));
  fail("ncclGetUniqueId", -1, ncclSystemError);
  BOOST_TEST(thrown_by([] { Nccl::make_id(); }).starts_with("moebal: NCCL: ncclGetUniqueId: unhandled system error"));
  fail("cudaMalloc", -1, cudaErrorMemoryAllocation);
  BOOST_TEST(thrown_by([] { Nccl{NcclOptions{.id = Nccl::make_id()}}; }) ==
             "moebal: NCCL: cudaMalloc of 8 bytes: out of memory");
  Comm const comm{NcclStaged(NcclOptions{.id = Nccl::make_id()})};
  fail("cudaHostAlloc", -1, cudaErrorMemoryAllocation);
  BOOST_TEST(thrown_by([&] { sum_of_three(comm); }) == "moebal: NCCL: cudaHostAlloc of 24 bytes: out of memory");
  BOOST_TEST(thrown_by([&] { sum_of_three(comm); }) == ""); // nothing was sent: it goes on
}

BOOST_AUTO_TEST_CASE(initialisation_that_fails_on_one_rank_ends_on_all) {
  fail("ncclCommInitRankConfig", 1, ncclSystemError);
  auto const texts = endings(3, [](auto const&, NcclOptions const& options) { Nccl{options}; });
  BOOST_TEST(texts[1].starts_with("moebal: NCCL: ncclCommInitRankConfig: unhandled system error"));
  for (std::size_t const r : {0, 2})
    BOOST_TEST(texts[r].starts_with("moebal: NCCL: ncclCommInitRankConfig: not all ranks took part within 1 s"));
}

BOOST_AUTO_TEST_CASE(a_rank_that_never_comes_is_waited_for_as_long_as_the_timeout) {
  for (bool const dropped : {false, true}) {
    auto const texts = endings(3, [&](Communicator<Threads> const& threads, NcclOptions const& options) {
      Comm const comm{NcclStaged(options)};
      sum_of_three(comm);
      std::vector<std::int64_t> early{1}, late{2};
      if (comm.rank() != 2) {
        auto first = comm.start_all_reduce_sum(early);
        auto second = comm.start_all_reduce_sum(late);
        if (!dropped) {
          std::string const text = thrown_by([&] { first.wait(); });
          check(text == "moebal: NCCL: all_reduce_sum: not all ranks took part within 1 s", text);
          check(first.done() && second.done(), "requests that failed are done");
          check(early[0] == 1, "what has failed is left alone");
          check(thrown_by([&] { second.wait(); }) == text + " (at that the communicator was aborted)",
                "a request that was under way at the abort");
          check(late[0] == 2, "what has failed is left alone");
          check(thrown_by([&] { sum_of_three(comm); }).starts_with(text), "later verbs say why");
        }
      }
      threads.barrier(); // rank 2 stays until the others have given up
    });
    for (std::string const& text : texts) BOOST_TEST(text == "");
  }
}

BOOST_AUTO_TEST_CASE(an_error_elsewhere_is_found_while_waiting) {
  auto const texts = endings(
      3,
      [](Communicator<Threads> const& threads, NcclOptions const& options) {
        Comm const comm{NcclStaged(options)};
        sum_of_three(comm);
        std::optional<Comm::Request> request;
        if (comm.rank() != 2) request = comm.start_barrier();
        threads.barrier();
        if (comm.rank() == 2) // dies, which the network tells the others
          for (int const other : {0, 1}) report(other, ncclRemoteError);
        else
          request->wait();
      },
      2s);
  for (std::size_t const r : {0, 1})
    BOOST_TEST(texts[r] == "moebal: NCCL: barrier: remote process exited or there was a network error: stand-in: as "
                           "the test wants it");
}

BOOST_AUTO_TEST_CASE(a_failed_call_ends_the_communicator_on_that_rank) {
  for (std::string const function : {"ncclAllReduce", "ncclAllGather", "ncclSend", "ncclRecv"}) {
    reset();
    auto const texts = endings(2, [&](Communicator<Threads> const& threads, NcclOptions const& options) {
      Comm const comm{NcclStaged(options)};
      threads.barrier();
      if (comm.rank() == 0) fail(function, 1, ncclSystemError);
      threads.barrier();
      std::vector<std::int64_t> values(2), all(4);
      MatrixView<std::int64_t> const rows(values.data(), 2, 1), to(all.data(), 2, 1);
      std::vector<Index> const one{1, 1};
      if (function == "ncclAllReduce") comm.all_reduce_sum(values);
      if (function == "ncclAllGather") comm.all_gather(values, all);
      comm.all_to_all_v(rows, one, to, one);
    });
    BOOST_TEST(has(texts[1], "unhandled system error"), function + ": " + texts[1]);
    BOOST_TEST(has(texts[0], "not all ranks took part within 1 s"), function + ": " + texts[0]);
  }
}

BOOST_AUTO_TEST_CASE(a_group_call_that_fails_leaves_no_group_open) {
  for (std::string const function : {"ncclGroupStart", "ncclGroupEnd"}) {
    Comm const comm{NcclStaged(NcclOptions{.id = Nccl::make_id()})};
    std::vector<float> from{1}, to{2};
    MatrixView<float> const row(from.data(), 1, 1), result(to.data(), 1, 1);
    std::vector<Index> const one{1};
    fail(function, -1, ncclSystemError);
    BOOST_TEST(has(thrown_by([&] { comm.all_to_all_v(row, one, result, one); }), "unhandled system error"));
    BOOST_TEST(to[0] == 2);
    Comm const next{NcclStaged(NcclOptions{.id = Nccl::make_id()})};
    next.all_to_all_v(row, one, result, one);
    BOOST_TEST(to[0] == 1);
  }
}

BOOST_AUTO_TEST_CASE(events_that_fail) {
  for (std::string const function : {"cudaEventCreateWithFlags", "cudaEventRecord", "cudaEventQuery"}) {
    Comm const comm{NcclStaged(NcclOptions{.id = Nccl::make_id()})};
    fail(function, -1, cudaErrorLaunchFailure);
    BOOST_TEST(has(thrown_by([&] { sum_of_three(comm); }), "an error of the stand-in's CUDA"), function);
  }
}

BOOST_AUTO_TEST_CASE(ranks_that_call_different_things_fail) {
  auto const texts = endings(2, [](Communicator<Threads> const& threads, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    threads.barrier();
    std::vector<std::int64_t> values(comm.rank() == 0 ? 3 : 4);
    comm.all_reduce_sum(values);
  });
  for (std::string const& text : texts) BOOST_TEST(has(text, "invalid usage"), text);
}

BOOST_AUTO_TEST_CASE(a_split_that_fails_on_one_rank_ends_on_all) {
  fail("ncclCommSplit", 1, ncclSystemError);
  auto const texts = endings(2, [](auto const&, NcclOptions const& options) { Nccl(options).within_node(); });
  BOOST_TEST(has(texts[1], "ncclCommSplit: unhandled system error"), texts[1]);
  BOOST_TEST(has(texts[0], "ncclCommSplit: not all ranks took part within 1 s"), texts[0]);
}

BOOST_AUTO_TEST_CASE(a_rank_that_leaves_by_an_exception_does_not_wait_for_the_others) {
  auto const begin = std::chrono::steady_clock::now();
  BOOST_CHECK_THROW(run_nccl(2,
                             [](Communicator<Threads> const& threads, NcclOptions const& options) {
                               Comm const comm{NcclStaged(options)};
                               threads.barrier();
                               if (comm.rank() == 1) throw std::domain_error("rank 1 gives up");
                               threads.barrier(); // told by the threads that rank 1 has gone
                             }),
                    std::domain_error);
  BOOST_CHECK(std::chrono::steady_clock::now() - begin < 30s); // of the 60 that it might have waited
}

// ---- would a mistake be seen?

BOOST_DATA_TEST_CASE(mistakes_are_seen,
                     data::make({Mutant::NoGroup, Mutant::NoGroupEnd, Mutant::NotFollowed, Mutant::NoEvent,
                                 Mutant::OtherType, Mutant::OtherUnit}),
                     which) {
  mutant = which;
  bool seen = false;
  try {
    run_nccl(3, conform, soon);
  } catch (std::exception const& error) {
    seen = true;
    BOOST_TEST_MESSAGE(which << ": " << error.what());
  }
  BOOST_TEST(seen);
}

BOOST_AUTO_TEST_SUITE_END()

// Those that leave something behind.
BOOST_AUTO_TEST_CASE(comm_nccl_stand_in_sees_mistakes_at_the_end) {
  auto const one_waits_in_vain = [](Communicator<Threads> const& threads, NcclOptions const& options) {
    Comm const comm{NcclStaged(options)};
    if (comm.rank() == 0) BOOST_CHECK_THROW(comm.barrier(), CommError);
    threads.barrier();
  };
  reset();
  mutant = Mutant::NoAbort;
  run_nccl(2, one_waits_in_vain, soon);
  BOOST_TEST(communicators() > 0);
  BOOST_TEST(hangs() > 0);
  reset();
  mutant = Mutant::NoFinalize;
  run_nccl(2, [](auto const&, NcclOptions const& options) { Nccl{options}; });
  BOOST_TEST(misuses() > 0);
  mutant = Mutant::None;
  reset();
}
