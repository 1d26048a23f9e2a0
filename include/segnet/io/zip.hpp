// ZIP archives, as .npz and .pth files are: members that are stored or deflated. Needs zlib (link with -lz).
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "segnet/io/file.hpp"

namespace segnet::detail {

/// A member of an archive.
struct ZipEntry {
  std::string name;
  std::size_t begin = 0, packed = 0, size = 0;  ///< where its bytes are in the file, how many, and how many they are unpacked
  std::uint32_t checksum = 0;
  bool deflated = false;
};

/// The members of a ZIP archive (PKWARE's APPNOTE 6.3), also of more than 4 GiB. Every offset is checked against the file.
class ZipReader {
 public:
  /// `kind` is what the archive should be, as errors name it: ".npz".
  ZipReader(std::string_view bytes, const std::string& source, std::string_view kind) : bytes_(bytes), source_(source), kind_(kind) {}

  std::vector<ZipEntry> entries() const {
    const std::size_t end = end_record();
    std::uint64_t count = number(end + 10, 2), at = number(end + 16, 4);
    if (count == 0xFFFF || at == 0xFFFFFFFF) {  // ZIP64: a locator in front of the end record leads to a larger one
      if (end < 20 || number(end - 20, 4) != 0x07064b50) fail("the ZIP64 locator is missing");
      const std::uint64_t end64 = number(end - 20 + 8, 8);
      if (number(end64, 4) != 0x06064b50) fail("the ZIP64 end record is missing");
      count = number(end64 + 32, 8);
      at = number(end64 + 48, 8);
    }
    std::vector<ZipEntry> entries;
    for (; count > 0; --count) {
      if (number(at, 4) != 0x02014b50) fail("the list of members is damaged");
      entries.push_back(entry(at));
      at += 46 + number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2);
    }
    return entries;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw IoError(source_, concat("is damaged or no ", kind_, " file: ", what)); }

  std::uint64_t number(std::uint64_t at, int size) const {
    if (at > bytes_.size() || static_cast<std::uint64_t>(size) > bytes_.size() - at) fail("it ends too early");
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at, static_cast<std::size_t>(size));
    return value;
  }

  /// It is at the end, in front of a comment of at most 65535 bytes that it gives the length of.
  std::size_t end_record() const {
    constexpr std::size_t size = 22;
    if (bytes_.size() < size) fail("it ends too early");
    const std::size_t last = bytes_.size() - size, first = last > 65535 ? last - 65535 : 0;
    for (std::size_t at = last + 1; at-- > first;)
      if (number(at, 4) == 0x06054b50 && number(at + 20, 2) == last - at) return at;
    fail("it has no list of members");
  }

  ZipEntry entry(std::uint64_t at) const {
    ZipEntry e;
    const std::uint64_t flags = number(at + 8, 2), method = number(at + 10, 2), name_length = number(at + 28, 2);
    std::uint64_t packed = number(at + 20, 4), size = number(at + 24, 4), header = number(at + 42, 4);
    (void)number(at + 46, 0);
    if (name_length > bytes_.size() - at - 46) fail("it ends too early");
    e.name = bytes_.substr(at + 46, name_length);
    e.checksum = static_cast<std::uint32_t>(number(at + 16, 4));
    e.deflated = method == 8;
    if (flags & 1) fail(concat("member '", e.name, "' is encrypted"));
    if (method != 0 && method != 8) fail(concat("member '", e.name, "' is packed by method ", method));

    // ZIP64: what does not fit 32 bits is in the extra field 1, in this order.
    std::uint64_t extra = at + 46 + name_length;
    const std::uint64_t extra_end = extra + number(at + 30, 2);
    while (extra + 4 <= extra_end) {
      const std::uint64_t id = number(extra, 2), length = number(extra + 2, 2);
      std::uint64_t next = extra + 4;
      if (id == 1)
        for (std::uint64_t* value : {&size, &packed, &header})
          if (*value == 0xFFFFFFFF && next + 8 <= extra + 4 + length) *value = number(next, 8), next += 8;
      extra += 4 + length;
    }

    if (number(header, 4) != 0x04034b50) fail(concat("member '", e.name, "' is not where the list says"));
    const std::uint64_t begin = header + 30 + number(header + 26, 2) + number(header + 28, 2);
    if (begin > bytes_.size() || packed > bytes_.size() - begin) fail(concat("member '", e.name, "' ends behind the file"));
    // Deflate makes at most 1032 bytes of one, so that no more memory is asked for than the file can fill.
    if (e.deflated ? size / 1032 > packed : size != packed) fail(concat("member '", e.name, "' cannot have ", size, " bytes"));
    e.begin = begin;
    e.packed = packed;
    e.size = size;
    return e;
  }

  std::string_view bytes_;
  const std::string& source_;
  std::string_view kind_;
};

