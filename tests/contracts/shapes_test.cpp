// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any shape works, and what does not fit is refused in words before anything is written. `_into` calls allocate
// nothing.
#include "support/test.hpp"

#include "contracts/oracle.hpp"
#include "support/backends.hpp"

#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#include <cstring>

using namespace contracts;
using namespace moebal_test;

BOOST_AUTO_TEST_SUITE(contracts_shapes)

BOOST_AUTO_TEST_CASE(any_shape) {
  FOR_EACH_BACKEND(b)
  for (Index t : {0, 1, 7, 4097})
    for (Index e : {1, 3, 8, 60, 160, 384, 1000})
      for (Index k : {1, 3, 8}) {
        if (k > e || (t == 4097 && e > 100)) continue;
        auto const x = logits_of(Kind::Bell, t, e);
        auto const r = route(b, moebal::Sigmoid{}, {.k = k}, matrix(x, t, e), Options{.bias = bias_of(e, 0.1f)});
        BOOST_TEST(r.in_bounds);
        BOOST_TEST(r.stats().tokens() == t);
        BOOST_TEST(Index(r.ids.size()) == t * k);
        if (k == e) // every expert, once
          for (Index row = 0; row < t; ++row) {
            auto ids = ids_of(r, row);
            std::sort(ids.begin(), ids.end());
            for (Index i = 0; i < k; ++i) BOOST_TEST_REQUIRE(ids[std::size_t(i)] == i);
          }
      }
}

BOOST_AUTO_TEST_CASE(no_tokens_in_sequences) {
  FOR_EACH_BACKEND(b) {
    std::vector<float> const x;
    auto const r = route(b, moebal::Softmax{}, {.k = 3}, matrix(x, 0, 9),
                         Options{.bias = {}, .padding = {}, .segments = {0, 0, 0}});
    for (std::int64_t n : r.load) BOOST_TEST(n == 0); // overwritten, not left as it was
    auto const g = backward(b, moebal::Softmax{}, 3, matrix(x, 0, 9), {}, r.ids, {});
    BOOST_TEST(g.in_bounds);
  }
}

BOOST_AUTO_TEST_CASE(into_allocates_nothing) {
  auto const x = logits_of(Kind::Bell, 50, 24);
  auto const y = logits_of<double>(Kind::Bell, 50, 24);
  Options const options{.bias = bias_of(24, 0.1f), .padding = padding_of(50), .segments = segments_of(50, 3)};
  std::int64_t const before = allocations();
  std::vector<int> const counted(100);
  BOOST_TEST(allocations() == before + 1); // the counter counts
  FOR_EACH_BACKEND(b)
  for (int round = 0; round < 3; ++round)
    for (std::size_t g = 0; g < 4; ++g) {
      auto const r = route(b, gates[g], {.k = 3}, matrix(x, 50, 24), options);
      auto const d = route(b, gates[g], {3, 6, 2, moebal::GroupScore::SumTop, 2}, matrix(y, 50, 24), options);
      moebal::RouterGradient<float> const gradient{{r.weights.data(), 50, 3}, {}, {}};
      auto const back = backward(b, gates[g], 3, matrix(x, 50, 24), options, r.ids, gradient);
      if (round == 0) continue; // a backend may start its threads at first use
      BOOST_TEST(r.allocations == 0);
      BOOST_TEST(d.allocations == 0);
      BOOST_TEST(back.allocations == 0);
    }
}

