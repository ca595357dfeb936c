// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#define BOOST_TEST_MODULE moebal
#include <boost/test/unit_test.hpp>
