// Files of torch.save, .pth: the tensors of a state dict, read without executing anything, and written so that torch.load takes them.
// Needs zlib (link with -lz).
//
// Since PyTorch 1.6 such a file is a ZIP archive of stored members: NAME/data.pkl, a pickle that names and describes the tensors, and for
// each storage NAME/data/KEY with its elements.
#pragma once

#include <span>
#include <unordered_map>

#include "segnet/io/pickle.hpp"
#include "segnet/io/zip.hpp"

namespace segnet {

/// A .pth file of a state dict, opened for reading: a dictionary of names and tensors, or one that holds such a dictionary under
/// "state_dict", "model_state_dict" or "model" (as checkpoints of training do). The same interface as SafetensorsFile; everything is
/// checked by the constructor, checksums too. Copies share the mapping, and so do tensors, which may outlive the PthFile.
class PthFile {
 public:
  /// @throws IoError naming the path and what is wrong: cannot be opened, damaged, of PyTorch before 1.6, TorchScript, a pickle that needs
  ///         more than a state dict does (see io/pickle.hpp), a tensor outside of its storage or larger than it
  explicit PthFile(std::string path) : path_(std::move(path)), file_(std::make_shared<MappedFile>(path_)) { read(); }

  /// Whether the bytes at the beginning are those of a file of torch.save, of the format before 1.6 too.
  [[nodiscard]] static bool recognises(std::string_view bytes) { return bytes.starts_with("PK\x03\x04") || is_legacy(bytes); }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Names of the tensors, in the order of the dictionary.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool has(const std::string& name) const { return entries_.count(name) != 0; }
  /// @throws IoError if there is no such tensor
  [[nodiscard]] const Shape& shape(const std::string& name) const { return entry(name).shape; }
  /// Element type as safetensors write it: "F32", "BF16", "I64", ... @throws IoError if there is no such tensor
  [[nodiscard]] std::string_view dtype(const std::string& name) const { return entry(name).type.name; }
  /// What else the dictionary holds, by name: numbers, text, lists, dictionaries. They are not read.
  [[nodiscard]] const std::vector<std::string>& ignored() const { return ignored_; }

  /// The tensor of that name, row-major; types are converted as by SafetensorsFile. Contiguous elements of type T are those of the mapped
  /// file, without a copy. @throws IoError if there is no such tensor, or one of another type
  template <class T>
  [[nodiscard]] Tensor<T> tensor(const std::string& name) const {
    const Entry& e = entry(name);
    std::byte* bytes = e.bytes;
    std::shared_ptr<const void> owner = file_;
    if (!e.contiguous) {
      const auto copy = std::make_shared<std::vector<std::byte>>(gathered(e));
      bytes = copy->data();
      owner = copy;
    }
    const Tensor<T> t = detail::tensor_of_bytes<T>(e.type.name, bytes, e.shape, owner);
    if (!t)
      throw IoError(path_, concat("tensor '", name, "' ", e.shape, " has type ", e.type.name, ", asked for ", detail::element_name<T>()));
    return t;
  }

 private:
  struct Entry {
    detail::ElementType type;
    Shape shape, strides;
    std::byte* bytes = nullptr;  // of the first element
    bool contiguous = true;
  };
  using Members = std::unordered_map<std::string_view, const detail::ZipEntry*>;

  const Entry& entry(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw IoError(path_, concat("has no tensor '", name, "'"));
    return found->second;
  }

  /// Pickles one behind the other that begin with a magic number, or a tar archive of a file "sys_info" or "pickle".
  static bool is_legacy(std::string_view bytes) {
    using namespace std::string_view_literals;
    return bytes.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv) ||
           (bytes.size() > 262 && bytes.substr(257, 5) == "ustar");
  }

  std::string_view contents(const detail::ZipEntry& member) const {
    if (member.deflated) throw IoError(path_, concat("member '", member.name, "' is compressed; torch.save stores members as they are"));
    const std::byte* bytes = file_->data() + member.begin;
    if (detail::checksum(0, bytes, member.size) != member.checksum)
      throw IoError(path_, concat("is damaged: the checksum of member '", member.name, "' differs"));
    return {reinterpret_cast<const char*>(bytes), member.size};
  }