namespace {

using moebal::MatrixView;
using moebal::stats::Counts;
using Needs = moebal::stats::List<Counts>;
moebal::Router constexpr router(moebal::TopK<3>{}, moebal::Sigmoid{});

/// Everything that a call is given, of the right shapes at first.
struct Call {
  static constexpr Index t = 6, e = 10, k = 3;
  std::vector<float> x = logits_of(Kind::Bell, 9, 12);
  std::vector<float> bias = std::vector<float>(20), d_weights = std::vector<float>(100),
                     slopes = std::vector<float>(100), z = std::vector<float>(20);
  std::vector<std::uint8_t> padding = std::vector<std::uint8_t>(20);
  std::vector<ExpertId> ids = std::vector<ExpertId>(100, 77);
  std::vector<float> weights = std::vector<float>(100, 77), d = std::vector<float>(200, 77);
  std::vector<std::int64_t> load = std::vector<std::int64_t>(200, 77);
  Index experts = e, tokens = t;
  Index id_rows = t, id_cols = k, weight_rows = t, weight_cols = k, load_sequences = 2, load_experts = e;
  Index bias_size = e, padding_size = t, d_rows = t, d_cols = e, dw_rows = t, dw_cols = k, slope_rows = 2,
        slope_cols = e, z_size = 2;
  std::vector<Index> segments{0, 2, t};
  Index workspace_bytes = -1; // less than needed; -1: enough

  moebal::RowOptions<> options() const { return {{bias.data(), bias_size}, {padding.data(), padding_size}, segments}; }
  moebal::WorkspaceView<> cut(moebal::Workspace& memory) const {
    moebal::WorkspaceView<> all(memory);
    return workspace_bytes < 0 ? all : moebal::WorkspaceView<>(all.take<std::byte>(0), std::size_t(workspace_bytes));
  }
  template <class Exec> void forward(Exec const& exec) {
    std::size_t const bytes = router.workspace_bytes<Needs>(exec, tokens, experts, 2);
    moebal::Workspace memory(bytes);
    auto const view = cut(memory);
    router.route_into<Needs>(
        exec, MatrixView<float const>(x.data(), tokens, experts), options(),
        moebal::RoutingView<float>{{ids.data(), id_rows, id_cols}, {weights.data(), weight_rows, weight_cols}},
        moebal::LoadView<Needs>(load.data(), load_sequences, load_experts), view);
  }
  template <class Exec> void back(Exec const& exec) {
    moebal::Workspace memory(router.workspace_bytes<Needs>(exec, tokens, experts, 2));
    auto const view = cut(memory);
    moebal::RouterGradient<float> const gradient{
        {d_weights.data(), dw_rows, dw_cols}, {slopes.data(), slope_rows, slope_cols}, {z.data(), z_size}};
    std::vector<ExpertId> const chosen(100, 1);
    router.backward_into(exec, MatrixView<float const>(x.data(), tokens, experts), options(),
                         MatrixView<ExpertId const>(chosen.data(), id_rows, id_cols), gradient,
                         MatrixView<float>(d.data(), d_rows, d_cols), view);
  }
  bool untouched() const {
    auto const is = [](auto const& v) {
      return std::all_of(v.begin(), v.end(), [](auto value) { return value == 77; });
    };
    return is(ids) && is(weights) && is(load) && is(d);
  }
};

template <class Break>
void refused(Break change, char const* what, char const* needed, char const* had, bool forward, bool backward_too) {
  on_each_backend([&](char const* name, auto const& exec) {
    BOOST_TEST_CONTEXT(name << ": " << what)
    for (bool forwards : {true, false}) {
      if (forwards ? !forward : !backward_too) continue;
      Call call;
      change(call);
      try {
        forwards ? call.forward(exec) : call.back(exec);
        BOOST_ERROR("not refused");
      } catch (moebal::ShapeError const& e) {
        std::string const text = e.what();
        BOOST_TEST(text.starts_with("moebal: "));
        BOOST_TEST(text.find(what) != std::string::npos, text);
        BOOST_TEST(text.find(std::string("needed ") + needed) != std::string::npos, text);
        BOOST_TEST(text.ends_with(std::string(", had ") + had), text);
      }
      BOOST_TEST(call.untouched());
    }
  });
}

} // namespace

BOOST_AUTO_TEST_CASE(right_shapes_are_taken) {
  on_each_backend([](char const*, auto const& exec) {
    Call call;
    BOOST_CHECK_NO_THROW(call.forward(exec));
    BOOST_CHECK_NO_THROW(call.back(exec));
    BOOST_TEST(!call.untouched());
  });
}

