// Detectors without their image transform: maps, heads, and what they say of given boxes.
#include "golden/networks.hpp"
#include "segnet/models/faster_rcnn.hpp"
#include "segnet/models/fcos.hpp"
#include "segnet/models/retinanet.hpp"

namespace segnet::golden {
namespace {

template <class T, class D>
void add_maps(std::vector<NamedOutput<T, D>>& outputs, const std::vector<Tensor<T, D>>& maps, const std::vector<const char*>& extra) {
  for (std::size_t m = 0; m < maps.size(); ++m) {
    const std::size_t own = maps.size() - extra.size();
    outputs.push_back({m < own ? concat("fpn_", m) : concat("fpn_", extra[m - own]), maps[m]});
  }
}

template <class T, class D>
void run_rcnn(Case<T, D>& c) {
  const std::string& name = c.attribute("args")["name"].string();
  const bool masks = name.starts_with("mask"), keypoints = name.starts_with("keypoint");
  auto net = nn::unfilled<models::FasterRcnn<T, D>>(
      models::FasterRcnnOptions{.classes = keypoints ? 2 : 91, .masks = masks, .keypoints = keypoints ? 17 : 0});
  const Tensor<float> rois = boxes_to_rois({cast<float>(c.numbers("boxes"))});
  const auto has = [&](const char* part) {
    for (const Json& p : c.attribute("parts").array())
      if (p.string() == part) return true;
    return false;
  };
  run_network(c, net, [&](const Tensor<T, D>& x) {
    std::vector<NamedOutput<T, D>> outputs;
    const auto maps = net.maps(x);
    const Extent2 image(x.dim(1), x.dim(2));
    if (has("fpn")) add_maps(outputs, maps, {"pool"});
    if (has("rpn")) {
      const auto heads = net.rpn_head(maps);
      for (std::size_t m = 0; m < heads.size(); ++m) {
        outputs.push_back({concat("rpn_logits_", m), heads[m].logits});
        outputs.push_back({concat("rpn_deltas_", m), heads[m].deltas});
      }
    }
    if (has("box")) {
      const auto pooled = net.pooled(maps, rois, image, 7), features = net.box_head(pooled);
      outputs.push_back({"box_pooled", pooled});
      outputs.push_back({"box_features", features});
      outputs.push_back({"box_logits", net.box_predictor.cls_score(features)});
      outputs.push_back({"box_deltas", net.box_predictor.bbox_pred(features)});
    }
    if (has("mask")) {
      const auto pooled = net.pooled(maps, rois, image, 14);
      outputs.push_back({"mask_pooled", pooled});
      outputs.push_back({"mask_logits", (*net.mask_predictor)((*net.mask_head)(pooled))});
    }
    if (has("keypoint")) {
      const auto pooled = net.pooled(maps, rois, image, 14);
      outputs.push_back({"keypoint_pooled", pooled});
      outputs.push_back({"keypoint_logits", (*net.keypoint_predictor)((*net.keypoint_head)(pooled))});
    }
    return outputs;
  });
}

template <class M, class T, class D>
void run_one_stage(Case<T, D>& c, M net, bool show_maps) {
  run_network(c, net, [&](const Tensor<T, D>& x) {
    std::vector<NamedOutput<T, D>> outputs;
    const auto maps = net.backbone(x);
    const auto output = net.head(maps);
    if (show_maps) add_maps(outputs, maps, {"p6", "p7"});
    const auto turned = [](const Tensor<T, D>& rows) {
      return permute(rows, {0, 2, 1});
    };  // the file has them as they are, not channels first
    outputs.push_back({"cls_logits", turned(output.cls_logits)});
    outputs.push_back({"bbox_regression", turned(output.bbox_regression)});
    if (output.bbox_ctrness) outputs.push_back({"bbox_ctrness", turned(output.bbox_ctrness)});
    return outputs;
  });
}

template <class T, class D>
void run_fcos(Case<T, D>& c) {
  const models::FcosOptions options;
  run_one_stage(c, nn::unfilled<models::Fcos<T, D>>(options), true);
}
template <class T, class D>
void run_retinanet(Case<T, D>& c) {
  const models::RetinaNetOptions options;
  run_one_stage(c, nn::unfilled<models::RetinaNet<T, D>>(options), false);
}

}  // namespace

void add_networks_rcnn(Registry& registry) {
  registry.add("models/rcnn", [](auto& c) { run_rcnn(c); });
  registry.add("models/fcos", [](auto& c) { run_fcos(c); });
  registry.add("models/retinanet", [](auto& c) { run_retinanet(c); });
}

}  // namespace segnet::golden
