// The networks of the VGG-16 years: FCN, DeconvNet, SegNet, Yu & Koltun's front end and context module.
#include "segnet/models/fcn.hpp"

#include "models/learns.hpp"
#include "segnet/models/convolutionalize.hpp"
#include "segnet/models/deconvnet.hpp"
#include "segnet/models/dilated_context.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/segnet.hpp"
#include "segnet/models/vgg.hpp"
#include "segnet/nn/summary.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::ContextForm;
using models::Fcn, models::FcnOptions, models::FcnUpsampling;

namespace {

std::vector<std::string> names(const auto& module) {
  std::vector<std::string> all;
  for (const auto& entry : nn::state_dict(module)) all.push_back(entry.name);
  return all;
}

/// While it lives, networks are counted, not computed, and their memory is not touched: they have up to 250 million weights.
struct Counting {
  nn::ShapesOnly shapes;
  Counting() { poison_fresh_memory(false); }
  ~Counting() { poison_fresh_memory(true); }
};

/// Billions of multiply-adds of convolutions, at an image of this size.
double giga(auto& net, index_t h, index_t w) { return 1e-9 * static_cast<double>(nn::summarize(net, {1, h, w, 3}).multiply_adds); }

index_t trainable(const auto& net) {
  index_t n = 0;
  for (const auto& parameter : nn::parameters(net)) n += parameter.tracked() ? parameter.numel() : 0;
  return n;
}

/// Every convolution passes on the centre of its window, every channel; batch norms and what has no name here stay.
void make_identity(const auto& net) {
  for (auto& [name, tensor, layout, is_parameter] : nn::state_dict(net)) {
    if (tensor.rank() != 4 || name.starts_with("upscore")) continue;
    tensor.fill(0);
    for (index_t o = 0; o < tensor.dim(0); ++o) tensor.at(o, tensor.dim(1) / 2, tensor.dim(2) / 2, o % tensor.dim(3)) = 1;
  }
}
/// x[h, w] = h + 1000 w + 1, which a max pooling leaves as it is, but for (s - 1) / 2 steps: its maximum is at a window's end.
Tensor<float> ramp(index_t H, index_t W) {
  Tensor<float> x({1, H, W, 1});
  for (index_t h = 0; h < H; ++h)
    for (index_t w = 0; w < W; ++w) x.at(0, h, w, 0) = static_cast<float>(h + 1000 * w + 1);
  return x;
}
/// Largest difference, in the part of y that is `border` away from its edges, from the ramp shifted by `shift` on both axes, n times.
double off_ramp(const Tensor<float>& y, index_t border, double n, double shift) {
  double worst = 0;
  for (index_t h = border; h < y.dim(1) - border; ++h)
    for (index_t w = border; w < y.dim(2) - border; ++w)
      worst = std::max(worst, std::abs(static_cast<double>(y.at(0, h, w, 0)) - n * (static_cast<double>(h + 1000 * w + 1)) - 1001 * shift));
  return worst;
}

struct Classifier {  // of windows 14 x 12
  nn::Conv2d<> conv1{2, 3, 3}, conv2{3, 4, 3};
  nn::Linear<> fc1, fc2{5, 3};
  bool channels_first;
  explicit Classifier(bool first) : fc1(4 * 4 * 3, 5), channels_first(first) {
    for (auto& entry : nn::state_dict(*this)) entry.tensor.copy_from(integers<float>(entry.tensor.shape(), -2, 2));
  }
  Tensor<float> features(const Tensor<float>& x) const { return relu(conv2(max_pool2d(relu(conv1(x)), {.kernel = 2}).output)); }
  Tensor<float> operator()(const Tensor<float>& x) const {
    const auto f = features(x);
    return fc2(relu(fc1(flatten(channels_first ? permute(f, {0, 3, 1, 2}) : f, 1))));
  }
  SEGNET_FIELDS(conv1, conv2, fc1, fc2)
};

}  // namespace

