// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Each rank of mpirun runs every case. A case that fails on one rank would leave the others waiting, so it ends the
// job.
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include "comm/disagreements.hpp"
#include <moebal/comm/delayed.hpp>
#include <moebal/comm/mpi.hpp>
#include <moebal/comm/packed.hpp>
#include <moebal/comm/recording.hpp>
#include <moebal/communicator.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace moebal;

namespace {

using Comm = Communicator<Mpi>;

template <class F> void on_all_ranks(F&& f) {
  try {
    f();
  } catch (std::exception const& error) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    std::cerr << "rank " << rank << ": " << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

// Before main, so before MPI_Init.
bool const refused_before_init = [] {
  try {
    Mpi{MPI_COMM_WORLD};
  } catch (StateError const& error) {
    return std::string(error.what()).find("MPI_Init") != std::string::npos;
  }
  return false;
}();

} // namespace

BOOST_AUTO_TEST_SUITE(comm_mpi)

BOOST_AUTO_TEST_CASE(conforms) {
  on_all_ranks([] { conformance(Comm(Mpi(MPI_COMM_WORLD))); });
}

BOOST_AUTO_TEST_CASE(conforms_packed) {
  on_all_ranks([] { conformance(Communicator(Packed(Mpi(MPI_COMM_WORLD), 3))); });
}

BOOST_AUTO_TEST_CASE(conforms_counted_and_delayed) {
  on_all_ranks([] {
    Delayed const slow(Recording(Mpi(MPI_COMM_WORLD)), {.latency = std::chrono::microseconds(200)});
    conformance(Communicator(slow));
    BOOST_TEST(slow.inner().record().calls(CommVerb::all_to_all_v) > 0);
  });
}

BOOST_AUTO_TEST_CASE(conforms_on_a_part_of_the_ranks) {
  on_all_ranks([] {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &part); // and in another order
    {
      Comm const comm{Mpi(part)};
      MPI_Comm_free(&part); // the duplicate is ours
      conformance(comm);
    }
  });
}

BOOST_AUTO_TEST_CASE(done_is_true_when_all_have_come) {
  on_all_ranks([] { done_waits_for_the_last_rank(Comm(Mpi(MPI_COMM_WORLD)), [] { MPI_Barrier(MPI_COMM_WORLD); }); });
}

BOOST_AUTO_TEST_CASE(differences_are_found_before_they_are_undefined) {
  on_all_ranks([] {
    Communicator<Mpi, Checks::Communicating> const checked{Mpi(MPI_COMM_WORLD)};
    conformance(checked);
    if (checked.size() == 1) return;
    disagreements::calls(Communicator<Mpi, Checks::Communicating>{checked.backend()});
    disagreements::facts(Comm(checked.backend()));
  });
}

BOOST_AUTO_TEST_CASE(ranks_of_one_machine_share_a_node) {
  on_all_ranks([] {
    Comm const comm{Mpi(MPI_COMM_WORLD)};
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    int together = 0;
    MPI_Comm_size(node, &together);
    MPI_Comm_free(&node);
    Index same = 0;
    for (Index r = 0; r < comm.size(); ++r) same += comm.node_of(r) == comm.node_of(comm.rank());
    BOOST_TEST(same == together);
  });
}

BOOST_AUTO_TEST_CASE(two_communicators_do_not_meet) {
  on_all_ranks([] {
    Comm const one{Mpi(MPI_COMM_WORLD)}, other{Mpi(MPI_COMM_WORLD)};
    std::vector<std::int64_t> a{1}, b{10};
    auto first = one.start_all_reduce_sum(a);
    auto second = other.start_all_reduce_sum(b);
    second.wait();
    first.wait();
    BOOST_TEST(a[0] == one.size());
    BOOST_TEST(b[0] == 10 * one.size());
  });
}

BOOST_AUTO_TEST_CASE(a_copy_and_a_request_keep_the_duplicate_alive) {
  on_all_ranks([] {
    auto first = std::make_unique<Comm>(Mpi(MPI_COMM_WORLD));
    std::vector<float> values{1.0f};
    auto request = first->start_all_reduce_sum(values);
    Index const ranks = first->size();
    first.reset();
    request.wait();
    BOOST_TEST(values[0] == float(ranks));
  });
}

