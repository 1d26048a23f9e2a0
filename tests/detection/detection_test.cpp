#include "segnet/detection/fcos.hpp"
#include "segnet/detection/image_batch.hpp"
#include "segnet/detection/keypoints.hpp"
#include "segnet/detection/masks.hpp"
#include "segnet/detection/retinanet.hpp"
#include "segnet/io/coco.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

using Numbers = std::vector<index_t>;

Tensor<float> boxes(const std::vector<float>& values) { return {{static_cast<index_t>(values.size() / 4), 4}, values}; }

}  // namespace

TEST_CASE("nms: by hand, equality, classes, nothing, NaN, boxes without area") {
  const auto b = boxes({0, 0, 10, 10, 1, 0, 11, 10, 0, 0, 10, 5, 20, 20, 30, 30, 0, 0, 10, 20});
  const Tensor<float> scores({5}, {.9F, .8F, .7F, .6F, .5F});
  CHECK(nms(b, scores, 0.5) == Numbers{0, 2, 3, 4});  // an IoU of exactly 0.5 stays
  CHECK(nms(b, scores, 0.49) == Numbers{0, 3});
  CHECK(batched_nms(b, scores, Tensor<index_t>({5}, {0, 1, 0, 1, 2}), 0.49) == Numbers{0, 1, 3, 4});
  CHECK(nms(Tensor<float>({0, 4}), Tensor<float>({0}), 0.5).empty());
  CHECK(nms(boxes({3, 3, 3, 3, 3, 3, 3, 3}), Tensor<float>({2}, {1, 1}), 0.1) == Numbers{0, 1});
  CHECK(nms(b, Tensor<float>({5}, {.1F, NAN, .7F, .6F, NAN}), 0.9) == Numbers{1, 4, 2, 3, 0});  // NaN first, as `sort` has it
  CHECK(nms(boxes({0, 0, 1, 1, NAN, 0, 1, 1}), Tensor<float>({2}, {2, 1}), 0.1) == Numbers{0, 1});
  CHECK_THROWS_WITH_AS(nms(b, Tensor<float>({4}), 0.5), "segnet::nms: argument 'scores': expected [5], got [4]", ShapeError);
  CHECK_THROWS_WITH_AS(nms(Tensor<float>({5, 5}), scores, 0.5), doctest::Contains("'boxes': expected [N, 4], got [5, 5]"), ShapeError);
}

TEST_CASE("boxes: conversions return, empty ones, clipping") {
  const auto x = normal<double>({7, 4});
  for (const BoxFormat from : {BoxFormat::xyxy, BoxFormat::xywh, BoxFormat::cxcywh})
    for (const BoxFormat to : {BoxFormat::xyxy, BoxFormat::xywh, BoxFormat::cxcywh})
      CHECK(max_difference(box_convert(box_convert(x, from, to), to, from), x) < 1e-14);
  CHECK(box_iou(Tensor<float>({0, 4}), boxes({0, 0, 1, 1})).shape() == Shape{0, 1});
  CHECK(std::isnan(box_iou(boxes({1, 1, 1, 1}), boxes({1, 1, 1, 1})).item()));
  CHECK(equal(clip_boxes(boxes({-5, 3, 99, 98}), {50, 60}), boxes({0, 3, 60, 50})));
  CHECK(boxes_not_smaller(boxes({0, 0, 2, 2, 0, 0, NAN, 2, 0, 0, 1, 5}), 2) == Numbers{0});
  CHECK(equal(masks_to_boxes(zeros<std::uint8_t>({1, 3, 3})), boxes({0, 0, 0, 0})));
}

