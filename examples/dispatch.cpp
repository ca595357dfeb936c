// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tokens of two ranks to the ranks of their experts and back.

// [dispatch]
#include <moebal/backend/eigen.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/dispatcher.hpp>
#include <moebal/plan/traffic.hpp>

#include <iostream>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Ids = Eigen::Matrix<moebal::ExpertId, 2, 2, Eigen::RowMajor>;

int main() {
  moebal::run_ranks(2, [](auto comm) { // experts 0 and 1 are with rank 0, 2 and 3 with rank 1
    moebal::EigenExec const exec;
    Ids const ids = comm.rank() == 0 ? Ids{{0, 3}, {2, 3}} : Ids{{3, 2}, {1, 3}}; // [T, K]
    Matrix const weights = Matrix::Constant(2, 2, 0.5f), x = Matrix::Constant(2, 3, 1.0f + float(comm.rank()));

    moebal::Dispatcher dispatcher{comm, moebal::topology_of(comm, 4)};
    dispatcher.plan(exec, ids);
    Matrix slots(dispatcher.slots(), 3), rows(dispatcher.received(), 3), y(2, 3);
    moebal::gather_into(exec, dispatcher.view(), x, slots);
    dispatcher.send(exec, slots, rows);
    auto const first = dispatcher.offsets();                       // [local experts + 1]
    for (moebal::Index e = 0; e < dispatcher.local_experts(); ++e) // expert number e multiplies by 1 + e
      rows.middleRows(first[e], first[e + 1] - first[e]) *= float(1 + dispatcher.experts()[e]);
    dispatcher.send_back(exec, rows, slots);
    moebal::combine_into(exec, dispatcher.view(), slots, weights, y);

    moebal::Traffic traffic{dispatcher.topology()};
    traffic.add(comm.rank(), ids);
    traffic.all_reduce_sum(comm);
    for (int rank = 0; rank < 2; ++rank, comm.barrier())
      if (rank == comm.rank())
        std::cout << "rank " << rank << ": " << rows.rows() << " rows for its experts, y = " << y.col(0).transpose()
                  << ", sends " << traffic.rows()(rank, 0) << " and " << traffic.rows()(rank, 1) << '\n';
  });
}
// [dispatch]
