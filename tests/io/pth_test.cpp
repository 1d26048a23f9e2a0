// PyTorch's .pth: files that PyTorch wrote (tests/io/data, made by tests/pytorch/make_data.py), our own, hostile and damaged ones;
// weights of networks that come from and go to either format.
#include "segnet/io/pth.hpp"

#include "io/readable.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/nn/norm.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace std::string_view_literals;

namespace {

std::string data(const std::string& name) { return (std::filesystem::path(__FILE__).parent_path() / "data" / name).string(); }

/// A file of these members, with right checksums. Not flushed to the disk: there are thousands of them.
void write_archive(const std::string& path, const std::vector<std::pair<std::string, std::string>>& members) {
  std::filesystem::remove(path);
  const segnet::detail::Descriptor fd(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  FileWriter out(fd, path);
  segnet::detail::ZipWriter zip(out);
  for (const auto& [name, bytes] : members) zip.add(name, {bytes}, 64);
  zip.finish();
}
std::vector<std::pair<std::string, std::string>> members_of(const std::string& path) {
  const std::string bytes = load(path);
  std::vector<std::pair<std::string, std::string>> members;
  for (const auto& e : segnet::detail::ZipReader(bytes, path, ".pth").entries())
    members.emplace_back(e.name, bytes.substr(e.begin, e.size));
  return members;
}

// Pickles by hand.
std::string little(std::uint64_t value, int size) {
  std::string bytes;
  for (; size > 0; --size, value >>= 8) bytes += static_cast<char>(value & 255);
  return bytes;
}
std::string text(const std::string& value) { return "X" + little(value.size(), 4) + value; }
std::string integer(std::int64_t value) { return "\x8a\x08" + little(static_cast<std::uint64_t>(value), 8); }
std::string tuple(const std::vector<std::int64_t>& values) {
  std::string bytes = "(";
  for (const auto value : values) bytes += integer(value);
  return bytes + "t";
}
std::string storage(const std::string& type, const std::string& key, std::int64_t size) {
  return "(" + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") + integer(size) + "tQ";
}
std::string tensor(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + of + integer(offset) + tuple(shape) + tuple(strides) + "\x89}tR";
}
std::string dictionary(const std::string& items) { return "\x80\x02}(" + items + "u."; }

}  // namespace

TEST_CASE("pth: every type, views, strides and parameters that PyTorch saved") {
  const PthFile file(data("types.pth"));
  CHECK(file.names().size() == 18);
  CHECK(file.ignored().empty());
  const auto value = [](index_t k) { return static_cast<double>(k - 2); };
  for (const char* name : {"float64", "float32", "float16", "bfloat16"}) {
    INFO(name);
    const Tensor<double> t = file.tensor<double>(name);
    REQUIRE(t.shape() == Shape{24});
    for (index_t k = 0; k < 24; ++k) CHECK(t.data()[k] == value(k));
  }
  for (index_t k = 0; k < 24; ++k) {
    CHECK(file.tensor<std::int64_t>("int64").data()[k] == k - 2);
    CHECK(file.tensor<std::int32_t>("int32").data()[k] == k - 2);
    CHECK(file.tensor<std::uint8_t>("uint8").data()[k] == static_cast<std::uint8_t>(k - 2));
    CHECK(file.tensor<bool>("bool").data()[k] == (k != 2));
  }
  CHECK(file.dtype("int16") == "I16");
  CHECK(file.dtype("int8") == "I8");
  const auto elements = [&](const char* name, const Shape& shape, const auto& at) {
    INFO(name);
    const Tensor<float> t = file.tensor<float>(name);
    REQUIRE(t.shape() == shape);
    for (index_t i = 0; i < t.numel(); ++i) CHECK(static_cast<double>(t.data()[i]) == value(at(i)));
  };
  elements("view", {6}, [](index_t i) { return i + 5; });
  elements("matrix", {4, 6}, [](index_t i) { return i; });
  elements("transposed", {6, 4}, [](index_t i) { return i % 4 * 6 + i / 4; });
  elements("every_other", {12}, [](index_t i) { return 2 * i; });
  elements("channels_last", {1, 2, 3, 4}, [](index_t i) { return i; });
  CHECK(file.tensor<float>("view").data() == file.tensor<float>("matrix").data() + 5);  // of one mapped storage, not copied
  CHECK(file.tensor<float>("scalar").item() == 2.5f);
  CHECK(file.tensor<float>("empty").shape() == Shape{0, 3});
  CHECK(file.tensor<float>("parameter").to_vector() == std::vector<float>{1.5f, -2.0f});
}

TEST_CASE("pth: the state dict of a checkpoint, and what is no tensor") {
  const PthFile training(data("training.pth"));
  CHECK(training.names().size() == 7);
  CHECK(training.names()[0] == "module.conv.weight");
  CHECK(training.ignored().empty());
  CHECK(training.tensor<std::int64_t>("module.norm.num_batches_tracked").item() == 1);
  const PthFile mixed(data("mixed.pth"));
  CHECK(mixed.names().size() == 7);
  CHECK(mixed.ignored() == std::vector<std::string>{"steps", "classes"});
  CHECK(mixed.tensor<float>("conv.weight").shape() == Shape{3, 2, 3, 3});
}

TEST_CASE("pth: what is wrong is named") {
  const TemporaryFolder folder;
  const auto error = [](const std::string& path) { return error_text<IoError>([&] { PthFile file(path); }); };
  CHECK(contains(error(data("legacy.pth")), "legacy.pth: has the format of PyTorch before 1.6"));
  CHECK(contains(error(data("tensor.pth")), "holds a tensor, not a dictionary"));
  CHECK(contains(error(data("global.pth")), "it names torch.Size, which no tensor is made of"));
  CHECK(contains(error(data("protocol4.pth")), "is no pickle of protocol 2"));
  CHECK(contains(error(data("script.pth")), "is a TorchScript program"));
  CHECK(contains(error(folder / "none.pth"), "cannot open"));
  const PthFile file(data("types.pth"));
  CHECK(contains(error_text<IoError>([&] { (void)file.tensor<float>("no"); }), "has no tensor 'no'"));
  CHECK(contains(error_text<IoError>([&] { (void)file.tensor<float>("int64"); }), "'int64' [24] has type I64, asked for F32"));

  const std::string path = folder / "x.pth";
  std::string bytes = load(data("mixed.pth"));
  save(path, "PK\x03\x04 and then nothing");
  CHECK(contains(error(path), "is damaged or no .pth file"));
  write_archive(path, {{"x/other", ""}});
  CHECK(contains(error(path), "without data.pkl"));
  bytes[bytes.find("conv.weight")] ^= 1;
  save(path, bytes);
  CHECK(contains(error(path), "checksum of member 'mixed/data.pkl' differs"));
  bytes = load(data("mixed.pth"));
  bytes[bytes.find("mixed/data/0FB") + 128] ^= 1;
  save(path, bytes);
  CHECK(contains(error(path), "checksum of member 'mixed/data/0' differs"));

  // Whatever a pickle may try.
  const auto refusal = [&](const std::string& pickle) {
    write_archive(path, {{"x/data.pkl", pickle}, {"x/data/0", std::string(24, '\0')}, {"x/byteorder", "little"}, {"x/version", "3\n"}});
    return error(path);
  };
  const std::string floats = storage("FloatStorage", "0", 6);
  write_archive(path, {{"x/data.pkl", dictionary(text("w") + tensor(floats, 1, {5}, {1}))}, {"x/data/0", std::string(24, '\0')}});
  CHECK(readable<PthFile>(path));
  const std::vector<std::pair<std::string, std::string>> values = {
      {"cos\nsystem\n" + text("true") + "\x85R", "it names os.system, which no tensor is made of (nothing of it was executed)"},
      {"c__builtin__\neval\n", "__builtin__.eval"},
      {"cposix\n\x1b[31m\n", "posix.?[31m"},
      {"(ios\nsystem\n", "opcode 0x69 'i', which no state dict needs"},
      {text("os") + text("system") + "\x93", "opcode 0x93"},
      {"]\x81", "opcode 0x81"},
      {"ctorch\nFloatStorage\n)R", "a storage's type is called"},
      {"ccollections\nOrderedDict\n]\x85R", "OrderedDict with arguments"},
      {"K\x05Q", "what refers to a storage is an integer, not a tuple"},
      {"K\x05)R", "what is called is an integer"},
      {"K\x05}b", "attributes of an integer"},
      {"\x8a\x09" + std::string(9, '\1'), "more than 64 bits"},
      {"h\x07", "not remembered"},
      {"Nr\xff\xff\xff\xff", "out of order"},
      {text("\xff"), "no UTF-8"},
      {"X\xff\xff\xff\xff", "ends too early"},
      {tensor(floats, 0, {7}, {1}), "is larger than its storage of 6 elements"},
      {tensor(floats, 1, {6}, {1}), "lies outside of its storage of 6 elements"},
      {tensor(floats, 0, {2, 3}, {4, 1}), "lies outside"},
      {tensor(floats, 0, {3}, {INT64_MAX}), "lies outside"},
      {tensor(floats, INT64_MAX, {2}, {1}), "lies outside"},
      {tensor(floats, 0, {INT64_MAX}, {0}), "is larger"},
      {tensor(floats, 0, {1 << 30, 1 << 30, 1 << 30, 0}, {0, 0, 0, 0}), "is larger"},
      {tensor(floats, 0, {1000000}, {0}), "is larger"},  // what expand() makes costs no file, but memory
      {tensor(floats, -1, {2}, {1}), "do not fit together"},
      {tensor(floats, 0, {2}, {1, 1}), "do not fit together"},
      {tensor(floats, 0, {-2}, {1}), "not a number of at least 0"},
      {tensor(floats, 0, std::vector<std::int64_t>(9, 1), std::vector<std::int64_t>(9, 1)), "more than 8 dimensions"},
      {tensor(storage("FloatStorage", "0", 7), 0, {2}, {1}), "has 24 bytes, not 7 elements of F32"},
      {tensor(storage("DoubleStorage", "0", 6), 0, {2}, {1}), "has 24 bytes, not 6 elements of F64"},
      {tensor(floats, 0, {2}, {1}) + text("v") + tensor(storage("DoubleStorage", "0", 6), 0, {2}, {1}), "not 6 elements"},
      {tensor(storage("FloatStorage", "1", 6), 0, {2}, {1}), "member 'x/data/1' is missing"},
      {tensor(floats, 0, {2}, {1}) + text("w") + tensor(floats, 0, {2}, {1}), "'w' is there twice"},
  };
  for (const auto& [value, expected] : values) CHECK(contains(refusal(dictionary(text("w") + value)), expected));
  const std::vector<std::pair<std::string, std::string>> pickles = {
      {"\x80\x02}(", "ends too early"},
      {"\x80\x02u.", "a mark is missing"},
      {"\x80\x02}(Nu.", "a key without a value"},
      {"\x80\x02(.)", "a value is missing"},
      {"\x80\x02N(R", "a value is missing"},
      {"\x80\x02}}.", "something is left"},
      {"\x80\x02}.N", "something is left"},
      {"\x80\x02].", "holds a list"},
      {"\x80\x02" + std::string(std::size_t{1} << 20, ']'), "ends too early"},
      {std::string(segnet::detail::PickleReader::max_bytes + 1, ']'), "more than the"},
  };
  for (const auto& [pickle, expected] : pickles) CHECK(contains(refusal(pickle), expected));
  write_archive(path, {{"x/data.pkl", dictionary("")}, {"x/byteorder", "big"}});
  CHECK(contains(error(path), "is big-endian"));
  write_archive(path, {{"x/data.pkl", dictionary("")}, {"x/data.pkl", dictionary("")}});
  CHECK(contains(error(path), "is there twice"));

  // Lists that hold themselves are no harm, since nothing walks through them.
  write_archive(path, {{"x/data.pkl", dictionary(text("loop") + "]q" + '\0' + "h" + '\0' + "a")}});
  CHECK(PthFile(path).ignored() == std::vector<std::string>{"loop"});
}

TEST_CASE("pth: cut, flipped and rewritten files: an IoError or a file, never anything else") {
  const TemporaryFolder folder;
  const std::string path = folder / "d.pth";
  Generator fixed{20230101};
  for (const char* name : {"types.pth", "training.pth"}) {
    const std::string good = load(data(name));
    CHECK(readable<PthFile>(data(name)));
    for (std::size_t length = 0; length < good.size(); length += 3) {
      std::filesystem::remove(path);
      save(path, std::string_view(good).substr(0, length));
      CHECK(!readable<PthFile>(path));
    }
    for (std::size_t bit = 0; bit < 8 * good.size(); bit += 17) {
      std::string bytes = good;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
      std::filesystem::remove(path);
      save(path, bytes);
      (void)readable<PthFile>(path);
    }
    // Behind right checksums: the pickle alone is changed, by bits, bytes, opcodes, pieces that are repeated, moved or left out.
    auto members = members_of(data(name));
    const std::string pickle = members[0].second;
    REQUIRE(members[0].first.ends_with("/data.pkl"));
    constexpr std::string_view opcodes = ".N\x88\x89KMJG\x8aX()\x85\x86\x87t]ae}suqrhjcQRb0i\x81\x93\x95";
    int accepted = 0;
    for (int round = 0; round < 4000; ++round) {
      Generator& random = round % 2 ? testing::random() : fixed;
      const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random.below(static_cast<index_t>(n))); };
      std::string& bytes = members[0].second;
      bytes = pickle;
      for (std::size_t edits = 1 + below(3); edits > 0 && bytes.size() > 1; --edits) {
        const std::size_t at = below(bytes.size());
        switch (below(6)) {
          case 0:
            bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
            break;
          case 1:
            bytes[at] = static_cast<char>(below(256));
            break;
          case 2:
            bytes[at] = opcodes[below(opcodes.size())];
            break;
          case 3:
            bytes.insert(at, 1, opcodes[below(opcodes.size())]);
            break;
          case 4:
            bytes.erase(at, 1 + below(8));
            break;
          default:
            bytes.insert(at, bytes.substr(below(bytes.size()), below(40)));
        }
      }
      write_archive(path, members);
      accepted += readable<PthFile>(path);
    }
    MESSAGE(name, ": ", accepted, " of 4000 changed pickles are still read");
    CHECK(accepted > 0);
    CHECK(accepted < 4000);
  }
}

