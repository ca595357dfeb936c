// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this matrix is column-major and moebal reads rows: declare it row-major
#include <moebal/backend/eigen.hpp>
#include <moebal/core/views.hpp>

#ifdef MOEBAL_MISTAKE
constexpr int order = Eigen::ColMajor;
#else
constexpr int order = Eigen::RowMajor;
#endif

moebal::Index rows(Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, order> const& logits) {
  return moebal::as_matrix(logits).rows();
}
