// NumPy's format of one array, .npy, versions 1 to 3 (NEP 1): a header that is a Python dictionary, then the elements.
#pragma once

#include <charconv>
#include <string>

#include "segnet/io/elements.hpp"
#include "segnet/io/file.hpp"

namespace segnet {

namespace detail {

struct NpyHeader {
  ElementType type{};
  std::string_view descr;
  bool fortran_order = false;
  Shape shape;
  std::size_t data_begin = 0;  ///< where the elements begin
  std::size_t bytes = 0;       ///< how many bytes they are
};

struct NpyType {
  std::string_view descr, name;
};
inline constexpr NpyType npy_types[] = {{"<f8", "F64"},  {"<f4", "F32"}, {"<f2", "F16"}, {"<i8", "I64"}, {"<i4", "I32"}, {"|u1", "U8"},
                                        {"|b1", "BOOL"}, {"|i1", "I8"},  {"<i2", "I16"}, {"<u2", "U16"}, {"<u4", "U32"}, {"<u8", "U64"}};

/// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: as much Python as these headers hold.
class NpyHeaderReader {
 public:
  NpyHeaderReader(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  NpyHeader read() {
    NpyHeader header;
    unsigned seen = 0;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      const unsigned bit = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (bit == 0 || (seen & bit)) fail("the keys descr, fortran_order and shape, each once");
      seen |= bit;
      if (bit == 1) header.descr = string();
      else if (bit == 2) header.fortran_order = boolean();
      else header.shape = shape();
      if (!accept(',') && peek() != '}') fail("',' or '}'");
    }
    if (seen != 7) fail("the keys descr, fortran_order and shape");
    if (peek() != '\0' || at_ != text_.size()) fail("the end of the header");
    return header;
  }

 private:
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(concat("'", c, "'"));
  }
  std::string_view string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail("a string (arrays of records cannot be read)");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("the end of a string");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    (void)peek();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    fail("True or False");
  }
  Shape shape() {
    Shape sizes;
    expect('(');
    while (!accept(')')) {
      (void)peek();
      index_t size = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) fail("a size");
      at_ = static_cast<std::size_t>(end - text_.data());
      if (sizes.rank() == Shape::max_rank) fail(concat("at most ", Shape::max_rank, " dimensions"));
      sizes.push_back(size);
      if (!accept(',') && peek() != ')') fail("',' or ')'");
    }
    return sizes;
  }
  [[noreturn]] void fail(std::string_view expected) const {
    throw IoError(source_, concat("header of the array, character ", at_, ": expected ", expected));
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
};

/// The header of an array, checked against the bytes that there are. @throws IoError
inline NpyHeader read_npy_header(std::string_view bytes, const std::string& source) {
  constexpr std::string_view magic = "\x93NUMPY";
  if (bytes.substr(0, magic.size()) != magic || bytes.size() < 12) throw IoError(source, "is no .npy file");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3) throw IoError(source, concat("has version ", version, " of the .npy format, 1 to 3 can be read"));
  const std::size_t begin = version == 1 ? 10 : 12;
  const std::size_t length = byte(8) | byte(9) << 8 | (version == 1 ? 0 : byte(10) << 16 | byte(11) << 24);
  if (length > bytes.size() - begin) throw IoError(source, concat("is shortened: a header of ", length, " bytes in ", bytes.size()));

  NpyHeader header = NpyHeaderReader(bytes.substr(begin, length), source).read();
  for (const auto& [descr, name] : npy_types)
    if (descr == header.descr)
      for (const ElementType& type : element_types)
        if (type.name == name) header.type = type;
  if (!header.type.size) throw IoError(source, concat("has elements of type '", header.descr, "', which cannot be read"));
  header.data_begin = begin + length;
  const std::size_t there = bytes.size() - header.data_begin;
  if (!size_in_bytes(header.shape, header.type.size, header.bytes)) throw IoError(source, concat("shape ", header.shape, " is too large"));
  if (header.bytes != there)
    throw IoError(source, concat("has ", there, " bytes of elements, ", header.descr, " ", header.shape, " takes ", header.bytes));
  return header;
}

/// From column-major to row-major order.
template <class T>
Tensor<T> from_fortran_order(const Tensor<T>& x, const Shape& shape) {
  Tensor<T> y(shape);
  index_t at[Shape::max_rank] = {}, stride[Shape::max_rank] = {}, step = 1;
  for (int d = 0; d < shape.rank(); ++d) stride[d] = step, step *= shape[d];
  for (index_t i = 0, from = 0, n = shape.numel(); i < n; ++i) {
    y.data()[i] = x.data()[from];
    for (int d = shape.rank(); d-- > 0;) {  // the next place in row-major order
      from += stride[d];
      if (++at[d] < shape[d]) break;
      from -= stride[d] * shape[d];
      at[d] = 0;
    }
  }
  return y;
}

/// The array in `bytes`, which `owner` keeps. @throws IoError
template <class T>
Tensor<T> read_npy(std::byte* bytes, std::size_t size, const std::shared_ptr<const void>& owner, const std::string& source) {
  const NpyHeader header = read_npy_header({reinterpret_cast<const char*>(bytes), size}, source);
  const Tensor<T> t = tensor_of_bytes<T>(header.type.name, bytes + header.data_begin, header.shape, owner);
  if (!t) throw IoError(source, concat("has elements of type ", header.type.name, ", asked for ", element_name<T>()));
  return header.fortran_order && header.shape.rank() > 1 ? from_fortran_order(t, header.shape) : t;
}

/// The bytes in front of the elements, as NumPy writes them: a multiple of 64.
template <class T>
std::string npy_header(const Shape& shape) {
  std::string dictionary;
  for (const auto& [descr, name] : npy_types)
    if (name == element_name<T>()) dictionary = concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (const index_t size : shape) dictionary += concat(size, shape.rank() == 1 ? "," : ", ");
  if (shape.rank() > 1) dictionary.resize(dictionary.size() - 2);
  dictionary += "), }";
  const std::size_t total = (10 + dictionary.size() + 1 + 63) / 64 * 64;
  dictionary.resize(total - 10 - 1, ' ');
  dictionary += '\n';
  const std::size_t n = dictionary.size();
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(n & 255) + static_cast<char>(n >> 8) + dictionary;
}

}  // namespace detail

/// The array in a .npy file. Floating-point types (also half) are converted to T = float or double, others must be T. Row-major
/// arrays of T are mapped, not copied; column-major ones (fortran_order) are rearranged.
/// @throws IoError naming the path and what is wrong: cannot be opened, damaged, another type, big-endian
template <class T>
[[nodiscard]] Tensor<T> load_npy(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return detail::read_npy<T>(file->data(), file->size(), file, path);
}

/// Writes an array that `numpy.load` reads. The file appears whole or not at all. @throws IoError; ValueError: an undefined tensor
template <class T>
void save_npy(const std::string& path, const Tensor<T>& tensor) {
  if (!tensor) throw ValueError("save_npy", "tensor", "a tensor", "an undefined one");
  write_file_atomically(path, [&](FileWriter& out) {
    out.write(detail::npy_header<T>(tensor.shape()));
    out.write(tensor.data(), static_cast<std::size_t>(tensor.numel()) * sizeof(T));
  });
}

}  // namespace segnet
