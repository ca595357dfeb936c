// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Measures what examples/locality reckons with: latency and bandwidth of the library's own exchange between MPI ranks,
// inside a node and between nodes, and how fast ranks multiply. Then lets ranks exchange rows as routers would, and
// compares the time with what the model says from these numbers. On one machine: examples/two_nodes.sh gives it two.
//   mpiexec -n 4 mpi_links FILE

#include "locality/machine.hpp"
#include "locality/timed.hpp"

#include <moebal/comm/mpi.hpp>
#include <moebal/communicator.hpp>
#include <moebal/core/random.hpp>

#include <Eigen/Core>

#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>

using namespace moebal;
using namespace moebal::cost;
using locality::line;
using nlohmann::json;
using Comm = Communicator<Mpi>;
using Timed = locality::Timed<Comm>;

namespace {

constexpr Index row_bytes = 256; // 64 floats, a token of the text model
using Rows = std::vector<Index>; // [R]

/// An exchange where this rank sends and receives that many rows.
std::size_t add_exchange(Comm const& comm, Timed& timed, Rows const& send, Rows const& receive) {
  auto const room = [](Rows const& rows) {
    return std::make_shared<std::vector<std::int64_t>>(
        std::size_t(std::accumulate(rows.begin(), rows.end(), Index(0)) * row_bytes / 8));
  };
  return timed.add([comm, send, receive, from = room(send), to = room(receive)] {
    auto const view = [](auto& all) {
      return MatrixView(all.data(), Index(all.size()) * 8 / row_bytes, row_bytes / 8);
    };
    comm.all_to_all_v(view(*from), send, view(*to), receive);
  });
}

/// One level of the network: all ranks send to one partner each, and to all the partners that there are.
class MeasuredLink {
public:
  MeasuredLink(Comm const& comm, Timed& timed, Index to, Index from, std::vector<Index> const& partners)
      : partners_(Index(partners.size())) {
    for (Index rows : {1, 4, 16, 64, 256, 1024}) {
      Rows send(std::size_t(comm.size()), 0), receive(send);
      send[std::size_t(to)] = receive[std::size_t(from)] = rows;
      bytes_.push_back(double(rows * row_bytes));
      one_.push_back(add_exchange(comm, timed, send, receive));
    }
    Rows both(std::size_t(comm.size()), 0);
    for (Index const r : partners) both[std::size_t(r)] = 1;
    all_ = add_exchange(comm, timed, both, both);
  }
  Link link(Timed const& timed) const {
    std::vector<double> seconds;
    for (std::size_t const w : one_) seconds.push_back(timed[w]);
    auto const [first, per_byte] = line(bytes_, seconds);
    // With one partner the time of a message is part of the latency.
    double const message = partners_ > 1 ? std::max(0.0, timed[all_] - timed[one_.front()]) / double(partners_ - 1) : 0;
    return {std::max(0.0, first - message), message, 1 / per_byte};
  }

private:
  Index partners_;
  std::vector<double> bytes_;
  std::vector<std::size_t> one_;
  std::size_t all_ = 0;
};

/// All ranks run an expert of the text model.
class MeasuredProcessor {
public:
  explicit MeasuredProcessor(Timed& timed) {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Matrix const up = Matrix::Random(expert.width, expert.hidden), down = Matrix::Random(expert.hidden, expert.width);
    for (Index rows : {4, 16, 64, 256, 1024}) {
      rows_.push_back(double(rows));
      work_.push_back(timed.add(
          [up, down, x = Matrix(Matrix::Random(rows, expert.width)), inside = Matrix(), y = Matrix()]() mutable {
            for (int i = 0; i < repeats; ++i) {
              inside.noalias() = x * up;
              inside = inside.cwiseMax(0.0f);
              y.noalias() = inside * down;
            }
          }));
    }
  }
  Processor processor(Timed const& timed) const {
    std::vector<double> seconds;
    for (std::size_t const w : work_) seconds.push_back(timed[w] / repeats);
    auto const [start, per_row] = line(rows_, seconds);
    return {expert.flop_per_row() / per_row, start / per_row};
  }

private:
  static constexpr Expert expert{.width = 64, .hidden = 32};
  static constexpr int repeats = 20;
  std::vector<double> rows_;
  std::vector<std::size_t> work_;
};

/// Rows that a router with these habits sends from rank to rank: [R, R], T from each.
struct Habit {
  char const* name;
  double stays;  // share that stays in the node, spread over its ranks
  double crowds; // share that goes to rank 0 before that
};
std::vector<std::int64_t> traffic_of(Comm const& comm, Habit const& habit, Index tokens) {
  Index const ranks = comm.size();
  std::vector<std::int64_t> rows(std::size_t(ranks * ranks), 0);
  for (Index from = 0; from < ranks; ++from)
    for (Index t = 0; t < tokens; ++t) {
      auto const draw = [&](int i) {
        return double(random::bits(7, std::uint64_t((from * tokens + t) * 4 + i)) >> 11) * 0x1p-53;
      };
      Index to = Index(draw(0) * double(ranks));
      bool const near = draw(1) < habit.stays;
      while ((comm.node_of(to) == comm.node_of(from)) != near && habit.stays > 0) to = (to + 1) % ranks;
      if (draw(2) < habit.crowds) to = 0;
      ++rows[std::size_t(from * ranks + to)];
    }
  return rows;
}

void run(Comm const& comm, char const* file) {
  Index const ranks = comm.size(), me = comm.rank();
  std::vector<Index> nodes, near, peers; // ranks of my node; the ranks with my place, by node
  for (Index r = 0; r < ranks; ++r) nodes.push_back(comm.node_of(r));
  for (Index r = 0; r < ranks; ++r)
    if (nodes[std::size_t(r)] == nodes[std::size_t(me)]) near.push_back(r);
  Index const per_node = Index(near.size()), number = ranks / per_node;
  std::size_t const place = std::size_t(std::find(near.begin(), near.end(), me) - near.begin());
  for (Index n = 0; n < number; ++n)
    for (Index r = 0, seen = 0; r < ranks; ++r)
      if (nodes[std::size_t(r)] == n && seen++ == Index(place)) peers.push_back(r);
  if (per_node < 2 || number < 2 || Index(peers.size()) != number)
    throw ShapeError("mpi_links: needed two nodes or more with two ranks or more each, had " + std::to_string(ranks) +
                     " ranks, " + std::to_string(per_node) + " on the node of this one");
  auto const around = [](std::vector<Index> const& ring, std::size_t i, std::size_t step) {
    return ring[(i + step) % ring.size()];
  };
  std::size_t const mine = std::size_t(nodes[std::size_t(me)]);

  std::vector<Index> others, far; // of my node; of other nodes
  for (Index r = 0; r < ranks; ++r)
    if (r != me) (nodes[std::size_t(r)] == nodes[std::size_t(me)] ? others : far).push_back(r);
  Timed timed;
  MeasuredLink const own(comm, timed, me, me, {me});
  MeasuredLink const node(comm, timed, around(near, place, 1), around(near, place, near.size() - 1), others);
  MeasuredLink const between(comm, timed, around(peers, mine, 1), around(peers, mine, peers.size() - 1), far);
  MeasuredProcessor const processor(timed);
  struct Exchange {
    char const* habit;
    Index tokens;
    std::vector<std::int64_t> rows;
    std::size_t work;
  };
  std::vector<Exchange> exchanges;
  for (Habit const& habit : {Habit{"spread evenly", 0, 0}, Habit{"half stay in the node", 0.5, 0},
                             Habit{"9 of 10 stay", 0.9, 0}, Habit{"half crowd on one rank", 0, 0.5}})
    for (Index tokens : {16, 64, 256, 1024, 4096}) {
      std::vector<std::int64_t> const rows = traffic_of(comm, habit, tokens);
      Rows send, receive;
      for (Index r = 0; r < ranks; ++r) {
        send.push_back(rows[std::size_t(me * ranks + r)]);
        receive.push_back(rows[std::size_t(r * ranks + me)]);
      }
      exchanges.push_back({habit.name, tokens, rows, add_exchange(comm, timed, send, receive)});
    }
  std::vector<std::pair<Index, std::size_t>> sums;
  for (Index n : {1, 512, 16384})
    sums.emplace_back(n, timed.add([comm, counts = std::vector<std::int64_t>(std::size_t(n), 1)]() mutable {
      comm.all_reduce_sum(counts);
    }));
  timed.run(comm);

  Machine machine;
  machine.network.levels = Levels::InTurn;
  machine.network.rank = own.link(timed), machine.network.node = node.link(timed);
  machine.network.between = between.link(timed);
  machine.processor = processor.processor(timed);
  std::vector<Index> owner; // one expert a rank
  for (Index r = 0; r < ranks; ++r) owner.push_back(r);
  Topology const topology(owner, nodes);
  json seen = json::array(), summed = json::array();
  for (Exchange const& e : exchanges)
    seen.push_back(
        {{"habit", e.habit},
         {"tokens", e.tokens},
         {"measured", timed[e.work]},
         {"predicted", exchange_seconds(machine.network, topology, {e.rows.data(), ranks, ranks}, double(row_bytes))}});
  for (auto const& [n, work] : sums)
    summed.push_back({{"integers", n},
                      {"measured", timed[work]},
                      {"predicted", all_reduce_seconds(machine.network, {ranks, per_node}, 8 * double(n))}});
  if (me != 0) return;
  json const result{{"ranks", ranks},
                    {"ranks_per_node", per_node},
                    {"machine", locality::to_json(machine)},
                    {"exchanges", seen},
                    {"sums", summed}};
  std::ofstream(file) << result.dump(1) << "\n";
}

} // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int failed = 1;
  try {
    if (argc != 2)
      throw ShapeError("mpi_links: needed the name of the file to write, had " + std::to_string(argc - 1) +
                       " arguments");
    run(Comm(Mpi(MPI_COMM_WORLD)), argv[1]);
    failed = 0;
  } catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return failed;
}
