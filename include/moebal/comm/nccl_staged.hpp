// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// NCCL for data that lies on the host: what a balancer on the host sends, E integers a layer.

#include "nccl.hpp"

namespace moebal {

/// The communicator backend of ranks with a GPU each whose views are in host memory. Each verb copies to the device, runs Nccl's
/// verb on the same stream, and copies back in wait(). Price: two copies over the bus, and a device buffer a request in flight
/// (kept for the next one). Made for statistics, not for tokens. Errors and order of sums: those of Nccl.
class NcclStaged {
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
    Buffer() = default;
    Buffer(Buffer const&) = delete;
    ~Buffer() { cudaFree(data); }
    void reserve(std::size_t needed) {
      if (needed <= bytes) return;
      cudaFree(std::exchange(data, nullptr));
      bytes = 0;
      detail::require_cuda(cudaMalloc(&data, needed), "NCCL: cudaMalloc of a staging buffer");
      bytes = needed;
    }
  };

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (!buffer_) return;
      auto const buffer = std::exchange(buffer_, nullptr);
      inner_.wait();
      if (rows_ == 0 || row_bytes_ == 0) return;
      detail::require_cuda(cudaMemcpy2DAsync(host_, host_stride_, static_cast<std::byte const*>(buffer->data) + offset_, row_bytes_,
                                             row_bytes_, rows_, cudaMemcpyDeviceToHost, stream_),
                           "NCCL: copy from the device");
      detail::require_cuda(cudaStreamSynchronize(stream_), "NCCL: copy from the device");
    }
    bool done() { return !buffer_ || inner_.done(); }

  private:
    friend class NcclStaged;
    Request(Nccl::Request inner, std::shared_ptr<Buffer> buffer, cudaStream_t stream)
        : inner_(std::move(inner)), buffer_(std::move(buffer)), stream_(stream) {}
    Request& to(void* host, std::size_t host_stride, std::size_t row_bytes, std::size_t rows, std::size_t offset) {
      host_ = host, host_stride_ = host_stride, row_bytes_ = row_bytes, rows_ = rows, offset_ = offset;
      return *this;
    }

    Nccl::Request inner_;
    std::shared_ptr<Buffer> buffer_;
    cudaStream_t stream_;
    void* host_ = nullptr;
    std::size_t host_stride_ = 0, row_bytes_ = 0, rows_ = 0, offset_ = 0;
  };

  explicit NcclStaged(NcclOptions const& options) : nccl_(options), stream_(options.stream) {}

  Index rank() const { return nccl_.rank(); }
  Index size() const { return nccl_.size(); }
  Index node_of(Index rank) const { return nccl_.node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T> values) const {
    std::size_t const bytes = std::size_t(values.size()) * sizeof(T);
    auto buffer = take(bytes);
    T* const device = static_cast<T*>(buffer->data);
    upload(device, values.data(), bytes);
    Request request(nccl_.start_all_reduce_sum(VectorView<T, DeviceMemory>(device, values.size())), buffer, stream_);
    return std::move(request.to(values.data(), bytes, bytes, 1, 0));
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    std::size_t const sent = std::size_t(mine.size()) * sizeof(T), received = std::size_t(all.size()) * sizeof(T);
    std::size_t const offset = aligned(sent);
    auto buffer = take(offset + received);
    auto* const device = static_cast<std::byte*>(buffer->data);
    upload(device, mine.data(), sent);
    Request request(nccl_.start_all_gather(VectorView<T const, DeviceMemory>(reinterpret_cast<T const*>(device), mine.size()),
                                           VectorView<T, DeviceMemory>(reinterpret_cast<T*>(device + offset), all.size())),
                    buffer, stream_);
    return std::move(request.to(all.data(), received, received, 1, offset));
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    auto const sum = [](VectorView<Index const> rows) {
      Index n = 0;
      for (Index const r : rows) n += r;
      return n;
    };
    Index const out = sum(send_rows), in = sum(receive_rows);
    std::size_t const row_bytes = std::size_t(send.cols()) * sizeof(T);
    std::size_t const offset = aligned(std::size_t(out) * row_bytes);
    auto buffer = take(offset + std::size_t(in) * row_bytes);
    auto* const device = static_cast<std::byte*>(buffer->data);
    if (out > 0 && row_bytes > 0)
      detail::require_cuda(cudaMemcpy2DAsync(device, row_bytes, send.data(), std::size_t(send.row_stride()) * sizeof(T), row_bytes,
                                             std::size_t(out), cudaMemcpyHostToDevice, stream_),
                           "NCCL: copy to the device");
    Request request(nccl_.start_all_to_all_v(
                        MatrixView<T const, DeviceMemory>(reinterpret_cast<T const*>(device), out, send.cols()), send_rows,
                        MatrixView<T, DeviceMemory>(reinterpret_cast<T*>(device + offset), in, receive.cols()), receive_rows),
                    buffer, stream_);
    return std::move(
        request.to(receive.data(), std::size_t(receive.row_stride()) * sizeof(T), row_bytes, std::size_t(in), offset));
  }
  Request start_barrier() const { return {nccl_.start_barrier(), take(0), stream_}; }

private:
  static std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  /// A buffer that no request uses; it is used again when its request is done.
  std::shared_ptr<Buffer> take(std::size_t bytes) const {
    if (!spare_ || spare_.use_count() > 1) spare_ = std::make_shared<Buffer>();
    spare_->reserve(bytes);
    return spare_;
  }
  void upload(void* device, void const* host, std::size_t bytes) const {
    if (bytes > 0)
      detail::require_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "NCCL: copy to the device");
  }

  Nccl nccl_;
  cudaStream_t stream_;
  mutable std::shared_ptr<Buffer> spare_;
};
static_assert(comm_backend<NcclStaged>);

} // namespace moebal
