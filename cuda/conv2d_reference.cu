#include "conv2d_reference.cuh"

#include "conv2d_instances.cuh"

namespace segnet::kernels::reference {

SEGNET_CONV2D_PASSES(template, float)
SEGNET_CONV2D_PASSES(template, double)
SEGNET_CONV2D_PASSES(template, bfloat16)

}  // namespace segnet::kernels::reference