TEST_CASE("FCN: parameters and multiply-adds as published, for each way of upsampling") {
  Counting counting;
  struct Row {
    int stride;
    index_t classes, learned, dense, per_class;
    double gmac;  // at 500 x 500, dense upsampling
  };
  for (const Row& r : {Row{32, 21, 134'346'581, 136'152'917, 134'432'597, 181.4}, Row{16, 21, 134'357'354, 134'815'994, 134'379'194, 181.4},
                       Row{8, 21, 134'362'751, 134'489'759, 134'368'799, 181.5}, Row{32, 11, 134'305'611, 0, 0, 0},
                       Row{16, 19, 134'348'134, 0, 0, 0}, Row{8, 60, 134'552'564, 0, 0, 0}}) {
    INFO("FCN-", r.stride, "s, ", r.classes, " classes");
    Fcn<> net({.classes = r.classes, .stride = r.stride});
    CHECK(trainable(net) == r.learned);
    if (!r.dense) continue;
    CHECK(nn::num_parameters(net) == r.dense);
    CHECK(giga(net, 500, 500) == doctest::Approx(r.gmac).epsilon(0.001));
    CHECK(trainable(Fcn<>({.stride = r.stride, .learn_upsampling = true})) == r.dense);
    CHECK(nn::num_parameters(Fcn<>({.stride = r.stride, .upsampling = FcnUpsampling::per_class})) == r.per_class);
  }
  Fcn<> aligned({.aligned = true});
  CHECK(giga(aligned, 512, 512) < 0.62 * 181.5);
}

TEST_CASE("FCN: names of the Caffe definition, any image size") {
  Counting counting;
  const auto all = names(Fcn<>{});
  CHECK(all.front() == "conv1_1.weight");
  CHECK(all[24] == "conv5_3.weight");
  CHECK(std::vector<std::string>(all.begin() + 26, all.end()) ==
        std::vector<std::string>{"fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias", "score_fr.weight", "score_fr.bias", "upscore2.weight",
                                 "score_pool4.weight", "score_pool4.bias", "upscore_pool4.weight", "score_pool3.weight", "score_pool3.bias",
                                 "upscore8.weight"});
  CHECK(names(Fcn<>({.stride = 32})).back() == "upscore.weight");
  CHECK(names(Fcn<>({.stride = 16})).back() == "upscore16.weight");
  for (const int stride : {32, 16, 8}) {
    Fcn<> net({.classes = 3, .stride = stride, .width = 1, .hidden = 1});
    for (const Extent2 size : {Extent2{1, 1}, {224, 224}, {333, 500}, {375, 500}, {360, 480}})
      CHECK(net(zeros<float>({1, size.h, size.w, 3})).shape() == Shape{1, size.h, size.w, 3});
  }
  models::AnySize<Fcn<>> aligned{Fcn<>({.classes = 3, .width = 1, .hidden = 1, .aligned = true})};
  CHECK(aligned(zeros<float>({2, 33, 70, 3})).shape() == Shape{2, 33, 70, 3});
  CHECK_THROWS_WITH_AS(Fcn<>({.stride = 4}), doctest::Contains("32, 16 or 8"), ValueError);
}

TEST_CASE("FCN: what is added and what comes out lies where the image does") {
  // The crop offsets from where the first pixel of each map is: c0 of fc6's map is -99 + 15.5 + 3 * 32.
  const double fc6 = -99 + 15.5 + 96, up2 = fc6 - 1.5 * 16, up4 = up2 - 1.5 * 8, pool4 = -99 + 7.5, pool3 = -99 + 3.5;
  CHECK(fc6 - 31.5 == -19);
  CHECK((up2 - pool4) / 16 == 5);
  CHECK(up2 - 15.5 == -27);
  CHECK((up4 - pool3) / 8 == 9);
  CHECK(up4 - 7.5 == -31);
  // And at work: identity convolutions leave poolings and interpolation, under which a ramp stays a ramp if all crops are right.
  NoGrad guard;
  for (const bool aligned : {false, true})
    for (const int stride : {32, 16, 8}) {
      INFO("aligned ", aligned, " stride ", stride);
      Fcn<> net({.in_channels = 1, .classes = 1, .stride = stride, .width = 1, .hidden = 1, .aligned = aligned});
      make_identity(net);
      nn::eval(net);
      const double sum = stride == 32 ? 1 : stride == 16 ? 2 : 3;  // each skip adds the ramp once more
      const double shift = 15.5 + (stride <= 16 ? 7.5 : 0) + (stride == 8 ? 3.5 : 0);
      CHECK(off_ramp(net(ramp(224, 256)), 64, sum, shift) < 0.2);
    }
}

