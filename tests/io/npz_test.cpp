// .npz: archives that are stored, deflated, ZIP64 or damaged.
#include "segnet/io/npz.hpp"

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

void put(std::string& to, std::uint64_t value, int size) {
  for (; size > 0; --size, value >>= 8) to += static_cast<char>(value & 255);
}

std::string deflated(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// An archive of one member by the book (APPNOTE 6.3). `zip64` writes sizes and offsets as numpy.savez does for large ones.
std::string archive(const std::string& name, const std::string& bytes, bool deflate, bool zip64 = false, const std::string& comment = {}) {
  const std::string packed = deflate ? deflated(bytes) : bytes;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  const auto sizes = [&](std::string& to) {
    put(to, sum, 4);
    put(to, zip64 ? 0xFFFFFFFF : packed.size(), 4), put(to, zip64 ? 0xFFFFFFFF : bytes.size(), 4);
  };
  std::string local_extra, central_extra;
  if (zip64) {
    put(local_extra, 1, 2), put(local_extra, 16, 2), put(local_extra, bytes.size(), 8), put(local_extra, packed.size(), 8);
    put(central_extra, 0x7777, 2), put(central_extra, 3, 2), put(central_extra, 0, 3);  // a field of somebody else's
    put(central_extra, 1, 2), put(central_extra, 24, 2), put(central_extra, bytes.size(), 8), put(central_extra, packed.size(), 8);
    put(central_extra, 5, 8);
  }
  std::string file = "stub:";  // archives may begin anywhere in a file
  const std::size_t begin = file.size();
  put(file, 0x04034b50, 4), put(file, 45, 2), put(file, 0, 2), put(file, deflate ? 8 : 0, 2), put(file, 0, 4);
  sizes(file);
  put(file, name.size(), 2), put(file, local_extra.size(), 2);
  file += name + local_extra + packed;
  const std::size_t list = file.size();
  put(file, 0x02014b50, 4), put(file, 45, 2), put(file, 45, 2), put(file, 0, 2), put(file, deflate ? 8 : 0, 2), put(file, 0, 4);
  sizes(file);
  put(file, name.size(), 2), put(file, central_extra.size(), 2), put(file, 0, 2), put(file, 0, 4), put(file, 0, 4);
  put(file, zip64 ? 0xFFFFFFFF : begin, 4);
  file += name + central_extra;
  const std::size_t end = file.size();
  if (zip64) {
    put(file, 0x06064b50, 4), put(file, 44, 8), put(file, 45, 2), put(file, 45, 2), put(file, 0, 4), put(file, 0, 4);
    put(file, 1, 8), put(file, 1, 8), put(file, end - list, 8), put(file, list, 8);
    put(file, 0x07064b50, 4), put(file, 0, 4), put(file, end, 8), put(file, 1, 4);
  }
  put(file, 0x06054b50, 4), put(file, 0, 4), put(file, zip64 ? 0xFFFF : 1, 2), put(file, zip64 ? 0xFFFF : 1, 2);
  put(file, end - list, 4), put(file, zip64 ? 0xFFFFFFFF : list, 4), put(file, comment.size(), 2);
  return file + comment;
}

std::string array_file(const Tensor<float>& x) {
  return detail::npy_header<float>(x.shape()) +
         std::string(reinterpret_cast<const char*>(x.data()), static_cast<std::size_t>(x.numel()) * 4);
}

/// Reads everything there is in a file of these bytes; false when it is refused.
bool readable(const std::string& path, const std::string& bytes) {
  std::filesystem::remove(path);
  save(path, bytes);
  try {
    const NpzFile file(path);
    for (const auto& name : file.names()) (void)file.tensor<float>(name);
    return true;
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace

TEST_CASE("npz: arrays of every type come back, in order") {
  const TemporaryFolder folder;
  const std::string path = folder / "all.npz";
  const auto x = normal<float>({3, 4});
  const auto n = integers<std::int64_t>({5}, -9, 9);
  save_npz(path, {{"x", x},
                  {"labels/n", n},
                  {"mask", Tensor<bool>({2}, {true, false})},
                  {"none", Tensor<double>(Shape{0, 2})},
                  {"\xC3\xA4", Tensor<std::uint8_t>(Shape{}, {7})}});
  const NpzFile file(path);
  CHECK(file.names() == std::vector<std::string>{"x", "labels/n", "mask", "none", "\xC3\xA4"});
  CHECK(equal(file.tensor<float>("x"), x));
  CHECK(file.tensor<std::int64_t>("labels/n").to_vector() == n.to_vector());
  CHECK(file.tensor<bool>("mask").data()[0]);
  CHECK(file.tensor<double>("none").shape() == Shape{0, 2});
  CHECK(file.tensor<std::uint8_t>("\xC3\xA4").item() == 7);
  CHECK(file.has("mask"));
  CHECK(!file.has("mask.npy"));
  save_npz(path, {});
  CHECK(NpzFile(path).names().empty());
}

TEST_CASE("npz: archives of other writers: deflated, ZIP64, with a comment, behind other bytes") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.npz";
  const auto x = normal<float>({20, 30});
  for (const bool deflate : {false, true})
    for (const bool zip64 : {false, true})
      for (const std::string comment : {"", "with PK\x05\x06 in it", "long"}) {
        INFO("deflate ", deflate, " zip64 ", zip64, " ", comment);
        save(path, archive("x.npy", array_file(x), deflate, zip64, comment == "long" ? std::string(65535, '-') : comment));
        const NpzFile file(path);
        CHECK(file.names() == std::vector<std::string>{"x"});
        CHECK(equal(file.tensor<float>("x"), x));
      }
}

TEST_CASE("npz: what is wrong is named") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.npz", member = array_file(Tensor<float>({2}, {1, 2}));
  const auto open_error = [&](const std::string& bytes) {
    save(path, bytes);
    return error_text<IoError>([&] { NpzFile file(path); });
  };
  CHECK(contains(open_error(""), "it ends too early"));
  CHECK(contains(open_error(std::string(100, 'x')), "it has no list of members"));
  std::string bytes = archive("x.npy", member, false);
  bytes[5 + 30 + 5 + 128] ^= 1;  // a bit of an element
  save(path, bytes);
  CHECK(
      contains(error_text<IoError>([&] { (void)NpzFile(path).tensor<float>("x"); }), "x.npz, array 'x': is damaged: its checksum differs"));
  bytes = archive("x.npy", member, true);
  bytes[5 + 30 + 5 + 20] ^= 0x55;
  save(path, bytes);
  CHECK(contains(error_text<IoError>([&] { (void)NpzFile(path).tensor<float>("x"); }), "array 'x': is damaged"));
  save(path, archive("x.npy", "no array at all", false));
  CHECK(contains(error_text<IoError>([&] { (void)NpzFile(path).tensor<float>("x"); }), "array 'x': is no .npy file"));
  save(path, archive("x.npy", member, false));
  CHECK(contains(error_text<IoError>([&] { (void)NpzFile(path).tensor<float>("y"); }), "has no array 'y'"));
  CHECK(contains(error_text<IoError>([&] { (void)NpzFile(path).tensor<bool>("x"); }), "has elements of type F32, asked for BOOL"));

  const Tensor<float> x({1}, {1});
  CHECK_THROWS_AS(save_npz(path, {{"x", x}, {"x", x}}), ValueError);
  CHECK_THROWS_AS(save_npz(path, {{"", x}}), ValueError);
  CHECK_THROWS_AS(save_npz(path, {{"\xFF", x}}), ValueError);
  CHECK_THROWS_AS(save_npz(path, {{"u", Tensor<float>{}}}), ValueError);
}

TEST_CASE("npz: a member that claims to be huge asks for no memory") {
  const TemporaryFolder folder;
  std::string bytes = archive("x.npy", array_file(Tensor<float>({2}, {1, 2})), true);
  const std::size_t central = bytes.find("PK\x01\x02");
  for (int k = 0; k < 3; ++k) bytes[central + 24 + static_cast<std::size_t>(k)] = '\xFF';
  save(folder / "x.npz", bytes);
  CHECK(contains(error_text<IoError>([&] { NpzFile file(folder / "x.npz"); }), "cannot have"));
}

TEST_CASE("npz: cut at every byte, one bit flipped in each place, random damage") {
  const TemporaryFolder folder;
  const std::string path = folder / "d.npz";
  for (const bool deflate : {false, true})
    for (const bool zip64 : {false, true}) {
      const std::string good = archive("x.npy", array_file(Tensor<float>({2, 2}, {1, 2, 3, 4})), deflate, zip64);
      CHECK(readable(path, good));
      for (std::size_t length = 0; length < good.size(); ++length) CHECK(!readable(path, good.substr(0, length)));
      for (std::size_t bit = 0; bit < good.size() * 8; bit += 3) {
        std::string bytes = good;
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
        (void)readable(path, bytes);
      }
      for (int round = 0; round < 500; ++round) {
        std::string bytes = good;
        for (index_t edits = 1 + testing::random().below(6); edits > 0; --edits)
          bytes[static_cast<std::size_t>(testing::random().below(static_cast<index_t>(bytes.size())))] =
              static_cast<char>(testing::random().below(256));
        (void)readable(path, bytes);
      }
    }
}
