// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/moebal.hpp>

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>

// After its first step, a layer on one thread calls no allocator and takes no lock. This program's malloc and locks stand before
// those of the C library, for all of the process, and count.

namespace {
std::atomic<long> allocations = 0, locks = 0;

template <class F> F next(F, char const* name) { return reinterpret_cast<F>(dlsym(RTLD_NEXT, name)); }
} // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) {
  ++allocations;
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  ++allocations;
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  ++allocations;
  return __libc_realloc(p, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  ++allocations;
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  ++allocations;
  *p = __libc_memalign(alignment, n);
  return *p == nullptr ? 12 : 0; // ENOMEM
}
#define COUNTED_LOCK(function, Lock)                                                                                   \
  int function(Lock* lock) {                                                                                           \
    static auto const real = next(&function, #function);                                                               \
    ++locks;                                                                                                           \
    return real(lock);                                                                                                 \
  }
COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_spin_lock, pthread_spinlock_t)
}

using namespace moebal;

namespace {

template <class Layer> void check_quiet(Layer layer, Index tokens, Index experts, Index micro_batches = 1) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  Index const K = Layer::top_k;
  std::vector<float> logits(std::size_t(tokens * experts)), d_weights(std::size_t(tokens * K), 0.5f), d_logits(logits.size());
  for (float& z : logits) z = normal(engine);
  Routing<float> routing(tokens, K);
  MatrixView<float const> const z{logits.data(), tokens, experts}, dw{d_weights.data(), tokens, K};
  MatrixView<float> const dz{d_logits.data(), tokens, experts};
  EigenExec const exec;
  auto const step = [&] {
    double loss = 0;
    layer.begin_step(micro_batches);
    for (Index g = 0; g < micro_batches; ++g) {
      layer.forward_into(exec, g, z, {}, routing.view());
      loss += layer.backward_into(exec, g, z, {}, std::as_const(routing).expert_ids(), dw, dz);
    }
    layer.end_step();
    layer.evaluate_into(exec, z, {}, routing.view());
    return loss;
  };
  double const first = step();
  long const allocated = allocations, locked = locks;
  double const second = step();
  long const new_allocations = allocations - allocated, new_locks = locks - locked;
  BOOST_TEST(new_allocations == 0);
  BOOST_TEST(new_locks == 0);
  BOOST_TEST((first >= 0 && second >= 0));
}

} // namespace

BOOST_AUTO_TEST_SUITE(overhead_steady_state)

BOOST_AUTO_TEST_CASE(the_counters_count) {
  long const allocated = allocations, locked = locks;
  std::vector<int>* volatile const some = new std::vector<int>(100);
  delete some;
  std::mutex mutex;
  mutex.lock();
  mutex.unlock();
  BOOST_TEST(allocations >= allocated + 2);
  BOOST_TEST(locks == locked + 1);
}

BOOST_AUTO_TEST_CASE(a_softmax_layer_with_the_loss_of_switch) {
  for (Index const tokens : {0, 1, 7, 16, 1000})
    for (Index const experts : {3, 60, 128})
      check_quiet(Pipeline{Router{TopK<2>{}, Softmax{.normalise = Normalise::OverChosen}},
                           Balancer{MicroBatch<>{}, SwitchLoss<>{}, BalancerShape{.experts = experts, .top_k = 2}}},
                  tokens, experts);
}

BOOST_AUTO_TEST_CASE(a_grouped_sigmoid_layer_with_a_bias_over_micro_batches) {
  for (Index const tokens : {1, 7, 1000})
    for (Index const experts : {64, 160, 256})
      check_quiet(Pipeline{Router{GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{}},
                           Balancer{GlobalBatch<Accumulate::Running>{}, Rules{LossFreeBias{}, SwitchLoss<>{}, ZLoss{}},
                                    BalancerShape{.experts = experts, .top_k = 8}}},
                  tokens, experts, 3);
}

BOOST_AUTO_TEST_SUITE_END()
