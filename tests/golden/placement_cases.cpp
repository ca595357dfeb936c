// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Expert placement (EPLB). The peer computes in fp32 whatever it is given, so there is one run. Where equal loads
// decide, its sort may put them in any order: then ids are held against the contract (the lower index, everywhere), and
// the heaviest rank against the peer's.

#include "checks.hpp"

#include <moebal/plan/rebalance.hpp>

#include <algorithm>
#include <numeric>

namespace golden {
namespace {

using moebal::Index;
using Floats = std::vector<float>;
using Indices = std::vector<Index>;

// -------------------- the algorithm once more, with stable sorts and plain scans

struct Packing {
  Indices pack, place;
  bool tied = false; // equal weights of different items, for which the peer has no order
};
/// label: what an item is; items of one label are the same to everybody.
Packing packing(Floats const& weights, Index packs, Indices const& label) {
  auto const n = Index(weights.size());
  Packing r{Indices(weights.size()), Indices(weights.size(), 0)};
  if (n == packs) {
    std::iota(r.pack.begin(), r.pack.end(), Index(0));
    return r;
  }
  Indices order(weights.size());
  std::iota(order.begin(), order.end(), Index(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return weights[std::size_t(a)] > weights[std::size_t(b)]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    auto const a = std::size_t(order[i - 1]), b = std::size_t(order[i]);
    r.tied = r.tied || (weights[a] == weights[b] && label[a] != label[b]);
  }
  Floats sum(std::size_t(packs), 0);
  Indices held(std::size_t(packs), 0);
  for (Index const i : order) {
    std::size_t best = std::size_t(packs);
    for (std::size_t p = 0; p < sum.size(); ++p)
      if (held[p] < n / packs && (best == sum.size() || sum[p] < sum[best])) best = p;
    r.pack[std::size_t(i)] = Index(best);
    r.place[std::size_t(i)] = held[best]++;
    sum[best] += weights[std::size_t(i)];
  }
  return r;
}

struct Copies {
  Indices item, copy, count;
  bool tied = false;
};
Copies copies(Floats const& weights, Index slots) {
  std::size_t const n = weights.size();
  Copies r{Indices(n), Indices(n, 0), Indices(n, 1)};
  std::iota(r.item.begin(), r.item.end(), Index(0));
  while (Index(r.item.size()) < slots) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < n; ++i) {
      float const a = weights[i] / float(r.count[i]), b = weights[best] / float(r.count[best]);
      if (a > b) best = i;
    }
    for (std::size_t i = best + 1; i < n; ++i)
      r.tied = r.tied || weights[i] / float(r.count[i]) == weights[best] / float(r.count[best]);
    r.item.push_back(Index(best));
    r.copy.push_back(r.count[best]++);
  }
  return r;
}

struct Layer {
  Indices expert_of, copy_of, count; // [P], [P], [E]
  bool tied = false;
};
Layer placed(Floats const& loads, moebal::PlacementShape shape) {
  if (shape.groups % shape.nodes != 0) shape.groups = shape.nodes = 1;
  std::size_t const E = loads.size(), size = E / std::size_t(shape.groups), per_node = E / std::size_t(shape.nodes);
  Floats group_loads;
  for (std::size_t e = 0; e < E; e += size)
    group_loads.push_back(std::accumulate(loads.begin() + long(e), loads.begin() + long(e + size), 0.0f));
  Indices groups(group_loads.size());
  std::iota(groups.begin(), groups.end(), Index(0));
  Packing const node_of = packing(group_loads, shape.nodes, groups);
  Layer r{Indices(std::size_t(shape.replicas)), Indices(std::size_t(shape.replicas)), Indices(E), node_of.tied};
  for (Index node = 0; node < shape.nodes; ++node) {
    Indices experts(per_node);
    for (std::size_t g = 0; g < groups.size(); ++g)
      if (node_of.pack[g] == node)
        for (std::size_t i = 0; i < size; ++i) experts[std::size_t(node_of.place[g]) * size + i] = Index(g * size + i);
    Floats mine;
    for (Index const e : experts) mine.push_back(loads[std::size_t(e)]);
    Copies const c = copies(mine, shape.replicas / shape.nodes);
    Floats each;
    for (Index const i : c.item) each.push_back(mine[std::size_t(i)] / float(c.count[std::size_t(i)]));
    Index const ranks = shape.ranks / shape.nodes, slots = Index(c.item.size());
    Packing const rank_of = packing(each, ranks, c.item);
    r.tied = r.tied || c.tied || rank_of.tied;
    for (std::size_t i = 0; i < per_node; ++i) r.count[std::size_t(experts[i])] = c.count[i];
    for (std::size_t s = 0; s < c.item.size(); ++s) {
      auto const slot = std::size_t(node * slots + rank_of.pack[s] * (slots / ranks) + rank_of.place[s]);
      r.expert_of[slot] = experts[std::size_t(c.item[s])];
      r.copy_of[slot] = c.copy[s];
    }
  }
  return r;
}

// -------------------- comparison

char const* const equal_loads = "equal loads: the lower index (the peer's sort leaves them open)";

template <class Numbers> Row row_of(Numbers const& numbers) { return Row(numbers.begin(), numbers.end()); }
Floats floats_of(Row const& row) { return Floats(row.begin(), row.end()); }
Row output_row(Case const& c, std::string const& name, std::size_t l) {
  return c.output_matrix(name, Precision::Single).row(l);
}

void eplb_packing(Case& c) {
  Matrix const weights = c.matrix("in_weight");
  auto const packs = Index(c.count("num_packs"));
  for (std::size_t l = 0; l < weights.rows; ++l) {
    Floats const w = floats_of(weights.row(l));
    Indices pack(w.size()), place(w.size()), label(w.size());
    if (c.raises()) return needs_refusal(c, [&] { moebal::balanced_packing(w, packs, pack, place); });
    moebal::balanced_packing(w, packs, pack, place);
    std::iota(label.begin(), label.end(), Index(0));
    Packing const needed = packing(w, packs, label);
    std::string const at = "row " + std::to_string(l);
    c.close(at + " pack (contract)", row_of(pack), row_of(needed.pack), {});
    c.close(at + " place (contract)", row_of(place), row_of(needed.place), {});
    Row const peer = output_row(c, "pack_index", l), peer_place = output_row(c, "rank_in_pack", l);
    if (!needed.tied) {
      c.close(at + " pack_index", row_of(pack), peer, {});
      c.close(at + " rank_in_pack", row_of(place), peer_place, {});
      continue;
    }
    c.by_contract(equal_loads);
    Row ours(std::size_t(packs), 0), theirs = ours;
    for (std::size_t i = 0; i < w.size(); ++i) ours[std::size_t(pack[i])] += w[i], theirs[std::size_t(peer[i])] += w[i];
    std::sort(ours.begin(), ours.end()), std::sort(theirs.begin(), theirs.end());
    c.close(at + " weights of the packs", ours, theirs, {1e-6, 1e-6});
  }
}

void eplb_replicate(Case& c) {
  Matrix const weights = c.matrix("in_weight");
  std::size_t const slots = c.count("num_phy");
  for (std::size_t l = 0; l < weights.rows; ++l) {
    Floats const w = floats_of(weights.row(l));
    Indices item(slots), copy(slots), count(w.size());
    if (c.raises()) return needs_refusal(c, [&] { moebal::replicate(w, item, copy, count); });
    moebal::replicate(w, item, copy, count);
    Copies const needed = copies(w, Index(slots));
    std::string const at = "row " + std::to_string(l);
    c.close(at + " item (contract)", row_of(item), row_of(needed.item), {});
    c.close(at + " copy (contract)", row_of(copy), row_of(needed.copy), {});
    c.close(at + " count (contract)", row_of(count), row_of(needed.count), {});
    Row const peer_item = output_row(c, "phy2log", l), peer_copy = output_row(c, "rank", l),
              peer_count = output_row(c, "logcnt", l);
    if (needed.tied && row_of(item) != peer_item) {
      c.by_contract(equal_loads);
      Row ours, theirs;
      for (std::size_t i = 0; i < w.size(); ++i)
        ours.push_back(w[i] / float(count[i])), theirs.push_back(w[i] / float(peer_count[i]));
      std::sort(ours.begin(), ours.end()), std::sort(theirs.begin(), theirs.end());
      c.close(at + " loads of the copies", ours, theirs, {1e-6, 0});
      continue;
    }
    c.close(at + " phy2log", row_of(item), peer_item, {});
    c.close(at + " rank", row_of(copy), peer_copy, {});
    c.close(at + " logcnt", row_of(count), peer_count, {});
  }
}

/// [E, width] slots of each expert, then -1.
Row slots_of(moebal::Placement const& placement, Index layer, std::size_t width) {
  auto const slots = placement.slots_of(layer);
  Row all;
  for (Index e = 0; e < slots.rows(); ++e)
    for (std::size_t i = 0; i < width; ++i)
      all.push_back(Index(i) < slots.cols() ? double(slots(e, Index(i))) : double(moebal::no_slot));
  return all;
}

/// The slots of each expert in rising order.
Row sorted(Row slots, std::size_t width) {
  for (auto expert = slots.begin(); expert != slots.end(); expert += long(width))
    std::sort(expert, expert + long(width));
  return slots;
}

/// Another placement is as good as ours where its tables agree with each other: counts and slots follow from the
/// experts of the slots, and so do the loads of the ranks.
void check_peer_tables(Case& c, std::string const& at, Row const& loads, Row const& experts, Row const& counts,
                       Row const& sorted_slots, Row const& ranks, Tolerance tolerance) {
  std::size_t const E = loads.size(), width = sorted_slots.size() / E;
  Row needed_counts(E, 0), slots(sorted_slots.size(), -1), needed_ranks(ranks.size(), 0);
  for (std::size_t p = 0; p < experts.size(); ++p) {
    auto const e = std::size_t(experts[p]);
    auto const copy = std::size_t(needed_counts.at(e)++);
    if (copy < width) slots[e * width + copy] = double(p);
  }
  for (std::size_t p = 0; p < experts.size(); ++p) {
    auto const e = std::size_t(experts[p]);
    needed_ranks[p / (experts.size() / ranks.size())] += loads[e] / needed_counts[e];
  }
  c.close(at + " logcnt of the peer's phy2log", counts, needed_counts, {});
  c.close(at + " log2phy of the peer's phy2log", sorted_slots, sorted(slots, width), {});
  c.close(at + " derived_gpu_load of the peer's phy2log", ranks, needed_ranks, tolerance);
}

void eplb_rebalance(Case& c) {
  Matrix const weights = c.matrix("in_weight");
  Floats const loads = floats_of(weights.data);
  moebal::MatrixView<float const> const view(loads.data(), Index(weights.rows), Index(weights.cols));
  moebal::PlacementShape const shape{.replicas = Index(c.count("num_replicas")),
                                     .groups = Index(c.count("num_groups")),
                                     .nodes = Index(c.count("num_nodes")),
                                     .ranks = Index(c.count("num_gpus"))};
  if (c.raises()) return needs_refusal(c, [&] { moebal::rebalance(view, shape); });
  moebal::Placement const placement = moebal::rebalance(view, shape);
  Array const& peer_slots = c.output("log2phy", Precision::Single);
  std::size_t const width = peer_slots.shape.at(2);
  c.need(placement.most_copies() <= Index(width), "log2phy, copies", "at most " + std::to_string(width),
         std::to_string(placement.most_copies()));
  for (std::size_t l = 0; l < weights.rows; ++l) {
    std::string const at = "layer " + std::to_string(l);
    Layer const needed = placed(floats_of(weights.row(l)), shape);
    Row experts, counts;
    for (Index p = 0; p < shape.replicas; ++p) experts.push_back(double(placement.expert_of()(Index(l), p)));
    for (std::size_t e = 0; e < weights.cols; ++e) counts.push_back(double(placement.count()(Index(l), Index(e))));
    c.close(at + " experts (contract)", experts, row_of(needed.expert_of), {});
    c.close(at + " counts (contract)", counts, row_of(needed.count), {});
    auto const slots = placement.slots_of(Index(l));
    for (Index p = 0; p < shape.replicas; ++p) {
      Index const e = needed.expert_of[std::size_t(p)], copy = needed.copy_of[std::size_t(p)];
      if (e < slots.rows() && copy < slots.cols()) c.equal(at + " slot (contract)", double(slots(e, copy)), double(p));
    }
    std::vector<double> const ranks =
        moebal::rank_loads(placement, Index(l), {loads.data() + l * weights.cols, Index(weights.cols)}, shape.ranks);
    Row const peer_ranks = output_row(c, "derived_gpu_load", l), peer_experts = output_row(c, "phy2log", l),
              peer_counts = output_row(c, "logcnt", l);
    Tolerance const tolerance = c.tolerance("derived_gpu_load", Precision::Single);
    Row const peer(peer_slots.values.begin() + long(l * weights.cols * width),
                   peer_slots.values.begin() + long((l + 1) * weights.cols * width));
    if (needed.tied && experts != peer_experts) {
      c.by_contract(equal_loads);
      c.close(at + " heaviest rank", *std::max_element(ranks.begin(), ranks.end()),
              *std::max_element(peer_ranks.begin(), peer_ranks.end()), tolerance);
      check_peer_tables(c, at, weights.row(l), peer_experts, peer_counts, sorted(peer, width), peer_ranks, tolerance);
      continue;
    }
    c.close(at + " phy2log", experts, peer_experts, {});
    c.close(at + " logcnt", counts, peer_counts, {});
    c.close(at + " derived_gpu_load", ranks, peer_ranks, tolerance);
    // Copies of one expert have equal loads, so which of them is where is open in the peer: as sets.
    Row const had = slots_of(placement, Index(l), width);
    if (had != peer) c.by_contract("which copy of an expert is in which of its slots: the first is the first");
    c.close(at + " log2phy", sorted(had, width), sorted(peer, width), {});
  }
}

} // namespace

Mapping placement_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"eplb.balanced_packing", eplb_packing},
      {"eplb.replicate_experts", eplb_replicate},
      {"eplb.rebalance_experts", eplb_rebalance},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