  void read() {
    const std::string_view all(reinterpret_cast<const char*>(file_->data()), file_->size());
    if (is_legacy(all))
      throw IoError(path_, "has the format of PyTorch before 1.6; load it there and save it again: torch.save(torch.load(old), new)");
    const std::vector<detail::ZipEntry> archive = detail::ZipReader(all, path_, ".pth").entries();
    constexpr std::string_view pickle_name = "/data.pkl";
    Members members;
    const detail::ZipEntry* pickle = nullptr;
    for (const auto& member : archive) {
      if (!members.emplace(member.name, &member).second) throw IoError(path_, concat("member '", member.name, "' is there twice"));
      if (member.name.ends_with(pickle_name)) pickle = &member;
    }
    if (!pickle) throw IoError(path_, "is a ZIP archive without data.pkl: no file of torch.save");
    const std::string folder = pickle->name.substr(0, pickle->name.size() - pickle_name.size() + 1);  // with its slash
    if (members.count(folder + "constants.pkl"))
      throw IoError(path_, "is a TorchScript program; save the weights alone: torch.save(torch.jit.load(file).state_dict(), ...)");
    if (const auto order = members.find(folder + "byteorder"); order != members.end() && contents(*order->second) != "little")
      throw IoError(path_, "is big-endian");

    const std::string source = path_ + ": " + pickle->name;
    const detail::PickleReader reader(contents(*pickle), source);
    std::unordered_map<std::string_view, std::span<std::byte>> storages;  // those that were checked
    const std::vector<detail::PickleValue>& dictionary = state_dict(reader);
    for (std::size_t i = 0; i < dictionary.size(); i += 2) {
      if (dictionary[i].kind != detail::PickleKind::text) continue;
      std::string name(reader.text(dictionary[i]));
      if (dictionary[i + 1].kind != detail::PickleKind::tensor) {
        ignored_.push_back(std::move(name));
        continue;
      }
      const detail::PickledTensor& tensor = reader.tensor(dictionary[i + 1]);
      auto storage = storages.find(tensor.storage.key);
      if (storage == storages.end()) storage = storages.emplace(tensor.storage.key, storage_bytes(members, folder, tensor.storage)).first;
      if (!entries_.emplace(name, checked(name, tensor, storage->second)).second)
        throw IoError(path_, concat("tensor '", name, "' is there twice"));
      names_.push_back(std::move(name));
    }
  }

  const std::vector<detail::PickleValue>& state_dict(const detail::PickleReader& reader) const {
    const detail::PickleValue root = reader.root();
    if (root.kind != detail::PickleKind::dictionary)
      throw IoError(path_, concat("holds ", to_string(root.kind), ", not a dictionary of tensors (a state dict)"));
    const auto& items = reader.items(root);
    for (const std::string_view key : {"state_dict", "model_state_dict", "model"})
      for (std::size_t i = 0; i < items.size(); i += 2)
        if (items[i].kind == detail::PickleKind::text && reader.text(items[i]) == key &&
            items[i + 1].kind == detail::PickleKind::dictionary)
          return reader.items(items[i + 1]);
    return items;
  }

  std::span<std::byte> storage_bytes(const Members& members, const std::string& folder, const detail::PickledStorage& storage) const {
    const std::string name = concat(folder, "data/", storage.key);
    const auto found = members.find(name);
    if (found == members.end()) throw IoError(path_, concat("member '", name, "' is missing"));
    return {file_->data() + found->second->begin, contents(*found->second).size()};
  }

  /// A tensor whose elements all lie in its storage, and that has no more of them than it.
  Entry checked(const std::string& name, const detail::PickledTensor& t, std::span<std::byte> storage) const {
    const auto [type, key, size] = t.storage;
    if (storage.size() % type.size || storage.size() / type.size != static_cast<std::size_t>(size))
      throw IoError(path_, concat("tensor '", name, "': its storage '", key, "' has ", storage.size(), " bytes, not ", size,
                                  " elements of ", type.name));
    const auto wrong = [&](std::string_view what) {
      return IoError(path_, concat("tensor '", name, "' ", t.shape, " with strides ", t.strides, " from ", t.offset, ": ", what, " ",
                                   t.storage.size, " elements"));
    };
    std::size_t bytes = 0;
    if (!detail::size_in_bytes(t.shape, type.size, bytes) || t.shape.numel() > size) throw wrong("is larger than its storage of");
    Entry e{type, t.shape, t.strides};
    index_t last = t.offset, step = 1;
    bool inside = true;
    for (int d = t.shape.rank(); d-- > 0;) {
      index_t way = 0;
      inside = inside && !__builtin_mul_overflow(std::max<index_t>(0, t.shape[d] - 1), t.strides[d], &way) &&
               !__builtin_add_overflow(last, way, &last);
      if (t.shape[d] != 1) e.contiguous = e.contiguous && t.strides[d] == step;
      step *= t.shape[d];
    }
    if (t.shape.numel() == 0) {
      e.contiguous = true;
      e.bytes = storage.data();
      return e;
    }
    if (!inside || last >= size) throw wrong("lies outside of its storage of");
    e.bytes = storage.data() + static_cast<std::size_t>(t.offset) * type.size;
    return e;
  }

