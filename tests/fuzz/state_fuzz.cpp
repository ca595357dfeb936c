// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any bytes as a saved balancer, and saved balancers with damage: restore refuses them with StateError and changes
// nothing, or takes them and saves the same bytes again.
#include <moebal/balancer.hpp>

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace {

using namespace moebal;

void expect(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

template <class B> std::string bytes_of(B const& balancer) {
  std::ostringstream out;
  balancer.save(out);
  return out.str();
}

template <class B> void restore(B& balancer, std::string const& bytes) {
  std::string const before = bytes_of(balancer);
  std::istringstream in(bytes);
  try {
    balancer.restore(in);
  } catch (StateError const& e) {
    expect(std::string_view(e.what()).starts_with("moebal: "), "a refusal says what is wrong");
    expect(bytes_of(balancer) == before, "a refused state changes nothing");
    return;
  }
  std::string const after = bytes_of(balancer);
  expect(bytes.compare(0, after.size(), after) == 0, "what was taken is what is saved");
}

} // namespace

// The first byte says whether the rest is a state, or damage to a good one: triples (place, place, new byte), and a
// cut.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  Balancer biased(GlobalBatch<>{}, Rules{SwitchLoss<>{}, LossFreeBias{}}, BalancerShape{.experts = 7, .top_k = 2});
  Balancer plain(Sequence<>{}, SwitchLoss<>{}, BalancerShape{.experts = 3, .top_k = 1});
  std::string bytes(reinterpret_cast<char const*>(data) + 1, size - 1);
  if (data[0] & 1) {
    float const bias[] = {0.5f, -1, 0, 3, 1e-30f, 7, -0.0f};
    biased.set_bias(bias);
    std::string good = data[0] & 2 ? bytes_of(plain) : bytes_of(biased);
    for (std::size_t i = 0; i + 2 < bytes.size(); i += 3)
      good[(std::size_t(std::uint8_t(bytes[i])) << 8 | std::uint8_t(bytes[i + 1])) % good.size()] = bytes[i + 2];
    if (data[0] & 4) good.resize(data[0] >> 3);
    bytes = good;
  }
  restore(biased, bytes);
  restore(plain, bytes);
  Balancers both(
      Balancer(GlobalBatch<>{}, Rules{SwitchLoss<>{}, LossFreeBias{}}, BalancerShape{.experts = 7, .top_k = 2}),
      Balancer(MicroBatch<>{}, SwitchLoss<>{}, BalancerShape{.experts = 7, .top_k = 2}));
  restore(both, bytes + bytes);
  return 0;
}
