// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A warp without a GPU: 32 fibers that run the device's row code, each until it meets the others. The warp sees to it
// that all lanes meet at the same operation, and lets them go on from the first to the last or the other way round, so
// that a barrier that is missing shows as other bits.

#include <moebal/backend/warp_rows.hpp>

#include <csetjmp>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace moebal_test {

/// In what order lanes run between two meetings.
enum class LaneOrder { Up, Down };

class WarpFibers {
public:
  static constexpr int size = moebal::warp_size;

  /// f() by every lane of one warp. Throws std::logic_error where lanes do not meet.
  static void run(LaneOrder order, std::function<void()> const& f) {
    WarpFibers warp(order, f);
    warp.go();
  }

  static WarpFibers& current() { return *running(); }
  int lane() const { return lane_; }
  // Waits until every lane is here; `what` must be the same for all of them.
  void meet(char const* what) {
    where_[lane_] = what;
    leave();
  }
  // All lanes meet with a value; f(of) makes a lane's answer, of(l) being the value of lane l.
  template <class T, class F> auto exchange(char const* what, T const& value, F f) {
    static_assert(sizeof(T) <= 16);
    std::memcpy(values_[lane_], &value, sizeof(T));
    meet(what);
    auto const answer = f([&](int l) {
      T other;
      std::memcpy(&other, values_[l], sizeof(T));
      return other;
    });
    meet("the end of an exchange"); // nobody overwrites a value that others are still to see
    return answer;
  }

private:
  WarpFibers(LaneOrder order, std::function<void()> const& f) : order_(order), work_(f) {}

  static WarpFibers*& running() {
    static thread_local WarpFibers* warp = nullptr;
    return warp;
  }

  void go() {
    running() = this;
    for (lane_ = 0; lane_ < size; ++lane_) start();
    while (true) {
      int done = 0;
      for (int l = 0; l < size; ++l) done += where_[l] == nullptr;
      if (done == size) break;
      for (int l = 1; l < size; ++l)
        if (where_[l] != where_[0] && (where_[l] == nullptr || where_[0] == nullptr || std::strcmp(where_[l], where_[0]) != 0))
          apart(l);
      for (int i = 0; i < size; ++i) {
        lane_ = order_ == LaneOrder::Up ? i : size - 1 - i;
        resume();
      }
    }
    running() = nullptr;
  }
  [[noreturn]] void apart(int l) {
    auto const name = [&](int i) { return where_[i] == nullptr ? std::string("its end") : std::string(where_[i]); };
    running() = nullptr;
    throw std::logic_error("lane 0 is at " + name(0) + ", lane " + std::to_string(l) + " at " + name(l));
  }

  // Contexts are entered once by the slow way of ucontext, and then by longjmp, which asks no system call.
  static constexpr std::size_t stack_bytes = 256 * 1024;
  static char* stacks() {
    static thread_local std::unique_ptr<char[]> const memory(new char[size * stack_bytes]);
    return memory.get();
  }
  void start() {
    ucontext_t& c = contexts_[lane_];
    getcontext(&c);
    c.uc_stack.ss_sp = stacks_ + std::size_t(lane_) * stack_bytes;
    c.uc_stack.ss_size = stack_bytes;
    c.uc_link = nullptr;
    makecontext(&c, &WarpFibers::enter, 0);
    if (_setjmp(home_) == 0) {
      enter_stack(lane_);
      setcontext(&c);
    }
    home_again();
  }
  static void enter() {
    WarpFibers& warp = current();
    warp.arrived();
    warp.where_[warp.lane_] = "its start";
    warp.leave();
    warp.work_();
    warp.where_[warp.lane_] = nullptr;
    warp.leave();
  }
  void leave() {
    if (_setjmp(lanes_[lane_]) == 0) {
      leave_stack();
      _longjmp(home_, 1);
    }
    arrived();
  }
  void resume() {
    if (_setjmp(home_) == 0) {
      enter_stack(lane_);
      _longjmp(lanes_[lane_], 1);
    }
    home_again();
  }

  // A sanitizer wants to know which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
  void enter_stack(int l) {
    __sanitizer_start_switch_fiber(&home_fake_, stacks_ + std::size_t(l) * stack_bytes, stack_bytes);
  }
  void home_again() { __sanitizer_finish_switch_fiber(home_fake_, nullptr, nullptr); }
  void leave_stack() { __sanitizer_start_switch_fiber(&fakes_[lane_], home_stack_, home_size_); }
  void arrived() { __sanitizer_finish_switch_fiber(fakes_[lane_], &home_stack_, &home_size_); }
  void* home_fake_ = nullptr;
  void* fakes_[size] = {};
  void const* home_stack_ = nullptr;
  std::size_t home_size_ = 0;
#else
  void enter_stack(int) {}
  void home_again() {}
  void leave_stack() {}
  void arrived() {}
#endif

