#include "segnet/ops/conv2d.hpp"

#include "cuda/larger_conv_cases.hpp"
#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// conv2d by `algorithm` on the GPU, on the CPU by one whose sums of integers are exact, which Winograd's are not.
auto convolution(Conv2dOptions options, ConvAlgorithm algorithm) {
  return [=]<class T, class D>(const std::vector<Tensor<T, D>>& in) {
    Conv2dOptions o = options;
    o.algorithm = std::is_same_v<D, Cuda> ? algorithm : ConvAlgorithm::implicit_gemm;
    return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor<T, D>{}, o);
  };
}

bool suits(const kernels::ConvGeometry& g, ConvAlgorithm algorithm, bool is_double) {
  if (algorithm == ConvAlgorithm::depthwise) return g.groups == g.C && g.groups == g.O;
  if (algorithm != ConvAlgorithm::implicit_gemm) return true;
  return !is_double && cuda::device_info().compute_capability >= 80 && g.groups <= on_gpu(g.groups, 4);  // each fills a tile
}

constexpr ConvAlgorithm algorithms[] = {ConvAlgorithm::automatic, ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm,
                                        ConvAlgorithm::implicit_gemm, ConvAlgorithm::depthwise};

template <class T>
void check_all_algorithms(const ConvCase& c) {
  const auto x = integers<T>(c.x, -3, 3), w = integers<T>(c.w, -3, 3), b = integers<T>({c.geometry.O}, -3, 3);
  for (const auto algorithm : algorithms)
    if (suits(c.geometry, algorithm, std::is_same_v<T, double>))
      check_same_on_gpu<T>(concat(describe(c), " ", to_string(algorithm)), convolution(c.options, algorithm), {x, w, b});
}

void check_bfloat16(const ConvCase& c) {
  const auto x = integers<float>(c.x, -3, 3), w = integers<float>(c.w, -3, 3), b = integers<float>({c.geometry.O}, -3, 3);
  for (const auto algorithm : algorithms)
    if (suits(c.geometry, algorithm, false))
      check_bfloat16_on_gpu(concat(describe(c), " bfloat16 ", to_string(algorithm)), convolution(c.options, algorithm), {x, w, b});
}

/// Depth-wise shapes for each kernel: tiles of several rows and columns with edges everywhere, packs of channels and single ones.
std::vector<ConvCase> depthwise_cases() {
  std::vector<ConvCase> cases;
  for (const index_t kernel : {1, 3, 5, 7})
    for (index_t stride = 1; stride <= (kernel == 3 ? 3 : on_gpu(3, 2)); ++stride)
      for (const index_t channels : on_gpu(true, false) ? std::vector<index_t>{5, 24, 136} : std::vector<index_t>{5, 40})
        cases.push_back(conv_case({2, 19, 22, channels}, {channels, kernel, kernel, 1},
                                  {.stride = stride,
                                   .padding = Padding2(Extent2(kernel / 2, 1), Extent2(0, kernel / 2)),
                                   .dilation = kernel == 3 && stride == 3 ? 2 : 1,
                                   .groups = channels}));
  cases.push_back(conv_case({1, 30, 20, 8}, {8, 3, 3, 1}, {.padding = 6, .dilation = 6, .groups = 8}));
  cases.push_back(conv_case({1, 130, 140, 4}, {4, 3, 3, 1}, {.padding = 1, .groups = 4}));  // many pieces for one pack of channels
  return cases;
}

}  // namespace

TEST_CASE_TEMPLATE("conv2d on the GPU: every algorithm gives the CPU's sums, forward and backward", T, float, double) {
  if (!gpu()) return;
  for (int i = 0; i < on_gpu(40, 10); ++i) check_all_algorithms<T>(random_conv_case());
}

TEST_CASE_TEMPLATE("conv2d on the GPU: larger images", T, float, double) {
  if (!gpu()) return;
  for (const ConvCase& c : larger_conv_cases()) check_all_algorithms<T>(c);
}

