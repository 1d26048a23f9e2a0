// The judge is judged: a case must fail for a wrong value, a wrong gradient, a wrong shape, and for a tensor that nobody looked at.
#include "golden/case.cpp"

#include "golden/golden.hpp"
#include "golden/hash_fill.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "support/files.hpp"

using namespace segnet;
using namespace segnet::golden;
using namespace segnet::testing;

namespace {

/// y = 3 x with both gradients, as a file has it; `entries` replace or add tensors.
std::string tripled(const TemporaryFolder& folder, const std::vector<TensorEntry>& entries = {}) {
  std::vector<TensorEntry> all = {{"c/x", Tensor<double>({2, 2}, {1, 2, 3, 4})},
                                  {"c/y", Tensor<double>({2, 2}, {3, 6, 9, 12})},
                                  {"c/grad_y", Tensor<double>({2, 2}, {1, -1, 2, 0})},
                                  {"c/grad_x", Tensor<double>({2, 2}, {3, -3, 6, 0})}};
  for (const auto& entry : entries) {
    std::erase_if(all, [&](const auto& e) { return e.name == entry.name; });
    all.push_back(entry);
  }
  save_safetensors(folder / "f.safetensors", all);
  return folder / "f.safetensors";
}

/// The failures of that file's case, one text.
template <class T>
std::string judge(const std::string& path, bool gradients = true) {
  const SafetensorsFile file(path);
  const Json attributes = Json::parse("{}");
  Case<T> c(file, "c", attributes);
  c.output("y", c.input("x") * T(3));
  if (gradients) c.check_gradients();
  c.check_nothing_forgotten();
  std::string text;
  for (const auto& failure : c.outcome.failures) text += failure + "\n";
  return text;
}

}  // namespace

TEST_CASE_TEMPLATE("golden: what is right passes, what is wrong fails and is named", T, float, double) {
  const TemporaryFolder folder;
  CHECK(judge<T>(tripled(folder)) == "");
  const std::string value = judge<T>(tripled(folder, {{"c/y", Tensor<double>({2, 2}, {3, 6, 9.001, 12})}}));
  CHECK(contains(value, "y [2, 2]: 1 of 4 elements are off, most at [1, 0]: got 9, expected 9.001"));
  CHECK(
      contains(judge<T>(tripled(folder, {{"c/grad_x", Tensor<double>({2, 2}, {3, 3, 6, 0})}})), "grad_x [2, 2]: 1 of 4 elements are off"));
  CHECK(contains(judge<T>(tripled(folder, {{"c/y", Tensor<double>({4}, {3, 6, 9, 12})}})), "y: shape [2, 2], expected [4]"));
  CHECK(contains(judge<T>(tripled(folder, {{"c/y", Tensor<double>({2, 2}, {3, 6, NAN, 12})}})), "got 9, expected nan"));
  CHECK(contains(judge<T>(tripled(folder, {{"c/y", Tensor<double>({2, 2}, {3, 6, INFINITY, 12})}})), "got 9, expected inf"));
  CHECK(contains(judge<T>(tripled(folder, {{"c/indices", Tensor<std::int64_t>({1}, {0})}})), "'indices' was neither used nor compared"));
  const std::string forgotten = judge<T>(tripled(folder), false);
  CHECK(contains(forgotten, "'grad_x' was neither used nor compared"));
  CHECK(contains(forgotten, "'grad_y' was neither used nor compared"));
}

TEST_CASE("golden: tolerances") {
  const TemporaryFolder folder;
  const auto off_by = [&](double error) { return tripled(folder, {{"c/y", Tensor<double>({2, 2}, {3, 6, 9, 12 + error})}}); };
  CHECK(judge<double>(off_by(1.2e-8)) == "");  // 1e-10 + 1e-9 * 12 = 1.21e-8
  CHECK(judge<double>(off_by(1.3e-8)) != "");
  CHECK(judge<float>(off_by(1.1e-4)) == "");  // 1e-5 * 12
  CHECK(judge<float>(off_by(1.4e-4)) != "");
}

TEST_CASE("golden: integers are equal or wrong") {
  const TemporaryFolder folder;
  save_safetensors(folder / "i.safetensors",
                   {{"c/i", Tensor<std::int64_t>({1, 3}, {1, 2, 300})}, {"c/m", Tensor<std::uint8_t>({2}, {0, 1})}});
  const SafetensorsFile file(folder / "i.safetensors");
  const Json attributes = Json::parse(R"({"n": 2, "stride": [3], "pad": [1, 2], "none": null})");
  Case<double> c(file, "c", attributes);
  CHECK(c.integer_input<std::int32_t>("i").to_vector() == std::vector<std::int32_t>{1, 2, 300});
  CHECK(contains(error_text<Error>([&] { (void)c.integer_input<std::uint8_t>("i"); }), "300 does not fit its type"));
  c.check("m", Tensor<bool>({2}, {false, true}));
  CHECK(c.outcome.failures.empty());
  c.check("i", Tensor<std::int32_t>({1, 3}, {1, 3, 300}));
  REQUIRE(c.outcome.failures.size() == 1);
  CHECK(c.outcome.failures[0] == "i [1, 3]: 1 elements differ, the first at [0, 1]: got 3, expected 2");

  CHECK(c.extent("n", 1) == Extent2(2, 2));
  CHECK(c.extent("stride", 1) == Extent2(1, 3));
  CHECK(c.extent("pad", 0) == Extent2(1, 2));
  CHECK(!c.has_attribute("none"));
  CHECK(c.integer("none", 7) == 7);
  CHECK(contains(error_text<Error>([&] { (void)c.integer("absent"); }), "attribute 'absent' is missing"));
}

// The test vectors of the fill's definition.
TEST_CASE("golden: hash fill") {
  CHECK(fnv1a64("conv1.weight") == 0x69a29a2cee47d254);
  CHECK(splitmix64(0x69a29a2cee47d254) == 0x8b8a08a85128a1b0);
  CHECK(splitmix64(0x69a29a2cee47d255) == 0x13270f9292cbed3b);
  CHECK(hash_uniform(fnv1a64("conv1.weight"), 1) == -0.8503705263137817);
  CHECK(hash_fill("conv1.weight", {4, 3, 3, 3}, "weight").data()[0] == static_cast<float>(0.03004995919764042));
  CHECK_THROWS_AS((void)hash_fill("x", {1}, "unknown"), Error);
}

TEST_CASE("golden: the fingerprint of what was compared changes with its last bit") {
  const TemporaryFolder folder;
  const SafetensorsFile file(tripled(folder));
  const Json attributes = Json::parse("{}");
  const auto fingerprint = [&](double nine, double mean) {
    Case<double> c(file, "c", attributes);
    c.check_numbers("y", Tensor<double>({2, 2}, {3, 6, nine, 12}), {.absolute = 1});
    c.check_close("mean", mean, 7, 1);
    CHECK(c.outcome.failures.empty());
    return c.outcome.fingerprint;
  };
  CHECK(fingerprint(9, 7) == fingerprint(9, 7));
  CHECK(fingerprint(9, 7) != fingerprint(std::nextafter(9, 10), 7));
  CHECK(fingerprint(9, 7) != fingerprint(9, std::nextafter(7, 8)));
}
