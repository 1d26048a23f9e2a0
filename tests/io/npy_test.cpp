// .npy: what NumPy writes is read, what is written is what NumPy writes, and damage is an error.
#include "segnet/io/npy.hpp"

#include <cmath>

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// A file of version 1, 2 or 3 by the book.
std::string npy_file(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string file = "\x93NUMPY";
  const std::size_t n = dictionary.size();
  file += static_cast<char>(version);
  file += '\0';
  for (int k = 0; k < (version == 1 ? 2 : 4); ++k) file += static_cast<char>(n >> 8 * k);
  return file + dictionary + data;
}
std::string dictionary_of(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}
template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}
template <class T>
Tensor<T> read(const TemporaryFolder& folder, const std::string& bytes) {
  const std::string path = folder / "x.npy";
  std::filesystem::remove(path);
  save(path, bytes);
  return load_npy<T>(path);
}
template <class T>
void check_round_trip(const Tensor<T>& x) {
  const TemporaryFolder folder;
  save_npy(folder / "x.npy", x);
  const Tensor<T> y = load_npy<T>(folder / "x.npy");
  REQUIRE(y.shape() == x.shape());
  CHECK((x.numel() == 0 || std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.numel()) * sizeof(T)) == 0));
}

}  // namespace

TEST_CASE("npy: every type and shape comes back") {
  for (const Shape& shape : {Shape{}, {1}, {0}, {5}, {2, 3}, {3, 0, 2}, {1, 2, 3, 4}, {1, 1, 1, 1, 1, 1, 1, 2}}) {
    INFO(shape);
    check_round_trip(normal<float>(shape));
    check_round_trip(normal<double>(shape));
    check_round_trip(integers<std::int64_t>(shape, -1000, 1000));
    check_round_trip(integers<std::int32_t>(shape, -1000, 1000));
    check_round_trip(integers<std::uint8_t>(shape, 0, 255));
    check_round_trip(integers<bool>(shape, 0, 1));
  }
}

// The bytes that numpy.save writes for numpy.array([[1, 2, 3], [4, 5, 6]], dtype=numpy.int32), numpy.array([True, False]) and
// numpy.float64(0.5).
TEST_CASE("npy: byte for byte what NumPy writes") {
  const TemporaryFolder folder;
  const auto saved = [&](const auto& tensor) {
    save_npy(folder / "x.npy", tensor);
    return load(folder / "x.npy");
  };
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
  CHECK(saved(Tensor<std::int32_t>({2, 3}, {1, 2, 3, 4, 5, 6})) == std::string("\x93NUMPY\x01\x00v\x00", 10) + header +
                                                                       std::string(118 - 1 - header.size(), ' ') + "\n" +
                                                                       bytes_of<std::int32_t>({1, 2, 3, 4, 5, 6}));
  CHECK(contains(saved(Tensor<bool>({2}, {true, false})), "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }"));
  CHECK(contains(saved(Tensor<double>(Shape{}, {0.5})), "{'descr': '<f8', 'fortran_order': False, 'shape': (), }"));
}

TEST_CASE("npy: all versions, spacings and conversions") {
  const TemporaryFolder folder;
  const std::string data = bytes_of<double>({1.5, -2, 1e300});
  for (const int version : {1, 2, 3}) {
    CHECK(read<double>(folder, npy_file(dictionary_of("<f8", "(3,)"), data, version)).to_vector() == std::vector<double>{1.5, -2, 1e300});
    CHECK(read<double>(folder, npy_file("{\"shape\":(3,),'fortran_order':False,'descr':'<f8'}", data, version)).shape() == Shape{3});
  }
  CHECK(read<float>(folder, npy_file(dictionary_of("<f8", "(2,)"), bytes_of<double>({1.5, -2}))).to_vector() ==
        std::vector<float>{1.5f, -2});
  CHECK(read<float>(folder, npy_file(dictionary_of("<f2", "(2,)"), bytes_of<std::uint16_t>({0x3C00, 0xC100}))).to_vector() ==
        std::vector<float>{1, -2.5f});
  CHECK(read<bool>(folder, npy_file(dictionary_of("|b1", "(2,)"), "\x02\x01")).data()[0]);
}

TEST_CASE("npy: column-major arrays are rearranged") {
  const TemporaryFolder folder;
  // x[i][j][k] = 100 i + 10 j + k of shape [2, 3, 2], first index fastest.
  std::string data;
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i) data += bytes_of<std::int32_t>({100 * i + 10 * j + k});
  const auto x = read<std::int32_t>(folder, npy_file(dictionary_of("<i4", "(2, 3, 2)", "True"), data));
  CHECK(x.to_vector() == std::vector<std::int32_t>{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121});
  CHECK(read<std::int32_t>(folder, npy_file(dictionary_of("<i4", "(0, 3)", "True"), "")).shape() == Shape{0, 3});
}

