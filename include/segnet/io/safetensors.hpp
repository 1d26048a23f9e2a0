// The safetensors format: named tensors in one file, mapped into memory and checked before anything is believed.
//
//   8 bytes   n, little-endian
//   n bytes   JSON, padded with spaces: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//             "__metadata__": {"key": "value", ...}}, offsets counted from the end of the header
//   the rest  the elements, row-major and little-endian, one tensor behind the other without gaps
#pragma once

#include <map>
#include <unordered_map>

#include "segnet/io/elements.hpp"
#include "segnet/io/file.hpp"
#include "segnet/io/json.hpp"

namespace segnet {

/// A safetensors file, opened for reading. The constructor checks the whole header against the size of the file; elements are
/// read when they are touched. Copies share the mapping, and so do tensors, which may outlive the SafetensorsFile.
class SafetensorsFile {
 public:
  static constexpr std::size_t max_header_bytes = 100'000'000;  ///< as in the format's own reader

  /// @throws IoError naming the path and what is wrong: cannot be opened, shorter than it says, a damaged header, a name twice,
  ///         an unknown type, a shape that does not fit its bytes, tensors that overlap or leave gaps
  explicit SafetensorsFile(std::string path) : path_(std::move(path)), file_(std::make_shared<MappedFile>(path_)) { read_header(); }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Names of the tensors, in the order of the header.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool has(const std::string& name) const { return entries_.count(name) != 0; }
  /// @throws IoError if there is no such tensor
  [[nodiscard]] const Shape& shape(const std::string& name) const { return entry(name).shape; }
  /// Element type as the format writes it: "F32", "BF16", "I64", ... @throws IoError if there is no such tensor
  [[nodiscard]] std::string_view dtype(const std::string& name) const { return entry(name).type.name; }
  /// The free text that came with the tensors.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The tensor of that name. For T = float or double any of F64, F32, F16 and BF16 is converted; other T must match exactly.
  /// Where type and alignment allow, the elements are those of the mapped file, without a copy; writing to them changes this
  /// program's copy alone. @throws IoError if there is no such tensor, or one of another type
  template <class T>
  [[nodiscard]] Tensor<T> tensor(const std::string& name) const {
    const Entry& e = entry(name);
    const Tensor<T> t = detail::tensor_of_bytes<T>(e.type.name, file_->data() + data_begin_ + e.begin, e.shape, file_);
    if (!t)
      throw IoError(path_, concat("tensor '", name, "' ", e.shape, " has type ", e.type.name, ", asked for ", detail::element_name<T>()));
    return t;
  }

 private:
  struct Entry {
    detail::ElementType type;
    Shape shape;
    std::size_t begin, end;  // counted from the end of the header
  };

  const Entry& entry(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw IoError(path_, concat("has no tensor '", name, "'"));
    return found->second;
  }

  void read_header() {
    const std::size_t size = file_->size();
    std::uint64_t n = 0;
    if (size < sizeof n) throw IoError(path_, concat("has ", size, " bytes, too few for a safetensors file"));
    std::memcpy(&n, file_->data(), sizeof n);
    if (n > max_header_bytes || n > size - sizeof n)
      throw IoError(path_, concat("is damaged or no safetensors file: a header of ", n, " bytes in a file of ", size));
    data_begin_ = sizeof n + static_cast<std::size_t>(n);

    JsonReader reader({reinterpret_cast<const char*>(file_->data()) + sizeof n, static_cast<std::size_t>(n)}, path_);
    bool has_metadata = false;
    reader.object([&](const std::string& name) {
      if (name == "__metadata__") {
        if (std::exchange(has_metadata, true)) throw IoError(path_, "'__metadata__' is there twice");
        reader.object([&](const std::string& key) {
          if (!metadata_.emplace(key, reader.string()).second) throw IoError(path_, concat("metadata '", key, "' is there twice"));
        });
        return;
      }
      if (!entries_.emplace(name, read_entry(reader, name)).second) throw IoError(path_, concat("tensor '", name, "' is there twice"));
      names_.push_back(name);
    });
    reader.end();
    check_layout(size - data_begin_);
  }

