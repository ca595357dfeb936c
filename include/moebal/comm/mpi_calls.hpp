// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What comm/mpi*.hpp ask of MPI: its error codes as exceptions, its counts checked, its objects freed.

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <mpi.h>

namespace moebal::detail {
/// Throws CommError with MPI's own words unless `code` says success.
inline void require_mpi(int code, std::string_view what) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> words{};
  int length = 0;
  if (MPI_Error_string(code, words.data(), &length) != MPI_SUCCESS) length = 0;
  std::string text("moebal: ");
  text.append(what).append(": ").append(words.data(), std::size_t(length));
  throw CommError(text.append(" (MPI error ").append(std::to_string(code)).append(")"));
}

/// MPI counts with int: more is refused.
inline int mpi_count(std::string_view what, Index n) {
  require_within(what, 0, std::numeric_limits<int>::max(), n);
  return int(n);
}

/// MPI allows these two at any time, and they cannot fail.
inline bool mpi_is_running() {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  return started != 0 && ended == 0;
}

/// The sentence for a call of MPI that its thread level does not allow, or none. `level`: of MPI_Query_thread.
inline std::string_view mpi_thread_refusal(int level, bool main_thread) {
  if (main_thread || level >= MPI_THREAD_SERIALIZED) return {};
  return level == MPI_THREAD_SINGLE ? "a call from another thread at MPI_THREAD_SINGLE"
                                    : "a call from another thread at MPI_THREAD_FUNNELED";
}
/// Throws StateError where this thread may not call MPI now.
inline void require_mpi_callable() {
  if (!mpi_is_running())
    refuse<StateError>("MPI", "MPI_Init before and MPI_Finalize after", "a program in which it does not run");
  int level = MPI_THREAD_SINGLE, main_thread = 0;
  require_mpi(MPI_Query_thread(&level), "MPI_Query_thread");
  if (level >= MPI_THREAD_SERIALIZED) return;
  require_mpi(MPI_Is_thread_main(&main_thread), "MPI_Is_thread_main");
  std::string_view const refusal = mpi_thread_refusal(level, main_thread != 0);
  if (!refusal.empty())
    refuse<StateError>("MPI", "calls from the thread that started it, or MPI_Init_thread with MPI_THREAD_SERIALIZED",
                       refusal);
}

/// An object of MPI that is ours to free. The destructor drops MPI's code, since it runs where nothing can be thrown;
/// free() is for the way without an exception.
template <class Object, int (*Free)(Object*)> class MpiOwned {
public:
  MpiOwned() = default;
  explicit MpiOwned(Object object) : object_(object), owned_(true) {}
  MpiOwned(MpiOwned&& other) noexcept : object_(other.object_), owned_(std::exchange(other.owned_, false)) {}
  MpiOwned& operator=(MpiOwned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(owned_, other.owned_);
    return *this;
  }
  ~MpiOwned() {
    if (owned_ && mpi_is_running()) Free(&object_);
  }
  Object get() const { return object_; }
  /// From now on nobody frees it: MPI may be at work on it for ever.
  void abandon() { owned_ = false; }
  void free(std::string_view what) {
    owned_ = false;
    require_mpi(Free(&object_), what);
  }

private:
  Object object_{};
  bool owned_ = false;
};
using MpiComm = MpiOwned<MPI_Comm, &MPI_Comm_free>;
using MpiGroup = MpiOwned<MPI_Group, &MPI_Group_free>;
using MpiType = MpiOwned<MPI_Datatype, &MPI_Type_free>; // MPI keeps what it needs until what is under way is done

/// The first rank of this rank's node. Collective. MPI_Comm_split_type is the one call without a time limit: MPI 3.1
/// has no form of it that does not block.
inline int mpi_node_leader(MPI_Comm comm, int rank) {
  MPI_Comm together = MPI_COMM_NULL;
  require_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &together), "MPI_Comm_split_type");
  MpiComm node(together);
  auto const group_of = [](MPI_Comm ranks) {
    MPI_Group group = MPI_GROUP_NULL;
    require_mpi(MPI_Comm_group(ranks, &group), "MPI_Comm_group");
    return MpiGroup(group);
  };
  MpiGroup all = group_of(comm), near = group_of(together);
  int const first = 0;
  int leader = 0;
  require_mpi(MPI_Group_translate_ranks(near.get(), 1, &first, all.get(), &leader), "MPI_Group_translate_ranks");
  all.free("MPI_Group_free");
  near.free("MPI_Group_free");
  node.free("MPI_Comm_free");
  return leader;
}

/// A row of bytes at a stride.
inline MpiType mpi_row(Index bytes, Index stride_bytes) {
  MPI_Datatype type = MPI_DATATYPE_NULL;
  int const count = mpi_count("bytes of a row sent by MPI", bytes);
  require_mpi(MPI_Type_contiguous(count, MPI_BYTE, &type), "MPI_Type_contiguous");
  MpiType packed(type);
  require_mpi(MPI_Type_create_resized(packed.get(), 0, MPI_Aint(stride_bytes), &type), "MPI_Type_create_resized");
  MpiType row(type);
  packed.free("MPI_Type_free");
  require_mpi(MPI_Type_commit(&type), "MPI_Type_commit");
  return row;
}
} // namespace moebal::detail
