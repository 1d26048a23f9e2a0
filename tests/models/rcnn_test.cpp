#include "models/learns.hpp"
#include "segnet/models/faster_rcnn.hpp"
#include "segnet/models/fcos.hpp"
#include "segnet/models/retinanet.hpp"
#include "segnet/optim/adam.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::models;

namespace {

constexpr index_t side = 64;
const ResNetOptions small_backbone{.depth = 18, .width = 8};
const ImageBatchOptions small_images{.min_side = side, .max_side = side};

/// Two images of noise, each with a bright rectangle and a dark one, and what is in them.
struct DrawnScenes {
  std::vector<Tensor<float>> images;
  std::vector<DetectionTarget> targets;

  DrawnScenes() {
    const std::vector<std::vector<float>> boxes{{4, 6, 28, 34, 34, 30, 60, 58}, {30, 4, 58, 26, 6, 34, 30, 60}};
    for (const auto& b : boxes) {
      Tensor<float> image = random_uniform<float>({side, side, 3}, testing::random(), 0.4, 0.6);
      DetectionTarget t{.boxes = Tensor<float>({2, 4}, b),
                        .labels = Tensor<index_t>({2}, {1, 2}),
                        .masks = zeros<std::uint8_t>({2, side, side}),
                        .keypoints = ones<float>({2, 2, 3})};
      for (index_t m = 0; m < 2; ++m) {
        for (index_t y = 0; y < side; ++y)
          for (index_t x = 0; x < side; ++x) {
            const auto fx = static_cast<float>(x), fy = static_cast<float>(y);
            if (fx < t.boxes.at(m, 0) || fx >= t.boxes.at(m, 2) || fy < t.boxes.at(m, 1) || fy >= t.boxes.at(m, 3)) continue;
            t.masks.at(m, y, x) = 1;
            for (index_t c = 0; c < 3; ++c) image.at(y, x, c) = m == 0 ? 1 : 0;
          }
        for (index_t k = 0; k < 2; ++k)  // two corners
          for (index_t i = 0; i < 2; ++i) t.keypoints.at(m, k, i) = t.boxes.at(m, 2 * k + i) + (k == 0 ? 1.F : -1.F);
      }
      images.push_back(image);
      targets.push_back(t);
    }
  }
};

FasterRcnnOptions small_rcnn() {
  FasterRcnnOptions o{.classes = 3, .masks = true, .keypoints = 2, .backbone = small_backbone};
  o.channels = 16;
  o.box_features = 32;
  o.keypoint_channels = 16;
  o.anchors.sizes = {{8}, {16}, {32}, {64}, {128}};
  o.images = small_images;
  o.training_proposals = {.before_nms = 100, .after_nms = 50};
  o.samples.samples = 24;
  return o;
}

}  // namespace

