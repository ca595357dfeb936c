// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// All strategies, one line of a table each. To add one: a row in the rows_*.cpp that its rule or selection belongs to.

#include "method.hpp"

#include <functional>
#include <vector>

namespace lab {

struct Info {
  char const* name;
  char const* title;     // as the literature calls it
  char const* selection; // how a token finds its experts
  char const* gate;
  char const* formula;   // of what balances
  char const* source;
};

struct Row {
  Info info;
  Facts facts;
  std::function<std::unique_ptr<Method>(Make const&, Comm)> make;
  std::function<Tags(Make const&)> tags;
};

template <class F> Row row(Info info, F recipe) {
  using R = std::invoke_result_t<F, Make const&>;
  return {info, facts_of(static_cast<R const*>(nullptr)), [recipe](Make const& m, Comm comm) -> std::unique_ptr<Method> {
            return std::make_unique<MethodOf<R>>(recipe(m), m, comm);
          },
          [recipe](Make const& m) { return recipe(m).tags; }};
}

// One list a file, so that they compile side by side.
std::vector<Row> loss_rows();
std::vector<Row> more_loss_rows();
std::vector<Row> bias_rows();
std::vector<Row> selection_rows();
std::vector<Row> batch_rows();
std::vector<Row> recent_rows();

inline std::vector<Row> const& registry() {
  static std::vector<Row> const all = [] {
    std::vector<Row> rows;
    for (auto part : {loss_rows, more_loss_rows, bias_rows, selection_rows, batch_rows, recent_rows})
      for (Row& r : part()) rows.push_back(std::move(r));
    return rows;
  }();
  return all;
}
inline Row const* find_row(std::string_view name) {
  for (Row const& r : registry())
    if (r.info.name == name) return &r;
  return nullptr;
}

/// A row of the literature that the lab does not run, and why.
struct Absent {
  char const* title;
  char const* reason;
  char const* source;
};
std::vector<Absent> const& absent();

} // namespace lab
