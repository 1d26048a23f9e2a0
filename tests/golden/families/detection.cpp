// Boxes and regions of interest. Boxes are on the host, whichever device the features are on.
#include "segnet/detection/nms.hpp"

#include "golden/golden.hpp"
#include "segnet/ops/box_loss.hpp"
#include "segnet/ops/roi_align.hpp"

namespace segnet::golden {
namespace {

Tensor<index_t> as_tensor(const std::vector<index_t>& list) { return {{static_cast<index_t>(list.size())}, list}; }

BoxFormat box_format(const std::string& name) {
  return name == "xyxy" ? BoxFormat::xyxy : name == "xywh" ? BoxFormat::xywh : BoxFormat::cxcywh;
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

  registry.add("roi_pool", [](auto& c) {
    c.output("y", roi_pool(c.input("x", Layout::channels_first), c.numbers("rois"), c.extent("output_size", 1), c.number("spatial_scale")),
             {Layout::channels_first});
    c.check_gradients();
  });
}

}  // namespace segnet::golden
