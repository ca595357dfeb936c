// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What comm/mpi.hpp asks of MPI: its error codes as exceptions, its counts checked, its types freed.

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

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

inline bool mpi_is_running() {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  return started != 0 && ended == 0;
}

/// A row of bytes at a stride, as MPI sees it.
class MpiRow {
public:
  MpiRow(Index bytes, Index stride_bytes) {
    MPI_Datatype packed = MPI_DATATYPE_NULL;
    int const count = mpi_count("bytes of a row sent by MPI", bytes);
    require_mpi(MPI_Type_contiguous(count, MPI_BYTE, &packed), "MPI_Type_contiguous");
    int const code = MPI_Type_create_resized(packed, 0, MPI_Aint(stride_bytes), &type_);
    MPI_Type_free(&packed);
    require_mpi(code, "MPI_Type_create_resized");
    require_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
  }
  MpiRow(MpiRow const&) = delete;
  MpiRow& operator=(MpiRow const&) = delete;
  ~MpiRow() { MPI_Type_free(&type_); } // MPI keeps it until what is under way is done
  MPI_Datatype type() const { return type_; }

private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};
} // namespace moebal::detail