TEST_CASE("match and balanced_sample: thresholds, targets that nothing fits, none at all, draws") {
  const Tensor<float> quality({2, 4}, {.8F, .4F, .1F, .2F, .1F, .3F, .25F, .2F});
  CHECK(match(quality, {.high = 0.7, .low = 0.3}) == Numbers{0, matched_nothing, matched_background, matched_background});
  CHECK(match(quality, {0.7, 0.3, true}) == Numbers{0, 0, matched_background, matched_background});  // its own best target: 0, not 1
  CHECK(match(Tensor<float>({0, 2}), {0.7, 0.3, true}) == Numbers{matched_background, matched_background});
  CHECK(match(Tensor<float>({2, 0}), {0.7, 0.3, true}).empty());
  CHECK_THROWS_WITH_AS(match(quality, {.high = 0.3, .low = 0.7}), doctest::Contains("'low': expected at most high = 0.3, got 0.7"),
                       ValueError);

  Numbers labels(1000, 0);
  for (std::size_t i = 0; i < 300; ++i) labels[3 * i] = i % 2 == 0 ? 5 : -1;
  Generator a{1}, b{1}, c{2};
  const auto sample = balanced_sample(labels, 256, 0.5, a), same = balanced_sample(labels, 256, 0.5, b),
             other = balanced_sample(labels, 256, 0.5, c);
  CHECK(sample.positive.size() == 128);
  CHECK(sample.all().size() == 256);
  for (const index_t i : sample.positive) CHECK(labels[static_cast<std::size_t>(i)] == 5);
  for (const index_t i : sample.negative) CHECK(labels[static_cast<std::size_t>(i)] == 0);
  CHECK(sample.all() == same.all());
  CHECK(sample.all() != other.all());
  CHECK(balanced_sample({1, -1, 0}, 256, 0.5, a).all() == Numbers{0, 2});
  CHECK(balanced_sample({}, 256, 0.5, a).all().empty());
}

TEST_CASE("box coders: what is encoded is decoded, degenerate boxes, wrong shapes") {
  const auto a = boxes({0, 0, 10, 20, 5, 5, 9, 6}), b = boxes({1, 2, 8, 30, 2, 5, 9, 8});
  const BoxCoder coder{{10, 10, 5, 5}};
  CHECK(max_difference(coder.decode(coder.encode(b, a), a), b) < 1e-5);
  CHECK(max_difference(LinearBoxCoder{}.decode(LinearBoxCoder{}.encode(b, a), a), b) < 1e-5);
  CHECK(coder.decode(Tensor<float>({0, 8}), Tensor<float>({0, 4})).shape() == Shape{0, 8});
  const auto grown = BoxCoder{}.decode(full<float>({1, 4}, 100), boxes({0, 0, 16, 16}));
  CHECK(grown.at(0, 2) - grown.at(0, 0) == doctest::Approx(1000));
  CHECK_THROWS_WITH_AS(coder.decode(Tensor<float>({2, 6}), a), doctest::Contains("'codes': expected [N, 4 K], got [2, 6]"), ShapeError);
  CHECK_THROWS_WITH_AS(coder.encode(a, boxes({0, 0, 1, 1})), doctest::Contains("'reference': expected [2, 4], got [1, 4]"), ShapeError);
}

