// Boxes and regions of interest. Boxes are on the host, whichever device the features are on.
#include "segnet/detection/nms.hpp"

#include "golden/golden.hpp"
#include "segnet/detection/anchors.hpp"
#include "segnet/detection/keypoints.hpp"
#include "segnet/detection/masks.hpp"
#include "segnet/io/coco.hpp"
#include "segnet/ops/box_loss.hpp"
#include "segnet/ops/roi_align.hpp"

namespace segnet::golden {
namespace {

Tensor<index_t> as_tensor(const std::vector<index_t>& list) { return {{static_cast<index_t>(list.size())}, list}; }

BoxFormat box_format(const std::string& name) {
  return name == "xyxy" ? BoxFormat::xyxy : name == "xywh" ? BoxFormat::xywh : BoxFormat::cxcywh;
}

/// The parts that detectors are put together from, by the case's `op`.
template <class T, class D>
void run_part(Case<T, D>& c) {
  const std::string& op = c.text("op");
  const auto numbers = [&](const std::string& role) { return cast<float>(c.numbers(role)); };  // boxes are exact in float
  const auto indices = [&](const char* role) { return c.CaseBase::template integer_input<index_t>(role); };
  const auto host = [&](const char* role) { return c.input(role).template to<Cpu>(); };
  const auto image = [&] { return c.extent("image", 1); };
  const auto each = [&](const char* role) { return std::vector{numbers(concat(role, 0)), numbers(concat(role, 1))}; };
  const auto check_floats = [&](const std::string& role, const Tensor<float>& got) {
    c.check_numbers(role, in_double(got), {.of_largest = 2e-6});
  };
  const auto extents = [&](const char* key) {
    std::vector<Extent2> list;
    for (const Json& size : c.attribute(key).array()) list.emplace_back(size[0].integer(), size[1].integer());
    return list;
  };
  if (op == "box_encode" || op == "box_decode") {
    BoxCoder coder;
    for (std::size_t i = 0; i < 4; ++i) coder.weights[i] = c.attribute("weights").array()[i].number();
    if (op == "box_encode") c.check("y", coder.encode(c.input("reference"), c.input("proposals")));
    else c.output("y", coder.decode(c.input("rel_codes"), c.input("boxes")));
    c.check_gradients();
  } else if (op == "linear_encode") {
    c.check("y", LinearBoxCoder{c.flag("normalize")}.encode(c.input("proposals"), c.input("reference")));
  } else if (op == "linear_decode") {
    c.check("y", LinearBoxCoder{c.flag("normalize")}.decode(c.input("rel_codes"), c.input("boxes")));
  } else if (op == "anchors") {
    AnchorOptions options;
    for (const Json& map : c.attribute("sizes").array()) {
      options.sizes.emplace_back();
      for (const Json& size : map.array()) options.sizes.back().push_back(size.number());
    }
    options.aspect_ratios.clear();
    for (const Json& ratio : c.attribute("ratios").array()[0].array()) options.aspect_ratios.push_back(ratio.number());
    c.check_numbers("anchors", in_double(anchors(options, image(), extents("maps"))), {});
  } else if (op == "matcher") {
    const auto quality = host("quality");
    c.check("quality", box_iou(host("gt"), host("anchors")));
    c.check("matches", as_tensor(match(cast<float>(quality), {c.number("high"), c.number("low"), c.flag("low_quality")})));
  } else if (op == "multiscale_roi_align") {
    std::vector<Tensor<T, D>> maps;
    for (std::size_t m = 0; m < c.attribute("maps").array().size(); ++m) maps.push_back(c.input(concat("f", m), Layout::channels_first));
    const auto rois = boxes_to_rois(each("boxes"));
    const MultiScaleRoiAlign align{c.integer("output_size"), c.integer("sampling_ratio")};
    const int first = MultiScaleRoiAlign::level_of_map(maps.front().shape(), image());
    std::vector<index_t> levels;
    for (const std::size_t m : MultiScaleRoiAlign::assigned(rois, first, first + static_cast<int>(maps.size()) - 1))
      levels.push_back(static_cast<index_t>(m));
    c.check("levels", as_tensor(levels));
    c.output("y", align(maps, rois, image()), {Layout::channels_first});
    c.check_gradients();
  } else if (op == "rpn_proposals") {
    const auto logits = numbers("objectness"), deltas = numbers("deltas");
    const auto found = rpn_proposals(numbers("anchors"), logits.alias({logits.dim(0), logits.dim(1)}), deltas, c.integers("num_anchors"),
                                     {image(), image()},
                                     {.before_nms = c.integer("pre"),
                                      .after_nms = c.integer("post"),
                                      .nms_threshold = c.number("nms"),
                                      .score_threshold = c.number("score", 0)});
    for (std::size_t n = 0; n < 2; ++n) {
      check_floats(concat("boxes", n), found[n].boxes);
      check_floats(concat("scores", n), found[n].scores);
    }
  } else if (op == "roi_postprocess") {
    const auto logits = numbers("class_logits"), deltas = numbers("box_regression");
    const auto proposals = each("proposals");
    const index_t R = proposals[0].dim(0), K = logits.dim(1);
    for (index_t n = 0; n < 2; ++n) {
      const auto found =
          detections(logits.alias({R, K}, n * R * K), deltas.alias({R, 4 * K}, n * R * 4 * K), proposals[static_cast<std::size_t>(n)],
                     image(), {.score_threshold = c.number("score"), .nms_threshold = c.number("nms"), .most = c.integer("detections")});
      check_floats(concat("boxes", n), found.boxes);
      check_floats(concat("scores", n), found.scores);
      c.check(concat("labels", n), found.labels);
    }
  } else if (op == "paste_masks") {
    const auto masks = numbers("masks");
    const auto y = paste_masks(masks.alias({masks.dim(0), masks.dim(2), masks.dim(3)}), numbers("boxes"), image());
    check_floats("y", y.alias({y.dim(0), 1, y.dim(1), y.dim(2)}));
  } else if (op == "keypoints") {
    const auto found = heatmaps_to_keypoints(from_nchw(numbers("maps")), numbers("boxes"));
    check_floats("keypoints", found.places);
    check_floats("scores", found.scores);
  } else if (op == "fastrcnn_loss") {
    const auto loss = fast_rcnn_loss(c.input("class_logits"), c.input("box_regression"), indices("labels"), host("targets"));
    c.output("loss_classifier", loss.classifier);
    c.output("loss_box_reg", loss.box);
    c.check_gradients();
  } else if (op == "maskrcnn_loss") {
    const auto objects = indices("matched_idxs").to_vector();
    c.output("y",
             mask_rcnn_loss(c.input("mask_logits", Layout::channels_first), numbers("proposals"), rows_at(indices("gt_labels"), objects),
                            c.CaseBase::template integer_input<std::uint8_t>("gt_masks"), objects));
    c.check_gradients();
  } else {
    c.not_implemented(op);
  }
}

}  // namespace

void add_detection(Registry& registry) {
  registry.add("box_ops", [](auto& c) {
    const auto boxes = [&](const char* role) { return c.input(role).template to<Cpu>(); };
    const std::string& op = c.text("op");
    if (op == "box_area") {
      c.check("y", box_area(boxes("boxes")));
    } else if (op == "clip") {
      const auto size = c.integers("image_size");
      c.check("y", clip_boxes(boxes("boxes"), {size[0], size[1]}));
    } else if (op == "remove_small") {
      c.check("keep", as_tensor(boxes_not_smaller(boxes("boxes"), c.number("min_size"))));
    } else if (op == "convert") {
      c.output("y", box_convert(c.input("boxes"), box_format(c.text("from")), box_format(c.text("to"))));
      c.check_gradients();
    } else if (op == "masks_to_boxes") {
      c.check_numbers("y", in_double(masks_to_boxes(c.CaseBase::template integer_input<std::uint8_t>("masks"))), {});
    } else {
      const BoxOverlap kind = op == "box_iou"               ? BoxOverlap::iou
                              : op == "generalized_box_iou" ? BoxOverlap::giou
                              : op == "distance_box_iou"    ? BoxOverlap::diou
                                                            : BoxOverlap::ciou;
      c.check("y", box_iou(boxes("boxes1"), boxes("boxes2"), kind));
    }
  });

  registry.add("box_loss", [](auto& c) {
    const std::string &op = c.text("op"), &reduction = c.text("reduction");
    const auto kind = op == "giou" ? BoxLoss::giou : op == "diou" ? BoxLoss::diou : BoxLoss::ciou;
    c.output("y", box_loss(kind, c.input("x"), c.input("target"),
                           reduction == "none"  ? Reduction::none
                           : reduction == "sum" ? Reduction::sum
                                                : Reduction::mean));
    c.check_gradients();
  });

  registry.add("nms", [](auto& c) {
    const auto boxes = cast<float>(c.input("boxes").template to<Cpu>()), scores = cast<float>(c.input("scores").template to<Cpu>());
    const double threshold = c.number("iou_threshold");
    c.check("keep", as_tensor(c.flag("batched") ? batched_nms(boxes, scores, c.CaseBase::template integer_input<index_t>("idxs"), threshold)
                                                : nms(boxes, scores, threshold)));
  });

  registry.add("coco_ap", [](auto& c) {
    const auto json = [&](const char* role) {
      const auto bytes = c.CaseBase::template integer_input<std::uint8_t>(role);
      return Json::parse({reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.numel())});
    };
    const auto [objects, categories] = coco_objects(json("gt_json"));
    const auto scores = coco_scores(objects, coco_detections(json("dt_json")), categories,
                                    c.text("iou_type") == "segm" ? CocoOverlap::masks : CocoOverlap::boxes);
    const auto summary = scores.summary();
    c.check_numbers("stats", Tensor<double>({12}, summary.data(), 12), {.absolute = 1e-12});
    c.check_numbers("recall", scores.recall, {.absolute = 1e-12});
    if (c.has("precision")) c.check_numbers("precision", scores.precision, {.absolute = 1e-7});  // float in the file
  });

