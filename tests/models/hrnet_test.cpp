#include "segnet/models/hrnet.hpp"

#include <set>

#include "models/learns.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/nn/any_module.hpp"
#include "support/files.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::models;

namespace {

/// Everything that a large one has, but one block of each.
HrNetOptions tiny(bool ocr) {
  HrNetOptions o{.classes = 3, .width = 4, .modules = {1, 1, 1}, .blocks = 1, .layer1_blocks = 1, .layer1_width = 4};
  if (ocr) o.ocr = {.channels = 8, .keys = 6};
  return o;
}

}  // namespace

TEST_CASE("HRNet: parameters and multiply-adds as published") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  struct Row {
    index_t width, body, with_ocr;
    double giga_multiply_adds, giga_with_ocr;
    std::vector<std::pair<index_t, index_t>> parameters;  // {classes, all}
  };
  for (const Row& row : {Row{18,
                             9'562'260,
                             12'080'818,
                             36.85,
                             105.9,
                             {{19, 9'641'119}, {21, 9'641'661}, {59, 9'651'959}, {60, 9'652'230}, {150, 9'676'620}}},
                         Row{32,
                             29'305'536,
                             32'953'894,
                             90.31,
                             191.0,
                             {{19, 29'546'515}, {21, 29'547'477}, {59, 29'565'755}, {60, 29'566'236}, {150, 29'609'526}}},
                         Row{48,
                             65'325'120,
                             70'372'678,
                             186.88,
                             323.8,
                             {{19, 65'859'379}, {21, 65'860'821}, {59, 65'888'219}, {60, 65'888'940}, {150, 65'953'830}}}}) {
    CAPTURE(row.width);
    CHECK(nn::num_parameters(HrNetBody<>({.width = row.width})) == row.body);
    for (const auto& [classes, parameters] : row.parameters)
      CHECK(nn::num_parameters(HrNet<>({.classes = classes, .width = row.width})) == parameters);
    // Published for 512 x 1024 pixels, counted on a sixteenth of them.
    const auto giga = [](auto net) { return 16e-9 * static_cast<double>(nn::summarize(net, {1, 128, 256, 3}).multiply_adds); };
    CHECK(giga(HrNet<>({.width = row.width})) == doctest::Approx(row.giga_multiply_adds).epsilon(2e-4));
    const HrNet<> ocr({.width = row.width, .ocr = OcrOptions{}});
    CHECK(nn::num_parameters(ocr) == row.with_ocr);
    CHECK(nn::num_parameters(*ocr.ocr) - nn::num_parameters(ocr.ocr->score) - nn::num_parameters(ocr.ocr->pixels) == 1'184'256);
    // Published without the products of 128 x 256 pixels and 19 classes.
    CHECK(giga(ocr) == doctest::Approx(row.giga_with_ocr + 128 * 256 * 19 * (512 + 2 * 256) * 1e-9).epsilon(1e-3));
  }
  CHECK(nn::num_parameters(HrNet<>(HrNetOptions::small_v1())) == 1'540'819);
  CHECK(nn::num_parameters(HrNet<>(HrNetOptions::small_v2())) == 3'939'579);
  poison_fresh_memory(true);
}

TEST_CASE("HRNet: the authors' names, of the head with and without OCR") {
  const nn::ShapesOnly no_arithmetic;
  const auto names = [](const HrNetOptions& o) {
    std::set<std::string> all;
    for (const auto& entry : nn::state_dict(HrNet<>(o))) all.insert(entry.name);
    return all;
  };
  const auto plain = names({.width = 4}), ocr = names({.width = 4, .ocr = OcrOptions{}});
  for (const char* name :
       {"conv1.weight", "bn2.running_var", "layer1.0.downsample.1.bias", "layer1.3.conv3.weight", "transition1.0.0.weight",
        "transition1.1.0.1.bias", "stage2.0.branches.1.3.bn2.weight", "stage2.0.fuse_layers.0.1.0.weight",
        "stage2.0.fuse_layers.1.0.0.1.bias", "transition2.2.0.0.weight", "transition3.3.0.0.weight", "stage3.3.fuse_layers.2.0.1.0.weight",
        "stage4.2.fuse_layers.3.0.2.1.weight", "stage4.2.fuse_layers.0.3.1.running_mean"}) {
    INFO(name);
    CHECK(plain.count(name) == 1);
    CHECK(ocr.count(name) == 1);
  }
  for (const char* name : {"transition2.0.0.weight", "stage2.0.fuse_layers.0.0.0.weight", "stage4.3.fuse_layers.0.1.0.weight"})
    CHECK(plain.count(name) == 0);
  for (const char* name : {"0.bias", "1.weight", "3.bias"}) {
    CHECK(plain.count(concat("last_layer.", name)) == 1);
    CHECK(ocr.count(concat("aux_head.", name)) == 1);
  }
  for (const char* name :
       {"conv3x3_ocr.0.bias", "conv3x3_ocr.1.weight", "ocr_distri_head.object_context_block.f_pixel.0.weight",
        "ocr_distri_head.object_context_block.f_pixel.1.0.weight", "ocr_distri_head.object_context_block.f_object.2.weight",
        "ocr_distri_head.object_context_block.f_object.3.0.running_var", "ocr_distri_head.object_context_block.f_down.1.0.bias",
        "ocr_distri_head.object_context_block.f_up.0.weight", "ocr_distri_head.conv_bn_dropout.0.weight",
        "ocr_distri_head.conv_bn_dropout.1.0.weight", "cls_head.weight"}) {
    INFO(name);
    CHECK(ocr.count(name) == 1);
  }
}