TEST_CASE("anchors: as the weights want them") {
  CHECK(equal(base_anchors({32}, {0.5, 1, 2}), boxes({-23, -11, 23, 11, -16, -16, 16, 16, -11, -23, 11, 23})));
  const AnchorOptions pyramid{.sizes = {{32}, {64}, {128}, {256}, {512}}};
  const auto all = anchors(pyramid, {800, 1344}, {{200, 336}, {100, 168}, {50, 84}, {25, 42}, {13, 21}});
  CHECK(all.dim(0) == 268'569);
  CHECK(all.at(268'568, 3) - all.at(268'565, 3) == 0);
  CHECK(all.at(268'568, 0) - all.at(268'565, 0) == 64);  // 1344 / 21; down it is 800 / 13 = 61
  CHECK_THROWS_WITH_AS(anchors(pyramid, {64, 64}, {{8, 8}}), doctest::Contains("'maps': expected 5 maps"), ValueError);
}

TEST_CASE("levels of a pyramid: 224 pixels are level 4; boxes without area the finest") {
  Tensor<float> rois = zeros<float>({5, 5});
  for (index_t k = 0; k < 5; ++k) rois.at(k, 3) = rois.at(k, 4) = std::vector<float>{224, 112, 448, 4000, 0}[static_cast<std::size_t>(k)];
  CHECK(MultiScaleRoiAlign::assigned(rois, 2, 5) == std::vector<std::size_t>{2, 1, 3, 3, 0});
  const std::vector<Tensor<float>> maps{zeros<float>({1, 16, 16, 2}), zeros<float>({1, 8, 8, 2})};
  CHECK(MultiScaleRoiAlign{}(maps, Tensor<float>({0, 5}), 64).shape() == Shape{0, 7, 7, 2});
}

TEST_CASE("heads that find nothing, images without objects: losses keep their graph") {
  const auto logits = normal<float>({0, 3}).requires_grad(), deltas = normal<float>({0, 12}).requires_grad();
  const auto none = detections(logits.detach(), deltas.detach(), Tensor<float>({0, 4}), 64);
  CHECK(none.boxes.shape() == Shape{0, 4});
  CHECK(none.labels.numel() == 0);

  const auto anchor_boxes = anchors({.sizes = {{8}}}, {32, 32}, {{4, 4}});
  const auto scores = normal<float>({1, 48}).requires_grad(), codes = normal<float>({1, 48, 4}).requires_grad();
  Generator generator{3};
  const auto loss = rpn_loss(anchor_boxes, scores, codes, {DetectionTarget{}}, generator);
  CHECK(loss.objectness.item() > 0);
  CHECK(loss.box.item() == 0);
  (loss.objectness + loss.box).backward();
  CHECK(scores.grad());
  CHECK(equal(codes.grad(), zeros<float>({1, 48, 4})));
  const auto samples = sample_rois(boxes({0, 0, 4, 4}), {}, generator);
  CHECK(samples.labels.to_vector() == Numbers{0});
  const auto fast = fast_rcnn_loss(normal<float>({1, 3}), normal<float>({1, 12}), samples.labels, samples.codes);
  CHECK(fast.box.item() == 0);

  const auto masks = normal<float>({0, 4, 4, 3}).requires_grad();
  mask_rcnn_loss(masks, Tensor<float>({0, 4}), Tensor<index_t>({0}), {}, {}).backward();
  CHECK(masks.grad());
  const auto maps = normal<float>({1, 4, 4, 1}).requires_grad();
  const auto unseen = keypoint_rcnn_loss(maps, boxes({0, 0, 4, 4}), Tensor<float>({1, 1, 3}, {1, 1, 0}), {0});
  CHECK(unseen.item() == 0);
  unseen.backward();
  CHECK(maps.grad());
  // x = x2 is in the last column, y = 1 of 4 in row 1: position 1 * 4 + 3
  auto sure = zeros<float>({1, 4, 4, 1});
  sure.at(0, 1, 3, 0) = 50;
  CHECK(keypoint_rcnn_loss(sure, boxes({0, 0, 4, 4}), Tensor<float>({1, 1, 3}, {4, 1, 2}), {0}).item() < 1e-6);
  CHECK(paste_masks(Tensor<float>({0, 7, 7}), Tensor<float>({0, 4}), {5, 6}).shape() == Shape{0, 5, 6});
}

TEST_CASE("focal losses of one-stage detectors: positions, ranges, what is perfect costs nothing") {
  const AnchorOptions options{.sizes = {{8}, {16}}, .aspect_ratios = {1}};
  const auto squares = anchors(options, 64, {{8, 8}, {4, 4}});
  DetectionTarget target{
      .boxes = boxes({10, 10, 30, 30, 12, 12, 28, 28}), .labels = Tensor<index_t>({2}, {1, 2}), .masks = {}, .keypoints = {}};
  const auto found = fcos_match(squares, {64, 16}, target.boxes);
  for (index_t a = 0; a < 64; ++a) {  // centre 20, radius 12: columns 16 and 24; the smaller box wins
    const bool near = (a % 8 == 2 || a % 8 == 3) && (a / 8 == 2 || a / 8 == 3);
    CHECK(found[static_cast<std::size_t>(a)] == (near ? 1 : matched_background));
  }
  for (std::size_t a = 64; a < 80; ++a) CHECK(found[a] == matched_background);  // sides of less than 64 pixels are for the first map

  target.boxes = boxes({10, 10, 30, 30});
  target.labels = Tensor<index_t>({1}, {2});
  auto logits = full<float>({1, 80, 3}, -20), distances = zeros<float>({1, 80, 4}), centre = zeros<float>({1, 80});
  const auto matches = fcos_match(squares, {64, 16}, target.boxes);
  for (index_t a = 0; a < 80; ++a)
    if (matches[static_cast<std::size_t>(a)] == 0) {
      logits.at(0, a, 2) = 20;
      const auto codes = LinearBoxCoder{}.encode(target.boxes, narrow(squares, 0, a, 1));
      std::copy_n(codes.data(), 4, distances.data() + 4 * a);
    }
  const auto loss = fcos_loss(squares, {64, 16}, logits, distances, centre, {target});
  CHECK(loss.classification.item() < 1e-6);
  CHECK(loss.box.item() < 1e-5);
  CHECK(loss.centerness.item() == doctest::Approx(std::log(2.0)));  // logits 0 against anything
  const auto empty = fcos_loss(squares, {64, 16}, logits, distances, centre, {DetectionTarget{}});
  CHECK(empty.box.item() == 0);

  const auto retina = retinanet_loss(squares, normal<float>({1, 80, 3}), normal<float>({1, 80, 4}), {DetectionTarget{}});
  CHECK(retina.box.item() == 0);
  CHECK(retina.classification.item() > 0);
}

TEST_CASE("image_batch: sizes, padding, and back") {
  const auto a = full<float>({30, 40, 3}, 0.485F), b = full<float>({20, 20, 3}, 1);
  const auto batch = image_batch({a, b}, {.min_side = 60, .max_side = 100});
  CHECK(batch.sizes[0] == Extent2(60, 80));
  CHECK(batch.sizes[1] == Extent2(60, 60));
  CHECK(batch.images.shape() == Shape{2, 64, 96, 3});
  CHECK(batch.images.at(0, 59, 79, 0) == doctest::Approx(0));
  CHECK(batch.images.at(1, 0, 0, 0) == doctest::Approx((1 - 0.485) / 0.229));
  CHECK(batch.images.at(1, 60, 0, 0) == 0);
  CHECK(max_difference(batch.original_boxes(batch.resized_boxes(boxes({1, 2, 3, 4}), 1), 1), boxes({1, 2, 3, 4})) < 1e-5);
  CHECK(image_batch({Tensor<float>({480, 640, 3})}).sizes[0] == Extent2(799, 1066));  // as torchvision
  CHECK_THROWS_WITH_AS(image_batch({}), "segnet::image_batch: argument 'images': expected at least one, got none", ValueError);
  CHECK_THROWS_WITH_AS(image_batch({a, Tensor<float>({4, 4})}), doctest::Contains("'images[1]': expected [H, W, 3], got [4, 4]"),
                       ShapeError);
}

TEST_CASE("run-length encoding: by hand, random masks return, damaged texts") {
  auto mask = zeros<std::uint8_t>({4, 5});
  for (index_t y = 1; y < 3; ++y)
    for (index_t x = 1; x < 4; ++x) mask.at(y, x) = 1;
  const Rle r = rle_encode(mask);
  CHECK(r.counts == std::vector<std::int64_t>{5, 2, 2, 2, 2, 2, 5});
  CHECK(rle_to_text(r) == "5220003");
  CHECK(rle_to_text({1, 20, {0, 1, 19}}) == "01c0");
  CHECK(rle_area(r) == 6);
  CHECK(rle_box(r) == std::array<double, 4>{1, 1, 3, 2});
  CHECK(rle_of_polygon({1, 1, 4, 1, 4, 3, 1, 3}, 4, 6).counts == std::vector<std::int64_t>{5, 2, 2, 2, 2, 2, 9});
  CHECK(rle_of_polygon({1, 1, 4, 1, 1, 4}, 6, 6).counts == std::vector<std::int64_t>{7, 2, 4, 1, 22});
  for (int i = 0; i < 20; ++i) {
    const auto a = integers<std::uint8_t>({7, 9}, 0, i % 3), b = integers<std::uint8_t>({7, 9}, 0, 1);
    const Rle x = rle_encode(a), y = rle_encode(b);
    for (index_t p = 0; p < a.numel(); ++p) {
      REQUIRE(rle_decode(x).data()[p] == (a.data()[p] != 0));
      REQUIRE(rle_decode(rle_merge(x, y)).data()[p] == (a.data()[p] || b.data()[p]));
      REQUIRE(rle_decode(rle_merge(x, y, true)).data()[p] == (a.data()[p] && b.data()[p]));
    }
    CHECK(rle_from_text(rle_to_text(x), 7, 9) == x);
    std::string text = rle_to_text(x);  // damaged: an error, or another mask of that size
    text[static_cast<std::size_t>(testing::random().below(std::ssize(text)))] = static_cast<char>(testing::random().below(256));
    try {
      const auto other = rle_decode(rle_from_text(text, 7, 9));
      CHECK(other.numel() == 63);
    } catch (const ValueError& error) {
      CHECK(error.op == "rle_from_text");
    }
  }
  CHECK(rle_encode(Tensor<std::uint8_t>({0, 3})).counts == std::vector<std::int64_t>{0});
  CHECK_THROWS_WITH_AS(rle_from_text("5220", 4, 5), doctest::Contains("'rle': expected counts that add up to 4x5"), ValueError);
  CHECK_THROWS_WITH_AS(rle_from_text("R", 4, 5), doctest::Contains("'text': expected characters of counts, got none at 1"), ValueError);
  CHECK_THROWS_WITH_AS(rle_of_polygon({1, 2, 3, NAN, 5, 6}, 4, 4), doctest::Contains("'xy': expected numbers of at most 1e6, got nan"),
                       ValueError);
  CHECK_THROWS_WITH_AS(rle_merge(r, {5, 4, {20}}), doctest::Contains("'b': expected a mask of 4x5, got 5x4"), ValueError);
}

TEST_CASE("COCO's average precision: by hand, perfect detections, nothing, crowds") {
  std::vector<CocoObject> objects;
  for (index_t i = 0; i < 3; ++i) objects.push_back({i, 7, {0, 0, 50, 50}, {}, 2500, false});
  std::vector<CocoDetection> found{{0, 7, .9, {0, 0, 50, 50}, {}}, {0, 7, .8, {200, 0, 50, 50}, {}}, {1, 7, .7, {0, 0, 50, 50}, {}}};
  CHECK(coco_scores(objects, found, {7}).average_precision() == doctest::Approx((34 * 1 + 33 * 2 / 3.) / 101));
  found[1] = {2, 7, .8, {0, 0, 50, 50}, {}};
  const auto perfect = coco_scores(objects, found, {3, 7});
  CHECK(perfect.summary() == std::array<double, 12>{1, 1, 1, -1, 1, -1, 1, 1, 1, -1, 1, -1});
  CHECK(perfect.recall.at(0, 0, 0, 2) == -1);  // no objects of category 3
  CHECK(coco_scores(objects, {}, {7}).average_precision() == 0);
  CHECK(coco_scores({}, found, {7}).average_precision() == -1);
  objects[2].crowd = true;  // neither right nor wrong, however often
  found.push_back({2, 7, .85, {0, 0, 20, 20}, {}});
  CHECK(coco_scores(objects, found, {7}).average_precision() == doctest::Approx(1));
  found[0].score = NAN;
  CHECK_THROWS_WITH_AS(coco_scores(objects, found, {7}), doctest::Contains("scores that are numbers"), ValueError);

  const auto [read, categories] = coco_objects(Json::parse(
      R"({"images": [{"id": 5, "height": 4, "width": 6}], "categories": [{"id": 9}, {"id": 2}], "annotations": [{"image_id": 5, "category_id": 9,
          "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}]})"));
  CHECK(categories == Numbers{2, 9});
  CHECK(rle_area(read.at(0).mask) == 6);
  const auto results = coco_detections(
      Json::parse(R"([{"image_id": 5, "category_id": 9, "score": 1, "segmentation": {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}}])"));
  CHECK(results.at(0).box == std::array<double, 4>{1, 1, 3, 2});
  CHECK(coco_scores(read, results, categories, CocoOverlap::masks).average_precision() == doctest::Approx(1));
  CHECK_THROWS_WITH_AS(coco_detections(Json::parse(R"([{"image_id": 5}])")), doctest::Contains("a member 'category_id'"), ValueError);
}
