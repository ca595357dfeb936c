// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "library.hpp"

namespace golden {

extern template Answer route_as<float>(Request const&);
extern template Answer route_as<double>(Request const&);
extern template Matrix backward_as<float>(Request const&, std::vector<Ids> const&, Matrix const&, Matrix const&,
                                          Row const&);
extern template Matrix backward_as<double>(Request const&, std::vector<Ids> const&, Matrix const&, Matrix const&,
                                           Row const&);

Answer route(Request const& request, Precision precision) {
  return precision == Precision::Single ? route_as<float>(request) : route_as<double>(request);
}

Matrix backward(Request const& request, Precision precision, std::vector<Ids> const& ids, Matrix const& d_weights,
                Matrix const& slopes, Row const& z_slopes) {
  return precision == Precision::Single ? backward_as<float>(request, ids, d_weights, slopes, z_slopes)
                                        : backward_as<double>(request, ids, d_weights, slopes, z_slopes);
}

Matrix scatter(std::vector<Ids> const& ids, Matrix const& values, std::size_t experts) {
  Matrix dense(ids.size(), experts);
  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::size_t k = 0; k < ids[t].size(); ++k)
      if (ids[t][k] >= 0) dense(t, std::size_t(ids[t][k])) = values(t, k);
  return dense;
}

Matrix gather(std::vector<Ids> const& ids, Matrix const& dense, std::size_t top_k) {
  Matrix values(ids.size(), top_k);
  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::size_t k = 0; k < top_k; ++k)
      if (ids[t][k] >= 0) values(t, k) = dense(t, std::size_t(ids[t][k]));
  return values;
}

std::vector<moebal::Index> one_token_segments(std::size_t tokens) {
  std::vector<moebal::Index> segments;
  for (std::size_t t = 0; t <= tokens; ++t) segments.push_back(moebal::Index(t));
  return segments;
}

} // namespace golden
