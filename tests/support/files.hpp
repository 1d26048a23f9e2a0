// For tests that need files: a folder that goes away, bytes in and out, and a PNG writer of their own.
#pragma once

#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "support/testing.hpp"

namespace segnet::testing {

/// A new empty folder, removed with everything in it at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "segnet-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw Error("cannot make a temporary folder " + pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  /// The path of that name in the folder; folders on the way are made.
  std::string operator/(std::string_view name) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    return path.string();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void save(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
inline std::string load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string big_endian(std::uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
}

/// A chunk of a PNG file: length, type, data, checksum.
inline std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto checksum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + body + big_endian(static_cast<std::uint32_t>(checksum));
}

/// A PNG file written by the book (W3C PNG, 2003), not by libpng. `samples` are the values of [H, W, channels], packed here into
/// `bits` each; colour_type is 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA.
inline std::string png_file(index_t height, index_t width, int colour_type, int bits, const std::vector<int>& samples,
                            const std::string& extra_chunks = {}) {
  const std::size_t channels = colour_type == 2 ? 3 : colour_type == 4 ? 2 : colour_type == 6 ? 4 : 1;
  std::string raw;
  std::size_t next = 0;
  for (index_t y = 0; y < height; ++y) {
    raw += '\0';  // no filter
    unsigned pending = 0;
    int filled = 0;
    for (std::size_t x = 0; x < static_cast<std::size_t>(width) * channels; ++x) {
      const unsigned value = static_cast<unsigned>(samples.at(next++));
      if (bits == 16) {
        raw += static_cast<char>(value >> 8);
        raw += static_cast<char>(value);
        continue;
      }
      pending = pending << bits | value;
      filled += bits;
      if (filled == 8) {
        raw += static_cast<char>(pending);
        pending = 0;
        filled = 0;
      }
    }
    if (filled) raw += static_cast<char>(pending << (8 - filled));
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(raw.data()), static_cast<uLong>(raw.size()));
  packed.resize(size);
  const std::string header = big_endian(static_cast<std::uint32_t>(width)) + big_endian(static_cast<std::uint32_t>(height)) +
                             std::string{static_cast<char>(bits), static_cast<char>(colour_type), 0, 0, 0};
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + extra_chunks + png_chunk("IDAT", packed) + png_chunk("IEND", "");
}

/// The text of the exception of type E that f throws; fails the test when it throws none.
template <class E, class F>
std::string error_text(const F& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  FAIL("no exception, or one of another type");
  return {};
}
/// Whether `text` holds `part`; doctest shows both when used as CHECK(contains(text, part)).
inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace segnet::testing
