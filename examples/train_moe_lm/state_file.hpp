// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A state on disk: one file, replaced as a whole once the new one is there to the last byte, so that neither a process
// that dies while it writes nor a machine that stops leaves anything but the state before or the one after.

#include "state.hpp"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace train {

namespace detail {
[[noreturn]] inline void refuse_write(std::filesystem::path const& file) {
  throw StateError("the state could not be written to " + file.string() + ": " + std::strerror(errno));
}
/// To the disk, not only to the system's memory.
inline void write_through(std::filesystem::path const& file, std::string_view packed) {
  int const fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) refuse_write(file);
  while (!packed.empty()) {
    ssize_t const n = write(fd, packed.data(), packed.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    packed.remove_prefix(std::size_t(n));
  }
  bool const synced = packed.empty() && fsync(fd) == 0;
  int const why = errno;
  bool const closed = close(fd) == 0;
  if (synced && closed) return;
  if (!synced) errno = why;
  refuse_write(file);
}
/// The names in a folder.
inline void sync_folder(std::filesystem::path const& folder) {
  int const fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return; // not every file system lets a folder be opened
  fsync(fd);
  close(fd);
}
} // namespace detail

inline std::filesystem::path state_file(std::filesystem::path const& folder) { return folder / "train_moe_lm.state"; }

/// StateError where that fails; the state before is then still there.
inline void save(State const& state, std::filesystem::path const& folder) {
  std::filesystem::create_directories(folder);
  std::filesystem::path const file = state_file(folder), fresh = file.string() + ".new";
  detail::write_through(fresh, to_bytes(state));
  std::filesystem::rename(fresh, file);
  detail::sync_folder(folder);
}

/// The bytes of a saved state. StateError where there is none.
inline std::string saved_bytes(std::filesystem::path const& folder) {
  std::filesystem::path const file = state_file(folder);
  std::ifstream in(file, std::ios::binary);
  if (!in) throw StateError("there is no state to resume: needed the file " + file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}
inline State load(std::filesystem::path const& folder) {
  return state_of(saved_bytes(folder), state_file(folder).string());
}

} // namespace train
