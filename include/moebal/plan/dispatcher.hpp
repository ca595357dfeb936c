// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of tokens to the ranks that hold their experts, and back.

#include "dispatch_sizes.hpp"
#include "group.hpp"
#include "row_exchange.hpp"
#include "token_fan_out.hpp"

#include <utility>
#include <vector>

namespace moebal {

struct DispatchOptions {
  /// The exchange in S parts: each rank's experts are cut into S runs, so that the rows of one run can travel while
  /// another is computed. Up to the experts of a rank; more are allowed and empty.
  Index slices = 1;
};

/// The experts of one slice of this rank: local experts [first, end), and their rows [first_row, end_row) of what was
/// received.
struct DispatchSlice {
  Index first, end;
  Index first_row, end_row;
};

/// Takes the rows of kept pairs to the ranks of their experts and back. Each rank has one, and all call the same:
///
///   Dispatcher dispatcher(comm, topology_of(comm, E));
///   dispatcher.plan(exec, policy, ids, weights);          // collective: who sends what where
///   gather_into(exec, dispatcher.view(), x, slots);       // slots [dispatcher.slots(), D]
///   dispatcher.send(exec, slots, received);               // received [dispatcher.received(), D]
///   ... expert i of this rank works on rows [dispatcher.offsets()[i], dispatcher.offsets()[i + 1]) ...
///   dispatcher.send_back(exec, outputs, slots);
///   combine_into(exec, dispatcher.view(), slots, weights, y);
///
/// Rows arrive by expert, then by the rank that they come from, then in the order of slots there: of flat pair index,
/// unless SlotOrder::Priority is asked for. That order, and so every bit, is the same on every path and in any number
/// of slices; and where a batch is cut over the ranks in order it is the order of one rank that holds the whole batch.
/// The backward is the same two moves: gradients of the outputs with send, those of the rows with send_back.
///
/// @tparam Counts  ExactCounts, FixedCapacity or GroupCapacity
/// @tparam Path    path::Flat, path::InsideFirst or path::BetweenFirst
/// Cost: a move is one exchange of rows a hop, and a copy of the rows that arrive, for all_to_all_v delivers them by
/// rank; none where no two experts of a rank are in one slice. Host memory. Nothing is allocated beside what the
/// communicator does once a batch as large was seen.
/// Errors: ShapeError before anything is sent; StateError for a move before plan; CommError as the communicator says.
template <communicator Comm, dispatch_counts Counts = ExactCounts, dispatch_path Path = path::Flat> class Dispatcher {
  static_assert(std::same_as<typename Comm::memory, HostMemory>,
                "moebal: a Dispatcher moves rows in host memory: give it a communicator of host memory");
  static constexpr bool fixed = std::same_as<Counts, FixedCapacity>;

public:
  /// Whether send_tokens works.
  static constexpr bool sends_tokens = !fixed;

  Dispatcher(Comm comm, Topology topology, Counts counts = {}, Path path = {}, DispatchOptions options = {})
      : Dispatcher(std::move(comm), topology, counts, path, options, NodeRanks(topology)) {}

  Topology const& topology() const { return topology_; }
  /// The experts of this rank, lower id first; their places here are local numbers.
  VectorView<ExpertId const> experts() const { return topology_.experts_of(comm_.rank()); }
  Index local_experts() const { return experts().size(); }

  /// Plans the way of the pairs that are kept. Collective.
  /// @param ids      [T, K] distinct ids in [0, E) or no_expert; each rank has a T of its own
  /// @param weights  [T, K], read by the drop policy; may be empty for the policies that read none
  /// With FixedCapacity and GroupCapacity the policy's capacity is not read.
  /// @throws ShapeError also where DropNone meets more pairs of an expert than a fixed capacity has slots
  template <execution Exec, drop_policy Drop, matrix_like Ids, matrix_like Weights>
  void plan(Exec const& exec, PlanPolicy<Drop> policy, Ids&& ids, Weights&& weights) {
    MatrixView<ExpertId const> const choices = as_matrix(ids);
    Index const tokens = choices.rows(), top_k = choices.cols(), experts = topology_.experts();
    planned_ = tokens_planned_ = false;
    workspace_.reserve(plan_workspace_bytes<element_of<Weights>>(exec, policy, tokens, top_k, experts));
    plan_.resize(tokens, top_k, experts, tokens * top_k);
    auto const group = [&](PlanPolicy<Drop> const& how, VectorView<Index const> limits) {
      plan_into(exec, how, experts, choices, as_matrix(weights), plan_.target(), WorkspaceView<>(workspace_),
                order_.map(), limits);
    };
    sizes_.plan(exec, comm_, order_, policy, choices, plan_, group);
    exchange_.plan(order_, comm_.rank(), sizes_, offsets_);
    planned_ = true;
  }
  template <execution Exec, drop_policy Drop, class Real>
  void plan(Exec const& exec, PlanPolicy<Drop> policy, Routing<Real> const& routing) {
    plan(exec, policy, routing.expert_ids(), routing.weights());
  }
  /// Nothing is dropped.
  template <execution Exec, matrix_like Ids> void plan(Exec const& exec, Ids&& ids) {
    plan(exec, PlanPolicy<>{}, ids, MatrixView<float const>{});
  }

  /// The plan of this rank's pairs, for gather, scatter and combine. Its experts stand in the order in which rows leave
  /// (by id where that is by rank too); loads and kept, and so drop_counts, are of this rank's pairs.
  PlanView<> view() const {
    require_plan();
    return sizes_.view(plan_);
  }
  /// Rows that this rank sends.
  Index slots() const { return view().offsets[topology_.experts()]; }
  /// Rows that this rank's experts get. With FixedCapacity these are known when the counts are here, which this waits
  /// for; most_received() is enough for any routing.
  Index received() { return offsets()[local_experts()]; }
  Index most_received() const {
    require_plan();
    if constexpr (fixed) return comm_.size() * local_experts() * sizes_.room(0, 0);
    return offsets_.back();
  }
  /// [local experts + 1] first row of each, then received().
  VectorView<Index const> offsets() {
    require_plan();
    learn_counts();
    return offsets_;
  }
  Index slices() const { return order_.slices(); }
  /// The experts and rows of slice s.
  DispatchSlice slice(Index s) {
    require_within("slice", 0, slices() - 1, s);
    auto const all = order_.columns(comm_.rank()), part = order_.columns(comm_.rank(), s);
    Index const first = part.first - all.first, end = part.end - all.first;
    return {first, end, offsets()[first], offsets()[end]};
  }

  /// slots [slots(), D] -> received [received(), D]. Collective. With FixedCapacity `received` has room for
  /// most_received() rows unless the counts were asked for before.
  template <execution Exec, matrix_like Slots, matrix_like Received>
  void send(Exec const& exec, Slots&& slots, Received&& received) {
    auto const from = checked("rows of slots", this->slots(), as_matrix(slots));
    auto const to = checked("rows of received", rows_needed(), as_matrix(received));
    require_same_columns(from, to);
    exchange_.prepare_there(from.cols());
    for (Index s = 0; s < slices(); ++s) exchange_.start_there(comm_, s, from, to);
    learn_counts();
    for (Index s = 0; s < slices(); ++s) exchange_.finish_there(exec, comm_, s, to);
  }
  /// x [T, D] -> received [received(), D]: the bits of gather and send, but a token's row goes to each first stop of
  /// its pairs (the rank of the expert; with path::BetweenFirst the node) once. The first call after a plan also sends
  /// 8 bytes a pair. The way back stays send_back: what comes back differs from pair to pair. Collective.
  template <execution Exec, matrix_like X, matrix_like Received>
  void send_tokens(Exec const& exec, X&& x, Received&& received) {
    static_assert(sends_tokens, "moebal: with a FixedCapacity every pair has a row of its own: gather and send");
    require_plan();
    MatrixView<element_of<X> const> const tokens = as_matrix(x);
    require_equal("rows of x [T, D]", plan_.tokens(), tokens.rows());
    auto const from = detail::as_bytes(tokens);
    auto const to = checked("rows of received", rows_needed(), as_matrix(received));
    require_same_columns(from, to);
    if (!tokens_planned_) tokens_.plan(comm_, exchange_, view());
    tokens_planned_ = true;
    tokens_.move(exec, comm_, exchange_, from, to);
  }
  /// outputs [received(), D] -> slots [slots(), D], each row to where it came from; fillers become zero. Collective.
  template <execution Exec, matrix_like Outputs, matrix_like Slots>
  void send_back(Exec const& exec, Outputs&& outputs, Slots&& slots) {
    auto const from = checked("rows of outputs", received(), as_matrix(outputs));
    auto const to = checked("rows of slots", this->slots(), as_matrix(slots));
    require_same_columns(from, to);
    exchange_.prepare_back(from.cols());
    for (Index s = 0; s < slices(); ++s) exchange_.start_back(exec, comm_, s, from, to);
    for (Index s = 0; s < slices(); ++s) exchange_.finish_back(s);
  }
  /// There, through the experts and back: slice s + 1 is under way while compute(slice(s)) runs, and what that leaves
  /// in its rows of `outputs` starts back at once. The same bits as send, compute for each slice, send_back.
  /// Collective.
  /// @param slots     [slots(), D]
  /// @param received  [received(), D] (as in send)
  /// @param outputs   [received(), D2]; may be the memory of received
  /// @param answers   [slots(), D2] out, other memory than slots
  /// @param compute   compute(DispatchSlice); on this communicator it calls nothing
  template <execution Exec, matrix_like Slots, matrix_like Received, matrix_like Outputs, matrix_like Answers, class F>
  void send_through(Exec const& exec, Slots&& slots, Received&& received, Outputs&& outputs, Answers&& answers,
                    F&& compute) {
    auto const from = checked("rows of slots", this->slots(), as_matrix(slots));
    auto const to = checked("rows of received", rows_needed(), as_matrix(received));
    auto const out = checked("rows of outputs", rows_needed(), as_matrix(outputs));
    auto const back = checked("rows of answers", this->slots(), as_matrix(answers));
    require_same_columns(from, to);
    require_same_columns(out, back);
    exchange_.prepare_there(from.cols());
    exchange_.prepare_back(out.cols());
    exchange_.start_there(comm_, 0, from, to);
    learn_counts();
    for (Index s = 0; s < slices(); ++s) {
      if (s + 1 < slices()) exchange_.start_there(comm_, s + 1, from, to);
      exchange_.finish_there(exec, comm_, s, to);
      compute(slice(s));
      exchange_.start_back(exec, comm_, s, out, back);
    }
    for (Index s = 0; s < slices(); ++s) exchange_.finish_back(s);
  }

private:
  static constexpr auto known = Path::hops > 1 ? detail::CountsOf::Everybody : detail::CountsOf::Arriving;
  static constexpr auto fillers = fixed ? detail::Fillers::Some : detail::Fillers::None;

  Dispatcher(Comm comm, Topology const& topology, Counts counts, Path path, DispatchOptions options,
             NodeRanks const& nodes)
      : comm_(std::move(comm)), topology_(topology),
        order_(path, topology_, nodes, checked(comm_, topology_, options), options.slices),
        sizes_(counts, order_, comm_.size(), comm_.rank()),
        exchange_(detail::HopPlanner<Path>(topology_, nodes, comm_.rank()), options.slices), tokens_(options.slices),
        offsets_(std::size_t(order_.columns(comm_.rank()).size()) + 1) {}

  static Index checked(Comm const& comm, Topology const& topology, DispatchOptions options) {
    require_equal("ranks of a dispatcher's topology (as of its communicator)", comm.size(), topology.ranks());
    require_at_least("slices of a dispatcher", 1, options.slices);
    return comm.rank();
  }
  void require_plan() const {
    if (!planned_) throw StateError("moebal: a dispatcher moves rows: needed a plan, had none (call plan first)");
  }
  Index rows_needed() const { return sizes_.is_waiting() ? most_received() : offsets_.back(); }
  template <class T> auto checked(char const* name, Index rows, MatrixView<T> matrix) const {
    require_plan();
    require_at_least(name, rows, matrix.rows());
    return detail::as_bytes(matrix);
  }
  template <class A, class B> static void require_same_columns(A const& from, B const& to) {
    require_equal("bytes of a row that is received (as sent)", from.cols(), to.cols());
  }

  void learn_counts() {
    if (!sizes_.is_waiting()) return;
    planned_ = false; // unless they come
    sizes_.learn();
    exchange_.plan(order_, comm_.rank(), sizes_, offsets_);
    planned_ = true;
  }

  Comm comm_;
  Topology topology_;
  detail::ExpertOrder order_;
  detail::DispatchSizes<Counts, Comm, known> sizes_;
  detail::RowExchange<Comm, Path, fillers> exchange_;
  detail::TokenExchange<Comm> tokens_;
  std::vector<Index> offsets_; // [local experts + 1]
  Plan plan_;
  Workspace workspace_;
  bool planned_ = false, tokens_planned_ = false;
};

} // namespace moebal
