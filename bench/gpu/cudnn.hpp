// cuDNN as a peer, where its header was found (SEGNET_BENCH_CUDNN): convolutions, channels last, the fastest of its own algorithms.
#pragma once

#include <functional>

#include "segnet/kernels/conv2d_geometry.hpp"

namespace gpu_bench {

enum class Element { float32, bfloat16 };

/// One pass over these arrays (y is the input of the gradients), or an empty function where there is no cuDNN or it declines.
std::function<void()> cudnn_convolution(const segnet::kernels::ConvGeometry& g, segnet::ConvPass pass, Element element, void* x, void* w,
                                        void* y);

/// "9.13.0", or empty.
const char* cudnn_version();

}  // namespace gpu_bench
