// Several arrays in one file: .npz, which is a ZIP archive of .npy files. Needs zlib (link with -lz).
#pragma once

#include <zlib.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "segnet/io/json.hpp"
#include "segnet/io/npy.hpp"

namespace segnet {

namespace detail {

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
  ZipReader(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {}

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
  [[noreturn]] void fail(std::string_view what) const { throw IoError(source_, concat("is damaged or no .npz file: ", what)); }

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

}  // namespace detail

/// A .npz file, opened for reading. Copies share the mapping, and so do tensors of members that are stored as they are.
class NpzFile {
 public:
  /// Reads the list of members. @throws IoError naming the path and what is wrong
  explicit NpzFile(std::string path) : path_(std::move(path)), file_(std::make_shared<MappedFile>(path_)) {
    for (auto& entry : detail::ZipReader({reinterpret_cast<const char*>(file_->data()), file_->size()}, path_).entries()) {
      std::string name = entry.name;
      if (name.ends_with(".npy")) name.resize(name.size() - 4);
      if (!entries_.emplace(name, std::move(entry)).second) throw IoError(path_, concat("array '", name, "' is there twice"));
      names_.push_back(std::move(name));
    }
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Names of the arrays, without ".npy", in the order of the file.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool has(const std::string& name) const { return entries_.count(name) != 0; }

  /// The array of that name; conversions as in `load_npy`. @throws IoError if there is none, it is damaged, or of another type
  template <class T>
  [[nodiscard]] Tensor<T> tensor(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw IoError(path_, concat("has no array '", name, "'"));
    const detail::ZipEntry& e = found->second;
    const std::string source = concat(path_, ", array '", name, "'");
    std::byte* bytes = file_->data() + e.begin;
    std::shared_ptr<const void> owner = file_;
    if (e.deflated) {
      const auto unpacked = std::make_shared<std::vector<std::byte>>(e.size);
      if (!detail::unpack(bytes, e.packed, unpacked->data(), e.size)) throw IoError(source, "is damaged: it cannot be unpacked");
      bytes = unpacked->data();
      owner = unpacked;
    }
    if (detail::checksum(0, bytes, e.size) != e.checksum) throw IoError(source, "is damaged: its checksum differs");
    return detail::read_npy<T>(bytes, e.size, owner, source);
  }

 private:
  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::vector<std::string> names_;
  std::map<std::string, detail::ZipEntry> entries_;
};

/// An array to be saved, of any type, under a name.
struct NpzEntry {
  template <class T>
  NpzEntry(std::string array_name, const Tensor<T, Cpu>& tensor)
      : name(std::move(array_name)),
        header(tensor ? detail::npy_header<T>(tensor.shape()) : ""),
        data(tensor.data()),
        bytes(static_cast<std::size_t>(tensor.numel()) * sizeof(T)),
        owner(std::make_shared<Tensor<T, Cpu>>(tensor.detach())) {}

  std::string name, header;
  const void* data;
  std::size_t bytes;
  std::shared_ptr<const void> owner;
};

/// Writes arrays that `numpy.load` reads, as `numpy.savez` does: not compressed. For more than 4 GiB there is `save_safetensors`.
/// @throws ValueError for a name that is there twice, is empty or no UTF-8, an undefined tensor, more than 4 GiB or 65534 arrays; IoError
inline void save_npz(const std::string& path, const std::vector<NpzEntry>& entries) {
  std::vector<std::string_view> names;
  std::size_t total = 22;
  for (const NpzEntry& e : entries) {
    if (e.name.empty() || e.name.size() > 60000 || !detail::is_utf8(e.name))
      throw ValueError("save_npz", "entries", "names in UTF-8 that are not empty", concat("'", e.name, "'"));
    if (e.header.empty()) throw ValueError("save_npz", "entries", "a tensor", concat("an undefined one, '", e.name, "'"));
    names.push_back(e.name);
    total += e.header.size() + e.bytes + 2 * (e.name.size() + 4) + 30 + 46;
  }
  if (total >= 0xFFFFFFFF)
    throw ValueError("save_npz", "entries", "less than 4 GiB (save_safetensors takes more)", concat(total, " bytes"));
  if (entries.size() >= 0xFFFF) throw ValueError("save_npz", "entries", "at most 65534 arrays", concat(entries.size()));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw ValueError("save_npz", "entries", "each name once", concat("'", *twice, "' twice"));

  const auto put = [](std::string& to, std::uint64_t value, int size) {
    for (; size > 0; --size, value >>= 8) to += static_cast<char>(value & 255);
  };
  write_file_atomically(path, [&](FileWriter& out) {
    std::string list;
    std::size_t at = 0;
    for (const NpzEntry& e : entries) {
      const std::string name = e.name + ".npy";
      const std::uint32_t sum = detail::checksum(detail::checksum(0, e.header.data(), e.header.size()), e.data, e.bytes);
      std::string common;  // what both headers of a member have: version 2.0, names in UTF-8, stored, 1980-01-01
      put(common, 20, 2), put(common, 0x800, 2), put(common, 0, 2), put(common, 0, 2), put(common, 0x21, 2);
      put(common, sum, 4), put(common, e.header.size() + e.bytes, 4), put(common, e.header.size() + e.bytes, 4);
      put(common, name.size(), 2), put(common, 0, 2);

      put(list, 0x02014b50, 4), put(list, 20, 2);
      list += common;
      put(list, 0, 2), put(list, 0, 2), put(list, 0, 2), put(list, 0, 4), put(list, at, 4);
      list += name;

      std::string local;
      put(local, 0x04034b50, 4);
      local += common + name;
      out.write(local);
      out.write(e.header);
      out.write(e.data, e.bytes);
      at += local.size() + e.header.size() + e.bytes;
    }
    std::string end;
    put(end, 0x06054b50, 4), put(end, 0, 2), put(end, 0, 2), put(end, entries.size(), 2), put(end, entries.size(), 2);
    put(end, list.size(), 4), put(end, at, 4), put(end, 0, 2);
    out.write(list + end);
  });
}

}  // namespace segnet
