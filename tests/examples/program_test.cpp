// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The whole example on tiny texts: what the command line answers, and that a stopped run goes on to the same numbers.

#include "support/test.hpp"

#include "../../examples/train_moe_lm/program.hpp"

#include <sstream>

using namespace train;

namespace {

/// Three texts of three alphabets, made up.
struct Texts {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("moebal_program_test_" + std::to_string(getpid()));
  Texts() {
    std::filesystem::create_directories(folder / "texts");
    for (int d = 0; d < 3; ++d) {
      Random random{std::uint64_t(d)};
      std::string text;
      while (text.size() < 180'000) text += char('0' + 20 * d + random.below(4 + random.below(12)));
      std::ofstream(folder / "texts" / format("%d.txt", d)) << text;
    }
  }
  ~Texts() { std::filesystem::remove_all(folder); }
  std::string path(char const* name) const { return (folder / name).string(); }
};

/// What the program prints and returns.
struct Answer {
  int code = 0;
  std::string out, error;
};
Answer call(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "train_moe_lm");
  std::vector<char const*> pointers;
  for (std::string const& a : arguments) pointers.push_back(a.c_str());
  std::ostringstream out, error;
  auto* const old_out = std::cout.rdbuf(out.rdbuf());
  auto* const old_error = std::cerr.rdbuf(error.rdbuf());
  Answer answer;
  answer.code = program(int(pointers.size()), pointers.data());
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_error);
  answer.out = out.str();
  answer.error = error.str();
  return answer;
}

/// A row or record without what a clock measured.
nlohmann::json timeless(Record record) {
  record.step_seconds = record.cpu_seconds = record.balancer_seconds = record.routing_seconds = 0;
  record.balancer_wall_seconds = 0;
  record.row.seconds_per_step = record.row.balancer_share = record.row.balancer_wall_share = 0;
  return record;
}

Settings tiny(Texts const& texts) {
  Settings s;
  s.experts = 8;
  s.steps = 12;
  s.ranks = 3;
  s.micro_batches = 2;
  s.text = texts.path("texts");
  return s;
}

/// A tiny run, and little to validate.
struct Tiny {
  Texts texts;
  Settings s = tiny(texts);
  Corpus const corpus{domains_of(s.text)};
  Validation const little{.at_end = 2, .midway = 1, .checkpoints = 4};
};

} // namespace

BOOST_AUTO_TEST_SUITE(examples_program)

