#include "conv2d_depthwise.cuh"

#include "conv2d_instances.cuh"

namespace segnet::kernels::depthwise {

SEGNET_CONV2D_PASSES(template, float)
SEGNET_CONV2D_PASSES(template, double)
SEGNET_CONV2D_PASSES(template, bfloat16)

}  // namespace segnet::kernels::depthwise