/// Calls f(pieces) until all of [data, data + size) was given, in pieces that zlib's 32-bit counts can hold.
template <class F>
void for_each_piece(const void* data, std::size_t size, const F& f) {
  constexpr std::size_t largest = 1 << 30;
  for (std::size_t at = 0; at < size; at += largest)
    f(static_cast<const Bytef*>(data) + at, static_cast<uInt>(std::min(largest, size - at)));
}

inline std::uint32_t checksum(std::uint32_t before, const void* data, std::size_t size) {
  uLong sum = before;
  for_each_piece(data, size, [&](const Bytef* piece, uInt n) { sum = crc32(sum, piece, n); });
  return static_cast<std::uint32_t>(sum);
}

/// Unpacks `packed` bytes to exactly `size`. Whether they were that. 32-bit sizes per call of zlib.
inline bool unpack(const std::byte* from, std::size_t packed, std::byte* to, std::size_t size) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  constexpr std::size_t largest = 1 << 30;
  Bytef nothing = 0;
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(from));
  stream.next_out = size ? reinterpret_cast<Bytef*>(to) : &nothing;
  int status = Z_OK;
  while (status == Z_OK) {
    if (stream.avail_in == 0) stream.avail_in = static_cast<uInt>(std::min(largest, packed)), packed -= stream.avail_in;
    if (stream.avail_out == 0) stream.avail_out = static_cast<uInt>(std::min(largest, size)), size -= stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
  }
  const bool whole = status == Z_STREAM_END && size == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

/// Writes the members of an archive one after the other, stored as they are; `finish` adds the list. Less than 4 GiB and 65535 members.
class ZipWriter {
 public:
  static constexpr std::size_t max_bytes = 0xFFFFFFFE, max_members = 0xFFFE;
  /// What a member takes besides its bytes and twice its name, at most.
  static constexpr std::size_t overhead = 30 + 46;

  explicit ZipWriter(FileWriter& out) : out_(out) {}

  /// A member made of these pieces, which begins at a multiple of `alignment` (as files that are mapped want it).
  void add(std::string_view name, std::initializer_list<std::string_view> pieces, std::size_t alignment = 1) {
    std::size_t size = 0;
    std::uint32_t sum = 0;
    for (const auto piece : pieces) sum = checksum(sum, piece.data(), piece.size()), size += piece.size();
    std::string common;  // what both headers of a member have: version 2.0, names in UTF-8, stored, 1980-01-01
    put(common, 20, 2), put(common, 0x800, 2), put(common, 0, 2), put(common, 0, 2), put(common, 0x21, 2);
    put(common, sum, 4), put(common, size, 4), put(common, size, 4), put(common, name.size(), 2);

    put(list_, 0x02014b50, 4), put(list_, 20, 2);
    list_ += common;
    put(list_, 0, 2), put(list_, 0, 2), put(list_, 0, 2), put(list_, 0, 2), put(list_, 0, 4), put(list_, at_, 4);
    list_ += name;
    ++count_;

    std::string extra;
    if (const std::size_t begin = at_ + 30 + name.size(); begin % alignment != 0) {
      const std::size_t padding = alignment - (begin + 4) % alignment;  // behind the field's own 4 bytes
      put(extra, 0x4246, 2), put(extra, padding, 2);                    // "FB", as PyTorch names it
      extra.resize(extra.size() + padding);
    }
    std::string local;
    put(local, 0x04034b50, 4);
    local += common;
    put(local, extra.size(), 2);
    out_.write(local.append(name).append(extra));
    for (const auto piece : pieces) out_.write(piece);
    at_ += local.size() + size;
  }
  void finish() {
    std::string end;
    put(end, 0x06054b50, 4), put(end, 0, 2), put(end, 0, 2), put(end, count_, 2), put(end, count_, 2);
    put(end, list_.size(), 4), put(end, at_, 4), put(end, 0, 2);
    out_.write(list_ + end);
  }

 private:
  static void put(std::string& to, std::uint64_t value, int size) {
    for (; size > 0; --size, value >>= 8) to += static_cast<char>(value & 255);
  }

  FileWriter& out_;
  std::string list_;
  std::size_t at_ = 0, count_ = 0;
};

}  // namespace segnet::detail
