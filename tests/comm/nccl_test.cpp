// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled and linked everywhere; what needs a GPU runs where there is one.
#include "support/test.hpp"

#include <moebal/comm/nccl.hpp>
#include <moebal/communicator.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

using namespace moebal;

static_assert(communicator<Communicator<Nccl>>);

namespace {
bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}
template <class T> struct OnDevice {
  T* data = nullptr;
  Index size;
  explicit OnDevice(std::vector<T> const& host) : size(Index(host.size())) {
    BOOST_REQUIRE(cudaMalloc(&data, host.size() * sizeof(T)) == cudaSuccess);
    BOOST_REQUIRE(cudaMemcpy(data, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  OnDevice(OnDevice const&) = delete;
  ~OnDevice() { cudaFree(data); }
  VectorView<T, DeviceMemory> view() const { return {data, size}; }
  std::vector<T> host() const {
    std::vector<T> result(static_cast<std::size_t>(size));
    BOOST_REQUIRE(cudaMemcpy(result.data(), data, result.size() * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return result;
  }
};
} // namespace

BOOST_AUTO_TEST_SUITE(comm_nccl)

BOOST_AUTO_TEST_CASE(without_a_device_it_refuses_cleanly) {
  if (has_device()) return;
  BOOST_CHECK_EXCEPTION(Nccl{NcclOptions{}}, CommError, [](CommError const& error) {
    return std::string(error.what()).starts_with("moebal: NCCL: looking for a CUDA device: ");
  });
}

BOOST_AUTO_TEST_CASE(options_are_checked_first) {
  BOOST_CHECK_THROW(Nccl(NcclOptions{.size = 0}), ShapeError);
  BOOST_CHECK_THROW(Nccl(NcclOptions{.rank = 2, .size = 2}), ShapeError);
  BOOST_CHECK_THROW(Nccl(NcclOptions{.ranks_per_node = -1}), ShapeError);
  BOOST_CHECK_THROW(Nccl(NcclOptions{.timeout = std::chrono::milliseconds(0)}), ShapeError);
}

// Instantiates and links every verb; runs where a device is.
BOOST_AUTO_TEST_CASE(one_rank) {
  if (!has_device()) {
    BOOST_TEST_MESSAGE("no CUDA device: not run");
    return;
  }
  Communicator<Nccl> const comm{Nccl(NcclOptions{.id = Nccl::make_id()})};
  BOOST_TEST(comm.rank() == 0);
  BOOST_TEST(comm.size() == 1);
  BOOST_TEST(comm.node_of(0) == 0);
  std::vector<std::int64_t> const integers{1, -2, 3};
  OnDevice<std::int64_t> const sum(integers), all({0, 0, 0});
  comm.all_reduce_sum(sum.view());
  BOOST_TEST(sum.host() == integers, boost::test_tools::per_element());
  comm.all_gather(VectorView<std::int64_t const, DeviceMemory>(sum.view()), all.view());
  BOOST_TEST(all.host() == integers, boost::test_tools::per_element());
  OnDevice<float> const single({1.5f});
  auto first = comm.start_all_reduce_sum(single.view());
  OnDevice<double> const twice({2.5});
  auto second = comm.start_all_reduce_sum(twice.view());
  first.wait();
  second.wait();
  BOOST_TEST(single.host()[0] == 1.5f);
  BOOST_TEST(twice.host()[0] == 2.5);
  std::vector<float> const rows{1, 2, 3, 4, 5, 6};
  OnDevice<float> const from(rows), to({0, 0, 0, 0, 0, 0});
  MatrixView<float, DeviceMemory> const send(from.data, 3, 2), receive(to.data, 3, 2);
  comm.all_to_all_v(send, std::vector<Index>{3}, receive, std::vector<Index>{3});
  BOOST_TEST(to.host() == rows, boost::test_tools::per_element());
  MatrixView<float, DeviceMemory> const strided(from.data, 2, 2, 3);
  BOOST_CHECK_THROW(comm.all_to_all_v(strided, std::vector<Index>{2}, receive, std::vector<Index>{2}), ShapeError);
  comm.all_reduce_sum(VectorView<float, DeviceMemory>());
  comm.barrier();
}

BOOST_AUTO_TEST_SUITE_END()