TEST_CASE("FCN: stages start where the one before ended; skips scale at once") {
  default_generator() = {7};
  FcnOptions o{.classes = 4, .stride = 32, .width = 2, .hidden = 8};
  const auto x = normal<float>({1, 96, 64, 3});
  NoGrad guard;
  Fcn<> stage(o);
  nn::eval(stage);
  Tensor<float>(stage.score_fr.weight).copy_from(normal<float>({4, 1, 1, 8}));
  auto before = stage(x);
  for (const int stride : {16, 8}) {
    o.stride = stride;
    Fcn<> next(o);
    nn::eval(next);
    models::continue_stage(stage, next);
    CHECK(max_difference(next.score_fr.weight, stage.score_fr.weight) == 0);
    CHECK(max_difference(next.vgg.blocks[4][2].weight, stage.vgg.blocks[4][2].weight) == 0);
    const auto after = next(x);  // interpolated in one more step, which cuts the corners of what it interpolates
    double difference = 0, size = 0;
    for (index_t i = 0; i < before.numel(); ++i) {
      difference += std::abs(static_cast<double>(after.data()[i]) - static_cast<double>(before.data()[i]));
      size += std::abs(static_cast<double>(before.data()[i]));
    }
    CHECK(size > 0);
    CHECK(difference < 0.2 * size);
    if (stride == 8) CHECK(max_difference(next.score_pool4->weight, stage.score_pool4->weight) == 0);
    stage = next;
    before = after;
  }
  CHECK_THROWS_WITH_AS(models::continue_stage(stage, stage), doctest::Contains("below 8"), ValueError);

  // With score layers of ones, pool4 counts 0.01 and pool3 0.0001 times as much.
  Fcn<> plain(o);
  o.at_once = true;
  Fcn<> scaled(o);
  nn::copy_state(nn::state_dict(plain), nn::state_dict(scaled));
  nn::eval(plain), nn::eval(scaled);
  plain.score_pool3->weight.fill(1), scaled.score_pool3->weight.fill(1);
  const auto y = plain(x), z = scaled(x);
  double worst = 0;
  for (index_t i = 0; i < y.numel(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(y.data()[i]) * 1e-4 - static_cast<double>(z.data()[i])));
  CHECK(worst < 1e-7);
  CHECK(max_difference(y, zeros<float>(y.shape())) > 1e-2);
}

TEST_CASE("Convolutionalization: one pass gives the scores of all windows, exactly") {
  NoGrad guard;
  for (const bool channels_first : {true, false}) {
    INFO("channels first ", channels_first);
    const Classifier net(channels_first);
    const auto order = channels_first ? models::FeatureOrder::channels_first : models::FeatureOrder::channels_last;
    const auto fc1 = models::convolutionalized(net.fc1, {4, 3}, order), fc2 = models::convolutionalized(net.fc2, 1, order);
    const auto x = integers<float>({2, 21, 26, 2}, 0, 2);
    const auto scores = fc2(relu(fc1(net.features(x))));
    const auto windows = models::sliding_window(net, x, {14, 12}, 2);
    CHECK(scores.shape() == Shape{2, 4, 8, 3});
    CHECK(max_difference(scores, windows) == 0);
    CHECK(nn::state_dict(fc1)[0].layout == nn::WeightLayout::convolution);
  }
  CHECK_THROWS_WITH_AS((void)models::convolutionalized(nn::Linear<>(10, 2), {3, 1}), doctest::Contains("[out, n * 3 * 1]"), ShapeError);
  CHECK_THROWS_AS((void)models::sliding_window([](const Tensor<float>& x) { return x; }, zeros<float>({1, 3, 9, 1}), 4, 1), ShapeError);
}