TEST_CASE("pth: what is saved comes back, aligned for mapping") {
  const TemporaryFolder folder;
  const std::string path = folder / "all.pth";
  const auto x = normal<float>({3, 4, 5});
  save_pth(path, {{"x", x},
                  {"k\xC3\xA4se", Tensor<std::int64_t>({}, {INT64_MIN})},
                  {"mask", Tensor<bool>({2}, {true, false})},
                  {"none", Tensor<double>(Shape{0, 2})},
                  {"bytes", Tensor<std::uint8_t>({3}, {0, 7, 255})}});
  const PthFile file(path);
  CHECK(file.names() == std::vector<std::string>{"x", "k\xC3\xA4se", "mask", "none", "bytes"});
  CHECK(equal(file.tensor<float>("x"), x));
  CHECK(reinterpret_cast<std::uintptr_t>(file.tensor<float>("x").data()) % 64 == 0);
  CHECK(file.tensor<std::int64_t>("k\xC3\xA4se").item() == INT64_MIN);
  CHECK(file.tensor<bool>("mask").data()[0]);
  CHECK(file.tensor<double>("none").shape() == Shape{0, 2});
  CHECK(file.tensor<std::uint8_t>("bytes").to_vector() == std::vector<std::uint8_t>{0, 7, 255});
  save_pth(path, {});
  CHECK(PthFile(path).names().empty());
  CHECK_THROWS_AS(save_pth(path, {{"x", x}, {"x", x}}), ValueError);
  CHECK_THROWS_AS(save_pth(path, {{"\xFF", x}}), ValueError);
  CHECK_THROWS_AS(save_pth(path, {{"u", Tensor<float>{}}}), ValueError);
}

