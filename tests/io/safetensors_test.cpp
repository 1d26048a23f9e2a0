// safetensors: what was saved is read back, bit by bit; a damaged file is an error that says why; a save is all or nothing.
#include "segnet/io/safetensors.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "io/readable.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// A file from its parts: 8 bytes of length, header, data.
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data;
}

/// Whether a file of these bytes can be read.
bool readable(const std::string& path, const std::string& bytes) {
  std::filesystem::remove(path);  // rewriting a file in place makes some file systems wait for the disk
  save(path, bytes);
  return segnet::testing::readable<SafetensorsFile>(path);
}

std::string refusal(const TemporaryFolder& folder, const std::string& header, const std::string& data) {
  const std::string path = folder / "wrong.safetensors";
  save(path, file_of(header, data));
  return error_text<IoError>([&] { SafetensorsFile file(path); });
}

template <class T>
bool same_bytes(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() &&
         (a.numel() == 0 || std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.numel()) * sizeof(T)) == 0);
}

std::size_t files_in(const TemporaryFolder& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++n;
  return n;
}

}  // namespace

TEST_CASE("safetensors: every type and shape comes back with its bits, name, order and metadata") {
  const TemporaryFolder folder;
  const std::string path = folder / "all.safetensors";
  const float nan_with_payload = std::bit_cast<float>(0x7FC12345u);
  const Tensor<std::uint8_t> bytes({3}, {0, 128, 255});
  const Tensor<float> floats({2, 3}, {0.f, -0.f, 1e-45f, INFINITY, -3.5f, nan_with_payload});
  const Tensor<bool> flags({2, 1, 2}, {true, false, false, true});
  const Tensor<double> scalar(Shape{}, {M_PI});
  const Tensor<double> empty(Shape{0, 4});
  const Tensor<std::int64_t> wide({2}, {INT64_MIN, INT64_MAX});
  const Tensor<std::int32_t> narrow({1, 1, 1, 1, 1, 1, 1, 1}, {INT32_MIN});
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"", "\"quoted\"\n\x01 \xC3\xA4"}};
  save_safetensors(path,
                   {{"bytes", bytes},
                    {"a.b/c \"\\\xC3\xA4", floats},
                    {"flags", flags},
                    {"scalar", scalar},
                    {"empty", empty},
                    {"wide", wide},
                    {"", narrow}},
                   metadata);

  const SafetensorsFile file(path);
  CHECK(file.names() == std::vector<std::string>{"bytes", "a.b/c \"\\\xC3\xA4", "flags", "scalar", "empty", "wide", ""});
  CHECK(file.metadata() == metadata);
  CHECK(same_bytes(file.tensor<std::uint8_t>("bytes"), bytes));
  CHECK(same_bytes(file.tensor<float>("a.b/c \"\\\xC3\xA4"), floats));
  CHECK(same_bytes(file.tensor<bool>("flags"), flags));
  CHECK(same_bytes(file.tensor<double>("scalar"), scalar));
  CHECK(same_bytes(file.tensor<double>("empty"), empty));
  CHECK(same_bytes(file.tensor<std::int64_t>("wide"), wide));
  CHECK(same_bytes(file.tensor<std::int32_t>(""), narrow));
  CHECK(file.dtype("flags") == "BOOL");
  CHECK(file.shape("flags") == Shape{2, 1, 2});
  CHECK(file.has("wide"));
  CHECK(!file.has("Wide"));
  std::uint64_t header = 0;
  std::memcpy(&header, load(path).data(), sizeof header);
  CHECK(header % 8 == 0);  // so that the widest type, which lies first, is aligned
  CHECK(files_in(folder) == 1);
}

TEST_CASE("safetensors: no tensors at all") {
  const TemporaryFolder folder;
  save_safetensors(folder / "none.safetensors", {});
  CHECK(SafetensorsFile(folder / "none.safetensors").names().empty());
}

TEST_CASE("safetensors: aligned tensors are the file's own pages, others are copied") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  save_safetensors(path, {{"x", Tensor<float>({4}, {1, 2, 3, 4})}});
  const std::string before = load(path);
  Tensor<float> x, again;
  {
    const SafetensorsFile file(path);
    x = file.tensor<float>("x");
    again = file.tensor<float>("x");
  }
  CHECK(x.data() == again.data());  // one mapping, alive as long as a tensor
  x.data()[0] = 100;                // a private copy of the page
  CHECK(load(path) == before);
  CHECK(x.to_vector() == std::vector<float>{100, 2, 3, 4});

  // 5 bytes in front of the doubles: legal, and never aligned.
  const double values[] = {1.5, -2.5};
  save(path, file_of(R"({"b":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"d":{"dtype":"F64","shape":[2],"data_offsets":[5,21]}})",
                     std::string("hello") + std::string(reinterpret_cast<const char*>(values), sizeof values)));
  CHECK(SafetensorsFile(path).tensor<double>("d").to_vector() == std::vector<double>{1.5, -2.5});
  CHECK(SafetensorsFile(path).tensor<float>("d").to_vector() == std::vector<float>{1.5f, -2.5f});
}