  Entry read_entry(JsonReader& reader, const std::string& name) const {
    const auto wrong = [&](const auto&... what) { return IoError(path_, concat("tensor '", name, "': ", what...)); };
    Entry e{{}, {}, 0, 0};
    unsigned seen = 0;
    const auto once = [&](unsigned bit) {
      if (seen & bit) throw wrong("a field is there twice");
      seen |= bit;
    };
    const auto size = [&] {
      const index_t value = reader.integer();
      if (value < 0) throw wrong("negative number ", value);
      return value;
    };
    reader.object([&](const std::string& field) {
      if (field == "dtype") {
        once(1);
        const std::string type = reader.string();
        for (const auto& known : detail::element_types)
          if (known.name == type) e.type = known;
        if (!e.type.size) throw wrong("unknown type '", type, "'");
      } else if (field == "shape") {
        once(2);
        reader.array([&] {
          const index_t length = size();
          if (e.shape.rank() == Shape::max_rank) throw wrong("more than ", Shape::max_rank, " dimensions");
          e.shape.push_back(length);
        });
      } else if (field == "data_offsets") {
        once(4);
        std::size_t offsets[2], count = 0;
        reader.array([&] {
          const auto value = static_cast<std::size_t>(size());
          if (count == 2) throw wrong("more than two offsets");
          offsets[count++] = value;
        });
        if (count != 2) throw wrong("needs two offsets");
        e.begin = offsets[0];
        e.end = offsets[1];
      } else {
        throw wrong("unknown field '", field, "'");
      }
    });
    if (seen != 7) throw wrong("needs dtype, shape and data_offsets");

    std::size_t bytes = 0;
    if (!detail::size_in_bytes(e.shape, e.type.size, bytes)) throw wrong("shape ", e.shape, " is too large");
    if (e.end < e.begin || e.end - e.begin != bytes)
      throw wrong(e.type.name, " ", e.shape, " takes ", bytes, " bytes, its offsets are ", e.begin, " to ", e.end);
    return e;
  }

  /// The tensors tile the data: what is shortened, appended or shared is not what was saved.
  void check_layout(std::size_t data_size) const {
    std::vector<const std::string*> order;
    for (const auto& name : names_) order.push_back(&name);
    const auto begin_end = [&](const std::string* name) { return std::pair(entries_.at(*name).begin, entries_.at(*name).end); };
    std::sort(order.begin(), order.end(), [&](auto* a, auto* b) { return begin_end(a) < begin_end(b); });
    std::size_t at = 0;
    for (const std::string* name : order) {
      const auto [begin, end] = begin_end(name);
      if (begin != at)
        throw IoError(path_, concat("tensor '", *name, "': begins at ", begin, " where ", at, " was expected (a gap or an overlap)"));
      if (end > data_size)
        throw IoError(path_, concat("is shortened: tensor '", *name, "' ends at ", end, " of ", data_size, " bytes of data"));
      at = end;
    }
    if (at != data_size) throw IoError(path_, concat("has ", data_size, " bytes of data, its tensors ", at));
  }

  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::size_t data_begin_ = 0;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes tensors, in the order given, and free text to a safetensors file:
///
///     save_safetensors("unet.safetensors", {{"conv1.weight", w}, {"step", step}}, {{"format", "pt"}});
///
/// The file appears whole or not at all (`write_file_atomically`). Wider element types lie first, so that each tensor is aligned.
/// @throws ValueError for a name that is there twice, is "__metadata__" or no UTF-8, or an undefined tensor; IoError when the
///         file cannot be written
inline void save_safetensors(const std::string& path, const std::vector<TensorEntry>& entries,
                             const std::map<std::string, std::string>& metadata = {}) {
  const auto check_text = [](std::string_view argument, const std::string& text) {
    if (!detail::is_utf8(text)) throw ValueError("save_safetensors", argument, "UTF-8", concat("'", text, "'"));
  };
  std::vector<std::string_view> names;
  for (const auto& e : entries) {
    check_text("entries", e.name);
    if (e.name == "__metadata__") throw ValueError("save_safetensors", "entries", "a name other than that of the metadata", e.name);
    if (!e.defined) throw ValueError("save_safetensors", "entries", "a tensor", concat("an undefined one, '", e.name, "'"));
    names.push_back(e.name);
  }
  detail::check_each_once("save_safetensors", names);

  std::vector<std::size_t> order(entries.size()), begin(entries.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(entries[b].width, a) < std::pair(entries[a].width, b);  // widest first, otherwise as given
  });
  std::size_t at = 0;
  for (const std::size_t i : order) begin[i] = std::exchange(at, at + entries[i].bytes);

  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      check_text("metadata", key);
      check_text("metadata", value);
      if (header.back() != '{') header += ',';
      append_json_string(header, key);
      header += ':';
      append_json_string(header, value);
    }
    header += '}';
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const TensorEntry& e = entries[i];
    if (header.size() > 1) header += ',';
    append_json_string(header, e.name);
    header += concat(":{\"dtype\":\"", e.dtype, "\",\"shape\":", e.shape, ",\"data_offsets\":[", begin[i], ",", begin[i] + e.bytes, "]}");
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > SafetensorsFile::max_header_bytes)
    throw ValueError("save_safetensors", "entries", concat("a header of at most ", SafetensorsFile::max_header_bytes, " bytes"),
                     concat(header.size()));

  write_file_atomically(path, [&](FileWriter& out) {
    const std::uint64_t n = header.size();
    out.write(&n, sizeof n);
    out.write(header);
    for (const std::size_t i : order) out.write(entries[i].data, entries[i].bytes);
  });
}

}  // namespace segnet