TEST_CASE("npy: aligned arrays are the file's own pages") {
  const TemporaryFolder folder;
  save_npy(folder / "x.npy", Tensor<float>({2}, {1, 2}));
  const std::string before = load(folder / "x.npy");
  const auto x = load_npy<float>(folder / "x.npy");
  CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);  // the mapping begins on a page, the elements 128 bytes in
  x.data()[0] = 5;
  CHECK(load(folder / "x.npy") == before);
}

TEST_CASE("npy: every lie is found and named") {
  const TemporaryFolder folder;
  const std::string eight(8, '\0');
  const struct {
    std::string bytes, text;
  } lies[] = {
      {"", "is no .npy file"},
      {"PK\x03\x04 something else", "is no .npy file"},
      {npy_file(dictionary_of("<f4", "(2,)"), eight, 4), "version 4 of the .npy format"},
      {npy_file(dictionary_of("<f4", "(2,)"), eight).substr(0, 30), "is shortened: a header of"},
      {npy_file(dictionary_of("<f4", "(3,)"), eight), "has 8 bytes of elements, <f4 [3] takes 12"},
      {npy_file(dictionary_of("<f4", "(1,)"), eight), "has 8 bytes of elements, <f4 [1] takes 4"},
      {npy_file(dictionary_of(">f4", "(2,)"), eight), "has elements of type '>f4', which cannot be read"},
      {npy_file(dictionary_of("<c8", "(1,)"), eight), "has elements of type '<c8'"},
      {npy_file(dictionary_of("<i8", "(1,)"), eight), "has elements of type I64, asked for F32"},
      {npy_file(dictionary_of("<f4", "(4611686018427387904, 4)"), eight), "is too large"},
      {npy_file(dictionary_of("<f4", "(4611686018427387904, 4, 0)"), ""), "is too large"},
      {npy_file(dictionary_of("<f4", "(18446744073709551618,)"), eight), "expected a size"},
      {npy_file(dictionary_of("<f4", "(-2,)"), eight), "expected a size"},
      {npy_file(dictionary_of("<f4", "(2 2)"), eight), "expected ',' or ')'"},
      {npy_file(dictionary_of("<f4", "2"), eight), "expected '('"},
      {npy_file(dictionary_of("<f4", "(1,1,1,1,1,1,1,1,2)"), eight), "at most 8 dimensions"},
      {npy_file(dictionary_of("<f4", "(2,)", "Maybe"), eight), "expected True or False"},
      {npy_file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", eight), "arrays of records cannot be read"},
      {npy_file("{'descr': '<f4', 'shape': (2,), }", eight), "the keys descr, fortran_order and shape"},
      {npy_file("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", eight), "each once"},
      {npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } x", eight), "the end of the header"},
      {npy_file("{'descr': '<f4", eight), "the end of a string"},
  };
  for (const auto& [bytes, text] : lies) {
    INFO(bytes);
    const std::string error = error_text<IoError>([&] { (void)read<float>(folder, bytes); });
    CHECK(contains(error, text));
    CHECK(contains(error, "x.npy: "));
  }
  CHECK(contains(error_text<IoError>([&] { (void)load_npy<float>(folder / "absent.npy"); }), "cannot open"));
  CHECK_THROWS_AS(save_npy(folder / "u.npy", Tensor<float>{}), ValueError);
  CHECK_THROWS_AS(save_npy(folder.path() / "no" / "u.npy", Tensor<float>({1}, {1})), IoError);
}

TEST_CASE("npy: cut at every byte, random damage") {
  const TemporaryFolder folder;
  save_npy(folder / "good.npy", Tensor<float>({2, 2}, {1, 2, 3, 4}));
  const std::string good = load(folder / "good.npy");
  for (std::size_t length = 0; length < good.size(); ++length) CHECK_THROWS_AS((void)read<float>(folder, good.substr(0, length)), IoError);
  int refused = 0;
  set_memory_limit(memory_stats().in_use + (1u << 20));
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    for (index_t edits = 1 + testing::random().below(3); edits > 0; --edits)
      bytes[static_cast<std::size_t>(testing::random().below(70))] = "0123456789(),'{}: <fiTF\xFF"[testing::random().below(24)];
    try {
      (void)read<float>(folder, bytes);
    } catch (const IoError&) {
      ++refused;
    }
  }
  set_memory_limit(0);
  CHECK(refused > 1000);
}