  /// The elements in row-major order.
  static std::vector<std::byte> gathered(const Entry& e) {
    const std::size_t size = e.type.size;
    std::vector<std::byte> out(static_cast<std::size_t>(e.shape.numel()) * size);
    index_t at[Shape::max_rank] = {}, from = 0;
    for (std::size_t to = 0; to < out.size(); to += size) {
      std::memcpy(out.data() + to, e.bytes + static_cast<std::size_t>(from) * size, size);
      for (int d = e.shape.rank(); d-- > 0;) {  // the next place in row-major order
        from += e.strides[d];
        if (++at[d] < e.shape[d]) break;
        from -= e.strides[d] * e.shape[d];
        at[d] = 0;
      }
    }
    return out;
  }

  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::vector<std::string> names_, ignored_;
  std::unordered_map<std::string, Entry> entries_;
};

namespace detail {

/// The pickle of an OrderedDict of contiguous tensors, tensor i with the storage "i".
inline std::string pickled_state_dict(const std::vector<TensorEntry>& entries) {
  std::string out;
  const auto bytes = [&](std::uint64_t value, int size) {
    for (; size > 0; --size, value >>= 8) out += static_cast<char>(value & 255);
  };
  const auto text = [&](std::string_view value) { out += 'X', bytes(value.size(), 4), out += value; };
  const auto integer = [&](index_t value) {
    if (value <= INT32_MAX) out += 'J', bytes(static_cast<std::uint64_t>(value), 4);
    else out += "\x8a\x08", bytes(static_cast<std::uint64_t>(value), 8);
  };
  const auto tuple = [&](const Shape& sizes) {
    out += '(';
    for (const index_t size : sizes) integer(size);
    out += 't';
  };
  constexpr std::string_view empty_dictionary = "ccollections\nOrderedDict\n)R";
  out = "\x80\x02";
  out.append(empty_dictionary).append("(");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const TensorEntry& e = entries[i];
    const index_t numel = e.shape.numel();
    Shape strides = e.shape;
    for (index_t d = e.shape.rank(), step = 1; d-- > 0; step *= std::max<index_t>(1, e.shape[static_cast<int>(d)]))
      strides[static_cast<int>(d)] = step;
    text(e.name);
    out += "ctorch._utils\n_rebuild_tensor_v2\n((";
    text("storage");
    for (const auto& [name, type] : torch_storages)
      if (type == e.dtype) out += concat("ctorch\n", name, "\n");
    text(concat(i));
    text("cpu");
    integer(numel);
    out += "tQ";
    integer(0);
    tuple(e.shape);
    tuple(strides);
    out += '\x89';  // requires_grad = False
    out.append(empty_dictionary).append("tR");
  }
  return out += "u.";
}

}  // namespace detail

/// Writes tensors as an OrderedDict that torch.load reads, with weights_only=True too. The file appears whole or not at all.
/// @throws ValueError for a name that is there twice or no UTF-8, an undefined tensor, or more than 4 GiB (save_safetensors takes more);
///         IoError when the file cannot be written
inline void save_pth(const std::string& path, const std::vector<TensorEntry>& entries) {
  std::vector<std::string_view> names;
  std::size_t total = 1024;
  constexpr std::size_t alignment = 64;
  for (const TensorEntry& e : entries) {
    if (!detail::is_utf8(e.name)) throw ValueError("save_pth", "entries", "names in UTF-8", concat("'", e.name, "'"));
    if (!e.defined) throw ValueError("save_pth", "entries", "a tensor", concat("an undefined one, '", e.name, "'"));
    names.push_back(e.name);
    total += e.bytes + detail::ZipWriter::overhead + 2 * alignment;
  }
  detail::check_each_once("save_pth", names);
  const std::string pickle = detail::pickled_state_dict(entries);
  if (total + pickle.size() > detail::ZipWriter::max_bytes || entries.size() + 3 > detail::ZipWriter::max_members)
    throw ValueError("save_pth", "entries", "less than 4 GiB and 65000 tensors (save_safetensors takes more)",
                     concat(entries.size(), " tensors, ", total + pickle.size(), " bytes"));
  write_file_atomically(path, [&](FileWriter& out) {
    detail::ZipWriter zip(out);
    zip.add("archive/data.pkl", {pickle}, alignment);
    zip.add("archive/byteorder", {"little"}, alignment);
    for (std::size_t i = 0; i < entries.size(); ++i)
      zip.add(concat("archive/data/", i), {{static_cast<const char*>(entries[i].data), entries[i].bytes}}, alignment);
    zip.add("archive/version", {"3\n"}, alignment);
    zip.finish();
  });
}

}  // namespace segnet
