// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A balancer's state in a stream: little endian, and the same bytes for the same state on every machine.
//   "moebal-B" | u32 version | u32 bytes of name | i64 experts | i64 top_k | i64 steps | i64 numbers
//   | name | numbers x fp32 | u64 FNV-1a of everything before
// The numbers are the bias (E or 0), then the state of each stateful rule in the order of the rules.

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <bit>
#include <istream>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace moebal::detail {

struct BalancerState {
  std::string name; // scope and rules
  Index experts = 0;
  Index top_k = 0;
  std::int64_t steps = 0;
  std::vector<float> numbers;
};

inline constexpr std::string_view state_magic = "moebal-B";
inline constexpr std::uint32_t state_version = 1;

/// Bytes on their way, and their checksum. FNV-1a tells any two streams apart that differ in one byte.
class StateBytes {
public:
  void put(std::string_view bytes) { bytes_.append(bytes); }
  template <class U> void put_number(U value) {
    for (std::size_t i = 0; i < sizeof(U); ++i) bytes_.push_back(char(std::uint8_t(std::uint64_t(value) >> (8 * i))));
  }
  /// Appends n bytes of a stream, or refuses: what it holds is too short.
  std::size_t get(std::istream& in, std::size_t n) {
    std::size_t const at = bytes_.size();
    bytes_.resize(at + n);
    in.read(bytes_.data() + at, std::streamsize(n));
    if (std::size_t const had = std::size_t(in.gcount()); had != n)
      refuse<StateError>("restore: bytes of the saved balancer", "at least " + std::to_string(at + n),
                         std::to_string(at + had));
    return at;
  }
  template <class U> U number(std::size_t at) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(U); ++i) value |= std::uint64_t(std::uint8_t(bytes_[at + i])) << (8 * i);
    return U(value);
  }
  std::string text(std::size_t at, std::size_t n) const { return bytes_.substr(at, n); }
  std::uint64_t checksum() const {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (char const c : bytes_) h = (h ^ std::uint8_t(c)) * 0x100000001b3u;
    return h;
  }
  std::string const& bytes() const { return bytes_; }

private:
  std::string bytes_;
};

inline void write_state(std::ostream& out, BalancerState const& state) {
  StateBytes bytes;
  bytes.put(state_magic);
  bytes.put_number(state_version);
  bytes.put_number(std::uint32_t(state.name.size()));
  for (std::int64_t const n : {state.experts, state.top_k, Index(state.steps), Index(state.numbers.size())})
    bytes.put_number(n);
  bytes.put(state.name);
  for (float const b : state.numbers) bytes.put_number(std::bit_cast<std::uint32_t>(b));
  bytes.put_number(bytes.checksum());
  out.write(bytes.bytes().data(), std::streamsize(bytes.bytes().size()));
  if (!out)
    refuse<StateError>("save", "a stream that takes " + std::to_string(bytes.bytes().size()) + " bytes",
                       "one that failed");
}

inline void require_state(std::string_view what, std::string_view needed, std::string_view had) {
  if (needed != had) refuse<StateError>(std::string("restore: ").append(what), needed, had);
}
inline void require_state(std::string_view what, std::int64_t needed, std::int64_t had) {
  require_state(what, std::to_string(needed), std::to_string(had));
}

/// Reads the state of a balancer of the same name and sizes as `mine`; StateError if there is anything else. Reads
/// not a byte beyond it, and allocates by the sizes of `mine`, not by what the stream says.
inline BalancerState read_state(std::istream& in, BalancerState const& mine) {
  StateBytes bytes;
  bytes.get(in, state_magic.size());
  if (bytes.bytes() != state_magic) refuse<StateError>("restore: first bytes", "those of a saved balancer", "others");
  std::size_t const at = bytes.get(in, 8 + 4 * 8);
  require_state("format version", state_version, bytes.number<std::uint32_t>(at));
  require_state("experts", mine.experts, bytes.number<std::int64_t>(at + 8));
  require_state("top_k", mine.top_k, bytes.number<std::int64_t>(at + 16));
  std::size_t const name_bytes = bytes.number<std::uint32_t>(at + 4);
  if (name_bytes > 4096)
    refuse<StateError>("restore: bytes of the balancer's name", "at most 4096", std::to_string(name_bytes));
  std::size_t const name_at = bytes.get(in, name_bytes);
  require_state("scope and rules", mine.name, bytes.text(name_at, name_bytes));
  require_state("biases and numbers of the rules", std::int64_t(mine.numbers.size()),
                bytes.number<std::int64_t>(at + 32));

  BalancerState read{mine.name, mine.experts, mine.top_k, bytes.number<std::int64_t>(at + 24), mine.numbers};
  std::size_t const numbers_at = bytes.get(in, 4 * read.numbers.size());
  for (std::size_t i = 0; i < read.numbers.size(); ++i)
    read.numbers[i] = std::bit_cast<float>(bytes.number<std::uint32_t>(numbers_at + 4 * i));
  std::uint64_t const computed = bytes.checksum();
  std::uint64_t const stored = bytes.number<std::uint64_t>(bytes.get(in, 8));
  if (computed != stored) refuse<StateError>("restore: checksum", std::to_string(stored), std::to_string(computed));
  return read;
}

} // namespace moebal::detail
