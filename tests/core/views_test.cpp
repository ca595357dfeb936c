// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/core/views.hpp>

#include <array>
#include <list>
#include <span>
#include <type_traits>
#include <vector>

using namespace moebal;

// What converts and what must not.
static_assert(std::is_convertible_v<std::vector<float>&, VectorView<float>>);
static_assert(std::is_convertible_v<std::vector<float> const&, VectorView<float const>>);
static_assert(std::is_convertible_v<VectorView<float>, VectorView<float const>>);
static_assert(std::is_convertible_v<MatrixView<float>, MatrixView<float const>>);
static_assert(!std::is_convertible_v<std::vector<float> const&, VectorView<float>>, "a view does not cast const away");
static_assert(!std::is_convertible_v<VectorView<float const>, VectorView<float>>);
static_assert(!std::is_convertible_v<std::vector<double>&, VectorView<float const>>,
              "no element is converted silently");
static_assert(!std::is_convertible_v<std::list<float>&, VectorView<float>>);
static_assert(!std::is_convertible_v<VectorView<float, DeviceMemory>, VectorView<float>>,
              "device memory is no host memory");
static_assert(!std::is_convertible_v<MatrixView<float, HostMemory>, MatrixView<float, DeviceMemory>>);
static_assert(vector_like<std::vector<int>&> && vector_like<std::span<int const>> && matrix_like<MatrixView<float>>);
static_assert(!matrix_like<std::vector<float>&>, "a vector is no matrix of some shape");
static_assert(std::is_same_v<element_of<MatrixView<float const>>, float>);
static_assert(std::is_trivially_copyable_v<VectorView<float>> && std::is_trivially_copyable_v<MatrixView<float>>);

BOOST_AUTO_TEST_SUITE(core_views)

BOOST_AUTO_TEST_CASE(vectors) {
  std::vector<int> v{1, 2, 3, 4};
  VectorView<int> const view = v;
  BOOST_TEST(view.size() == 4);
  BOOST_TEST(!view.empty());
  view[2] = 7;
  BOOST_TEST(v[2] == 7);
  BOOST_TEST(view.part(1, 2).size() == 2);
  BOOST_TEST(view.part(1, 2)[1] == 7);
  BOOST_TEST(view.part(4, 0).empty());
  int sum = 0;
  for (int x : view) sum += x;
  BOOST_TEST(sum == 14);
  int array[] = {1, 2};
  BOOST_TEST(VectorView<int>(array).size() == 2);
  BOOST_TEST(as_vector(std::span<int>(v)).data() == v.data());
  BOOST_TEST(VectorView<int>().empty());
  BOOST_TEST(VectorView<int const>(VectorView<int>()).data() == nullptr);
}

BOOST_AUTO_TEST_CASE(matrices) {
  std::array<float, 20> memory{};
  MatrixView<float> const view(memory.data(), 3, 4, 6);
  view(2, 3) = 5;
  BOOST_TEST(memory[15] == 5);
  BOOST_TEST(view.row(2) == memory.data() + 12);
  BOOST_TEST((view.rows() == 3 && view.cols() == 4 && view.row_stride() == 6));
  MatrixView<float const> const dense(memory.data(), 5, 4);
  BOOST_TEST(dense.row_stride() == 4);
  BOOST_TEST(!dense.empty());
  BOOST_TEST(MatrixView<float>(memory.data(), 0, 4).empty());
  BOOST_TEST(MatrixView<float>(memory.data(), 4, 0).empty());
  BOOST_TEST(MatrixView<float>().empty());
}

// Offsets are 64 bits wide: a row of a matrix past 2^31 elements.
BOOST_AUTO_TEST_CASE(large_offsets) {
  MatrixView<char> const huge(nullptr, Index(1) << 22, Index(1) << 12);
  BOOST_TEST((huge.row(Index(1) << 21) - huge.row(0) == std::ptrdiff_t(1) << 33));
}

BOOST_AUTO_TEST_SUITE_END()
