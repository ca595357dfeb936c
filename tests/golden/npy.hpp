// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads arrays of numpy's format 1.0: little endian, C order, the few element types that the cases use.

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace golden {

/// Every element type that occurs fits a double exactly.
struct Array {
  std::vector<std::size_t> shape;
  std::vector<double> values;

  std::size_t size() const { return values.size(); }
  double operator[](std::size_t i) const { return values[i]; }
  std::size_t back() const { return shape.empty() ? 1 : shape.back(); }      // columns
  std::size_t front() const { return back() ? size() / back() : leading(); } // all other axes together
  bool operator==(Array const&) const = default;

private:
  std::size_t leading() const {
    std::size_t n = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

namespace detail {
template <class T> std::vector<double> widen(char const* bytes, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    T x;
    std::memcpy(&x, bytes + i * sizeof(T), sizeof(T));
    values[i] = double(x);
  }
  return values;
}
} // namespace detail

inline Array read_npy(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  std::string const bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  auto const bad = [&](char const* why) { throw std::runtime_error(file.filename().string() + ": " + why); };
  if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) bad("not an npy file");
  if (bytes[6] != 1) bad("not of format 1.0");
  std::size_t const length = std::uint8_t(bytes[8]) + 256u * std::uint8_t(bytes[9]);
  if (bytes.size() < 10 + length) bad("cut off in the header");
  std::string const header = bytes.substr(10, length);

  auto const value_of = [&](std::string const& key) {
    std::size_t const at = header.find("'" + key + "':");
    if (at == std::string::npos) bad("a key is missing in the header");
    return header.substr(header.find_first_not_of(' ', at + key.size() + 3));
  };
  if (value_of("fortran_order").rfind("False", 0) != 0) bad("not in C order");
  std::string const descr = value_of("descr").substr(1, 3);
  std::string shape = value_of("shape");
  shape = shape.substr(1, shape.find(')') - 1);

  Array array;
  for (std::size_t at = shape.find_first_of("0123456789"); at != std::string::npos;) {
    std::size_t const end = shape.find_first_not_of("0123456789", at);
    array.shape.push_back(std::stoul(shape.substr(at, end - at)));
    at = end == std::string::npos ? end : shape.find_first_of("0123456789", end);
  }
  std::size_t count = 1;
  for (std::size_t n : array.shape) count *= n;
  char const* const data = bytes.data() + 10 + length;
  std::size_t const left = bytes.size() - 10 - length;
  auto const read = [&]<class T>(T) {
    if (left < count * sizeof(T)) bad("cut off");
    array.values = detail::widen<T>(data, count);
  };
  if (descr == "<f4")
    read(float{});
  else if (descr == "<f8")
    read(double{});
  else if (descr == "<i2")
    read(std::int16_t{});
  else if (descr == "<i4")
    read(std::int32_t{});
  else if (descr == "<i8")
    read(std::int64_t{});
  else if (descr == "|u1" || descr == "|b1")
    read(std::uint8_t{});
  else if (descr == "|i1")
    read(std::int8_t{});
  else
    bad("an unknown element type");
  return array;
}

} // namespace golden
