// Families whose operations are still to come: their cases count as not implemented, not as failures.
#include "golden/golden.hpp"

namespace segnet::golden {

void add_missing(Registry& registry) {
  for (const char* name : {"activations",
                           "adaptive_avg_pool2d",
                           "adaptive_max_pool2d",
                           "affine_grid",
                           "attention",
                           "avg_pool2d",
                           "batch_norm",
                           "bce_with_logits",
                           "binary",
                           "box_loss",
                           "box_ops",
                           "coco_ap",
                           "confusion",
                           "conv3d",
                           "conv_transpose3d",
                           "crf_dense",
                           "crf_grid",
                           "crf_rnn",
                           "cross_entropy",
                           "dcnv3",
                           "deform_conv2d",
                           "detection",
                           "einsum",
                           "grid_sample",
                           "group_norm",
                           "indexing",
                           "instance_norm",
                           "layer_norm",
                           "linear",
                           "lr_schedules",
                           "matmul",
                           "max_pool2d",
                           "max_unpool2d",
                           "ms_deform_attn",
                           "multi_head_attention",
                           "nll_loss",
                           "nms",
                           "optimizers",
                           "panoptic_coco_sample",
                           "panoptic_quality",
                           "reductions",
                           "regression_loss",
                           "rle",
                           "roi_align",
                           "roi_pool",
                           "shape_ops",
                           "sigmoid_focal_loss",
                           "softmax",
                           "unary",
                           "upsample"})
    registry.add_missing(name);
  for (const char* net : {"fcdensenet", "fcos", "hrnet", "internimage", "lawin", "mit", "rcnn", "retinanet", "segformer", "tv_cls",
                          "tv_seg", "unet", "uperhead"})
    registry.add_missing(concat("models/", net));
}

}  // namespace segnet::golden
