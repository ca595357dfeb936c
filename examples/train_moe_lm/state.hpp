// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A stopped comparison on disk: the settings, what finished, and the run in the middle. One file, replaced as a whole,
// so that a crash while writing leaves the one before. Layout: mark, version, size and hash of the rest, then CBOR.

#include "options.hpp"
#include "record.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <stdexcept>

namespace train {

/// A run between two steps. Data order needs no state: it is a function of seed and step.
struct Midway {
  Record record;
  std::vector<float> weights, first_moments, second_moments;
  std::string balancer; // as Balancer::save wrote it; empty without a balancer
};

struct State {
  Settings settings;
  std::uint64_t corpus = 0; // Corpus::fingerprint()
  std::vector<Record> records;
  std::optional<Midway> midway;
};

struct StateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace detail {

inline constexpr char state_mark[8] = {'t', 'r', 'a', 'i', 'n', 'm', 'o', 'e'};
inline constexpr std::uint32_t state_version = 2;

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

inline std::filesystem::path state_file(std::filesystem::path const& folder) { return folder / "train_moe_lm.state"; }

inline void save(State const& state, std::filesystem::path const& folder) {
  nlohmann::json json{{"settings", state.settings}, {"corpus", state.corpus}, {"records", state.records}};
  if (state.midway) {
    Midway const& m = *state.midway;
    json["midway"] = {{"record", m.record},
                      {"weights", detail::binary(m.weights)},
                      {"first_moments", detail::binary(m.first_moments)},
                      {"second_moments", detail::binary(m.second_moments)},
                      {"balancer", detail::binary(std::vector<char>(m.balancer.begin(), m.balancer.end()))}};
  }
  std::vector<std::uint8_t> const data = nlohmann::json::to_cbor(json);
  detail::StateHeader header{
      .mark = {}, .version = detail::state_version, .reserved = 0, .size = data.size(), .hash = detail::hash_of(data)};
  std::memcpy(header.mark, detail::state_mark, sizeof header.mark);

  std::filesystem::create_directories(folder);
  std::filesystem::path const file = state_file(folder), fresh = file.string() + ".new";
  {
    std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<char const*>(&header), sizeof header);
    out.write(reinterpret_cast<char const*>(data.data()), std::streamsize(data.size()));
    out.flush();
    if (!out) throw StateError("the state could not be written to " + fresh.string());
  }
  std::filesystem::rename(fresh, file);
}

/// Throws StateError, with a sentence that says what is wrong, and changes nothing.
inline State load(std::filesystem::path const& folder) {
  std::filesystem::path const file = state_file(folder);
  auto const refuse = [&](std::string const& why) -> StateError {
    return StateError("the state " + file.string() + " cannot be used: " + why);
  };
  std::ifstream in(file, std::ios::binary);
  if (!in) throw StateError("there is no state to resume: needed the file " + file.string());
  detail::StateHeader header{};
  if (!in.read(reinterpret_cast<char*>(&header), sizeof header)) throw refuse("it is too short");
  if (std::memcmp(header.mark, detail::state_mark, sizeof header.mark) != 0)
    throw refuse("it is no state of train_moe_lm");
  if (header.version != detail::state_version)
    throw refuse("needed version " + std::to_string(detail::state_version) + ", had " + std::to_string(header.version));
  std::uintmax_t const rest = std::filesystem::file_size(file) - sizeof header;
  if (rest != header.size)
    throw refuse("needed " + std::to_string(header.size) + " bytes after the header, had " + std::to_string(rest));
  std::vector<std::uint8_t> data(header.size);
  in.read(reinterpret_cast<char*>(data.data()), std::streamsize(data.size()));
  if (!in || detail::hash_of(data) != header.hash) throw refuse("it is damaged (its checksum does not fit)");
  try {
    nlohmann::json const json = nlohmann::json::from_cbor(data);
    State state{
        .settings = json.at("settings"), .corpus = json.at("corpus"), .records = json.at("records"), .midway = {}};
    if (json.contains("midway")) {
      nlohmann::json const& m = json.at("midway");
      std::vector<char> const balancer = detail::from_binary<char>(m.at("balancer"));
      state.midway = Midway{.record = m.at("record"),
                            .weights = detail::from_binary<float>(m.at("weights")),
                            .first_moments = detail::from_binary<float>(m.at("first_moments")),
                            .second_moments = detail::from_binary<float>(m.at("second_moments")),
                            .balancer = {balancer.begin(), balancer.end()}};
    }
    return state;
  } catch (std::exception const& error) {
    throw refuse(error.what());
  }
}

} // namespace train