TEST_CASE("detectors: parameters as published") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  const auto rcnn = [](index_t classes, bool masks, index_t keypoints) {
    FasterRcnnOptions o;
    o.classes = classes;
    o.masks = masks;
    o.keypoints = keypoints;
    return nn::num_parameters(FasterRcnn<>(o));
  };
  CHECK(rcnn(91, false, 0) == 41'808'406);
  CHECK(rcnn(91, true, 0) == 44'454'513);
  CHECK(rcnn(2, false, 17) == 59'190'378);
  CHECK(nn::num_parameters(Fcos<>()) == 32'322'720);
  CHECK(nn::num_parameters(Fcos<>(FcosOptions{.classes = 80})) == 32'244'245 + 53'120);  // that publication freezes the norms
  CHECK(nn::num_parameters(RetinaNet<>()) == 34'068'119);
  const FasterRcnn<> net;
  CHECK(nn::num_parameters(net.backbone.fpn) == 3'344'384);
  CHECK(nn::num_parameters(net.rpn_head) == 593'935);
  CHECK(nn::num_parameters(net.box_head) == 13'895'680);
  CHECK(nn::num_parameters(net.box_predictor) == 466'375);
}

TEST_CASE("Faster R-CNN with masks and keypoints: names, training, predictions") {
  default_generator() = {11};
  const DrawnScenes scenes;
  FasterRcnn<> net(small_rcnn());
  const auto all = state_dict_names(net);
  for (const char* name : {"backbone.body.layer4.1.bn2.running_var", "backbone.fpn.inner_blocks.3.0.weight", "rpn.head.conv.0.0.bias",
                           "roi_heads.box_head.fc6.weight", "roi_heads.mask_head.3.0.weight", "roi_heads.mask_predictor.conv5_mask.bias",
                           "roi_heads.keypoint_head.14.weight", "roi_heads.keypoint_predictor.kps_score_lowres.weight"}) {
    INFO(name);
    CHECK(all.count(name) == 1);
  }

  nn::train(net);
  optim::Adam<float> adam(nn::parameters(net), {.lr = 2e-3});
  Generator draws{5};
  double first = 0, last = 0;
  constexpr int steps = 30;
  for (int step = 0; step < steps; ++step) {
    const auto loss = net.loss(scenes.images, scenes.targets, draws);
    const auto total = loss.total();
    REQUIRE(std::isfinite(total.item()));
    if (step < 3) first += static_cast<double>(total.item()) / 3;
    if (step >= steps - 3) last += static_cast<double>(total.item()) / 3;
    if (step == 0)
      for (const auto& part : {loss.objectness, loss.rpn_box, loss.classifier, loss.box, loss.mask, loss.keypoint}) CHECK(part.item() > 0);
    nn::zero_grad(net);
    total.backward();
    adam.step();
  }
  CHECK(last < 0.75 * first);

  Generator a{9}, b{9};
  CHECK(net.loss(scenes.images, scenes.targets, a).total().item() == net.loss(scenes.images, scenes.targets, b).total().item());

  nn::eval(net);
  net.options.detections.score_threshold = 0;  // so few steps make nothing sure
  const Tensor<float> wide = random_uniform<float>({40, 90, 3}, testing::random());
  const auto found = net.predict({scenes.images[0], wide});
  REQUIRE(found.size() == 2);
  for (std::size_t n = 0; n < 2; ++n) {
    const Detections& d = found[n];
    const index_t count = d.boxes.dim(0), h = n == 0 ? side : 40, w = n == 0 ? side : 90;
    CHECK(count > 0);
    CHECK(count <= 100);
    CHECK(d.masks.shape() == Shape{count, h, w});
    CHECK(d.keypoints.shape() == Shape{count, 2, 3});
    CHECK(d.keypoint_scores.shape() == Shape{count, 2});
    for (index_t i = 0; i < count; ++i) {
      CHECK((d.labels.at(i) == 1 || d.labels.at(i) == 2));
      if (i > 0) CHECK(d.scores.at(i) <= d.scores.at(i - 1));
      CHECK((d.boxes.at(i, 0) >= 0 && d.boxes.at(i, 2) <= static_cast<float>(w) + 1e-3F &&
             d.boxes.at(i, 3) <= static_cast<float>(h) + 1e-3F));
    }
  }
  CHECK(equal(net.predict({scenes.images[0]})[0].scores, found[0].scores));  // the other image changes nothing
}

TEST_CASE("FCOS and RetinaNet: a step along the gradient lowers the loss; predictions") {
  default_generator() = {12};
  const DrawnScenes scenes;
  const auto check = [&](auto net) {
    learns(net, [&] { return net.loss(scenes.images, scenes.targets).total(); });
    nn::eval(net);
    net.options.detections.score_threshold = 0;
    for (const Detections& d : net.predict(scenes.images)) {
      CHECK(d.boxes.dim(0) > 0);
      CHECK(d.boxes.dim(0) <= net.options.detections.most);
      CHECK(d.scores.numel() == d.labels.numel());
    }
    CHECK(std::isfinite(net.loss(scenes.images, {DetectionTarget{}, scenes.targets[1]}).total().item()));
  };
  check(Fcos<>(FcosOptions{.classes = 3, .backbone = small_backbone, .channels = 32, .images = small_images}));
  check(RetinaNet<>(RetinaNetOptions{.classes = 3, .backbone = small_backbone, .channels = 16, .images = small_images}));
}

TEST_CASE("detectors: wrong targets are named") {
  const DrawnScenes scenes;
  const FasterRcnn<> net(small_rcnn());
  Generator draws;
  const auto with = [&](auto change) {
    auto targets = scenes.targets;
    for (auto& t : targets) t = {t.boxes.clone(), t.labels.clone(), t.masks, t.keypoints};
    change(targets[1]);
    return targets;
  };
  CHECK_THROWS_WITH_AS(net.loss(scenes.images, {}, draws),
                       "segnet::FasterRcnn::loss: argument 'targets': expected 2, one for each image, got 0", ValueError);
  CHECK_THROWS_WITH_AS(net.loss(scenes.images, with([](auto& t) { t.labels.at(1) = 3; }), draws),
                       doctest::Contains("'targets[1].labels': expected classes in [1, 3), got 3"), ValueError);
  CHECK_THROWS_WITH_AS(net.loss(scenes.images, with([](auto& t) { t.boxes.at(0, 2) = 0; }), draws),
                       doctest::Contains("'targets[1].boxes': expected x2 > x1 and y2 > y1"), ValueError);
  CHECK_THROWS_WITH_AS(net.loss(scenes.images, with([](auto& t) { t.masks = {}; }), draws),
                       doctest::Contains("'targets[1].masks': expected [2, H, W], got [0]"), ShapeError);
  CHECK_THROWS_WITH_AS(net.loss(scenes.images, with([](auto& t) { t.keypoints = ones<float>({2, 5, 3}); }), draws),
                       doctest::Contains("'targets[1].keypoints': expected [2, 2, 3], got [2, 5, 3]"), ShapeError);
}