TEST_CASE("HRNet: files of the authors' training, whose names begin with model.") {
  default_generator() = testing::random().split(1);
  const TemporaryFolder folder;
  const HrNet<> net(tiny(true)), other(tiny(true));
  for (const char* prefix : {"module.", "model."}) {
    save_tensors(folder / "hrnet.pth", weight_entries(nn::state_dict(net), prefix));
    for (const auto& entry : nn::state_dict(other)) Tensor<float>(entry.tensor).fill(0.5f);
    const LoadReport report = load_weights(folder / "hrnet.pth", other, {.prefix = prefix});
    CHECK(report.complete());
    CHECK(report.loaded.size() == nn::state_dict(net).size());
    CHECK(equal(net.ocr->attention.f_object[1].conv.weight.detach(), other.ocr->attention.f_object[1].conv.weight.detach()));
  }
}

TEST_CASE("HRNet: logits have the size of the image, and inference gives those of training") {
  default_generator() = testing::random().split(1);
  const auto x = normal<float>({1, 37, 50, 3});
  for (const bool ocr : {false, true})
    for (const bool align_corners : {false, true}) {
      HrNetOptions o = tiny(ocr);
      o.align_corners = align_corners;
      HrNet<> net(o);
      nn::eval(net);
      CHECK(net.body.maps(x)[3].shape() == Shape{1, 2, 2, 32});
      CHECK(net.body(x).shape() == Shape{1, 10, 13, 60});
      const auto [coarse, scores] = net.coarse(x);
      CHECK(coarse.shape() == Shape{1, 10, 13, 3});
      const auto [out, aux] = net.with_aux(x);
      CHECK(out.shape() == Shape{1, 37, 50, 3});
      CHECK(equal(out.detach(), resize(coarse, {37, 50}, InterpolateMode::bilinear, align_corners).detach()));
      CHECK(static_cast<bool>(aux) == ocr);
      if (ocr) CHECK(aux.shape() == out.shape());
      CHECK(nn::AnyModule<>(net).outputs(x).size() == (ocr ? 2 : 1));
      // Recorded, layers are called one after the other; here norms, sums and activations are part of the convolutions.
      NoGrad guard;
      CHECK(max_difference(net(x), out.detach()) <= 1e-4 * max_difference(out.detach(), zeros<float>(out.shape())));
    }
}

TEST_CASE("HRNet: with no more to tell each other, branches stay what they are") {
  default_generator() = testing::random().split(1);
  HrModule<> module(3, tiny(false));
  nn::eval(module);
  for (auto& row : module.fuse_layers)
    for (auto& path : row)
      if (path)
        for (auto& conv : path->convs) Tensor<float>(conv.norm.weight).fill(0);
  const HrMaps<> x{normal<float>({2, 8, 12, 4}), normal<float>({2, 4, 6, 8}), normal<float>({2, 2, 3, 16})};
  const HrMaps<> y = module(x);
  for (std::size_t i = 0; i < 3; ++i) CHECK(equal(y[i].detach(), module.branches[i](x[i]).detach()));
}

TEST_CASE("OCR: regions are means of pixels by how much they belong to them") {
  const auto x = normal<double>({2, 3, 5, 4}), scores = normal<double>({2, 3, 5, 2});
  const auto f = object_regions(x, scores);
  REQUIRE(f.shape() == Shape{2, 2, 4});
  for (index_t n = 0; n < 2; ++n)
    for (index_t k = 0; k < 2; ++k)
      for (index_t c = 0; c < 4; ++c) {
        double sum = 0, weights = 0;
        for (index_t i = 0; i < 15; ++i) {
          const double weight = std::exp(scores.data()[(n * 15 + i) * 2 + k]);
          sum += weight * x.data()[(n * 15 + i) * 4 + c];
          weights += weight;
        }
        CHECK(f.at(n, k, c) == doctest::Approx(sum / weights));
      }
  check_gradients("object_regions", [](const auto& in) { return object_regions(in[0], in[1]); }, {x, scores});
}

TEST_CASE("HRNet learns a batch, with the loss of the coarse logits") {
  default_generator() = testing::random().split(1);
  const auto x = normal<float>({2, 32, 32, 3});
  const auto labels = integers<std::int32_t>({2, 32, 32}, 0, 2);
  for (const bool ocr : {false, true}) {
    CAPTURE(ocr);
    HrNet<> net(tiny(ocr));
    nn::for_each_module(net, [](const std::string&, auto& m) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(m)>, nn::Dropout2d>) m.p = 0;
    });
    learns(net, [&] {
      const auto [out, aux] = net.with_aux(x);
      const auto loss = cross_entropy(out, labels);
      return aux ? loss + cross_entropy(aux, labels) * 0.4f : loss;
    });
  }
}