TEST_CASE("A classifier's weights start a segmentation network") {
  models::Vgg<> vgg({.classes = 5, .width = 2, .hidden = 6});
  Fcn<> fcn({.width = 2, .hidden = 6});
  CHECK(models::copy_vgg16(nn::state_dict(vgg), nn::state_dict(fcn)) == 30);
  NoGrad guard;
  const auto map = vgg.features(normal<float>({1, 224, 224, 3}));
  REQUIRE(map.shape() == Shape{1, 7, 7, 16});
  const auto classifier = vgg.fc7(relu(vgg.fc6(flatten(permute(map, {0, 3, 1, 2}), 1)))), convolution = fcn.fc7(relu(fcn.fc6(map)));
  CHECK(max_difference(classifier, reshape(convolution, {1, 6})) < 1e-5);
  CHECK(max_difference(fcn.vgg.blocks[3][1].weight, vgg.features.blocks[3][1].conv.weight) == 0);

  models::SegNet<> segnet({.width = 2});
  CHECK(models::copy_vgg16(nn::state_dict(vgg), nn::state_dict(segnet)) == 26);
  CHECK_THROWS_WITH_AS(models::copy_vgg16(nn::state_dict(segnet), nn::state_dict(fcn)), doctest::Contains("features.0.weight"), ValueError);
}

TEST_CASE("SegNet and DeconvNet: parameters and multiply-adds as published, names, sizes") {
  Counting counting;
  for (const auto& [classes, parameters] : {std::pair{11, 29'449'355}, {12, 29'449'932}, {21, 29'455'125}, {37, 29'464'357}})
    CHECK(nn::num_parameters(models::SegNet<>({.classes = classes})) == parameters);
  models::SegNet<> segnet;
  CHECK(giga(segnet, 360, 480) == doctest::Approx(106.7).epsilon(0.001));
  const auto decoder = names(segnet);
  CHECK(decoder[2] == "conv1_1_bn.weight");
  CHECK(std::count(decoder.begin(), decoder.end(), "conv4_1_D_bn.running_var") == 1);
  CHECK(decoder.back() == "conv1_1_D.bias");

  models::DeconvNet<> deconvnet;
  CHECK(nn::num_parameters(deconvnet) == 251'805'653);
  CHECK(giga(deconvnet, 224, 224) == doctest::Approx(32.75).epsilon(0.001));
  const auto all = names(deconvnet);
  for (const char* name : {"bn1_2.weight", "bnfc7.bias", "fc6-deconv.weight", "fc6-deconv-bn.weight", "deconv4_3.weight", "debn1_1.bias"})
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  CHECK(all.back() == "seg-score.bias");
  models::DeconvNet<> small({.classes = 3, .width = 1, .hidden = 2, .window = 2});
  CHECK(small(zeros<float>({1, 64, 96, 3})).shape() == Shape{1, 64, 96, 3});
  CHECK(models::AnySize<models::DeconvNet<>>{small}(zeros<float>({1, 70, 9, 3})).shape() == Shape{1, 70, 9, 3});
  CHECK_THROWS_WITH_AS((void)small(zeros<float>({1, 32, 64, 3})), doctest::Contains("at least 64"), ShapeError);
  CHECK_THROWS_AS((void)small(zeros<float>({1, 72, 64, 3})), ShapeError);
}

TEST_CASE("SegNet: odd sizes come back, each unpooling to what its pooling saw") {
  default_generator() = {3};
  models::SegNet<> net({.classes = 2, .width = 2});
  CHECK(net(normal<float>({2, 45, 30, 3})).shape() == Shape{2, 45, 30, 2});
  nn::eval(net);
  CHECK(net(normal<float>({1, 1, 1, 3})).shape() == Shape{1, 1, 1, 2});
  NoGrad guard;
  const auto x = normal<float>({1, 40, 37, 3});
  const auto fused = net(x);  // norms and ReLUs in the convolutions
  nn::Summary summary = nn::summarize(net, x.shape());
  CHECK(summary.output == fused.shape());
  CHECK(std::none_of(fused.data(), fused.data() + fused.numel(), [](float v) { return std::isnan(v); }));
}

