// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "support/test.hpp"

#include "../../examples/train_moe_lm/state_file.hpp"

#include <unistd.h>

using namespace train;

namespace {

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moebal_state_test_" + std::to_string(getpid()));
  ~Folder() { std::filesystem::remove_all(path); }
};

State some_state() {
  State state;
  state.settings.steps = 17;
  state.settings.alpha = 0.1;
  state.corpus = 0xfedcba9876543210u;
  Record record;
  record.name = "loss-global";
  record.seed = 5;
  record.train_loss = {5.25, 1.0 / 3, 0.1f};
  record.load = {1, 2, 3};
  record.row.perplexity = 7.123456789012345;
  record.finished = Finished::Yes;
  state.records = {record, record};
  record.finished = Finished::No;
  state.midway = Midway{.record = record,
                        .learned = {.weights = {0.1f, -0.0f, 1e-42f}, .first_moments = {1, 2, 3}, .second_moments = {}},
                        .balancers = std::string("a\0b", 3)};
  return state;
}
std::string bytes_of(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

BOOST_AUTO_TEST_SUITE(examples_state)

BOOST_AUTO_TEST_CASE(round_trip_keeps_every_bit) {
  Folder folder;
  State const state = some_state();
  save(state, folder.path);
  State const read = load(folder.path);
  BOOST_TEST((read.settings == state.settings));
  BOOST_TEST(read.corpus == state.corpus);
  BOOST_TEST((nlohmann::json(read.records) == nlohmann::json(state.records)));
  BOOST_TEST((nlohmann::json(read.midway->record) == nlohmann::json(state.midway->record)));
  BOOST_TEST(std::signbit(read.midway->learned.weights[1]));
  BOOST_TEST((read.midway->learned.weights == state.midway->learned.weights));
  BOOST_TEST((read.midway->learned.first_moments == state.midway->learned.first_moments));
  BOOST_TEST(read.midway->learned.second_moments.empty());
  BOOST_TEST(read.midway->balancers == state.midway->balancers);
  State without = state;
  without.midway.reset();
  save(without, folder.path); // replaces
  BOOST_TEST(!load(folder.path).midway.has_value());
  BOOST_TEST(!std::filesystem::exists(state_file(folder.path).string() + ".new"));
}

BOOST_AUTO_TEST_CASE(every_damage_is_refused) {
  Folder folder;
  save(some_state(), folder.path);
  std::filesystem::path const file = state_file(folder.path);
  std::string const good = bytes_of(file);
  auto const write = [&](std::string const& text) { std::ofstream(file, std::ios::binary | std::ios::trunc) << text; };
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (i >= 12 && i < 16) continue; // reserved, not read
    std::string bad = good;
    bad[i] = char(bad[i] ^ 0x20);
    write(bad);
    BOOST_TEST_INFO("byte " << i);
    BOOST_CHECK_THROW(load(folder.path), train::StateError);
  }
  for (std::size_t n : {std::size_t(0), std::size_t(7), std::size_t(32), good.size() - 1}) {
    write(good.substr(0, n));
    BOOST_CHECK_THROW(load(folder.path), train::StateError);
  }
  write(good + "x");
  BOOST_CHECK_THROW(load(folder.path), train::StateError);
  std::filesystem::remove(file);
  BOOST_CHECK_THROW(load(folder.path), train::StateError);
}

BOOST_AUTO_TEST_SUITE_END()