TEST_CASE("safetensors: all 65536 half and bfloat16 numbers") {
  const TemporaryFolder folder;
  const std::string path = folder / "half.safetensors";
  std::string data;
  for (int i = 0; i < 65536; ++i) data += {static_cast<char>(i), static_cast<char>(i >> 8)};
  save(
      path,
      file_of(
          R"({"h":{"dtype":"F16","shape":[256,256],"data_offsets":[0,131072]},"b":{"dtype":"BF16","shape":[65536],"data_offsets":[131072,262144]}})",
          data + data));
  const SafetensorsFile file(path);
  const auto half = file.tensor<float>("h");
  const auto brain = file.tensor<double>("b");
  int wrong = 0;
  for (int i = 0; i < 65536; ++i) {
    const int sign = i >> 15 ? -1 : 1, exponent = i >> 10 & 31, mantissa = i & 1023;
    const double value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                         : exponent     ? std::ldexp(1024 + mantissa, exponent - 25)
                                        : std::ldexp(mantissa, -24);
    const double got = static_cast<double>(half.data()[i]);
    if (std::isnan(value) ? !std::isnan(got) : got != sign * value || std::signbit(got) != (sign < 0)) ++wrong;
    const float bits = std::bit_cast<float>(static_cast<std::uint32_t>(i) << 16);
    if (std::isnan(bits) ? !std::isnan(brain.data()[i]) : brain.data()[i] != static_cast<double>(bits)) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: bytes of a BOOL other than 0 and 1 are true") {
  const TemporaryFolder folder;
  save(folder / "b.safetensors", file_of(R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", std::string("\0\1\xFF", 3)));
  const auto b = SafetensorsFile(folder / "b.safetensors").tensor<bool>("b");
  std::uint8_t raw[3];
  std::memcpy(raw, b.data(), 3);
  CHECK(raw[0] == 0);
  CHECK(raw[1] == 1);
  CHECK(raw[2] == 1);
}

TEST_CASE("safetensors: asking for what is not there names file, tensor and types") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  save_safetensors(path, {{"x", Tensor<float>({2}, {1, 2})}, {"n", Tensor<std::int64_t>({1}, {5})}});
  const SafetensorsFile file(path);
  CHECK(error_text<IoError>([&] { (void)file.tensor<float>("y"); }) == path + ": has no tensor 'y'");
  CHECK(error_text<IoError>([&] { (void)file.tensor<std::int64_t>("x"); }) == path + ": tensor 'x' [2] has type F32, asked for I64");
  CHECK(error_text<IoError>([&] { (void)file.tensor<float>("n"); }) == path + ": tensor 'n' [1] has type I64, asked for F32");
  CHECK_THROWS_AS((void)file.tensor<std::int32_t>("n"), IoError);
  CHECK_THROWS_AS((void)file.tensor<bool>("n"), IoError);
  CHECK(file.tensor<double>("x").to_vector() == std::vector<double>{1, 2});
}

TEST_CASE("safetensors: a type without a tensor is in nobody's way") {
  const TemporaryFolder folder;
  save(folder / "i8.safetensors",
       file_of(R"({"q":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"u":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", "abc"));
  const SafetensorsFile file(folder / "i8.safetensors");
  CHECK(file.tensor<std::uint8_t>("u").data()[0] == 'c');
  CHECK(contains(error_text<IoError>([&] { (void)file.tensor<std::uint8_t>("q"); }), "'q' [2] has type I8, asked for U8"));
}

TEST_CASE("safetensors: every lie in a header is found and named") {
  const TemporaryFolder folder;
  const std::string eight(8, '\0');
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const struct {
    std::string header, data, text;
  } lies[] = {
      {entry("F32", "[2]", "[0,8]"), eight + "x", "has 9 bytes of data, its tensors 8"},
      {entry("F32", "[2]", "[0,8]"), "1234567", "is shortened: tensor 'x' ends at 8 of 7"},
      {entry("F32", "[3]", "[0,8]"), eight, "tensor 'x': F32 [3] takes 12 bytes, its offsets are 0 to 8"},
      {entry("F32", "[2]", "[8,0]"), eight, "its offsets are 8 to 0"},
      {entry("F32", "[1]", "[4,8]"), eight, "begins at 4 where 0 was expected"},
      {entry("F31", "[2]", "[0,8]"), eight, "unknown type 'F31'"},
      {entry("F32", "[-2]", "[0,8]"), eight, "negative number -2"},
      {entry("F32", "[2.0]", "[0,8]"), eight, "expected a 64-bit integer"},
      {entry("F32", "[2]", "[-8,0]"), eight, "negative number -8"},
      {entry("F32", "[2]", "[0,8,8]"), eight, "more than two offsets"},
      {entry("F32", "[2]", "[8]"), eight, "needs two offsets"},
      {entry("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), eight, "more than 8 dimensions"},
      {entry("F32", "[4611686018427387904,4]", "[0,0]"), "", "is too large"},
      {entry("F64", "[4294967296,4294967296]", "[0,0]"), "", "is too large"},
      {entry("U8", "[9223372036854775807,2]", "[0,18446744073709551614]"), "", "64-bit integer"},
      {entry("F32", "[4611686018427387904,4,0]", "[0,0]"), "", "is too large"},
      {entry("F32", "[18446744073709551616]", "[0,0]"), "", "expected a 64-bit integer"},
      {R"({"x":{"dtype":"U8","shape":[1]}})", "", "needs dtype, shape and data_offsets"},
      {R"({"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "a", "a field is there twice"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"color":1}})", "a", "unknown field 'color'"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "ab",
       "tensor 'x' is there twice"},
      {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", "abc",
       "a gap or an overlap"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", "abc",
       "a gap or an overlap"},
      {R"({"__metadata__":{"a":1}})", "", "expected a string"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "", "metadata 'a' is there twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "", "'__metadata__' is there twice"},
      {R"([])", "", "expected an object"},
      {R"({} x)", "", "expected the end of the text"},
      {"{", "", "expected a string"},
      {"", "", "expected an object"},
  };
  for (const auto& [header, data, text] : lies) {
    INFO(header);
    CHECK(contains(refusal(folder, header, data), text));
    CHECK(contains(refusal(folder, header, data), "wrong.safetensors: "));
  }
}

TEST_CASE("safetensors: a header length of nonsense asks for no memory") {
  const TemporaryFolder folder;
  const std::string path = folder / "n.safetensors";
  for (const std::uint64_t n :
       {std::uint64_t{9}, std::uint64_t{100'000'001}, std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    save(path, std::string(reinterpret_cast<const char*>(&n), 8).append("{}      "));
    CHECK(contains(error_text<IoError>([&] { SafetensorsFile file(path); }), concat("a header of ", n, " bytes in a file of 16")));
  }
  save(path, "");
  CHECK(contains(error_text<IoError>([&] { SafetensorsFile file(path); }), "has 0 bytes, too few"));
}

TEST_CASE("safetensors: what is no file") {
  const TemporaryFolder folder;
  CHECK(contains(error_text<IoError>([&] { SafetensorsFile file(folder / "absent"); }), "absent: cannot open: No such file"));
  CHECK(contains(error_text<IoError>([&] { SafetensorsFile file(folder.path().string()); }), "is a directory"));
  CHECK(contains(error_text<IoError>([&] { SafetensorsFile file("/dev/null"); }), "is not a regular file"));
}

// Damage: each file is either refused with an IoError or read whole. Anything else (a crash, an access outside the mapping, an
// allocation beyond the file's size) ends the program or the test, and the sanitizers look on.
TEST_CASE("safetensors: cut at every byte, one bit flipped in each place, random damage") {
  const TemporaryFolder folder;
  const std::string path = folder / "d.safetensors";
  save_safetensors(path,
                   {{"w", Tensor<float>({2, 2}, {1, 2, 3, 4})},
                    {"n", Tensor<std::int64_t>({1}, {7})},
                    {"m", Tensor<std::uint8_t>({3}, {1, 2, 3})},
                    {"f", Tensor<bool>({1}, {true})}},
                   {{"k", "v"}});
  const std::string good = load(path);
  const std::size_t header_end = good.size() - 16 - 8 - 3 - 1;
  CHECK(readable(path, good));
  for (std::size_t length = 0; length < good.size(); ++length) {
    CHECK(!readable(path, good.substr(0, length)));
  }
  int refused = 0;
  for (std::size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    refused += !readable(path, bytes);
  }
  CHECK(refused > static_cast<int>(header_end) * 4);  // what remains readable are other names, other metadata, white space

  set_memory_limit(memory_stats().in_use + (1u << 20));  // no damage can make a small file need a megabyte
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    for (index_t edits = 1 + testing::random().below(6); edits > 0; --edits) {
      const auto at = static_cast<std::size_t>(testing::random().below(static_cast<index_t>(bytes.size())));
      if (testing::random().below(2)) bytes[at] = static_cast<char>(testing::random().below(256));
      else bytes[at] = "0123456789[]{},:\""[testing::random().below(17)];
    }
    (void)readable(path, bytes);
  }
  set_memory_limit(0);
}

TEST_CASE("safetensors: what cannot be saved is refused before anything is written") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const Tensor<float> x({1}, {1});
  CHECK(contains(error_text<ValueError>([&] { save_safetensors(path, {{"x", x}, {"x", x}}); }), "'x' twice"));
  CHECK(contains(error_text<ValueError>([&] { save_safetensors(path, {{"__metadata__", x}}); }), "a name other than"));
  CHECK(contains(error_text<ValueError>([&] { save_safetensors(path, {{"none", Tensor<float>{}}}); }), "an undefined one, 'none'"));
  CHECK(contains(error_text<ValueError>([&] { save_safetensors(path, {{"\xFF", x}}); }), "UTF-8"));
  CHECK(contains(error_text<ValueError>([&] { save_safetensors(path, {}, {{"k", "\xFF"}}); }), "UTF-8"));
  CHECK(files_in(folder) == 0);
}

TEST_CASE("write_file_atomically: where nothing can be written, the reason is told and nothing is left") {
  const TemporaryFolder folder;
  const Tensor<float> x({1}, {1});
  CHECK(contains(error_text<IoError>([&] { save_safetensors(folder.path() / "no" / "x", {{"x", x}}); }),
                 "cannot write: No such file or directory"));
  CHECK(contains(error_text<IoError>([&] { save_safetensors(folder.path().string(), {{"x", x}}); }), "is a directory"));
  CHECK(contains(error_text<IoError>([&] { write_file_atomically("/dev/full", "text"); }),
                 "/dev/full: cannot write: No space left on device"));
  write_file_atomically("/dev/null", "text");
  CHECK(std::filesystem::is_character_file("/dev/null"));

  // An exception of the writer's own leaves the old file and no other.
  const std::string path = folder / "old";
  write_file_atomically(path, "old");
  CHECK_THROWS_AS(write_file_atomically(path,
                                        [](FileWriter& out) {
                                          out.write("half");
                                          throw ValueError("test", "x", "a", "b");
                                        }),
                  ValueError);
  CHECK(load(path) == "old");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("write_file_atomically: a disk that fills up in the middle leaves the old file") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  save_safetensors(path, {{"x", full<float>({10}, 1)}});
  const std::string before = load(path);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{50'000, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string text = error_text<IoError>([&] { save_safetensors(path, {{"x", full<float>({100'000}, 2)}}); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(contains(text, "t.safetensors: cannot write: File too large"));
  CHECK(load(path) == before);
  CHECK(files_in(folder) == 1);
}