BOOST_AUTO_TEST_CASE(what_is_too_large_for_one_message_goes_in_pieces) {
  on_all_ranks([] { conformance(Comm(Mpi(MPI_COMM_WORLD, {.largest_message = 300}))); });
}

BOOST_AUTO_TEST_CASE(rows_wider_than_an_int) {
  on_all_ranks([] {
    Comm const comm{Mpi(MPI_COMM_WORLD)};
    std::vector<Index> const none(std::size_t(comm.size()), 0);
    float nothing = 0;
    MatrixView<float> const wide(&nothing, 0, Index(1) << 31); // no rows, so no memory: but all its pieces are sent
    comm.all_to_all_v(wide, none, wide, none);
  });
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  BOOST_TEST(refused_before_init);
  BOOST_CHECK_THROW(Mpi{MPI_COMM_NULL}, CommError);
  BOOST_CHECK_THROW(Mpi(MPI_COMM_WORLD, {.timeout = std::chrono::milliseconds(0)}), ShapeError);
  BOOST_CHECK_THROW(Mpi(MPI_COMM_WORLD, {.answers = std::chrono::milliseconds(0)}), ShapeError);
  BOOST_CHECK_THROW(Mpi(MPI_COMM_WORLD, {.largest_message = 0}), ShapeError);
  BOOST_CHECK_THROW(Mpi(MPI_COMM_WORLD, {.largest_message = Index(1) << 31}), ShapeError);
  on_all_ranks([] {
    Comm const comm{Mpi(MPI_COMM_WORLD)};
    Index const many = Index(1) << 31;
    float real = 1;
    std::vector<Index> const rows(std::size_t(comm.size()), many);
    MatrixView<float> const matrix(&real, many * comm.size(), 1);
    BOOST_CHECK_THROW(comm.all_to_all_v(matrix, rows, matrix, rows), ShapeError); // before anything is read or sent
    comm.barrier();
  });
}

// At MPI_THREAD_FUNNELED (the run with two ranks) a thread is refused before it calls MPI, in a sentence.
BOOST_AUTO_TEST_CASE(threads_call_mpi_where_it_lets_them) {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  on_all_ranks([level] {
    Comm const comm{Mpi(MPI_COMM_WORLD)};
    std::string refusal;
    std::vector<std::int64_t> values{1};
    auto request = comm.start_all_reduce_sum(values);
    std::thread([&] {
      try {
        while (!request.done()) std::this_thread::yield();
        comm.barrier();
      } catch (StateError const& error) {
        refusal = error.what();
      }
    }).join();
    request.wait();
    BOOST_TEST(values[0] == comm.size());
    BOOST_TEST(refusal == (level >= MPI_THREAD_SERIALIZED
                               ? ""
                               : "moebal: MPI: needed calls from the thread that started it, or MPI_Init_thread with "
                                 "MPI_THREAD_SERIALIZED, had a call from another thread at MPI_THREAD_FUNNELED"));
    comm.barrier();
  });
}

BOOST_AUTO_TEST_CASE(a_request_dropped_by_a_thread_that_may_not_call_mpi_is_left_to_mpi) {
  on_all_ranks([] {
    Comm const comm{Mpi(MPI_COMM_WORLD)};
    auto request = comm.start_barrier();
    std::thread([dropped = std::move(request)] {}).join();
    comm.barrier();
  });
}

BOOST_AUTO_TEST_CASE(an_error_of_mpi_has_its_words) {
  BOOST_CHECK_EXCEPTION(detail::require_mpi(MPI_ERR_TRUNCATE, "MPI_Wait"), CommError, [](CommError const& error) {
    std::string const text = error.what();
    return text.starts_with("moebal: MPI_Wait: ") && text.find("trunc") != std::string::npos;
  });
  int flag = 0;
  BOOST_CHECK_NO_THROW(detail::require_mpi(MPI_Initialized(&flag), "MPI_Initialized"));
}

BOOST_AUTO_TEST_CASE(errors_on_the_duplicate_do_not_change_the_handler_of_the_users_communicator) {
  Comm const comm{Mpi(MPI_COMM_WORLD)};
  MPI_Errhandler handler = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(MPI_COMM_WORLD, &handler);
  BOOST_CHECK(handler == MPI_ERRORS_ARE_FATAL);
  MPI_Errhandler_free(&handler);
}

BOOST_AUTO_TEST_SUITE_END()
