// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "support/test.hpp"

#include <moebal/core/trace.hpp>
#include <moebal/core/trace_writer.hpp>

#include <cmath>
#include <random>
#include <sstream>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(core_trace)

namespace {

/// The bytes of docs/record_trace.py for E = 2, one batch (step 3, rank 1, micro-batch 0) of one token with logits 0.5
/// and -2 and token id 7; written by it.
std::string by_the_page() {
  static unsigned char const bytes[] = {
      77, 79, 69, 66, 65, 76, 84, 82, 1,   0,   0,   0,   0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 198, 172, 25, 245, 1, 0,
      0,  0,  3,  0,  0,  0,  1,  0,  0,   0,   0,   0,   0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   63,  0,  0,   0, 192,
      7,  0,  0,  0,  0,  0,  0,  0,  206, 134, 188, 192, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 110, 88,  68, 91};
  return {reinterpret_cast<char const*>(bytes), sizeof bytes};
}
Trace read(std::string const& bytes) {
  std::istringstream in(bytes);
  return Trace(in);
}
TraceBatch batch_of(Index step, Index tokens, Index experts, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  TraceBatch b{.step = step, .rank = 1, .micro_batch = 2, .tokens = tokens, .logits = {}, .tags = {}};
  for (Index i = 0; i < tokens * experts; ++i) b.logits.push_back(normal(random));
  for (Index t = 0; t < tokens; ++t) b.tags.push_back(std::int64_t(random() >> 20));
  return b;
}
std::string written(TraceShape shape, std::vector<TraceBatch> const& batches) {
  std::ostringstream out;
  TraceWriter writer(out, shape);
  for (TraceBatch const& b : batches) writer.write(b);
  writer.close();
  return out.str();
}

} // namespace

BOOST_AUTO_TEST_CASE(checksums_are_those_of_zlib) { BOOST_TEST(moebal::detail::crc32("123456789") == 0xcbf43926u); }

BOOST_AUTO_TEST_CASE(what_the_page_writes_is_read_and_written_the_same) {
  Trace const trace = read(by_the_page());
  BOOST_TEST(trace.shape().experts == 2);
  BOOST_REQUIRE(trace.batches().size() == 1u);
  TraceBatch const& b = trace.batches().front();
  BOOST_TEST(b.step == 3);
  BOOST_TEST(b.rank == 1);
  BOOST_TEST(b.micro_batch == 0);
  BOOST_TEST(b.tokens == 1);
  BOOST_TEST((b.logits == std::vector<float>{0.5f, -2.0f}));
  BOOST_TEST((b.tags == std::vector<std::int64_t>{7}));
  BOOST_TEST(written({.experts = 2, .tags = TraceTags::Recorded}, {b}) == by_the_page());
}

BOOST_AUTO_TEST_CASE(a_trace_comes_back_as_it_was) {
  for (Index const experts : {1, 3, 60})
    for (Index const tokens : {0, 1, 7, 4097}) {
      std::vector<TraceBatch> const batches{batch_of(0, tokens, experts, 1), batch_of(9, tokens + 1, experts, 2)};
      Trace const trace = read(written({.experts = experts, .tags = TraceTags::Recorded}, batches));
      BOOST_REQUIRE(trace.batches().size() == 2u);
      for (std::size_t i = 0; i < 2; ++i) {
        BOOST_TEST(trace.batches()[i].step == batches[i].step);
        BOOST_TEST(trace.batches()[i].tokens == batches[i].tokens);
        BOOST_TEST((trace.batches()[i].logits == batches[i].logits));
        BOOST_TEST((trace.batches()[i].tags == batches[i].tags));
      }
    }
}

BOOST_AUTO_TEST_CASE(narrow_logits_are_the_nearest) {
  TraceBatch const b = batch_of(0, 7, 3, 5);
  for (TraceType const type : {TraceType::BFloat16, TraceType::Float16}) {
    Trace const trace = read(written({.experts = 3, .type = type}, {b}));
    double const most = type == TraceType::BFloat16 ? 0x1p-8 : 0x1p-11;
    for (std::size_t i = 0; i < b.logits.size(); ++i)
      BOOST_TEST(std::abs(double(trace.batches()[0].logits[i]) - double(b.logits[i])) <=
                 most * std::abs(double(b.logits[i])));
  }
}

BOOST_AUTO_TEST_CASE(every_damaged_byte_and_every_cut_is_refused) {
  std::string const good =
      written({.experts = 3, .tags = TraceTags::Recorded}, {batch_of(0, 2, 3, 1), batch_of(1, 1, 3, 2)});
  BOOST_CHECK_NO_THROW(read(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = char(bad[i] ^ 0x20);
    BOOST_CHECK_THROW(read(bad), StateError);
    BOOST_CHECK_THROW(read(good.substr(0, i)), StateError);
  }
  BOOST_CHECK_THROW(read(good + "x"), StateError);
}

BOOST_AUTO_TEST_CASE(refusals_say_what_was_needed) {
  auto const says = [](std::string const& words) {
    return [words](std::exception const& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(read("PK\3\4 something that is longer than a head"), StateError,
                        says("the first bytes of a trace: needed MOEBALTR, had others"));
  std::string other = by_the_page();
  other[8] = 2;
  BOOST_CHECK_EXCEPTION(read(other), StateError, says("version of a trace: needed 1, had 2"));
  std::ostringstream out;
  TraceWriter writer(out, {.experts = 3});
  writer.write(batch_of(0, 1, 3, 1));
  BOOST_CHECK_EXCEPTION(read(out.str()), StateError, says("it was cut off, or never closed"));
  BOOST_CHECK_EXCEPTION(writer.write(batch_of(0, 1, 4, 1)), ShapeError, says("elements: needed 3, had 4"));
  writer.close();
  BOOST_CHECK_EXCEPTION(writer.write(batch_of(0, 1, 3, 1)), StateError,
                        says("needed one that is open, had a closed one"));
  BOOST_CHECK_THROW(TraceWriter(out, {.experts = 0}), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
