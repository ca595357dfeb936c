// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A stopped comparison: the settings, what finished, and the run in the middle, of all ranks together, so that any
// number of ranks can go on. As bytes: mark, version, size and hash of the rest, then CBOR.

#include "learner.hpp"
#include "options.hpp"
#include "record.hpp"

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace train {

/// A run between two steps. Data order needs no state: it is a function of seed and step.
struct Midway {
  Record record;
  Whole learned;
  std::string balancers; // of the layers one after another, as Balancer::save wrote them
};

struct State {
  Settings settings;
  std::uint64_t corpus = 0; // Corpus::fingerprint()
  std::vector<Record> records;
  std::optional<Midway> midway;
};

namespace detail {

inline constexpr char state_mark[8] = {'t', 'r', 'a', 'i', 'n', 'm', 'o', 'e'};
inline constexpr std::uint32_t state_version = 3;

struct StateHeader {
  char mark[8];
  std::uint32_t version;
  std::uint32_t reserved;
  std::uint64_t size;
  std::uint64_t hash;
};

inline std::uint64_t hash_of(std::span<std::uint8_t const> data) {
  std::uint64_t hash = 14695981039346656037u; // FNV-1a
  for (std::uint8_t const byte : data) hash = (hash ^ byte) * 1099511628211u;
  return hash;
}
template <class T> nlohmann::json binary(std::vector<T> const& values) {
  auto const* const data = reinterpret_cast<std::uint8_t const*>(values.data());
  return nlohmann::json::binary({data, data + values.size() * sizeof(T)});
}
template <class T> std::vector<T> from_binary(nlohmann::json const& json) {
  auto const& data = json.get_binary();
  if (data.size() % sizeof(T) != 0) throw StateError("an array is cut off");
  std::vector<T> values(data.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

} // namespace detail

inline std::string to_bytes(State const& state) {
  nlohmann::json json{{"settings", state.settings}, {"corpus", state.corpus}, {"records", state.records}};
  if (state.midway) {
    Midway const& m = *state.midway;
    json["midway"] = {{"record", m.record},
                      {"weights", detail::binary(m.learned.weights)},
                      {"first_moments", detail::binary(m.learned.first_moments)},
                      {"second_moments", detail::binary(m.learned.second_moments)},
                      {"balancers", detail::binary(std::vector<char>(m.balancers.begin(), m.balancers.end()))}};
  }
  std::vector<std::uint8_t> const data = nlohmann::json::to_cbor(json);
  detail::StateHeader header{
      .mark = {}, .version = detail::state_version, .reserved = 0, .size = data.size(), .hash = detail::hash_of(data)};
  std::memcpy(header.mark, detail::state_mark, sizeof header.mark);

  std::string packed(reinterpret_cast<char const*>(&header), sizeof header);
  return packed.append(reinterpret_cast<char const*>(data.data()), data.size());
}

/// Throws StateError, with a sentence that says what is wrong. name: of the state, in it.
inline State state_of(std::string_view packed, std::string const& name) {
  auto const refuse = [&](std::string const& why) -> StateError {
    return StateError("the state " + name + " cannot be used: " + why);
  };
  detail::StateHeader header{};
  if (packed.size() < sizeof header) throw refuse("it is too short");
  std::memcpy(&header, packed.data(), sizeof header);
  if (std::memcmp(header.mark, detail::state_mark, sizeof header.mark) != 0)
    throw refuse("it is no state of train_moe_lm");
  if (header.version != detail::state_version)
    throw refuse("needed version " + std::to_string(detail::state_version) + ", had " + std::to_string(header.version));
  packed.remove_prefix(sizeof header);
  if (packed.size() != header.size)
    throw refuse("needed " + std::to_string(header.size) + " bytes after the header, had " +
                 std::to_string(packed.size()));
  std::span<std::uint8_t const> const data(reinterpret_cast<std::uint8_t const*>(packed.data()), packed.size());
  if (detail::hash_of(data) != header.hash) throw refuse("it is damaged (its checksum does not fit)");
  try {
    nlohmann::json const json = nlohmann::json::from_cbor(data.begin(), data.end());
    State state{
        .settings = json.at("settings"), .corpus = json.at("corpus"), .records = json.at("records"), .midway = {}};
    if (json.contains("midway")) {
      nlohmann::json const& m = json.at("midway");
      std::vector<char> const balancers = detail::from_binary<char>(m.at("balancers"));
      state.midway = Midway{.record = m.at("record"),
                            .learned = {.weights = detail::from_binary<float>(m.at("weights")),
                                        .first_moments = detail::from_binary<float>(m.at("first_moments")),
                                        .second_moments = detail::from_binary<float>(m.at("second_moments"))},
                            .balancers = {balancers.begin(), balancers.end()}};
    }
    return state;
  } catch (std::exception const& error) {
    throw refuse(error.what());
  }
}

} // namespace train