BOOST_AUTO_TEST_CASE(wrong_shapes_are_refused) {
  refused([](Call& c) { c.experts = 0; }, "E, the columns of logits [T, E]", "at least 1", "0", true, true);
  refused([](Call& c) { c.experts = 2; }, "K of TopK<K> for E experts", "1 to 2", "3", true, true);
  refused([](Call& c) { c.id_rows = 5; }, "expert_ids [T, K], rows", "6", "5", true, true);
  refused([](Call& c) { c.id_cols = 4; }, "expert_ids [T, K], columns", "3", "4", true, true);
  refused([](Call& c) { c.weight_rows = 7; }, "weights [T, K], rows", "6", "7", true, false);
  refused([](Call& c) { c.weight_cols = 2; }, "weights [T, K], columns", "3", "2", true, false);
  refused([](Call& c) { c.load_sequences = 1; }, "load, sequences", "2", "1", true, false);
  refused([](Call& c) { c.load_experts = 9; }, "load, experts", "10", "9", true, false);
  refused([](Call& c) { c.bias_size = 9; }, "bias [E]", "10", "9", true, true);
  refused([](Call& c) { c.padding_size = 7; }, "padding [T]", "6", "7", true, true);
  refused([](Call& c) { c.d_rows = 5; }, "d_logits [T, E], rows", "6", "5", false, true);
  refused([](Call& c) { c.d_cols = 11; }, "d_logits [T, E], columns", "10", "11", false, true);
  refused([](Call& c) { c.dw_rows = 5; }, "d_weights [T, K], rows", "6", "5", false, true);
  refused([](Call& c) { c.dw_cols = 1; }, "d_weights [T, K], columns", "3", "1", false, true);
  refused([](Call& c) { c.slope_rows = 1; }, "slopes [S, E], rows", "2", "1", false, true);
  refused([](Call& c) { c.slope_cols = 9; }, "slopes [S, E], columns", "10", "9", false, true);
  refused([](Call& c) { c.z_size = 3; }, "z_slopes [S]", "2", "3", false, true);
}

BOOST_AUTO_TEST_CASE(wrong_segments_are_refused) {
  refused([](Call& c) { c.segments = {0}; }, "segments [S + 1], entries", "at least 2", "1", true, true);
  refused([](Call& c) { c.segments = {1, 2, 6}; }, "segments [S + 1], first entry", "0", "1", true, true);
  refused([](Call& c) { c.segments = {0, 2, 5}; }, "segments [S + 1], last entry (T)", "6", "5", true, true);
  refused([](Call& c) { c.segments = {0, 7, 6}; }, "segments [S + 1], each entry after the one before it", "at least 7",
          "6", true, true);
}

BOOST_AUTO_TEST_CASE(a_small_workspace_is_refused_with_all_that_is_needed) {
  on_each_backend([](char const* name, auto const& exec) {
    BOOST_TEST_CONTEXT(name)
    for (bool forwards : {true, false}) {
      Index const enough = Index(forwards ? router.workspace_bytes<Needs>(exec, Call::t, Call::e, 2)
                                          : router.workspace_bytes(exec, Call::t, Call::e, 2));
      for (Index bytes : {Index(0), Index(1), Index(64), enough / 2, enough - 1}) {
        Call call;
        call.workspace_bytes = bytes;
        try {
          forwards ? call.forward(exec) : call.back(exec);
          if (forwards || bytes < enough / 2) BOOST_ERROR("not refused: " << bytes << " of " << enough);
          continue; // backward may need less than workspace_bytes says
        } catch (moebal::ShapeError const& e) {
          std::string const text = e.what();
          std::string const expected = "moebal: workspace bytes: needed at least ";
          BOOST_TEST_REQUIRE(text.starts_with(expected), text);
          BOOST_TEST(text.ends_with(", had " + std::to_string(bytes)), text);
          BOOST_TEST(call.untouched());
          Call next; // what it asks for is enough: nobody is sent back twice
          next.workspace_bytes = std::stoll(text.substr(expected.size()));
          BOOST_CHECK_NO_THROW(forwards ? next.forward(exec) : next.back(exec));
        }
      }
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()
