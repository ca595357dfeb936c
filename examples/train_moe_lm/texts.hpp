// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where text comes from: what Debian packages put on this machine (packages.txt names them), or a folder of the user.

#include "data.hpp"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

namespace train {

inline constexpr std::int64_t domain_bytes = 4'000'000; // at most this much of each domain, equal shares

/// The first `limit` bytes that a shell command prints; empty when it prints nothing.
inline std::string output_of(std::string const& command, std::int64_t limit) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(("{ " + command + " ; } 2>/dev/null").c_str(), "r"), pclose);
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (pipe && std::int64_t(text.size()) < limit) {
    std::size_t const n = std::fread(buffer.data(), 1, buffer.size(), pipe.get());
    if (n == 0) break;
    text.append(buffer.data(), n);
  }
  text.resize(std::min(text.size(), std::size_t(limit)));
  return text;
}

/// `limit` bytes of a file from `offset` on.
inline std::string bytes_of(std::filesystem::path const& path, std::int64_t offset, std::int64_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::size_t(limit), '\0');
  file.seekg(offset);
  file.read(text.data(), limit);
  text.resize(file ? std::size_t(limit) : std::size_t(std::max<std::streamsize>(0, file.gcount())));
  return text;
}

/// The files below a folder that end in `extension` (any, if empty), in the order of their paths, one after another.
inline std::string folder_text(std::filesystem::path const& folder, std::string const& extension, std::int64_t limit) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, ignored), end;
       it != end; it.increment(ignored))
    if (it->is_regular_file(ignored) && (extension.empty() || it->path().extension() == extension))
      files.push_back(it->path());
  std::sort(files.begin(), files.end());
  std::string text;
  for (fs::path const& file : files) {
    if (std::int64_t(text.size()) >= limit) break;
    text += bytes_of(file, 0, limit - std::int64_t(text.size()));
  }
  return text;
}

/// The last folder, in the order of names, whose name starts with `prefix`; empty when there is none.
inline std::filesystem::path newest_folder(std::filesystem::path const& parent, std::string const& prefix) {
  std::error_code ignored;
  std::filesystem::path best;
  for (auto const& entry : std::filesystem::directory_iterator(parent, ignored))
    if (entry.is_directory(ignored) && entry.path().filename().string().starts_with(prefix) && entry.path() > best)
      best = entry.path();
  return best;
}

/// The six domains of the default run, as far as their packages are installed. A domain is skipped, and said so, when
/// its text is missing (in `notes`, unless that is null); fewer than four are refused.
inline std::vector<Domain> installed_domains(std::FILE* notes = stderr) {
  std::filesystem::path const set_mm = "/usr/share/metamath/databases/set.mm";
  std::error_code none;
  std::int64_t const set_mm_size = std::filesystem::exists(set_mm, none) ? std::int64_t(file_size(set_mm, none)) : 0;
  std::pair<char const*, std::string> const texts[] = {
      {"bible", output_of("bible 'gen1:1-rev22:21'", domain_bytes)},
      {"jargon", output_of("zcat -f /usr/share/doc/jargon-text/jargon.txt*", domain_bytes)},
      {"german", output_of("find /usr/share/man/de -name '*.gz' | LC_ALL=C sort | xargs zcat", domain_bytes)},
      {"python", folder_text(newest_folder("/usr/lib", "python3."), ".py", domain_bytes)},
      {"c++", folder_text(newest_folder("/usr/include/c++", ""), "", domain_bytes / 2) +
                  folder_text("/usr/include/eigen3", ".h", domain_bytes / 2)},
      {"metamath", bytes_of(set_mm, std::max<std::int64_t>(0, (set_mm_size - domain_bytes) / 2), domain_bytes)},
  };
  std::vector<Domain> domains;
  std::string missing;
  for (auto const& [name, text] : texts) {
    if (std::int64_t(text.size()) >= 64 * Split{}.block)
      domains.push_back(make_domain(name, text));
    else
      missing += std::string(missing.empty() ? "" : ", ") + name;
  }
  if (notes && !missing.empty()) std::fprintf(notes, "Texts not found on this machine: %s.\n", missing.c_str());
  if (domains.size() < 4)
    throw std::invalid_argument("needed the text of at least 4 domains, had " + std::to_string(domains.size()) +
                                ": install the packages in examples/train_moe_lm/packages.txt, or give --text DIR");
  return domains;
}

/// Each file or subfolder of a folder is a domain.
inline std::vector<Domain> domains_of(std::filesystem::path const& folder) {
  if (!is_directory(folder)) throw std::invalid_argument("--text: needed a folder, had '" + folder.string() + "'");
  std::vector<std::filesystem::path> entries;
  for (auto const& entry : std::filesystem::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  std::vector<Domain> domains;
  for (auto const& path : entries)
    domains.push_back(make_domain(path.stem().string(), is_directory(path) ? folder_text(path, "", domain_bytes)
                                                                           : bytes_of(path, 0, domain_bytes)));
  return domains;
}

} // namespace train