TEST_CASE("write_file_atomically: permissions of the file that is replaced stay") {
  const TemporaryFolder folder;
  const std::string path = folder / "t";
  write_file_atomically(path, "a");
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  write_file_atomically(path, "b");
  CHECK(load(path) == "b");
  CHECK(std::filesystem::status(path).permissions() == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

// A child saves over and over and is killed at a random moment: what is under the name is always a whole file.
TEST_CASE("write_file_atomically: a program killed while it saves leaves a whole file") {
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  constexpr index_t n = 300'000;
  save_safetensors(path, {{"x", full<float>({n}, 0)}});
  const auto half_written = [&] { return files_in(folder) > 1; };  // beside the file, the one that shall replace it
  int killed_in_the_middle = 0;
  for (int round = 0; round < 10 || killed_in_the_middle == 0; ++round) {
    REQUIRE(round < 1000);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (float i = 1;; ++i) save_safetensors(path, {{"x", full<float>({n}, i)}});
    }
    while (!half_written()) usleep(100);  // on a busy machine it takes its time to begin
    usleep(static_cast<useconds_t>(testing::random().below(10'000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto x = SafetensorsFile(path).tensor<float>("x");
    REQUIRE(x.shape() == Shape{n});
    bool equal_elements = true;
    for (index_t i = 1; i < n; ++i) equal_elements &= x.data()[i] == x.data()[0];
    CHECK(equal_elements);
    killed_in_the_middle += half_written();
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      if (contains(entry.path().string(), ".tmp-")) std::filesystem::remove(entry.path());
  }
}

TEST_CASE("read_file: the bytes, or why not") {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  save(path, std::string("a\0b", 3));
  CHECK(read_file(path) == std::string("a\0b", 3));
  CHECK(contains(error_text<IoError>([&] { (void)read_file(path, 2); }), "has 3 bytes, more than the 2"));
  CHECK(contains(error_text<IoError>([&] { (void)read_file(folder / "g"); }), "cannot open: No such file"));
  CHECK(contains(error_text<IoError>([&] { (void)read_file(folder.path().string()); }), "is a directory"));
}
