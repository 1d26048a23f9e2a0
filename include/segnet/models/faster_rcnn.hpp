// Faster R-CNN, Mask R-CNN and Keypoint R-CNN on a ResNet with a feature pyramid, as torchvision has them and under its names.
// Ren, He, Girshick, Sun, arXiv:1506.01497; He, Gkioxari, Dollar, Girshick, arXiv:1703.06870; Lin et al., arXiv:1612.03144.
//
//   image -> ResNet -> P2 ... P6 -> RpnHead -> proposals
//                        |                       |
//                        +---- RoIAlign 7x7 -----+-> BoxHead, BoxPredictor -> detections
//                        +---- RoIAlign 14x14 ---+-> MaskHead, MaskPredictor;  KeypointHead, KeypointPredictor
#pragma once

#include "segnet/detection/anchors.hpp"
#include "segnet/detection/image_batch.hpp"
#include "segnet/detection/keypoints.hpp"
#include "segnet/detection/masks.hpp"
#include "segnet/models/fpn.hpp"
#include "segnet/models/rcnn_heads.hpp"

namespace segnet::models {

struct FasterRcnnOptions {
  index_t classes = 91;   ///< the background, 0, included (COCO's 80 have numbers up to 90)
  bool masks = false;     ///< Mask R-CNN
  index_t keypoints = 0;  ///< Keypoint R-CNN: how many an object has, 17 for COCO's persons (classes = 2)
  ResNetOptions backbone = {.depth = 50};
  index_t channels = 256;  ///< of the pyramid
  index_t box_features = 1024, keypoint_channels = 512;
  AnchorOptions anchors{.sizes = {{32}, {64}, {128}, {256}, {512}}};
  ImageBatchOptions images{};
  ProposalOptions proposals{}, training_proposals{.before_nms = 2000, .after_nms = 2000};
  RpnLossOptions rpn_loss{};
  RoiSampleOptions samples{};
  DetectionOptions detections{};
};

/// The losses of a batch; `mask` and `keypoint` only where the network has such a head.
template <class T, class D = Cpu>
struct FasterRcnnLoss {
  Tensor<T, D> objectness, rpn_box, classifier, box, mask, keypoint;

  /// Their sum, which training descends.
  [[nodiscard]] Tensor<T, D> total() const {
    Tensor<T, D> all = objectness + rpn_box + classifier + box;
    if (mask) all = all + mask;
    if (keypoint) all = all + keypoint;
    return all;
  }
};

template <class T = float, class D = Cpu>
struct FasterRcnn {
  using Real = Master<T>;
  FasterRcnnOptions options;
  ResNetFpn<T, D> backbone;
  RpnHead<T, D> rpn_head;
  BoxHead<T, D> box_head;
  BoxPredictor<T, D> box_predictor;
  std::optional<MaskHead<T, D>> mask_head;
  std::optional<MaskPredictor<T, D>> mask_predictor;
  std::optional<KeypointHead<T, D>> keypoint_head;
  std::optional<KeypointPredictor<T, D>> keypoint_predictor;

  explicit FasterRcnn(const FasterRcnnOptions& o = {})
      : options(o),
        backbone(o.backbone, 1, o.channels, FpnExtra::max_pool),
        rpn_head(o.channels, o.anchors.per_position(0)),
        box_head(49 * o.channels, o.box_features),
        box_predictor(o.box_features, o.classes) {
    if (o.masks) {
      mask_head.emplace(o.channels);
      mask_predictor.emplace(o.channels, o.classes);
    }
    if (o.keypoints > 0) {
      keypoint_head.emplace(o.channels, o.keypoint_channels);
      keypoint_predictor.emplace(o.keypoint_channels, o.keypoints);
    }
  }

  /// What is in the images, each [H, W, 3] with values in [0, 1] and of its own size. Call nn::eval first. @throws ShapeError
  [[nodiscard]] std::vector<Detections> predict(const std::vector<Tensor<float>>& images) const {
    const NoGrad guard;
    const Seen seen = look_at(image_batch(images, options.images));
    const auto proposals = propose(seen, options.proposals);
    std::vector<Tensor<float>> boxes;
    for (const auto& p : proposals) boxes.push_back(p.boxes);
    const auto [logits, deltas] = classify(seen, boxes);
    const Tensor<float> host_logits = on_host(logits), host_deltas = on_host(deltas);

    std::vector<Detections> found;
    const index_t K = options.classes;
    index_t first = 0;
    for (std::size_t n = 0; n < boxes.size(); ++n) {
      const index_t R = boxes[n].dim(0);
      found.push_back(detections(host_logits.alias({R, K}, first * K), host_deltas.alias({R, 4 * K}, first * 4 * K), boxes[n],
                                 seen.batch.sizes[n], options.detections));
      first += R;
      boxes[n] = found.back().boxes;
    }
    if (mask_head) add_masks(seen, boxes, found);
    if (keypoint_head) add_keypoints(seen, boxes, found);
    for (std::size_t n = 0; n < found.size(); ++n) {
      found[n].boxes = seen.batch.original_boxes(found[n].boxes, n);
      if (found[n].masks) found[n].masks = paste_masks(found[n].masks, found[n].boxes, seen.batch.originals[n]);
      if (found[n].keypoints) found[n].keypoints = seen.batch.original_points(found[n].keypoints, n);
    }
    return found;
  }

