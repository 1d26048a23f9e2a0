#include "conv2d_im2col_gemm.cuh"

#include "conv2d_instances.cuh"

namespace segnet::kernels::im2col_gemm {

SEGNET_CONV2D_PASSES(template, float)
SEGNET_CONV2D_PASSES(template, double)
SEGNET_CONV2D_PASSES(template, bfloat16)

}  // namespace segnet::kernels::im2col_gemm