TEST_CASE("Front end and context module: parameters as published") {
  Counting counting;
  for (const auto& [classes, parameters] : {std::pair{21, 134'346'581}, {19, 134'338'387}, {11, 134'305'611}})
    CHECK(nn::num_parameters(models::DilatedFrontEnd<>({.classes = classes})) == parameters);
  CHECK(nn::num_parameters(models::ContextModule<>{}) == 28'392);
  CHECK(nn::num_parameters(models::ContextModule<>({.form = ContextForm::large})) == 6'803'139);
  const auto whole = [](index_t classes, const models::ContextOptions& o) {
    return nn::num_parameters(models::DilatedNet<>({.classes = classes}, o));
  };
  CHECK(whole(21, {.classes = 21, .form = ContextForm::large, .pad_once = true}) == 141'149'720);  // VOC
  CHECK(whole(11, {.classes = 11}) == 134'313'443);                                                // CamVid
  CHECK(whole(19, {.classes = 19, .dilations = models::context_dilations_10}) == 134'368'179);     // Cityscapes
  CHECK(whole(11, {.classes = 11, .dilations = models::context_dilations_7}) == 134'312'343);      // KITTI
  CHECK(models::ContextModule<>{}.view() == 67);
  CHECK(models::ContextModule<>({.dilations = models::context_dilations_10}).view() == 259);

  const auto all = names(models::DilatedNet<>({}, models::ContextOptions{.dilations = models::context_dilations_10}));
  for (const char* name : {"fc7.weight", "final.bias", "ctx_conv1_2.weight", "ctx_conv7_1.weight", "ctx_fc1.bias"})
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  CHECK(all.back() == "ctx_final.bias");

  models::DilatedFrontEnd<> front({.width = 1, .hidden = 1});
  CHECK(front(zeros<float>({1, 900, 500, 3})).shape() == Shape{1, 66, 16, 21});
  CHECK_THROWS_AS(models::DilatedNet<>({.classes = 2}, models::ContextOptions{.classes = 3}), ValueError);
}

TEST_CASE("Context module: begins as the identity") {
  NoGrad guard;
  for (const ContextForm form : {ContextForm::basic, ContextForm::large})
    for (const bool pad_once : {false, true})
      for (const auto& dilations : {models::context_dilations_7, models::context_dilations_8}) {
        models::ContextModule<> context({.classes = 3, .form = form, .dilations = dilations, .pad_once = pad_once, .noise = 0});
        const auto x = integers<float>({1, 9, 12, 3}, 0, 9);
        CHECK(max_difference(context(x), x) == 0);
      }
  default_generator() = {1};
  models::ContextModule<> noisy({.classes = 3});
  const auto w = noisy.convs[2].weight;
  CHECK(w.at(1, 1, 1, 1) == 1);
  CHECK(w.at(1, 1, 1, 0) != 0);
  CHECK(std::abs(w.at(1, 0, 1, 1)) < 0.1f);
}

TEST_CASE("DilatedNet: scores lie where the image does, any size through AnySize") {
  NoGrad guard;
  models::DilatedNet<> net({.in_channels = 1, .classes = 1, .width = 1, .hidden = 1}, models::ContextOptions{.classes = 1, .noise = 0});
  make_identity(net.front_end);
  nn::eval(net);
  const auto y = net(ramp(500, 420));
  REQUIRE(y.shape() == Shape{1, 128, 48, 1});
  CHECK(off_ramp(y, 8, 1, 186 + 3.5) < 0.1);
  CHECK(models::AnySize<models::DilatedNet<>>{net}(ramp(21, 13)).shape() == Shape{1, 21, 13, 1});
  CHECK_THROWS_WITH_AS((void)net(ramp(384, 380)), doctest::Contains("380 or multiples of 8 more"), ShapeError);
}

TEST_CASE("A step lowers the loss of each network") {
  default_generator() = {11};
  SUBCASE("FCN") {
    for (const int stride : {32, 16, 8}) {
      Fcn<> net({.classes = 3, .stride = stride, .width = 4, .hidden = 16, .dropout = 0, .aligned = true, .learn_upsampling = true});
      learns(net, {1, 64, 32, 3}, 3, 64, 32);
    }
  }
  SUBCASE("DeconvNet") {
    models::DeconvNet<> net({.classes = 3, .width = 4, .hidden = 16, .window = 2});
    learns(net, {2, 64, 64, 3}, 3, 64, 64);
  }
  SUBCASE("SegNet") {
    models::SegNet<> net({.classes = 3, .width = 4});
    learns(net, {2, 45, 32, 3}, 3, 45, 32);
  }
  SUBCASE("front end") {
    models::DilatedFrontEnd<> net({.classes = 3, .width = 2, .hidden = 8, .dropout = 0});
    learns(net, {1, 380, 396, 3}, 3, 1, 3);
  }
  SUBCASE("context module") {
    models::ContextModule<> net({.classes = 3, .form = ContextForm::large});
    learns(net, {1, 20, 20, 3}, 3, 20, 20);
  }
}