  /// The losses of images and what is in them; `random` draws which anchors and proposals are asked. Published recipes keep the body's
  /// batch norm as it was trained: nn::train(net, false, "backbone.body") and, for its parameters, nn::set_trainable.
  /// @throws ShapeError, ValueError: a target that does not fit
  [[nodiscard]] FasterRcnnLoss<Real, D> loss(const std::vector<Tensor<float>>& images, const std::vector<DetectionTarget>& targets,
                                             Generator& random) const {
    if (targets.size() != images.size())
      throw ValueError("FasterRcnn::loss", "targets", concat(images.size(), ", one for each image"), concat(targets.size()));
    for (std::size_t n = 0; n < targets.size(); ++n)
      segnet::detail::check_target("FasterRcnn::loss", targets[n], n, options.classes, options.masks, options.keypoints);
    const Seen seen = look_at(image_batch(images, options.images));
    std::vector<DetectionTarget> resized;
    for (std::size_t n = 0; n < targets.size(); ++n) resized.push_back(seen.batch.resized_target(targets[n], n));
    const auto proposed = propose(seen, options.training_proposals);
    const auto rpn = rpn_loss(seen.anchors, cast<Real>(seen.logits), cast<Real>(seen.deltas), resized, random, options.rpn_loss);

    std::vector<RoiSamples> samples;
    std::vector<Tensor<float>> boxes, codes;
    std::vector<Tensor<index_t>> labels;
    for (std::size_t n = 0; n < targets.size(); ++n) {
      samples.push_back(sample_rois(proposed[n].boxes, resized[n], random, options.samples));
      boxes.push_back(samples.back().boxes);
      codes.push_back(samples.back().codes);
      labels.push_back(samples.back().labels);
    }
    const auto [logits, deltas] = classify(seen, boxes);
    const auto fast = fast_rcnn_loss<Real, D>(cast<Real>(logits), cast<Real>(deltas), concat(labels, 0), cast<Real>(concat(codes, 0)));
    FasterRcnnLoss<Real, D> result{rpn.objectness, rpn.box, fast.classifier, fast.box, {}, {}};
    if (mask_head || keypoint_head) add_losses_of_objects(seen, samples, resized, result);
    return result;
  }

  // The parts, for those who put them together themselves.

  /// The pyramid of a batch [N, H, W, 3]: P2 ... P6; all but the last are for the heads of boxes.
  [[nodiscard]] std::vector<Tensor<T, D>> maps(const Tensor<T, D>& x) const { return backbone(x); }
  /// Features of rois [K, 5], [K, size, size, channels]. @param image size of the batch
  [[nodiscard]] Tensor<T, D> pooled(std::vector<Tensor<T, D>> maps, const Tensor<float>& rois, Extent2 image, index_t size) const {
    maps.pop_back();
    return MultiScaleRoiAlign{.output_size = size}(maps, rois, image);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("rpn.head", self.rpn_head);
    visit("roi_heads.box_head", self.box_head);
    visit("roi_heads.box_predictor", self.box_predictor);
    visit("roi_heads.mask_head", self.mask_head);
    visit("roi_heads.mask_predictor", self.mask_predictor);
    visit("roi_heads.keypoint_head", self.keypoint_head);
    visit("roi_heads.keypoint_predictor", self.keypoint_predictor);
  }

 private:
  /// A batch, its maps, and what the proposals' head says of all anchors.
  struct Seen {
    ImageBatch batch;
    std::vector<Tensor<T, D>> maps;
    Tensor<float> anchors;        // [A, 4]
    Tensor<T, D> logits, deltas;  // [N, A], [N, A, 4]
    std::vector<index_t> level_sizes;
  };

  static Tensor<float> on_host(const Tensor<T, D>& t) { return cast<float>(t.detach().template to<Cpu>()); }

  Seen look_at(ImageBatch batch) const {
    Seen seen{std::move(batch), {}, {}, {}, {}, {}};
    const index_t N = seen.batch.images.dim(0);
    seen.maps = maps(cast<T>(seen.batch.images.template to<D>()));
    std::vector<Extent2> sizes;
    std::vector<Tensor<T, D>> logits, deltas;
    for (const auto& [score, delta] : rpn_head(seen.maps)) {
      const index_t A = score.numel() / N;
      sizes.emplace_back(score.dim(1), score.dim(2));
      seen.level_sizes.push_back(A);
      logits.push_back(reshape(score, Shape{N, A}));
      deltas.push_back(reshape(delta, Shape{N, A, 4}));
    }
    seen.anchors = anchors(options.anchors, seen.batch.padded(), sizes);
    seen.logits = concat(logits, 1);
    seen.deltas = concat(deltas, 1);
    return seen;
  }