  registry.add("roi_align", [](auto& c) {
    c.output("y",
             roi_align(c.input("x", Layout::channels_first), c.numbers("rois"),
                       {.output_size = c.extent("output_size", 1),
                        .spatial_scale = c.number("spatial_scale"),
                        .sampling_ratio = c.integer("sampling_ratio"),
                        .aligned = c.flag("aligned")}),
             {Layout::channels_first});
    c.check_gradients();
  });

  registry.add("detection", [](auto& c) { run_part(c); });

  registry.add("rle", [](auto& c) {
    const auto text = [](const std::string& s) {
      Tensor<std::uint8_t> t({static_cast<index_t>(s.size())});
      std::copy(s.begin(), s.end(), t.data());
      return t;
    };
    const index_t n = c.integer("n"), h = c.integer("H"), w = c.integer("W");
    std::vector<Rle> list;
    const auto check_area_and_text = [&] {
      std::vector<index_t> areas;
      for (std::size_t i = 0; i < list.size(); ++i) {
        areas.push_back(rle_area(list[i]));
        c.check(concat("rle", i), text(rle_to_text(list[i])));
        if (rle_from_text(rle_to_text(list[i]), h, w) != list[i]) c.fail("the text is not read as it was written");
      }
      c.check("area", as_tensor(areas));
    };
    const auto merged = [&](bool intersect) {
      Rle all = list[0];
      for (const Rle& r : list) all = rle_merge(all, r, intersect);
      return rle_decode(all);
    };
    if (c.text("op") == "polygon") {
      Tensor<std::uint8_t> masks({n, h, w});
      for (index_t i = 0; i < n; ++i) {
        list.push_back(rle_of_polygon(c.numbers(concat("polygon", i)).to_vector(), h, w));
        masks.alias({h, w}, i * h * w).copy_from(rle_decode(list.back()));
      }
      c.check("masks", masks);
      c.check("merged", merged(false));
      return check_area_and_text();
    }
    const auto masks = c.CaseBase::template integer_input<std::uint8_t>("masks");
    const auto crowd = c.CaseBase::template integer_input<std::uint8_t>("iscrowd");
    Tensor<double> boxes({n, 4}), ious({n, n});
    for (index_t i = 0; i < n; ++i) {
      list.push_back(rle_encode(masks.alias({h, w}, i * h * w)));
      c.check(concat("counts", i), Tensor<std::int64_t>({static_cast<index_t>(list.back().counts.size())}, list.back().counts));
      const auto box = rle_box(list.back());
      std::copy(box.begin(), box.end(), boxes.data() + 4 * i);
    }
    for (index_t i = 0; i < n * n; ++i)
      ious.data()[i] = rle_iou(list[static_cast<std::size_t>(i / n)], list[static_cast<std::size_t>(i % n)], crowd.at(i % n) != 0);
    c.check_numbers("bbox", boxes, {});
    c.check_numbers("iou", ious, {.absolute = 1e-15});
    c.check("union", merged(false));
    c.check("intersection", merged(true));
    check_area_and_text();
  });

  registry.add("roi_pool", [](auto& c) {
    c.output("y", roi_pool(c.input("x", Layout::channels_first), c.numbers("rois"), c.extent("output_size", 1), c.number("spatial_scale")),
             {Layout::channels_first});
    c.check_gradients();
  });
}

}  // namespace segnet::golden