namespace {

struct Net {
  nn::Conv2d<float> conv;
  nn::BatchNorm2d<float> norm;
  nn::Conv2d<float> head;
  SEGNET_FIELDS(conv, norm, head)
};
Net small_net(index_t classes = 2) { return {nn::Conv2d<float>(3, 4, 3), nn::BatchNorm2d<float>(4), nn::Conv2d<float>(4, classes, 1)}; }
bool same_weights(const Net& a, const Net& b) {
  const auto x = nn::state_dict(a), y = nn::state_dict(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!equal(x[i].tensor.detach(), y[i].tensor.detach())) return false;
  return x.size() == y.size();
}
/// The entries of a network's file under other names.
std::vector<TensorEntry> renamed(const Net& net, const std::string& prefix) { return weight_entries(nn::state_dict(net), prefix); }

}  // namespace

TEST_CASE("weights: both formats, told apart by what they hold; strict, partial, under prefixes") {
  const TemporaryFolder folder;
  const Net net = small_net();
  save_weights(folder / "net.pth", net);
  save_weights(folder / "net.safetensors", net);
  CHECK(PthFile(folder / "net.pth").shape("conv.weight") == Shape{4, 3, 3, 3});  // PyTorch's layout
  CHECK(PthFile(folder / "net.pth").has("norm.num_batches_tracked"));            // and names
  std::filesystem::rename(folder / "net.pth", folder / "a");
  std::filesystem::rename(folder / "net.safetensors", folder / "b.pth");
  for (const char* name : {"a", "b.pth"}) {
    const Net other = small_net();
    CHECK(!same_weights(net, other));
    const LoadReport report = load_weights(folder / name, other);
    CHECK(report.complete());
    CHECK(report.loaded.size() == nn::state_dict(net).size());
    CHECK(same_weights(net, other));
  }

  // Another head: named, and nothing changed; without strict, the rest is loaded.
  const Net wider = small_net(5), before = nn::clone(wider);
  const std::string error = error_text<IoError>([&] { load_weights(folder / "a", wider); });
  CHECK(contains(error, "misshapen: head.weight ([2, 4, 1, 1] in the file, [5, 4, 1, 1] here), head.bias ([2] in the file, [5] here)"));
  CHECK(same_weights(wider, before));
  const LoadReport partial = load_weights(folder / "a", wider, {.strict = false});
  CHECK(partial.misshapen.size() == 2);
  CHECK(partial.misshapen[0].name == "head.weight");
  CHECK(partial.loaded.size() == nn::state_dict(net).size() - 2);
  CHECK(equal(wider.head.weight.detach(), before.head.weight.detach()));
  CHECK(equal(wider.conv.weight.detach(), net.conv.weight.detach()));

  // Missing and unexpected names.
  std::vector<TensorEntry> entries = renamed(net, "");
  entries.erase(entries.begin());
  entries.emplace_back("fc.weight", Tensor<float>({2, 2}));
  save_pth(folder / "c.pth", entries);
  const LoadReport report = load_weights(folder / "c.pth", small_net(), {.strict = false});
  CHECK(report.missing == std::vector<std::string>{"conv.weight"});
  CHECK(report.unexpected == std::vector<std::string>{"fc.weight"});
  CHECK(contains(to_string(report), "tensors loaded; missing: conv.weight; unexpected: fc.weight"));

  // "module." is looked through; other prefixes are asked for, or found.
  save_pth(folder / "parallel.pth", renamed(net, "module."));
  Net other = small_net();
  CHECK(load_weights(folder / "parallel.pth", other).complete());
  CHECK(same_weights(net, other));
  entries = renamed(net, "model.");
  for (const char* more : {"optimizer.a", "optimizer.b", "ema"}) entries.emplace_back(more, Tensor<float>({1}));
  save_pth(folder / "training.pth", entries);
  other = small_net();
  CHECK(load_weights(folder / "training.pth", other, {.prefix = "model."}).complete());
  CHECK(same_weights(net, other));
  const WeightsFile file(folder / "training.pth");
  CHECK(matching_prefixes(file, nn::state_dict(other)).prefix == "model.");
  CHECK(matching_prefixes(WeightsFile(folder / "a"), nn::state_dict(other)).prefix.empty());

  const nn::Sequential<Net> around(small_net());  // its tensors are "0.conv.weight", ...: a part of the module
  const auto state = nn::state_dict(around);
  const LoadOptions found = matching_prefixes(file, state);
  CHECK(found.prefix == "model.");
  CHECK(found.into == "0.");
  CHECK(load_weights(file, state, found).complete());
  CHECK(same_weights(net, std::get<0>(around.layers)));

  save(folder / "old.pth", load(data("legacy.pth")));
  CHECK(contains(error_text<IoError>([&] { load_weights(folder / "old.pth", net); }), "before 1.6"));
}