BOOST_AUTO_TEST_CASE(help_list_and_refusals) {
  Answer const help = call({"--help"});
  BOOST_TEST(help.code == 0);
  for (char const* option : {"--strategies", "--seeds", "--capacity", "--resume", "--json", "--report", "--text"})
    BOOST_TEST(help.out.find(option) != std::string::npos);
  Answer const list = call({"--list"});
  BOOST_TEST(list.code == 0);
  for (StrategyInfo const& s : catalogue) BOOST_TEST(list.out.find(s.name) != std::string::npos);
  BOOST_TEST(call({"--strategies", "loss-global,nonsense"}).code != 0);
  BOOST_TEST(call({"--top-k", "3"}).code != 0);
  BOOST_TEST(call({"--experts", "4", "--top-k", "8"}).code != 0);
  Texts texts;
  Answer const nothing = call({"--resume", "--state", texts.path("nothing")});
  BOOST_TEST(nothing.code == 1);
  BOOST_TEST(nothing.error.find("there is no state to resume") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_run_writes_table_json_report_and_state) {
  Texts texts;
  std::vector<std::string> const arguments{"--text",          texts.path("texts"),
                                           "--experts",       "8",
                                           "--ranks",         "2",
                                           "--micro-batches", "2",
                                           "--steps",         "6",
                                           "--seeds",         "2",
                                           "--json",          texts.path("rows/table.json"),
                                           "--report",        texts.path("report"),
                                           "--state",         texts.path("state"),
                                           "--strategies",    "loss-global,none-sigmoid"};
  Answer const answer = call(arguments);
  BOOST_TEST(answer.code == 0);
  BOOST_TEST(answer.out.find("loss-global") != std::string::npos);
  BOOST_TEST(answer.out.find("seed by seed") != std::string::npos);
  nlohmann::json const rows = nlohmann::json::parse(std::ifstream(texts.path("rows/table.json")));
  BOOST_TEST(rows.size() == 4u);
  for (auto const& row : rows)
    for (char const* key : {"strategy", "scope", "gate", "seed", "perplexity", "max_vio_global", "max_vio_batch",
                            "specialisation_bits", "dead_experts", "dropped", "seconds_per_step", "balancer_share"})
      BOOST_TEST(row.contains(key), key);
  BOOST_TEST(std::filesystem::file_size(texts.path("report/report.html")) > 1000u);

  // Nothing is left to do, so a resume only repeats the table.
  Answer const again = call({"--resume", "--state", texts.path("state"), "--report", texts.path("report")});
  BOOST_TEST(again.code == 0);
  BOOST_TEST(again.out.substr(0, again.out.find("Report")) == answer.out.substr(0, answer.out.find("Report")));
  Answer const other = call({"--resume", "--state", texts.path("state"), "--steps", "7"});
  BOOST_TEST(other.code == 1);
  BOOST_TEST(other.error.find("--steps") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stopped_run_goes_on_to_the_same_numbers) {
  Texts texts;
  Validation const little{.at_end = 2, .midway = 1, .checkpoints = 4};
  for (double const capacity : {0.0, 1.25}) {
    Settings s = tiny(texts);
    s.capacity = capacity;
    Corpus const corpus(domains_of(s.text));
    s.layers = capacity > 0 ? 2 : 1;
    for (StrategyInfo const& info : catalogue) {
      if (capacity > 0 && info.name != "bias-global-softmax") continue;
      BOOST_TEST_CONTEXT(info.name) {
        Record const whole = train_on_threads(corpus, s, {}, little, contestant(info, s.top_k), 4);
        BOOST_TEST((whole.finished == Finished::Yes));
        BOOST_TEST(whole.steps() == s.steps);

        State state;
        Observer stop_at_five;
        stop_at_five.stepped = [](Record const& r) { return r.steps() == 5; };
        stop_at_five.save = [&](Midway midway) { state.midway = std::move(midway); };
        Record const part = train_on_threads(corpus, s, stop_at_five, little, contestant(info, s.top_k), 4);
        BOOST_TEST((part.finished == Finished::No));
        BOOST_TEST(part.steps() == 5);
        save(state, texts.folder);
        Record const rest =
            train_on_threads(corpus, s, {}, little, contestant(info, s.top_k), 4, load(texts.folder).midway);
        BOOST_TEST((timeless(rest) == timeless(whole)));
        if (capacity > 0) BOOST_TEST(whole.row.dropped_train > 0);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_run_goes_on_with_other_ranks) {
  Texts texts;
  std::vector<std::string> const run{"--text", texts.path("texts"), "--experts",   "8",      "--steps",
                                     "12",     "--strategies",      "loss-global", "--seed", "4"};
  auto const with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), run.begin(), run.end());
    for (char const* name : {"state", "report"}) more.insert(more.end(), {std::string("--") + name, texts.path(name)});
    return call(more);
  };
  BOOST_TEST(with({"--ranks", "3", "--micro-batches", "2"}).code == 0);
  Record const whole = load(texts.folder / "state").records.front();

  // Saved by 3 ranks, in the middle, as a kill leaves it.
  Settings s = tiny(texts);
  s.strategies = {"loss-global"}, s.seed = 4;
  Corpus const corpus(domains_of(s.text));
  State half;
  half.settings = s, half.corpus = corpus.fingerprint();
  Observer stop;
  stop.save_every = 5;
  stop.stepped = [](Record const& r) { return r.steps() == 6; };
  stop.save = [&](Midway midway) {
    if (midway.record.steps() == 5) half.midway = std::move(midway);
  };
  train_on_threads(corpus, s, stop, {}, contestant(*find_strategy("loss-global"), s.top_k), 4);
  BOOST_TEST(half.midway.has_value());
  for (int const ranks : {1, 2, 6}) {
    save(half, texts.folder / "state");
    Answer const answer = with({"--resume", "--ranks", std::to_string(ranks)});
    BOOST_TEST(answer.code == 0, answer.error);
    State const after = load(texts.folder / "state");
    BOOST_TEST(after.settings.ranks == ranks);
    BOOST_TEST(after.settings.micro_batches == 6 / ranks);
    Record const& r = after.records.front();
    for (std::size_t i = 0; i < std::size_t(6 * s.experts); ++i) // the sixth step is the first one of the other ranks
      BOOST_TEST(r.load[i] == whole.load[i]);
    for (std::size_t i = 0; i < r.train_loss.size(); ++i)
      BOOST_TEST(std::abs(r.train_loss[i] - whole.train_loss[i]) < (i < 6 ? 1e-6 : 1e-3)); // sums round otherwise
  }
  save(half, texts.folder / "state");
  Answer const uneven = with({"--resume", "--ranks", "4"});
  BOOST_TEST(uneven.code == 1);
  BOOST_TEST(uneven.error.find("6 micro-batches a step, which 4 ranks cannot share evenly") != std::string::npos);
  BOOST_TEST(with({"--resume", "--ranks", "4", "--micro-batches", "1"}).code == 0);
}

BOOST_FIXTURE_TEST_CASE(one_rank_with_one_micro_batch_is_every_scope_at_once, Tiny) {
  s.ranks = s.micro_batches = 1;
  auto const run = [&](char const* name) {
    Record record = train_on_threads(corpus, s, {}, little, contestant(*find_strategy(name), s.top_k), 4);
    record.name.clear();
    return timeless(record);
  };
  nlohmann::json const micro = run("loss-micro");
  for (char const* name : {"loss-ranks", "loss-running", "loss-global", "loss-subset"})
    BOOST_TEST((run(name) == micro), name);
  BOOST_TEST((run("bias-micro-softmax") == run("bias-global-softmax")));
  BOOST_TEST((run("none-softmax") != micro));
}

BOOST_FIXTURE_TEST_CASE(messages_of_the_layers_change_no_number, Tiny) {
  s.layers = 3;
  for (char const* name : {"loss-global", "loss-running", "bias-global-sigmoid", "bias-micro-softmax"}) {
    BOOST_TEST_CONTEXT(name) {
      auto const run = [&](BalancerMessages messages) {
        s.balancer_messages = messages;
        return timeless(train_on_threads(corpus, s, {}, little, contestant(*find_strategy(name), s.top_k), 4));
      };
      nlohmann::json const packed = run(BalancerMessages::Packed);
      BOOST_TEST(packed.at("load").size() == std::size_t(s.steps * s.layers * s.experts));
      BOOST_TEST((run(BalancerMessages::ByLayer) == packed));
      BOOST_TEST((run(BalancerMessages::Blocking) == packed));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(statistics_of_all_layers_are_one_message_a_step, Tiny) {
  s.layers = 3;
  auto const calls = [&](BalancerMessages messages) {
    s.balancer_messages = messages;
    std::int64_t of_rank_0 = 0;
    on_threads(s.ranks, default_timeout, [&](Comm const& comm) {
      moebal::Recording const recorded(comm.backend());
      Trainer trainer(corpus, s, {}, {.at_end = 1, .midway = 1, .checkpoints = 1});
      trainer.run(Comm(moebal::AnyBackend(recorded)), contestant(*find_strategy("bias-global-sigmoid"), s.top_k), 4);
      if (comm.rank() == 0) of_rank_0 = recorded.record().calls(moebal::CommVerb::all_reduce_sum);
    });
    return of_rank_0;
  };
  BOOST_TEST(calls(BalancerMessages::Packed) == s.steps);
  BOOST_TEST(calls(BalancerMessages::ByLayer) == s.steps * s.layers);
}

BOOST_AUTO_TEST_CASE(a_slow_network_is_measured) {
  Texts const texts;
  Answer const answer = call({"--network-delays", "0.05", "--layers", "2", "--ranks", "2", "--micro-batches", "2",
                              "--experts", "8", "--steps", "1", "--text", texts.path("texts")});
  BOOST_TEST(answer.code == 0);
  for (char const* row : {"| room, ms | step, ms | + 0.05 ms |", "| bias-global-sigmoid | blocking | 2 | 0.00 |",
                          "| bias-global-sigmoid | by layer | 2 |", "| bias-global-sigmoid | packed | 1 |",
                          "| loss-ranks | blocking | 4 | 0.00 |", "| loss-ranks | packed | 2 |"})
    BOOST_TEST(answer.out.find(row) != std::string::npos, row << " in " << answer.out);
  BOOST_TEST(!std::filesystem::exists("train_moe_lm_out"));
}

BOOST_FIXTURE_TEST_CASE(experts_spread_over_the_ranks_learn_the_same, Tiny) {
  s.layers = 2;
  for (double const capacity : {0.0, 1.25})
    for (int const ranks : {1, 2, 4}) {
      BOOST_TEST_CONTEXT(ranks << " ranks, capacity " << capacity) {
        s.ranks = ranks, s.capacity = capacity;
        auto const run = [&](bool spread) {
          s.experts_parallel = spread;
          return train_on_threads(corpus, s, {}, little, contestant(*find_strategy("loss-global"), s.top_k), 4);
        };
        Record const all = run(false), spread = run(true);
        std::size_t const first_steps = std::size_t(3 * s.layers * s.experts);
        BOOST_TEST(std::equal(all.load.begin(), all.load.begin() + std::ptrdiff_t(first_steps), spread.load.begin()));
        // Experts add up gradients of several ranks' tokens in another order, and a rounding may move a token.
        for (std::size_t i = 0; i < all.train_loss.size(); ++i)
          BOOST_TEST(std::abs(all.train_loss[i] - spread.train_loss[i]) < 1e-3 * all.train_loss[i]);
        BOOST_TEST(std::abs(all.row.perplexity - spread.row.perplexity) < 1e-3 * all.row.perplexity);
        if (ranks == 1) BOOST_TEST((timeless(all) == timeless(spread))); // here the order is the same
      }
    }
  s.ranks = 3;
  BOOST_CHECK_THROW(train_on_threads(corpus, s, {}, little, contestant(*find_strategy("loss-global"), s.top_k), 4),
                    std::invalid_argument); // 8 experts
}

BOOST_FIXTURE_TEST_CASE(a_run_goes_on_in_either_form, Tiny) {
  s.ranks = 2;
  s.layers = 2;
  auto const contest = contestant(*find_strategy("bias-global-sigmoid"), s.top_k);
  Record const whole = train_on_threads(corpus, s, {}, little, contest, 4);
  for (bool const first_spread : {false, true}) {
    std::optional<Midway> half;
    Observer stop;
    stop.stepped = [](Record const& r) { return r.steps() == 5; };
    stop.save = [&](Midway midway) { half = std::move(midway); };
    s.experts_parallel = first_spread;
    train_on_threads(corpus, s, stop, little, contest, 4);
    BOOST_TEST(Index(half->learned.weights.size()) == parameter_count(s.model()));
    for (int const ranks : {2, 4}) {
      Settings after = s;
      after.experts_parallel = !first_spread;
      after.ranks = ranks, after.micro_batches = 4 / ranks;
      Record const rest = train_on_threads(corpus, after, {}, little, contest, 4, half);
      for (std::size_t i = 0; i < whole.train_loss.size(); ++i)
        BOOST_TEST(std::abs(rest.train_loss[i] - whole.train_loss[i]) < 1e-3 * whole.train_loss[i]);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_state_of_another_model_is_refused, Tiny) {
  Midway midway;
  midway.learned.weights = {1, 2, 3};
  BOOST_CHECK_THROW(train_on_threads(corpus, s, {}, {}, contestant(*find_strategy("loss-global"), s.top_k), 4, midway),
                    train::StateError);
}

BOOST_AUTO_TEST_CASE(paired_differences_pair_by_seed) {
  std::vector<Record> records;
  for (std::uint64_t seed : {1, 2, 3})
    for (char const* name : {"loss-micro", "loss-global"}) {
      if (seed == 3 && std::string(name) == "loss-global") continue;
      Record r;
      r.name = name;
      r.seed = seed;
      r.finished = Finished::Yes;
      r.row.perplexity = 10 * double(seed) + (std::string(name) == "loss-micro" ? 0.5 : 0);
      records.push_back(r);
    }
  auto const paired = paired_differences(records);
  BOOST_TEST(paired.size() == 1u);
  BOOST_TEST(paired.front().name == "loss-micro");
  BOOST_TEST((paired.front().differences == std::vector<double>{0.5, 0.5})); // seed 3 has no partner
}

BOOST_AUTO_TEST_SUITE_END()
