// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// docs/locality.md.

#include "page.hpp"

#include "markdown.hpp"
#include "strategies.hpp"
#include "tables.hpp"

#include <stdexcept>

namespace locality {

using nlohmann::json;

std::string page(json const& study) {
  Results const results(study);
  json const& links = study.at("links");
  if (links.is_null()) throw std::invalid_argument("the page needs the results of --study with --links: had no links");
  Group const same{.share = 0}, own{};
  std::string text =
      R"md(# Locality: routers that know where experts live

Written by `examples/locality`: do not edit. The first two commands measure and train, the others write this page and its figure from
docs/locality.json; the same machine gives the same numbers, times of the first excepted.

```
examples/two_nodes.sh mpi_links links.json
examples/run.sh locality --study --links links.json --json docs/locality.json
examples/run.sh locality --docs docs/locality.json > docs/locality.md
examples/run.sh locality --figure docs/locality.json > docs/locality.svg
```
`examples/run.sh locality locmoe switch --ranks 4 --ranks-per-node 2 --share 1` runs what you like; with `mpirun -n 4` before the program the
ranks are processes, and the numbers are the same.

![Tokens that stay in their node, what that costs in perplexity, and what it saves](locality.svg)

## What was found
**A router that all nodes share can only follow the text.** LocMoE's locality loss pulls a node's tokens towards its own experts, but gate
and model are the same on every node, so a token's expert is a function of the token alone. Where all nodes draw the same text, no such
function keeps more at home than chance, 1 / N, and the loss is one more balancing loss. It works as far as nodes read different text: then
experts specialise in what their node reads. Choices that know the node (FasterMoE's cap, or LocMoE's eps_i of eq. 2 read as a preference
for home) keep tokens near whatever the text, and pay in perplexity, since an expert then learns from its own node alone.

)md" + claims(results);
  text += R"md(## Setting
The byte-level text model of `examples/train_moe_lm` with 16 experts, one expert a token, 300 steps of 16 micro-batches of 256 bytes, 3
seeds, mean ± standard deviation. 8 ranks on 4 nodes unless said; an expert lives on rank e R / 16. One capacity rule for all: 1.25 times
the mean over the tokens of all ranks, the first come are kept. Balancing loss 0.1, locality loss 0.3 (epsilon 0.1), as few steps need
more than the papers' 0.01; nothing was tuned for one of them. "Own text": the 6 domains are dealt out over the nodes, and a rank draws
all its micro-batches from those of its node. Perplexity is of all domains, what is not causal routed causally. Counts are of the last
tenth of the steps: in the rank, in the node: of the tokens that reach an expert; KB between nodes: rows sent to experts in a step, as many
come back; fullest rank: its tokens to the mean, less 1 (of exchanges of 2048 tokens, which chance alone makes uneven); no expert: dropped,
or left over by the selection; dead: experts below a tenth of the mean load in validation; MI: mutual information of domain and expert.
Time: experts and exchanges of the step-time model, `switch` is 1; here: with the measured machine and the text model's sizes; 910A: a row
taken for 16 rows of 5120 numbers, experts of 4 times that.
FasterMoE's gate is top-2 in its code; here it chooses one, as the others do. A byte vocabulary has giants (a blank is one byte in six), so
the hash of one byte cannot be balanced; the hash of two is what a real vocabulary gives.

)md";
  for (Strategy const& s : strategies())
    text += std::string("- ") + code(s.name) + ", " + s.title + ": " + s.about + ".\n";
  text += R"md(
## Each node reads its own text
)md" + seen(results, own) +
          "## All nodes read the same text\n" + seen(results, same) + R"md(## How strong the pull is
Own text.

)md" + pull(results) +
          R"md(## 8, 16 and 32 nodes for 16 experts
The paper's numbers of nodes, a rank standing for a node, own text (with more nodes than domains several read the same, so fewer tokens
can be told to be at home). At 32 nodes every second one owns no expert: all its tokens leave. The last column is the model's time of
experts and exchanges on the published machine.

)md" + nodes_table(results);
  text +=
      R"md(## The step-time model
`moebal/plan/step_time.hpp` and `link_cost.hpp`; formulas and sources are there. A step is experts (the busiest rank: rows * FLOP / rate,
with a start), dispatch and combine (the busiest rank's rows by level: latency + messages + bytes / bandwidth; flat or two-level), the
balancer's all-reduce, gradients if asked, and the rest.

**Against measured exchanges.** )md" +
      format("%d", links.at("ranks").get<int>()) +
      " MPI ranks (Open MPI) on 2 nodes that are network namespaces of this machine with 2 cores: shared memory "
      "inside, TCP over a veth\n"
      "pair between; the library's own `all_to_all_v`, lower quartile of 501 rounds that took turns, with nothing else "
      "running. " +
      measured_words(links) + R"md(

)md" + measured(links) +
      R"md(**Published figures** (Ascend 910A, the paper's machine). A rank is a tensor-parallel group of 8 devices, as in the paper.

)md" + figures_table() +
      R"md(With these, exchanges of a balanced hash router take this part of experts and exchanges together:

)md" + sensitivity() +
      R"md(The paper's 18.10 % (16 nodes) and 28.74 % (32) are parts of the whole step. For the 28.74 % the exchanges must be slower than a nominal
port makes them, since the rest of the step is not nothing: how the shares divide is therefore varied below, not derived. Latency is
nothing beside rows of 10 KB.

## Where 12.68 % to 22.24 % is reached
A baseline spends the given parts of its step on exchanges and experts. How many tokens have to stay in a node with experts, balanced, to
save as much; "Switch": 7 of 16 experts dead, the others alike, as the paper saw. Last two: the fullest expert (load / mean - 1) above
which a balanced hash is faster.

)md" + reach() +
      R"md(So over a balanced hash, 12.68 % asks for half to three quarters of the tokens at home, and 22.24 % is out of reach at the lower share of
exchanges; over a Switch router with dead experts most of it comes from balance. At 32 nodes half of the nodes have no expert: their tokens
leave and those of the others meet them, so even perfect locality saves less than half of the exchanges, and a tenth to a fifth more load
on one expert is enough for hash to win.

## What a global batch would cost at 16384 ranks
Counts of 58 layers of 256 experts (DeepSeek-V3's), 2048 nodes of 8, recursive doubling, 3 steps inside and 11 between; 16 micro-batches.
One message a step, as `Packed` sends it, against one blocking all-reduce a layer and micro-batch. Overlapped with the backward pass, the
first costs nothing at all.

)md" + global_batch() +
      "<!-- SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception -->\n";
  return text;
}

} // namespace locality
