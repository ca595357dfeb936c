// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A domain is a text cut into blocks; every 20th block is kept for validation. A sample is a window of bytes: `context`
// bytes that are only read, then `length` bytes that are predicted. No window crosses from training to validation text.

#include "random.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace train {

/// How a text is cut.
struct Split {
  std::int64_t block = 8192;
  std::int64_t every = 20; // block i is validation text where i % every == every - 1
};

/// The shape of a window.
struct Window {
  std::int64_t context = 64;
  std::int64_t length = 64;
  std::int64_t size() const { return context + length; }
};

/// One domain with its training runs and validation blocks, as [begin, end) offsets into text.
struct Domain {
  std::string name;
  std::string text;
  std::vector<std::pair<std::int64_t, std::int64_t>> training;   // consecutive training blocks form one run
  std::vector<std::pair<std::int64_t, std::int64_t>> validation; // single blocks
  std::vector<std::int64_t> training_starts; // running count of window starts before each run, then all
  Window window;

  std::uint8_t const* at(std::int64_t offset) const {
    return reinterpret_cast<std::uint8_t const*>(text.data()) + offset;
  }

  /// A window drawn uniformly from the training text.
  std::uint8_t const* draw(Random& random) const {
    std::int64_t const n = random.below(training_starts.back());
    auto const run = std::upper_bound(training_starts.begin(), training_starts.end(), n) - training_starts.begin() - 1;
    return at(training[std::size_t(run)].first + n - training_starts[std::size_t(run)]);
  }
  /// Window i of n spread evenly over the validation text.
  std::uint8_t const* validation_window(std::int64_t i, std::int64_t n) const {
    std::int64_t const blocks = std::int64_t(validation.size());
    std::int64_t const block = i * blocks / n;
    std::int64_t const first = (block * n + blocks - 1) / blocks; // first window of this block
    std::int64_t const in_block = ((block + 1) * n + blocks - 1) / blocks - first;
    auto const [begin, end] = validation[std::size_t(block)];
    return at(begin + (i - first) * (end - begin - window.size()) / std::max<std::int64_t>(1, in_block - 1));
  }
};

/// Cuts a text. Throws std::invalid_argument when no training or no validation window fits.
inline Domain make_domain(std::string name, std::string text, Window window = {}, Split split = {}) {
  Domain domain;
  domain.name = std::move(name);
  domain.text = std::move(text);
  domain.window = window;
  std::int64_t const size = std::int64_t(domain.text.size());
  std::int64_t starts = 0;
  auto const add_run = [&](std::int64_t begin, std::int64_t end) {
    if (end - begin < window.size()) return;
    domain.training.emplace_back(begin, end);
    domain.training_starts.push_back(starts);
    starts += end - begin - window.size() + 1;
  };
  std::int64_t run_begin = 0;
  for (std::int64_t block = split.every - 1; block * split.block < size; block += split.every) {
    std::int64_t const begin = block * split.block;
    std::int64_t const end = std::min(size, begin + split.block);
    add_run(run_begin, begin);
    if (end - begin >= window.size()) domain.validation.emplace_back(begin, end);
    run_begin = end;
  }
  add_run(run_begin, size);
  domain.training_starts.push_back(starts);
  if (domain.training.empty() || domain.validation.empty())
    throw std::invalid_argument("the text of domain '" + domain.name + "' is too short: needed at least " +
                                std::to_string(split.every * split.block) + " bytes, had " + std::to_string(size));
  return domain;
}

/// The windows of one micro-batch, all of one domain.
struct Batch {
  std::int64_t domain = 0;
  Window window;
  std::vector<std::uint8_t const*> windows;
  std::int64_t tokens() const { return std::int64_t(windows.size()) * window.length; }
};

/// Which texts a node reads: `share` of its micro-batches are of a domain of its own, the others of any. Domain d lives on
/// node d modulo N; with fewer domains than nodes, node n has the domain n modulo their number.
struct Homes {
  std::int64_t nodes = 1;        // N
  std::int64_t node_batches = 1; // micro-batches of a node in a step
  double share = 0;

  /// A domain for micro-batch n of a step.
  std::int64_t draw(std::int64_t n, std::int64_t domains, Random& random) const {
    std::int64_t const node = n / node_batches;
    if (node >= domains) return node % domains;
    return node + nodes * random.below((domains - node + nodes - 1) / nodes);
  }
};

/// Texts plus the way micro-batches are drawn from them.
class Corpus {
public:
  explicit Corpus(std::vector<Domain> domains, std::int64_t sequences = 4, Homes homes = {})
      : domains_(std::move(domains)), sequences_(sequences), homes_(homes) {
    if (domains_.empty()) throw std::invalid_argument("no text to train on");
    for (Domain const& domain : domains_) {
      for (char const c : domain.text) ++frequencies_[std::uint8_t(c)];
      for (std::string const* s : {&domain.name, &domain.text})
        for (char const c : *s) fingerprint_ = (fingerprint_ ^ std::uint8_t(c)) * 1099511628211u;
    }
  }
  std::vector<Domain> const& domains() const { return domains_; }
  std::int64_t domain_count() const { return std::int64_t(domains_.size()); }
  std::int64_t tokens() const { return sequences_ * domains_.front().window.length; } // of one micro-batch

  /// Micro-batch n of all that the ranks together have in a step: one domain at random (Homes), then windows of it.
  Batch training(std::uint64_t seed, std::int64_t step, std::int64_t n) const {
    // The keys of 4 micro-batches a rank, which is the default, whatever the number: those numbers are published.
    Random random{seed, std::uint64_t(step), std::uint64_t(n / 4), std::uint64_t(n % 4)};
    std::int64_t d = random.below(domain_count());
    if (homes_.share > 0 && random.uniform() <= homes_.share) d = homes_.draw(n, domain_count(), random);
    Batch batch = empty(d);
    for (std::int64_t i = 0; i < sequences_; ++i) batch.windows.push_back(domains_[std::size_t(d)].draw(random));
    return batch;
  }
  /// Validation micro-batch m of `per_domain` * domain_count(): the domains take turns.
  Batch validation(std::int64_t m, std::int64_t per_domain) const {
    std::int64_t const d = m % domain_count();
    Batch batch = empty(d);
    for (std::int64_t i = 0; i < sequences_; ++i)
      batch.windows.push_back(
          domains_[std::size_t(d)].validation_window(m / domain_count() * sequences_ + i, per_domain * sequences_));
    return batch;
  }
  /// How often each byte occurs in the texts [256].
  std::vector<std::int64_t> const& frequencies() const { return frequencies_; }
  /// Changes when any byte of any text does: a resumed run must read what the first run read.
  std::uint64_t fingerprint() const { return fingerprint_; }

private:
  Batch empty(std::int64_t d) const { return {.domain = d, .window = domains_[std::size_t(d)].window, .windows = {}}; }

  std::vector<Domain> domains_;
  std::int64_t sequences_;
  Homes homes_;
  std::vector<std::int64_t> frequencies_ = std::vector<std::int64_t>(256, 0);
  std::uint64_t fingerprint_ = 14695981039346656037u; // FNV-1a
};

} // namespace train
