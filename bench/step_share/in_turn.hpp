// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A communicator backend that sums in several ways, in turn: what is compared lies milliseconds apart.

#include <moebal/comm/any.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace bench {

using moebal::AnyBackend;
using moebal::Index;
using moebal::VectorView;

/// Each way holds for `turn` sums, all other verbs go to `ranks`; copies count together.
class InTurn : public AnyBackend {
public:
  InTurn(AnyBackend ranks, std::vector<AnyBackend> ways, Index turn)
      : AnyBackend(std::move(ranks)), ways_(std::move(ways)), turn_(turn), sums_(std::make_shared<Index>(0)) {}

  template <class T> Request start_all_reduce_sum(VectorView<T> values) const {
    return ways_[std::size_t((*sums_)++ / turn_) % ways_.size()].start_all_reduce_sum(values);
  }

private:
  std::vector<AnyBackend> ways_;
  Index turn_;
  std::shared_ptr<Index> sums_;
};

} // namespace bench
