// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/core/errors.hpp>

using namespace moebal;

namespace {
auto says(char const* text) {
  return [text](Error const& e) { return std::string(e.what()) == text; };
}
} // namespace

BOOST_AUTO_TEST_SUITE(core_errors)

BOOST_AUTO_TEST_CASE(every_refusal_names_needed_and_had) {
  BOOST_CHECK_EXCEPTION(require_equal("rows", 3, 4), ShapeError, says("moebal: rows: needed 3, had 4"));
  BOOST_CHECK_EXCEPTION(require_within("K", 1, 8, 0), ShapeError, says("moebal: K: needed 1 to 8, had 0"));
  BOOST_CHECK_EXCEPTION(require_within("K", 1, 8, 9), ShapeError, says("moebal: K: needed 1 to 8, had 9"));
  BOOST_CHECK_EXCEPTION(require_at_least("bytes", 5, 4), ShapeError, says("moebal: bytes: needed at least 5, had 4"));
  BOOST_CHECK_EXCEPTION(detail::refuse<StateError>("step", "open", "closed"), StateError,
                        says("moebal: step: needed open, had closed"));
  BOOST_CHECK_EXCEPTION(detail::refuse<CommError>("rank", "3", "none"), Error,
                        says("moebal: rank: needed 3, had none"));
}

BOOST_AUTO_TEST_CASE(what_fits_passes) {
  BOOST_CHECK_NO_THROW(require_equal("", 3, 3));
  BOOST_CHECK_NO_THROW(require_within("", 1, 8, 1));
  BOOST_CHECK_NO_THROW(require_within("", 1, 8, 8));
  BOOST_CHECK_NO_THROW(require_at_least("", 5, 5));
}

BOOST_AUTO_TEST_SUITE_END()
