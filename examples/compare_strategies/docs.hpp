// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// docs/strategies.md, from the registry.

#include "registry.hpp"

#include <string>

namespace lab {

namespace detail {
inline std::string cell(std::string_view text) {
  std::string out;
  for (char const c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}
inline std::string gradient_text(Facts const& f) {
  return f.has_loss ? "through the scores" : "none";
}
} // namespace detail

inline std::string docs_text() {
  using detail::cell;
  std::string text =
      "# Strategies\n\n"
      "Written by `examples/run.sh compare_strategies --docs`: do not edit. Logits, statistics, scope, what is communicated, gradient and\n"
      "causality are what the types say; the rest is the table of `examples/compare_strategies/rows_*.cpp`, one row a strategy, which\n"
      "`examples/run.sh compare_strategies --strategies NAME` runs. What a small language model says of them: [lab.md](lab.md).\n\n"
      "- E experts, K choices a token, T tokens, c counts, P mean scores, F = c / (K T), b the selection bias.\n"
      "- Communicated: what a rank hands to collectives for each layer. Weights always carry the gradient of the model's loss; the\n"
      "  column says what balancing adds.\n"
      "- Causal: whether the choices of a token depend on no later token. \"Drops not\": the choices do not, but who is dropped beyond the\n"
      "  capacity does.\n\n"
      "| name | strategy | logits | selection | gate | what balances | statistic | scope | communicated | gradient | causal | source |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (Row const& r : registry()) {
    Facts const& f = r.facts;
    text += std::string("| `") + r.info.name + "` | " + cell(r.info.title) + " | " + cell(f.logits) + " | " + cell(r.info.selection) +
            " | " + cell(r.info.gate) + " | " + cell(r.info.formula) + " | " + f.reads + " | " + f.scope + " | " + f.communicated +
            " | " + detail::gradient_text(f) + " | " + (!f.causal ? "no" : f.causal_drop ? "yes" : "drops not") + " | " +
            r.info.source + " |\n";
  }
  text += "\nNot in the table:\n\n| strategy | why | source |\n|---|---|---|\n";
  for (Absent const& a : absent()) text += "| " + cell(a.title) + " | " + cell(a.reason) + " | " + a.source + " |\n";
  return text + "\n<!-- SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception -->\n";
}

} // namespace lab
