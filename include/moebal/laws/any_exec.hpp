// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../backend/host_rows.hpp"
#include "../backend/items.hpp"
#include "../core/execution.hpp"

#include <memory>
#include <string>
#include <utility>

namespace moebal::laws {

/// Any host execution, its type forgotten: what is compiled for this type once runs on all of them.
///   laws::AnyExec exec("my machine", MyExec{});
/// The execution that it holds cuts the work, orders it and hands out the memory. The rows themselves are those of the CPU,
/// whatever lanes it would take them with: its own lanes are no part of what is checked here. Nothing is allocated after the
/// construction. Slower than the execution itself by a call for each row or item.
class AnyExec {
public:
  using memory = HostMemory;
  static constexpr Index tile_rows = detail::host_tile_rows;
  static constexpr Index block_rows = detail::host_block_rows;

  template <execution Exec>
    requires std::same_as<typename Exec::memory, HostMemory>
  AnyExec(std::string name, Exec exec)
      : name_(std::move(name)), held_(std::make_shared<Held<Exec>>(std::move(exec))) {}

  std::string const& name() const { return name_; }
  Index workers() const { return held_->workers(); }
  Index copies() const { return held_->copies(); }

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<> workspace, Body const& body) const {
    auto const run = [](void const* of, std::byte* scratch, Index worker, Index first, Index last) {
      detail::host_rows(*static_cast<Body const*>(of), scratch, worker, first, last);
    };
    held_->for_rows(n, bytes, workspace, Rows{&body, run});
  }
  template <class F> void for_each(Index n, F const& f) const {
    auto const run = [](void const* of, Index i) { (*static_cast<F const*>(of))(i); };
    held_->for_each(n, Items{&f, run});
  }
  void exclusive_scan(VectorView<std::int64_t> v) const { held_->exclusive_scan(v); }
  void reduce_columns(MatrixView<std::int64_t const> m, VectorView<std::int64_t> sums) const {
    held_->reduce_columns(m, sums);
  }
  template <class T> void copy(VectorView<T const> from, VectorView<T> to) const {
    for_each(from.size(), detail::CopyElement<T, HostMemory>{from, to});
  }
  template <class T> void fill(VectorView<T> v, T value) const {
    for_each(v.size(), detail::FillElement<T, HostMemory>{v, value});
  }

private:
  /// A body of rows, its type forgotten.
  struct Rows {
    using real = float;
    void const* of;
    void (*run)(void const*, std::byte*, Index, Index, Index);

    template <class Lanes> MOEBAL_FN void operator()(Lanes const&, std::byte* scratch, Index worker, Index row) const {
      run(of, scratch, worker, row, row + 1);
    }
    template <class Tile> void tile(Tile, std::byte* scratch, Index worker, Index row) const {
      run(of, scratch, worker, row, row + Tile::rows);
    }
  };
  struct Items {
    void const* of;
    void (*run)(void const*, Index);
    MOEBAL_FN void operator()(Index i) const { run(of, i); }
  };

  struct Holder {
    virtual ~Holder() = default;
    virtual Index workers() const = 0;
    virtual Index copies() const = 0;
    virtual void for_rows(Index, std::size_t, WorkspaceView<>, Rows const&) const = 0;
    virtual void for_each(Index, Items const&) const = 0;
    virtual void exclusive_scan(VectorView<std::int64_t>) const = 0;
    virtual void reduce_columns(MatrixView<std::int64_t const>, VectorView<std::int64_t>) const = 0;
  };
  template <class Exec> struct Held final : Holder {
    Exec exec;

    explicit Held(Exec e) : exec(std::move(e)) {}
    Index workers() const override { return exec.workers(); }
    Index copies() const override { return exec.copies(); }
    void for_rows(Index n, std::size_t bytes, WorkspaceView<> workspace, Rows const& rows) const override {
      exec.for_rows(n, bytes, workspace, rows);
    }
    void for_each(Index n, Items const& items) const override { exec.for_each(n, items); }
    void exclusive_scan(VectorView<std::int64_t> v) const override { exec.exclusive_scan(v); }
    void reduce_columns(MatrixView<std::int64_t const> m, VectorView<std::int64_t> sums) const override {
      exec.reduce_columns(m, sums);
    }
  };

  std::string name_;
  std::shared_ptr<Holder const> held_;
};
static_assert(execution<AnyExec>);

} // namespace moebal::laws
