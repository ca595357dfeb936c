// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// golden_runner [--on NAME] DIR: holds the library's public interface against every case below DIR (README.md), on the CPU or on
// another execution of this build.

#include "case.hpp"
#include "execution.hpp"
#include "support/executions.hpp"

#include <algorithm>
#include <exception>
#include <iostream>

namespace {

struct Tally {
  std::size_t passed = 0, failed = 0, skipped = 0, checks = 0, by_contract = 0;
  std::map<std::string, std::size_t> skip_reasons, contract_reasons;
  std::map<std::string, std::size_t> passed_of; // peer.function
};

std::vector<std::filesystem::path> case_folders(std::filesystem::path const& root) {
  std::vector<std::filesystem::path> folders;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(root))
    if (entry.is_regular_file() && entry.path().filename() == "meta.json")
      folders.push_back(entry.path().parent_path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

void run(std::filesystem::path const& folder, Tally& tally) {
  std::string const label = folder.filename().string();
  auto const skip = [&](std::string const& reason) {
    ++tally.skipped;
    ++tally.skip_reasons[reason];
  };
  auto const fail = [&](std::string const& name, std::string const& what) {
    ++tally.failed;
    std::cout << "FAILED " << name << ": " << what << '\n';
  };
  try {
    golden::Case c(folder);
    std::string const key = c.peer() + "." + c.function();
    golden::Mapping mapping = nullptr;
    for (auto const find :
         {golden::routing_mapping, golden::loss_mapping, golden::gating_mapping, golden::plan_mapping,
          golden::placement_mapping, golden::batch_mapping, golden::quantile_mapping, golden::noisy_mapping})
      if (!mapping) mapping = find(key);
    if (!mapping) return skip(key + ": no mapping for this function");
    try {
      mapping(c);
    } catch (golden::Skip const& s) {
      return skip(key + ": " + s.reason);
    } catch (std::exception const& e) {
      return fail(c.name(), std::string("exception: ") + e.what());
    }
    if (auto const unread = c.unread()) return skip(key + ": " + *unread + " is not mapped");
    if (!c.failures().empty()) {
      std::size_t const more = c.failures().size() - 1;
      return fail(c.name(), c.failures().front() + (more ? " (and " + std::to_string(more) + " more)" : ""));
    }
    if (c.checks() == 0) return fail(c.name(), "nothing was checked");
    ++tally.passed;
    ++tally.passed_of[key];
    tally.checks += c.checks();
    if (!c.contract().empty()) ++tally.by_contract;
    for (std::string const& why : c.contract()) ++tally.contract_reasons[why];
  } catch (golden::Skip const& s) {
    skip(s.reason);
  } catch (std::exception const& e) {
    fail(label, std::string("unreadable: ") + e.what());
  }
}

moebal::laws::AnyExec execution("CPU", moebal::EigenExec{});

/// Whether this build has an execution of that name.
bool choose(std::string const& name) {
  for (auto const& exec : moebal_test::other_executions())
    if (exec.name() == name) {
      execution = exec;
      return true;
    }
  std::cerr << "golden_runner: no execution " << name << " here; there are:";
  for (auto const& exec : moebal_test::other_executions()) std::cerr << " '" << exec.name() << "'";
  std::cerr << '\n';
  return false;
}

} // namespace

moebal::laws::AnyExec const& golden::chosen_execution() { return execution; }

int main(int argc, char** argv) {
  bool const named = argc == 4 && std::string(argv[1]) == "--on";
  char const* const folder_of_cases = named ? argv[3] : argc == 2 ? argv[1] : "";
  if (!std::filesystem::is_directory(folder_of_cases)) {
    std::cerr << "usage: golden_runner [--on NAME] DIR\n  DIR   a folder with cases, at any depth (tests/golden/README.md has "
                 "the format)\n  NAME  an execution, as 'Kokkos OpenMP' (default: the CPU)\n";
    return 2;
  }
  if (named && !choose(argv[2])) return 2;
  Tally tally;
  for (auto const& folder : case_folders(folder_of_cases)) run(folder, tally);
  for (auto const& [key, n] : tally.passed_of) std::cout << "passed " << key << ": " << n << '\n';
  for (auto const& [reason, n] : tally.skip_reasons) std::cout << "skipped " << n << ": " << reason << '\n';
  for (auto const& [reason, n] : tally.contract_reasons) std::cout << "by contract " << n << ": " << reason << '\n';
  std::cout << tally.checks << " checks; of the passed cases " << tally.by_contract
            << " have a part that was held against the contract instead of the peer\n";
  std::cout << tally.passed << " passed, " << tally.failed << " failed, " << tally.skipped << " skipped\n";
  return tally.failed == 0 ? 0 : 1;
}
