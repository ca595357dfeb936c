// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "laws/balancer_cuts.hpp"
#include <moebal/comm/recording.hpp>

#include <barrier>

// begin, observe, terms, end: what counts once, what is refused at the wrong moment, and what ranks tell one another.

using namespace moebal;

namespace {

Index const experts = 5, top_k = 2;
BalancerShape const shape{.experts = experts, .top_k = top_k};
Load<synthetic::AllStatistics> load(std::uint64_t seed, Index sequences = 1) {
  synthetic::MicroBatch batch;
  for (Index s = 0; s < sequences; ++s)
    batch.push_back(synthetic::tokens(6 + s, experts, top_k, seed * 10 + std::uint64_t(s)));
  return synthetic::load_of(batch, experts);
}
std::vector<float> values(VectorView<float const> v) { return {v.begin(), v.end()}; }

/// f is refused with this sentence.
template <class E, class F> void check_refused(F const& f, std::string const& sentence) {
  BOOST_CHECK_EXCEPTION(f(), E, [&](E const& error) {
    BOOST_TEST_INFO(error.what());
    return std::string(error.what()) == "moebal: " + sentence;
  });
}

/// Integers in each message of one step of three micro-batches on two ranks, each micro-batch recomputed once.
using Log = std::vector<Index>;
template <class Scope, class Rule> Log messages(Scope scope, Rule rule) {
  std::array<Log, 2> logs;
  run_ranks(2, [&](Communicator<Threads> comm) {
    Recording const watched(comm.backend());
    Balancer balancer{scope, rule, shape, Communicator(watched)};
    for (int step = 0; step < 2; ++step) {
      watched.record().reset();
      balancer.begin_step(3);
      for (Index g = 0; g < 3; ++g) balancer.observe(g, load(std::uint64_t(g), 2));
      for (Index g = 0; g < 3; ++g) {
        balancer.observe(g, load(std::uint64_t(g), 2));
        balancer.terms(g);
      }
      balancer.end_step();
    }
    for (CommCall const& call : watched.record().log()) {
      if (call.verb != CommVerb::all_reduce_sum || call.element_bytes != sizeof(std::int64_t))
        throw std::logic_error("a message that is not a sum of integers");
      logs[std::size_t(comm.rank())].push_back(call.elements);
    }
  });
  BOOST_TEST((logs[0] == logs[1]));
  return logs[0];
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_balancer_steps)

BOOST_AUTO_TEST_CASE(ranks_exchange_one_message_of_integers_a_micro_batch_or_a_step) {
  Index const counts = experts + stats::None::header;
  auto const is = [](Log const& had, Log const& needed) {
    BOOST_TEST(had == needed, boost::test_tools::per_element());
  };
  Rules const both{SwitchLoss<>{}, LossFreeBias{}};
  is(messages(GlobalBatch<>{}, SwitchLoss<>{}), {counts, counts, counts});
  is(messages(GlobalBatch<Accumulate::Running>{}, both), {counts, counts, counts});
  is(messages(GlobalBatch<Accumulate::TwoPass>{}, both), {counts});
  is(messages(GlobalBatch<>{}, LossFreeBias{}), {counts}); // a bias alone needs the sum of the step only
  is(messages(GlobalBatch<Accumulate::Running>{}, LossFreeBias{}), {counts});
  is(messages(GlobalBatch<>{}, ZLoss{}), {stats::None::header, stats::None::header, stats::None::header});
  is(messages(GlobalBatch<>{}, Rules{SwitchLoss<>{}, SwitchLoss<Choices::First>{}, ZLoss{}, LossFreeBias{}}),
     {counts + experts, counts + experts, counts + experts});
  is(messages(MicroBatch<>{}, SwitchLoss<>{}), {});
  is(messages(Sequence<Accumulate::Running>{}, Rules{SwitchLoss<>{}, ZLoss{}}), {});
  is(messages(MicroBatch<>{}, both), {counts}); // so that all ranks move the same bias
  is(messages(Sequence<>{}, LossFreeBias{}), {counts});
  is(messages(GlobalBatch<>{}, Rules{}), {});
}

BOOST_AUTO_TEST_CASE(recomputing_never_counts_twice) {
  cuts::each_scope([&](auto scope) {
    Balancer once{scope, Rules{SwitchLoss<>{}, LossFreeBias{}, ZLoss{}}, shape};
    auto twice = once;
    constexpr bool late = decltype(scope)::accumulate == Accumulate::TwoPass;
    once.begin_step(3), twice.begin_step(3);
    for (Index g = 0; g < 3; ++g) {
      once.observe(g, load(std::uint64_t(g), 2));
      twice.observe(g, load(std::uint64_t(g), 2));
      if (!late) (void)twice.terms(g);
      for (Index again = 0; again <= g; ++again) twice.observe(again, load(std::uint64_t(again), 2));
    }
    for (Index g = 0; g < 3; ++g) {
      auto const a = once.terms(g), b = twice.terms(g);
      BOOST_TEST(a.loss == b.loss);
      BOOST_TEST(std::equal(a.slopes.data(), a.slopes.data() + 2 * experts, b.slopes.data()));
    }
    once.end_step(), twice.end_step();
    BOOST_TEST(values(once.bias()) == values(twice.bias()), boost::test_tools::per_element());
  });
}

BOOST_AUTO_TEST_CASE(recomputing_with_other_numbers_is_refused) {
  Balancer balancer{MicroBatch<>{}, SwitchLoss<>{}, shape};
  balancer.begin_step(2);
  balancer.observe(0, load(1, 2));
  std::string const sentence =
      "observe: micro-batch 0 was observed already: needed the same statistics when it is recomputed, had others";
  for (auto const& other : {load(2, 2), load(1, 1), load(1, 3)})
    check_refused<StateError>([&] { balancer.observe(0, other); }, sentence);
  auto changed = load(1, 2);
  changed.view().get<stats::ScoreSums>(1)[experts - 1] += 1;
  check_refused<StateError>([&] { balancer.observe(0, changed); }, sentence);
  auto unread = load(1, 2);
  unread.view().get<stats::LogSumExpSquares>(1)[0] += 1; // no rule reads it
  balancer.observe(0, unread);
}

BOOST_AUTO_TEST_CASE(every_call_has_its_moment) {
  Balancer balancer{GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{}, shape};
  std::string const closed = "needed an open step (call begin_step first), had none";
  check_refused<StateError>([&] { balancer.observe(0, load(1)); }, "observe: " + closed);
  check_refused<StateError>([&] { balancer.terms(0); }, "terms: " + closed);
  check_refused<StateError>([&] { balancer.window(0); }, "window: " + closed);
  check_refused<StateError>([&] { balancer.end_step(); }, "end_step: " + closed);
  check_refused<StateError>([&] { balancer.abandon_step(); }, "abandon_step: " + closed);
  check_refused<ShapeError>([&] { balancer.begin_step(0); }, "begin_step: micro-batches: needed at least 1, had 0");
  balancer.begin_step(3);
  check_refused<StateError>([&] { balancer.begin_step(3); },
                            "begin_step: needed no open step (call end_step or abandon_step first), had one");
  check_refused<ShapeError>([&] { balancer.observe(3, load(1)); }, "observe: micro-batch: needed 0 to 2, had 3");
  check_refused<ShapeError>([&] { balancer.observe(-1, load(1)); }, "observe: micro-batch: needed 0 to 2, had -1");
  check_refused<StateError>([&] { balancer.observe(1, load(1)); },
                            "observe: micro-batches come in order: needed 0, had 1");
  balancer.observe(0, load(1));
  check_refused<StateError>([&] { balancer.terms(0); },
                            "terms of micro-batch 0: observed micro-batches: needed at least 3, had 1");
  check_refused<StateError>([&] { balancer.end_step(); }, "end_step: observed micro-batches: needed 3, had 1");
  balancer.observe(1, load(2));
  balancer.observe(2, load(3));
  check_refused<ShapeError>([&] { balancer.terms(3); }, "terms: micro-batch: needed 0 to 2, had 3");
  check_refused<ShapeError>([&] { balancer.window(0, 1); }, "window: sequence: needed 0 to 0, had 1");
  BOOST_TEST(balancer.terms(2).loss > 0.0);
  balancer.end_step();
  BOOST_TEST(balancer.steps() == 1);

  Balancer early{MicroBatch<Accumulate::Running>{}, SwitchLoss<>{}, shape};
  early.begin_step(2);
  early.observe(0, load(1));
  BOOST_TEST(early.terms(0).loss > 0.0);
  check_refused<StateError>([&] { early.terms(1); },
                            "terms of micro-batch 1: observed micro-batches: needed at least 2, had 1");
}

BOOST_AUTO_TEST_CASE(shapes_are_checked) {
  using Micro = MicroBatch<>;
  check_refused<ShapeError>([] { Balancer{Micro{}, ZLoss{}, {}}; },
                            "experts of the balancer: needed at least 1, had 0");
  check_refused<ShapeError>([] { Balancer{Micro{}, ZLoss{}, {.experts = 3}}; },
                            "top_k of the balancer: needed 1 to 3, had 0");
  check_refused<ShapeError>([] { Balancer{Micro{}, ZLoss{}, {.experts = 3, .top_k = 4}}; },
                            "top_k of the balancer: needed 1 to 3, had 4");
  Balancer balancer{Micro{}, LossFreeBias{}, {.experts = 3, .top_k = 1}};
  balancer.begin_step(1);
  check_refused<ShapeError>([&] { balancer.observe(0, load(1)); }, "observe: experts of the load: needed 3, had 5");
  Balancer continued{Sequence<Accumulate::Running>{}, SwitchLoss<>{}, shape};
  continued.begin_step(2);
  continued.observe(0, load(1, 2));
  check_refused<ShapeError>([&] { continued.observe(1, load(1, 3)); },
                            "sequences of a micro-batch (as in the first one of the step): needed 2, had 3");
  continued.observe(1, load(1, 2)); // the refused one left nothing behind
  BOOST_TEST(continued.window(1, 1).load_tokens() == 14);
}

BOOST_AUTO_TEST_CASE(a_window_that_could_overflow_is_refused) {
  auto const of = [](Index tokens, Index experts_of_it) {
    Load<synthetic::AllStatistics> load(2, experts_of_it);
    load.view().tokens(0) = tokens;
    return load;
  };
  auto const refused = [&](auto&& balancer, Index limit) {
    balancer.begin_step(1);
    check_refused<ShapeError>([&] { balancer.observe(0, of(limit + 1, experts)); },
                              "tokens of one window: needed 0 to " + std::to_string(limit) + ", had " +
                                  std::to_string(limit + 1));
    balancer.observe(0, of(limit, experts));
  };
  Communicator<Self> const self;
  refused(Balancer{MicroBatch<>{}, SwitchLoss<>{}, shape}, stats::max_tokens<float>);
  refused(Balancer{Sequence<>{}, SwitchLoss<>{}, shape}, stats::max_tokens<float>);
  refused(Balancer{GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{}, shape, self, std::type_identity<double>{}},
          stats::max_tokens<double>);
  // What is pooled counts, too: here the sums of scores over the step.
  Balancer pooled{MicroBatch<Accumulate::Running>{}, cuts::CvSquared{}, shape};
  pooled.begin_step(2);
  pooled.observe(0, of(stats::max_tokens<float>, experts));
  BOOST_CHECK_THROW(pooled.observe(1, of(1, experts)), ShapeError);
  // Counts alone have room for any batch.
  Balancer counts{GlobalBatch<>{}, LossFreeBias{}, shape, self, std::type_identity<double>{}};
  counts.begin_step(1);
  counts.observe(0, of(stats::max_tokens<float> * 4, experts));
}

BOOST_AUTO_TEST_CASE(an_abandoned_step_was_never_there) {
  cuts::each_scope([&](auto scope) {
    Balancer balancer{scope, Rules{SwitchLoss<>{}, LossFreeBias{}}, shape};
    auto straight = balancer;
    balancer.begin_step(2);
    balancer.observe(0, load(9, 3));
    balancer.abandon_step();
    for (auto* b : {&balancer, &straight}) {
      b->begin_step(1);
      b->observe(0, load(1, 2));
    }
    BOOST_TEST(balancer.terms(0).loss == straight.terms(0).loss);
    for (auto* b : {&balancer, &straight}) b->end_step();
    BOOST_TEST(values(balancer.bias()) == values(straight.bias()), boost::test_tools::per_element());
    BOOST_TEST(balancer.steps() == 1);
  });
}

/// f(scope, rules) for those that sum over the ranks.
template <class F> void each_that_sums(F const& f) {
  Rules const both{SwitchLoss<>{}, LossFreeBias{.rate = 0.5f}};
  f(GlobalBatch<>{}, both), f(GlobalBatch<Accumulate::Running>{}, both), f(GlobalBatch<Accumulate::TwoPass>{}, both);
  f(GlobalBatch<>{}, Rules{LossFreeBias{.rate = 0.5f}}), f(MicroBatch<>{}, both);
}
/// Moves and answers of a step of two micro-batches of this rank that was observed.
template <class B> std::vector<double> close(B& balancer) {
  std::vector<double> seen;
  for (Index g = 0; g < 2; ++g) seen.push_back(balancer.terms(g).loss);
  balancer.end_step();
  seen.insert(seen.end(), balancer.bias().begin(), balancer.bias().end());
  return seen;
}
template <class B> void observe_two(B& balancer, Index rank) {
  balancer.begin_step(2);
  for (Index g = 0; g < 2; ++g) balancer.observe(g, load(std::uint64_t(2 * rank + g), 1 + rank));
}

BOOST_AUTO_TEST_CASE(observing_waits_for_nobody) {
  each_that_sums([](auto scope, auto rules) {
    std::barrier all(2);
    run_ranks(2, [&](Communicator<Threads> comm) {
      std::vector<Balancer<decltype(scope), decltype(rules), Communicator<Threads>>> layers;
      for (int layer = 0; layer < 3; ++layer) layers.emplace_back(scope, rules, shape, comm);
      if (comm.rank() == 1) all.arrive_and_wait(); // rank 0 has observed everything by then
      for (auto& layer : layers) observe_two(layer, comm.rank());
      if (comm.rank() == 0) all.arrive_and_wait();
      for (auto& layer : layers) (void)close(layer);
    });
  });
}

BOOST_AUTO_TEST_CASE(a_balancer_moves_with_sums_under_way) {
  each_that_sums([](auto scope, auto rules) {
    run_ranks(3, [&](Communicator<Threads> comm) {
      using B = Balancer<decltype(scope), decltype(rules), Communicator<Threads>>;
      B straight{scope, rules, shape, comm}, before{scope, rules, shape, comm}, target{scope, rules, shape, comm};
      for (B* b : {&straight, &before, &target}) observe_two(*b, comm.rank());
      auto const needed = close(straight);
      B moved{std::move(before)};
      target = std::move(moved); // which had sums under way itself
      if (close(target) != needed) throw std::logic_error("a moved balancer answers otherwise");
    });
  });
}

BOOST_AUTO_TEST_CASE(a_balancer_is_copied_between_steps) {
  each_that_sums([](auto scope, auto rules) {
    Balancer balancer{scope, rules, shape};
    observe_two(balancer, 0);
    check_refused<StateError>([&] { (void)decltype(balancer)(balancer); },
                              "a copy of a balancer: needed no sum over the ranks under way, had one");
    (void)close(balancer);
    auto copy = balancer;
    observe_two(balancer, 1), observe_two(copy, 1);
    BOOST_TEST(close(copy) == close(balancer), boost::test_tools::per_element());
  });
}

BOOST_AUTO_TEST_CASE(abandoned_sums_are_not_the_next_steps) {
  each_that_sums([](auto scope, auto rules) {
    run_ranks(2, [&](Communicator<Threads> comm) {
      using B = Balancer<decltype(scope), decltype(rules), Communicator<Threads>>;
      B straight{scope, rules, shape, comm}, other{scope, rules, shape, comm};
      other.begin_step(2);
      for (Index g = 0; g < 2; ++g) other.observe(g, load(77, 3));
      other.abandon_step();
      for (B* b : {&straight, &other}) observe_two(*b, comm.rank());
      if (close(straight) != close(other)) throw std::logic_error("an abandoned step was counted");
    });
  });
}

BOOST_AUTO_TEST_CASE(a_step_with_a_failed_sum_is_only_abandoned) {
  each_that_sums([](auto scope, auto rules) {
    std::string told;
    std::barrier all(2);
    BOOST_CHECK_THROW(run_ranks(2,
                                [&](Communicator<Threads> comm) {
                                  Balancer balancer{scope, rules, shape, comm};
                                  if (comm.rank() == 1) {
                                    all.arrive_and_wait(); // rank 0 has observed
                                    comm.barrier(); // instead of a sum
                                    return;
                                  }
                                  balancer.begin_step(1);
                                  balancer.observe(0, load(1));
                                  all.arrive_and_wait();
                                  try {
                                    (void)balancer.terms(0);
                                    balancer.end_step();
                                  } catch (CommError const&) {
                                  }
                                  try {
                                    balancer.end_step();
                                  } catch (StateError const& error) {
                                    told = error.what();
                                  }
                                  balancer.abandon_step();
                                  balancer.begin_step(1);
                                }),
                      CommError);
    BOOST_TEST(told == "moebal: a step of which a sum over the ranks failed: needed abandon_step, had a call that "
                       "reads the sum");
  });
}

BOOST_AUTO_TEST_CASE(a_window_that_could_overflow_over_the_ranks_is_refused_where_it_is_read) {
  run_ranks(2, [](Communicator<Threads> comm) {
    Load<synthetic::AllStatistics> most(1, experts);
    most.view().tokens(0) = stats::max_tokens<float>;
    Balancer balancer{GlobalBatch<>{}, cuts::CvSquared{}, shape, comm};
    balancer.begin_step(1);
    balancer.observe(0, most);
    try {
      (void)balancer.terms(0);
    } catch (ShapeError const&) {
      balancer.abandon_step();
      return;
    }
    throw std::logic_error("not refused");
  });
}

BOOST_AUTO_TEST_CASE(a_step_forgets_the_one_before) {
  cuts::each_scope([&](auto scope) {
    Balancer used{scope, Rules{SwitchLoss<>{}, ZLoss{}}, shape};
    auto fresh = used;
    used.begin_step(3);
    for (Index g = 0; g < 3; ++g) used.observe(g, load(7 + std::uint64_t(g), 3));
    used.end_step();
    for (auto* b : {&used, &fresh}) {
      b->begin_step(2);
      b->observe(0, load(1, 2));
      b->observe(1, load(2, 2));
    }
    for (Index g = 0; g < 2; ++g) BOOST_TEST(used.terms(g).loss == fresh.terms(g).loss);
    BOOST_TEST(used.terms(0).slopes.rows() == 2);
  });
}

BOOST_AUTO_TEST_CASE(a_failed_rank_is_an_error_on_all) {
  BOOST_CHECK_THROW(run_ranks(
                        2,
                        [&](Communicator<Threads> comm) {
                          Balancer balancer{GlobalBatch<>{}, SwitchLoss<>{}, shape, comm};
                          balancer.begin_step(1);
                          if (comm.rank() == 1) balancer.observe(1, load(1)); // there is no micro-batch 1
                          balancer.observe(0, load(1));
                        },
                        ThreadsOptions{.timeout = std::chrono::seconds(10)}),
                    ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