  static std::vector<RpnProposals> propose(const Seen& seen, const ProposalOptions& o) {
    return rpn_proposals(seen.anchors, on_host(seen.logits), on_host(seen.deltas), seen.level_sizes, seen.batch.sizes, o);
  }

  struct Classified {
    Tensor<T, D> logits, deltas;
  };
  Classified classify(const Seen& seen, const std::vector<Tensor<float>>& boxes) const {
    const auto features = box_head(pooled(seen.maps, boxes_to_rois(boxes), seen.batch.padded(), 7));
    return {box_predictor.cls_score(features), box_predictor.bbox_pred(features)};
  }

  Tensor<T, D> mask_logits(const Seen& seen, const std::vector<Tensor<float>>& boxes) const {
    return (*mask_predictor)((*mask_head)(pooled(seen.maps, boxes_to_rois(boxes), seen.batch.padded(), 14)));
  }
  Tensor<T, D> keypoint_logits(const Seen& seen, const std::vector<Tensor<float>>& boxes) const {
    return (*keypoint_predictor)((*keypoint_head)(pooled(seen.maps, boxes_to_rois(boxes), seen.batch.padded(), 14)));
  }

  /// Probabilities of each detection's own class, [n, m, m] for now.
  void add_masks(const Seen& seen, const std::vector<Tensor<float>>& boxes, std::vector<Detections>& found) const {
    const Tensor<float> all = sigmoid(on_host(mask_logits(seen, boxes)));
    const index_t m = all.dim(1), K = all.dim(3);
    const float* from = all.data();
    for (auto& f : found) {
      f.masks = Tensor<float>({f.labels.numel(), m, m});
      for (index_t i = 0; i < f.labels.numel(); ++i, from += m * m * K)
        for (index_t p = 0; p < m * m; ++p) f.masks.data()[i * m * m + p] = from[p * K + f.labels.at(i)];
    }
  }
  void add_keypoints(const Seen& seen, const std::vector<Tensor<float>>& boxes, std::vector<Detections>& found) const {
    const Tensor<float> all = on_host(keypoint_logits(seen, boxes));
    index_t first = 0;
    for (std::size_t n = 0; n < found.size(); ++n) {
      const index_t count = boxes[n].dim(0);
      const auto points = heatmaps_to_keypoints(narrow(all, 0, first, count), boxes[n]);
      found[n].keypoints = points.places;
      found[n].keypoint_scores = points.scores;
      first += count;
    }
  }

  /// Losses of the heads that look at objects alone, averaged over all of the batch.
  void add_losses_of_objects(const Seen& seen, const std::vector<RoiSamples>& samples, const std::vector<DetectionTarget>& targets,
                             FasterRcnnLoss<Real, D>& result) const {
    std::vector<Tensor<float>> boxes;
    std::vector<Tensor<index_t>> labels;
    std::vector<std::vector<index_t>> objects;
    index_t count = 0;
    for (const auto& s : samples) {
      std::vector<index_t> rows, object;
      for (index_t i = 0; i < s.labels.numel(); ++i)
        if (s.labels.at(i) > 0) {
          rows.push_back(i);
          object.push_back(s.objects[static_cast<std::size_t>(i)]);
        }
      boxes.push_back(rows_at(s.boxes, rows));
      labels.push_back(rows_at(s.labels, rows));
      objects.push_back(object);
      count += static_cast<index_t>(rows.size());
    }
    if (mask_head) {
      const auto logits = cast<Real>(mask_logits(seen, boxes));
      index_t first = 0;
      for (std::size_t n = 0; n < boxes.size(); ++n) {
        const index_t here = boxes[n].dim(0);
        const auto part = mask_rcnn_loss(narrow(logits, 0, first, here), boxes[n], labels[n], targets[n].masks, objects[n]);
        const auto share = part * static_cast<Real>(static_cast<double>(here) / static_cast<double>(std::max<index_t>(count, 1)));
        result.mask = result.mask ? result.mask + share : share;
        first += here;
      }
    }
    if (keypoint_head) {
      std::vector<Tensor<float>> points;
      std::vector<index_t> point_of;  // among the objects of all images
      index_t first = 0;
      for (std::size_t n = 0; n < boxes.size(); ++n) {
        for (const index_t object : objects[n]) point_of.push_back(first + object);
        if (targets[n].keypoints) points.push_back(targets[n].keypoints);
        first += targets[n].labels.numel();
      }
      result.keypoint = keypoint_rcnn_loss(cast<Real>(keypoint_logits(seen, boxes)), concat(boxes, 0),
                                           points.empty() ? Tensor<float>({0, options.keypoints, 3}) : concat(points, 0), point_of);
    }
  }
};

}  // namespace segnet::models
