// Several arrays in one file: .npz, which is a ZIP archive of .npy files. Needs zlib (link with -lz).
#pragma once

#include <map>
#include <utility>

#include "segnet/io/json.hpp"
#include "segnet/io/npy.hpp"
#include "segnet/io/zip.hpp"

namespace segnet {

/// A .npz file, opened for reading. Copies share the mapping, and so do tensors of members that are stored as they are.
class NpzFile {
 public:
  /// Reads the list of members. @throws IoError naming the path and what is wrong
  explicit NpzFile(std::string path) : path_(std::move(path)), file_(std::make_shared<MappedFile>(path_)) {
    for (auto& entry : detail::ZipReader({reinterpret_cast<const char*>(file_->data()), file_->size()}, path_, ".npz").entries()) {
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
    total += e.header.size() + e.bytes + 2 * (e.name.size() + 4) + detail::ZipWriter::overhead;
  }
  if (total > detail::ZipWriter::max_bytes)
    throw ValueError("save_npz", "entries", "less than 4 GiB (save_safetensors takes more)", concat(total, " bytes"));
  if (entries.size() > detail::ZipWriter::max_members)
    throw ValueError("save_npz", "entries", "at most 65534 arrays", concat(entries.size()));
  detail::check_each_once("save_npz", names);

  write_file_atomically(path, [&](FileWriter& out) {
    detail::ZipWriter zip(out);
    for (const NpzEntry& e : entries) zip.add(e.name + ".npy", {e.header, {static_cast<const char*>(e.data), e.bytes}});
    zip.finish();
  });
}

}  // namespace segnet
