// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// SIMD packs against plain lanes: every operation, at every length with and without a tail, to the bit.
// Packs stand here outside of a machine's code, where only those of the compiler's flags may.
#undef MOEBAL_ONE_MACHINE
#define MOEBAL_ONE_MACHINE
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/backend/pack_lanes.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/select/rounds.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace moebal;
using namespace moebal_test;

namespace {

Kind const kinds[] = {Kind::Bell,  Kind::Wide,      Kind::AnyBits, Kind::Specials,
                      Kind::Zeros, Kind::Denormals, Kind::AllNan,  Kind::MinusInf};

/// -0 and +0 are one key, and no payload of a NaN is promised by additions.
bool same(float a, float b) {
  return math::is_nan(a) && math::is_nan(b) ? true : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}
template <class T> bool same(std::vector<T> const& a, std::vector<T> const& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if constexpr (std::is_same_v<T, float>) {
      if (!same(a[i], b[i])) return false;
    } else if (a[i] != b[i]) {
      return false;
    }
  return a.size() == b.size();
}

/// f(lanes, x, n) for packs of W and for plain lanes.
template <int W, class F> void as_serial(F f) {
  for (Kind kind : kinds)
    for (Index n = 0; n <= 70; ++n) {
      auto const x = logits_of(kind, 1, n, std::uint64_t(n));
      auto const serial = f(SerialLanes{}, x.data(), n), packs = f(PackLanes<W>{}, x.data(), n);
      BOOST_TEST_REQUIRE(same(serial, packs), name_of(kind) << ", n " << n << ", W " << W);
    }
}

/// A function of an element, over a row.
template <int W, class Out, class F> void each_as_serial(F f) {
  as_serial<W>([&](auto lanes, float const* x, Index n) {
    std::vector<Out> out(std::size_t(n) + 1, Out(42));
    Out* const p = out.data();
    lanes.each(n, [=](auto e) { store(p, e, f(load(x, e), e)); });
    return out;
  });
}

template <int W> void sums() {
  as_serial<W>([](auto lanes, float const* x, Index n) {
    return lanes.template sum<float>(n, [=](auto e) { return load(x, e); });
  });
  as_serial<W>([](auto lanes, float const* x, Index n) {
    return lanes.template dot<float>(n, [=](auto e) { return load(x, e); }, [=](auto e) { return load(x, e); });
  });
}
template <int W> void maxima() {
  for (float least : {-std::numeric_limits<float>::infinity(), 0.5f})
    as_serial<W>([=](auto lanes, float const* x, Index n) {
      return lanes.template max<float>(n, [=](auto e) { return load(x, e); }, least) + 0.0f;
    });
  using Word = std::uint64_t;
  for (Word bound : {~Word(0), Word(0xbf80000000000000u), Word(0)})
    as_serial<W>([=](auto lanes, float const* x, Index n) {
      return std::vector<Word>{
          lanes.template max<Word>(n, [=](auto e) { return below(rank_word(load(x, e), e), bound); }, Word(0))};
    });
}
template <int W> void best() { // one after the other, or all at once where there is a way
  for (Index const n : {3, 16, 17, 128, 130, 391})
    for (Kind const kind : kinds) {
      auto const x = logits_of(kind, 1, n, std::uint64_t(n));
      std::vector<std::uint64_t> words(static_cast<std::size_t>(n));
      for (Index e = 0; e < n; ++e) words[std::size_t(e)] = e % 5 == 3 ? 0 : rank_word(x.data()[e], e);
      for (Index const count : {1, 4, 8, 16, 20}) {
        auto const of = [&](auto lanes) {
          std::vector<std::uint64_t> out;
          select::best_first(lanes, static_cast<std::uint64_t const*>(words.data()), n, std::min(n, count),
                             [&](Index, std::uint64_t word) { out.push_back(word); });
          return out;
        };
        BOOST_TEST_REQUIRE((of(SerialLanes{}) == of(PackLanes<W>{})), name_of(kind) << ", n " << n << ", count " << count);
      }
    }
}
template <int W> void tests() {
  as_serial<W>([](auto lanes, float const* x, Index n) {
    return std::vector<int>{lanes.any(n, [=](auto e) { return math::is_nan(load(x, e)); })};
  });
  as_serial<W>([](auto lanes, float const* x, Index n) {
    return std::vector<int>{lanes.any(n, [=](auto e) { return !math::is_finite(load(x, e)); })};
  });
}
template <int W> void functions() {
  each_as_serial<W, float>([](auto z, auto) { return math::sigmoid(z); });
  each_as_serial<W, float>([](auto z, auto) { return math::softplus(z); });
  each_as_serial<W, float>([](auto z, auto) { return SqrtSoftplus{}.score(z); });
  each_as_serial<W, float>([](auto z, auto) { return SqrtSoftplus{}.slope(z, SqrtSoftplus{}.score(z)); });
  each_as_serial<W, float>([](auto z, auto) { return math::exp_nonpositive(-math::abs(z)); });
  each_as_serial<W, float>([](auto z, auto) { return math::keep_nan(z, z); });
  each_as_serial<W, float>([](auto z, auto) { return math::mul(z, z) + z / (z - math::splat<decltype(z)>(0.3f)); });
  each_as_serial<W, std::uint64_t>([](auto z, auto e) { return rank_word(z, e); });
  each_as_serial<W, std::uint32_t>([](auto z, auto) { return order_key(z); });
  each_as_serial<W, std::int64_t>([](auto z, auto) { return math::to_fixed(math::sigmoid(z), 0x1p32); });
}
template <int W> void loads() {
  for (std::uint32_t first = 0; first < 65536; first += W) { // every 16-bit value in every lane group
    BFloat16 b[W];
    Half h[W];
    for (int i = 0; i < W; ++i) b[i].bits = h[i].bits = std::uint16_t(first + std::uint32_t(i));
    float out[W];
    auto const expect = [&](auto const* values) {
      store(out, PackAt<W>{0}, load(values, PackAt<W>{0}));
      for (int i = 0; i < W; ++i)
        BOOST_REQUIRE_EQUAL(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(widen(values[i])));
    };
    expect(b);
    expect(h);
  }
  as_serial<W>([](auto lanes, float const* x, Index n) { // 64-bit elements, read, added and written
    std::vector<std::int64_t> sums(std::size_t(n), 7);
    std::int64_t* const p = sums.data();
    lanes.each(n, [=](auto e) {
      store(p, e, load(static_cast<std::int64_t const*>(p), e) + math::to_fixed(math::sigmoid(load(x, e)), 0x1p32));
    });
    return sums;
  });
}

void see(PackAt<8> e, std::vector<int>& seen) {
  for (Index i = 0; i < 8; ++i) ++seen[std::size_t(e.first + i)];
}
void see(PackTail<8> e, std::vector<int>& seen) {
  for (Index i = 0; i < e.count; ++i) ++seen[std::size_t(e.first + i)];
}
template <class At> void see(BothAt<At> e, std::vector<int>& seen) {
  see(e.low, seen);
  see(e.high, seen);
}

template <int W> void rough_scores() {
  for (std::uint64_t first = 0; first < (1ull << 32); first += 4001 * W) { // bits of all magnitudes, both signs, NaN
    std::uint32_t bits[W];
    for (int i = 0; i < W; ++i) bits[i] = std::uint32_t(first + 4001u * unsigned(i));
    Pack<float, W> const x(__builtin_bit_cast(typename Pack<float, W>::native,
                                              load(static_cast<std::uint32_t const*>(bits), PackAt<W>{0}).v));
    auto const rough = math::rough_sigmoid(x);
    for (int i = 0; i < W; ++i) {
      if (math::is_nan(float(x.v[i])))
        BOOST_TEST_REQUIRE(math::is_nan(float(rough.v[i])));
      else
        BOOST_TEST_REQUIRE(std::abs(rough.v[i] - math::sigmoid(float(x.v[i]))) <= math::rough_sigmoid_error,
                           "x = " << x.v[i]);
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(backend_pack)

BOOST_AUTO_TEST_CASE(rough_scores_are_as_near_as_they_say) { rough_scores<4>(), rough_scores<8>(), rough_scores<16>(); }

// Widths other than the processor's own run the same code, with the fused multiply-adds one at a time.
BOOST_AUTO_TEST_CASE(sums_and_dots) { sums<4>(), sums<8>(), sums<16>(); }
BOOST_AUTO_TEST_CASE(maxima_and_words) { maxima<4>(), maxima<8>(), maxima<16>(); }
BOOST_AUTO_TEST_CASE(best_first) { best<4>(), best<8>(), best<16>(); }
BOOST_AUTO_TEST_CASE(any) { tests<4>(), tests<8>(), tests<16>(); }
BOOST_AUTO_TEST_CASE(score_functions) { functions<4>(), functions<8>(), functions<16>(); }
BOOST_AUTO_TEST_CASE(loads_and_stores) { loads<4>(), loads<8>(), loads<16>(); }

BOOST_AUTO_TEST_CASE(each_sees_every_index_once) {
  for (Index n = 0; n <= 70; ++n) {
    std::vector<int> seen(std::size_t(n), 0);
    PackLanes<8>{}.each(n, [&](auto e) { see(e, seen); });
    PackLanes<8>{}.each_one(n, [&](Index e) { ++seen[std::size_t(e)]; });
    for (int s : seen) BOOST_TEST_REQUIRE(s == 2);
  }
  int calls = 0;
  PackLanes<8>{}.once([&] { ++calls; });
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(the_processor_has_lanes) {
  static_assert(std::is_same_v<CpuLanes<double>, SerialLanes>);
  static_assert(CpuLanes<float>::width == pack_width);
  BOOST_TEST((pack_width == 1 || pack_width == 4 || pack_width == 8 || pack_width == 16));
}

BOOST_AUTO_TEST_SUITE_END()
