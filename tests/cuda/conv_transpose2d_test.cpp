#include "segnet/ops/conv_transpose2d.hpp"

#include "cuda/larger_conv_cases.hpp"
#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// conv_transpose2d by `algorithm` on the GPU, on the CPU by one whose sums of integers are exact, which Winograd's are not.
auto transposed_convolution(ConvTranspose2dOptions options, ConvAlgorithm algorithm) {
  return [=]<class T, class D>(const std::vector<Tensor<T, D>>& in) {
    ConvTranspose2dOptions o = options;
    o.algorithm = std::is_same_v<D, Cuda> ? algorithm : ConvAlgorithm::implicit_gemm;
    return conv_transpose2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor<T, D>{}, o);
  };
}

/// The transpose of a convolution, with the output_padding that leads back to its input's size where that is allowed.
ConvTranspose2dOptions transpose_of(const ConvCase& c) {
  const auto& g = c.geometry;
  ConvTranspose2dOptions o{.stride = c.options.stride, .padding = c.options.padding, .dilation = c.options.dilation, .groups = g.groups};
  const auto g0 = kernels::conv_transpose2d_geometry("conv_transpose2d", g.y_shape(), c.w, {0}, o);
  const auto missing = [](index_t size, index_t stride, index_t dilation) {
    return std::clamp<index_t>(size, 0, std::max(stride, dilation) - 1);
  };
  o.output_padding = Extent2(missing(g.H - g0.H, g.stride.h, g.dilation.h), missing(g.W - g0.W, g.stride.w, g.dilation.w));
  return o;
}

template <class Check>
void for_each_case(index_t count, const Check& check) {
  for (index_t i = 0; i < count;) {
    const ConvCase c = random_conv_case();
    ConvTranspose2dOptions options;
    try {
      options = transpose_of(c);
    } catch (const Error&) {  // cropped to nothing: draw again
      continue;
    }
    check(c, options);
    ++i;
  }
  for (const ConvCase& c : larger_conv_cases()) check(c, transpose_of(c));
}

}  // namespace

TEST_CASE_TEMPLATE("conv_transpose2d on the GPU: the CPU's sums, forward and backward", T, float, double) {
  if (!gpu()) return;
  for_each_case(on_gpu(30, 15), [](const ConvCase& c, const ConvTranspose2dOptions& o) {
    const auto& g = c.geometry;
    const auto x = integers<T>(g.y_shape(), -3, 3), w = integers<T>(c.w, -3, 3), b = integers<T>({g.C}, -3, 3);
    const bool slow = on_gpu(0, 1) && g.N * g.OH * g.OW * w.numel() > 500'000;
    for (const auto algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm})
      if (!slow || algorithm != ConvAlgorithm::reference)
        check_same_on_gpu<T>(concat("transpose of ", describe(c), " ", to_string(algorithm)), transposed_convolution(o, algorithm),
                             {x, w, b});
  });
}

TEST_CASE("conv_transpose2d on the GPU: bfloat16, the doubling layer of a U-Net, an empty batch") {
  if (!gpu()) return;
  for_each_case(on_gpu(10, 5), [](const ConvCase& c, const ConvTranspose2dOptions& o) {
    const auto& g = c.geometry;
    check_bfloat16_on_gpu(concat("transpose of ", describe(c)), transposed_convolution(o, ConvAlgorithm::automatic),
                          {integers<float>(g.y_shape(), -3, 3), integers<float>(c.w, -3, 3), integers<float>({g.C}, -3, 3)});
  });
  const auto twice = transposed_convolution({.stride = 2}, ConvAlgorithm::automatic);
  const auto x = integers<float>({2, 12, 15, 128}, -1, 1), w = integers<float>({128, 2, 2, 64}, -1, 1), b = integers<float>({64}, -3, 3);
  check_same_on_gpu<float>("doubling", twice, {x, w, b});
  check_bfloat16_on_gpu("doubling in bfloat16", twice, {x, w, b});
  check_same_on_gpu<float>("empty", twice, {Tensor<float>({0, 3, 3, 128}), w, b});
}
