#include "cudnn.hpp"

#if defined(SEGNET_BENCH_CUDNN)
#include <cuda_runtime.h>
#include <cudnn.h>

#include <memory>
#endif

namespace gpu_bench {

#if defined(SEGNET_BENCH_CUDNN)

namespace {

using segnet::ConvPass;

cudnnHandle_t handle() {
  static const cudnnHandle_t h = [] {
    cudnnHandle_t created = nullptr;
    if (cudnnCreate(&created) != CUDNN_STATUS_SUCCESS || cudnnSetStream(created, cudaStreamPerThread) != CUDNN_STATUS_SUCCESS)
      return cudnnHandle_t{};
    return created;
  }();
  return h;
}

/// What a prepared call owns.
struct Problem {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t conv = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  ~Problem() {
    cudnnDestroyTensorDescriptor(x);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyConvolutionDescriptor(conv);
    cudaFree(workspace);
  }
};

/// The first of cuDNN's measured algorithms (they come fastest first) that ran.
template <class Performance, class Find>
bool fastest(const Find& find, Performance& best) {
  Performance found[8];
  int count = 0;
  if (find(8, &count, found) != CUDNN_STATUS_SUCCESS) return false;
  for (int i = 0; i < count; ++i)
    if (found[i].status == CUDNN_STATUS_SUCCESS) return best = found[i], true;
  return false;
}

}  // namespace

std::function<void()> cudnn_convolution(const segnet::kernels::ConvGeometry& g, ConvPass pass, Element element, void* x, void* w, void* y) {
  if (!handle()) return {};
  const auto p = std::make_shared<Problem>();
  const cudnnDataType_t type = element == Element::bfloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  const auto i = [](segnet::index_t n) { return static_cast<int>(n); };
  const bool ready =
      cudnnCreateTensorDescriptor(&p->x) == CUDNN_STATUS_SUCCESS && cudnnCreateTensorDescriptor(&p->y) == CUDNN_STATUS_SUCCESS &&
      cudnnCreateFilterDescriptor(&p->w) == CUDNN_STATUS_SUCCESS && cudnnCreateConvolutionDescriptor(&p->conv) == CUDNN_STATUS_SUCCESS &&
      cudnnSetTensor4dDescriptor(p->x, CUDNN_TENSOR_NHWC, type, i(g.N), i(g.C), i(g.H), i(g.W)) == CUDNN_STATUS_SUCCESS &&
      cudnnSetTensor4dDescriptor(p->y, CUDNN_TENSOR_NHWC, type, i(g.N), i(g.O), i(g.OH), i(g.OW)) == CUDNN_STATUS_SUCCESS &&
      cudnnSetFilter4dDescriptor(p->w, type, CUDNN_TENSOR_NHWC, i(g.O), i(g.C / g.groups), i(g.kh), i(g.kw)) == CUDNN_STATUS_SUCCESS &&
      cudnnSetConvolution2dDescriptor(p->conv, i(g.padding.h), i(g.padding.w), i(g.stride.h), i(g.stride.w), i(g.dilation.h),
                                      i(g.dilation.w), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS &&
      cudnnSetConvolutionGroupCount(p->conv, i(g.groups)) == CUDNN_STATUS_SUCCESS &&
      cudnnSetConvolutionMathType(p->conv, CUDNN_TENSOR_OP_MATH) == CUDNN_STATUS_SUCCESS;
  if (!ready) return {};

  // All measured variants share the largest workspace that any of them asks for, up to 2 GiB.
  const std::size_t most = std::size_t{2} << 30;
  void* search = nullptr;
  if (cudaMalloc(&search, most) != cudaSuccess) return {};
  static const float one = 1, zero = 0;
  std::function<void()> call;
  const auto keep = [&](std::size_t bytes) {
    p->workspace_bytes = bytes;
    return bytes == 0 || cudaMalloc(&p->workspace, bytes) == cudaSuccess;
  };
  if (pass == ConvPass::forward) {
    cudnnConvolutionFwdAlgoPerf_t best;
    if (fastest(
            [&](int n, int* count, auto* found) {
              return cudnnFindConvolutionForwardAlgorithmEx(handle(), p->x, x, p->w, w, p->conv, p->y, y, n, count, found, search, most);
            },
            best) &&
        keep(best.memory) && cudnnSetConvolutionMathType(p->conv, best.mathType) == CUDNN_STATUS_SUCCESS)
      call = [=] {
        cudnnConvolutionForward(handle(), &one, p->x, x, p->w, w, p->conv, best.algo, p->workspace, p->workspace_bytes, &zero, p->y, y);
      };
  } else if (pass == ConvPass::grad_input) {
    cudnnConvolutionBwdDataAlgoPerf_t best;
    if (fastest(
            [&](int n, int* count, auto* found) {
              return cudnnFindConvolutionBackwardDataAlgorithmEx(handle(), p->w, w, p->y, y, p->conv, p->x, x, n, count, found, search,
                                                                 most);
            },
            best) &&
        keep(best.memory) && cudnnSetConvolutionMathType(p->conv, best.mathType) == CUDNN_STATUS_SUCCESS)
      call = [=] {
        cudnnConvolutionBackwardData(handle(), &one, p->w, w, p->y, y, p->conv, best.algo, p->workspace, p->workspace_bytes, &zero, p->x,
                                     x);
      };
  } else {
    cudnnConvolutionBwdFilterAlgoPerf_t best;
    if (fastest(
            [&](int n, int* count, auto* found) {
              return cudnnFindConvolutionBackwardFilterAlgorithmEx(handle(), p->x, x, p->y, y, p->conv, p->w, w, n, count, found, search,
                                                                   most);
            },
            best) &&
        keep(best.memory) && cudnnSetConvolutionMathType(p->conv, best.mathType) == CUDNN_STATUS_SUCCESS)
      call = [=] {
        cudnnConvolutionBackwardFilter(handle(), &one, p->x, x, p->y, y, p->conv, best.algo, p->workspace, p->workspace_bytes, &zero, p->w,
                                       w);
      };
  }
  cudaFree(search);
  return call;
}

const char* cudnn_version() {
  static const std::size_t v = cudnnGetVersion();
  static const std::string text = std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
  return text.c_str();
}

#else

std::function<void()> cudnn_convolution(const segnet::kernels::ConvGeometry&, segnet::ConvPass, Element, void*, void*, void*) { return {}; }
const char* cudnn_version() { return ""; }

#endif

}  // namespace gpu_bench