TEST_CASE_TEMPLATE("conv2d on the GPU: depth-wise kernels", T, float, double) {
  if (!gpu()) return;
  for (const ConvCase& c : depthwise_cases()) {
    const auto x = integers<T>(c.x, -3, 3), w = integers<T>(c.w, -3, 3), b = integers<T>({c.geometry.O}, -3, 3);
    check_same_on_gpu<T>(describe(c), convolution(c.options, ConvAlgorithm::depthwise), {x, w, b});
    check_same_on_gpu<T>(describe(c) + " without bias", convolution(c.options, ConvAlgorithm::automatic), {x, w});
  }
}

TEST_CASE("conv2d on the GPU: bfloat16 sums in float and rounds once") {
  if (!gpu()) return;
  for (int i = 0; i < on_gpu(20, 4); ++i) check_bfloat16(random_conv_case());
  for (const ConvCase& c : larger_conv_cases()) check_bfloat16(c);
  for (const ConvCase& c : depthwise_cases()) check_bfloat16(c);
}

TEST_CASE("conv2d on the GPU: a column buffer in several pieces") {
  if (!gpu()) return;
  // 340 x 280 pixels of 9 * 20 floats are more than 64 MiB; so are two images of 3 x 3 doubles.
  const auto c = conv_case({1, 340, 280, 20}, {8, 3, 3, 20}, {.padding = 1});
  check_same_on_gpu<float>("pieces of an image", convolution(c.options, ConvAlgorithm::im2col_gemm),
                           {integers<float>(c.x, -1, 1), integers<float>(c.w, -1, 1), integers<float>({8}, -3, 3)});
  if (on_gpu(false, true)) return;
  const auto d = conv_case({3, 150, 151, 32}, {4, 3, 3, 16}, {.stride = {1, 2}, .padding = 1, .groups = 2});
  check_same_on_gpu<double>("pieces of a batch", convolution(d.options, ConvAlgorithm::im2col_gemm),
                            {integers<double>(d.x, -1, 1), integers<double>(d.w, -1, 1)});
}

TEST_CASE("conv2d on the GPU: float is accurate unless tf32 is allowed") {
  if (!gpu()) return;
  CHECK_FALSE(cuda::tf32_allowed());
  const auto c = conv_case({2, on_gpu(23, 9), on_gpu(27, 10), 64}, {48, 3, 3, 64}, {.padding = 1});
  const auto x = normal<float>(c.x), w = normal<float>(c.w);
  for (const auto algorithm : {ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm, ConvAlgorithm::automatic})
    check_same_on_gpu<float>(to_string(algorithm), convolution(c.options, algorithm), {x, w}, 3e-6);
  cuda::allow_tf32(true);
  for (const auto algorithm : {ConvAlgorithm::im2col_gemm, ConvAlgorithm::automatic})
    check_same_on_gpu<float>(concat("tf32 ", to_string(algorithm)), convolution(c.options, algorithm), {x, w}, 2e-3);
  check_all_algorithms<float>(c);  // small integers are tf32's own numbers
  cuda::allow_tf32(false);
}

TEST_CASE("conv2d on the GPU: an empty batch, and what is refused") {
  if (!gpu()) return;
  for (const auto algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm})
    check_same_on_gpu<float>(to_string(algorithm), convolution({}, algorithm),
                             {Tensor<float>({0, 5, 5, 3}), ones<float>({4, 3, 3, 3}), ones<float>({4})});
  const auto x = ones<float, Cuda>({1, 4, 4, 2}), w = ones<float, Cuda>({2, 3, 3, 2});
  CHECK_THROWS_AS((void)conv2d(x, w, {}, {.algorithm = ConvAlgorithm::winograd}), NotImplemented);
  CHECK_THROWS_AS((void)conv2d(x, w, {}, {.algorithm = ConvAlgorithm::matrix}), NotImplemented);
  CHECK_THROWS_AS((void)conv2d(x, w, {}, {.algorithm = ConvAlgorithm::depthwise}), ValueError);
  CHECK_THROWS_AS((void)conv2d(cast<double>(x), cast<double>(w), {}, {.algorithm = ConvAlgorithm::implicit_gemm}), NotImplemented);
  CHECK_THROWS_AS((void)conv2d(x, ones<float, Cuda>({2, 3, 3, 3})), ShapeError);
}
