// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A processor that flushes denormal numbers to zero (a shared library linked with -ffast-math switches it on for the
// whole program, -ftz=true on a device) changes no bit. (Where a score and its bias are both below 1e-38 their sum is
// one of those.)
#include "support/test.hpp"

#include "contracts/oracle.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>

using namespace contracts;
using namespace moebal_test;

namespace {

/// Flush to zero, and denormals are zero, while it lives; for the calling thread.
struct Flush {
  unsigned before = _mm_getcsr();
  Flush() { _mm_setcsr(before | 0x8040u); }
  ~Flush() { _mm_setcsr(before); }
};

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_flush)

BOOST_AUTO_TEST_CASE(flushing_is_on) {
  float volatile tiny = 1e-39f;
  BOOST_TEST(tiny * 1.0f != 0);
  Flush const flush;
  BOOST_TEST(tiny * 1.0f == 0);
}

BOOST_AUTO_TEST_CASE(flushing_changes_no_bit) {
  for (Kind kind : all_kinds)
    for (std::size_t g = 0; g < 4; ++g)
      for (bool biased : {false, true}) {
        Options const options{.bias = biased ? bias_of(40, 0.1f) : std::vector<float>()};
        auto const compare = [&]<class Logit>(Logit) {
          auto const x = logits_of<Logit>(kind, 35, 40, 8);
          auto const keeps = route(0, gates[g], {.k = 3}, matrix(x, 35, 40), options);
          Flush const flush;
          auto const flushes = route(0, gates[g], {.k = 3}, matrix(x, 35, 40), options);
          BOOST_TEST(same_bits(keeps.ids, flushes.ids), name_of(kind)
                                                            << ", " << gate_names[g] << ", bias " << biased << ": ids");
          BOOST_TEST(same_bits(keeps.weights, flushes.weights),
                     name_of(kind) << ", " << gate_names[g] << ", bias " << biased << ": weights");
          BOOST_TEST(same_bits(keeps.load, flushes.load),
                     name_of(kind) << ", " << gate_names[g] << ", bias " << biased << ": statistics");
        };
        compare(0.0f);
        compare(moebal::Half{});
        compare(moebal::BFloat16{});
      }
}

BOOST_AUTO_TEST_SUITE_END()
#endif