  LaneOrder order_;
  std::function<void()> const& work_;
  char* const stacks_ = stacks();
  ucontext_t contexts_[size];
  std::jmp_buf home_, lanes_[size];
  char const* where_[size] = {}; // null: at the end
  alignas(16) char values_[size][16];
  int lane_ = 0;
};

/// What backend/warp_lanes.hpp wants of a warp, within HostWarp::run.
struct HostWarp {
  static constexpr int size = moebal::warp_size;

  static int lane() { return WarpFibers::current().lane(); }
  static void sync() { WarpFibers::current().meet("sync"); }
  template <class T> static T shuffle_xor(T value, int mask) {
    return WarpFibers::current().exchange("shuffle_xor", value, [&](auto const& of) { return of(lane() ^ mask); });
  }
  static unsigned ballot(bool b) {
    return WarpFibers::current().exchange("ballot", b, [](auto const& of) {
      unsigned bits = 0;
      for (int l = 0; l < size; ++l) bits |= unsigned(of(l)) << l;
      return bits;
    });
  }
  template <class T> static T max(T value) {
    return WarpFibers::current().exchange("max", value, [](auto const& of) {
      T best = of(0);
      for (int l = 1; l < size; ++l) best = of(l) > best ? of(l) : best;
      return best;
    });
  }
  static unsigned match(std::uint32_t value) {
    return WarpFibers::current().exchange("match", value, [&](auto const& of) {
      unsigned bits = 0;
      for (int l = 0; l < size; ++l) bits |= unsigned(of(l) == value) << l;
      return bits;
    });
  }
  static void add(std::int64_t* p, std::int64_t value) { *p += value; }

  static void run(LaneOrder order, std::function<void()> const& f) { WarpFibers::run(order, f); }
};

/// Rows by one emulated warp after the other: what ThrustExec does on a GPU, on host memory.
struct WarpExec {
  using memory = moebal::HostMemory;
  using Index = moebal::Index;
  static constexpr bool clears_sums = true;
  LaneOrder order = LaneOrder::Up;
  Index warps = 3;
  std::size_t most_shared = 1 << 20; // 0: the row form alone

  Index workers() const { return warps; }
  Index copies() const { return 1; }

  template <class Body> void for_rows(Index n, std::size_t bytes, moebal::WorkspaceView<> workspace, Body const& body) const {
    using namespace moebal;
    std::byte* const scratch = workspace.take<std::byte>(Index(bytes) * warps);
    std::vector<std::int64_t> sums;
    auto const run_rows = [&](Body const& own) {
      detail::with_warp_words(own, most_shared, [&](auto words) {
        constexpr int n_words = decltype(words)::value;
        std::vector<std::int64_t> shared(detail::warp_shared_bytes<n_words>(own) / 8 + 1);
        for (Index w = 0; w < warps && w < n; ++w)
          HostWarp::run(order, [&] {
            detail::warp_rows<HostWarp, n_words>(own, scratch + std::size_t(w) * bytes,
                                                 reinterpret_cast<std::byte*>(shared.data()), w, warps, n);
          });
      });
    };
    if constexpr (summing_body<Body>) {
      sums.resize(std::size_t(body.sums_size()));
      run_rows(body.sums_size() > 0 ? body.with_sums(sums.data()) : body);
      for (Index i = 0; i < body.sums_size(); ++i) body.sums()[i] = sums[std::size_t(i)];
    } else {
      run_rows(body);
    }
  }
  template <class F> void for_each(Index n, F const& f) const {
    for (Index i = 0; i < n; ++i)
      if constexpr (moebal::detail::warp_item<F, HostWarp>)
        HostWarp::run(order, [&] { f.warp(HostWarp{}, i); });
      else
        f(i);
  }
  void exclusive_scan(moebal::VectorView<std::int64_t> v) const {
    std::int64_t sum = 0;
    for (std::int64_t& x : v) sum += std::exchange(x, sum);
  }
  void reduce_columns(moebal::MatrixView<std::int64_t const> m, moebal::VectorView<std::int64_t> v) const {
    for (Index c = 0; c < m.cols(); ++c) {
      v[c] = 0;
      for (Index r = 0; r < m.rows(); ++r) v[c] += m(r, c);
    }
  }
  template <class T> void copy(moebal::VectorView<T const> from, moebal::VectorView<T> to) const {
    for (Index i = 0; i < from.size(); ++i) to[i] = from[i];
  }
  template <class T> void fill(moebal::VectorView<T> v, T x) const {
    for (T& y : v) y = x;
  }
};

} // namespace moebal_test
