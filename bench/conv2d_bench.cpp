// Layers of segmentation networks, the three passes of each: GFLOP/s and the share of what the machine can do, which is the nearer
// of two limits: fused multiply-adds, and memory for reading two of x, w, y once and writing the third.
//
// Peers in the same program: oneDNN in the layout that it prefers, converted beforehand (onednn), and with channels last
// (onednn_nhwc).
#include "conv2d_bench.hpp"

#include <cmath>

#include "bandwidth.hpp"
#include "fma_peak.hpp"
#include "segnet/core/random.hpp"
#include "segnet/kernels/conv2d.hpp"

std::vector<ConvContender>& conv_contenders() {
  static std::vector<ConvContender> all;
  return all;
}

namespace {

using namespace segnet;

ConvRunner run_segnet(const kernels::ConvGeometry& g, ConvPass pass, const ConvArrays& a, ConvAlgorithm algorithm) {
  const View<float> x{a.x, g.x_shape()}, w{a.w, g.w_shape()}, y{a.y, g.y_shape()};
  switch (pass) {
    case ConvPass::forward:
      return {[=] { kernels::conv2d(g, x, w, {}, y, algorithm); }};
    case ConvPass::grad_input:
      return {[=] { kernels::conv2d_grad_input(g, y, w, {}, x, algorithm); }};
    default:
      return {[=] { kernels::conv2d_grad_weight(g, y, x, w, algorithm); }};
  }
}
ConvContender segnet_contender(const char* name, ConvAlgorithm algorithm) {
  return {name, [=](const kernels::ConvGeometry& g, ConvPass pass, const ConvArrays& a) { return run_segnet(g, pass, a, algorithm); }};
}
const bool added = (conv_contenders().push_back(segnet_contender("segnet", ConvAlgorithm::automatic)),
                    conv_contenders().push_back(segnet_contender("segnet_im2col", ConvAlgorithm::im2col_gemm)), true);

struct Layer {
  const char* name;
  Shape x, w;
  Conv2dOptions options;
};
const Layer layers[] = {
    {"unet_stem_3to16", {1, 360, 480, 3}, {16, 3, 3, 3}, {.padding = 1}},
    {"unet_16to16", {1, 360, 480, 16}, {16, 3, 3, 16}, {.padding = 1}},
    {"unet_32to32", {1, 180, 240, 32}, {32, 3, 3, 32}, {.padding = 1}},
    {"unet_64to64", {2, 90, 120, 64}, {64, 3, 3, 64}, {.padding = 1}},
    {"unet_256to256", {2, 22, 30, 256}, {256, 3, 3, 256}, {.padding = 1}},
    {"unet_classifier_16to11", {1, 360, 480, 16}, {11, 1, 1, 16}, {}},
    {"unet_up_64to32", {1, 240, 180, 32}, {64, 2, 2, 32}, {.stride = 2}},  // as a transposed convolution: forward is grad_input
    {"resnet_stem_7x7", {1, 256, 256, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}},
    {"resnet_1x1_256to64", {1, 64, 64, 256}, {64, 1, 1, 256}, {}},
    {"resnet_stride2_64to128", {1, 128, 128, 64}, {128, 3, 3, 64}, {.stride = 2, .padding = 1}},
    {"deeplab_dilation2_256to256", {1, 64, 64, 256}, {256, 3, 3, 256}, {.padding = 2, .dilation = 2}},
    {"densenet_144to16", {1, 128, 128, 144}, {16, 3, 3, 144}, {.padding = 1}},
    {"depthwise_256", {1, 64, 64, 256}, {256, 3, 3, 1}, {.padding = 1, .groups = 256}},
};

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double worst = 0, largest = 0;
  for (index_t i = 0; i < a.numel(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b.data()[i])));
  }
  return worst / largest;
}

void pass(benchmark::State& state, const Layer& layer, ConvPass which, const ConvContender& contender) {
  const auto g = kernels::conv2d_geometry("conv2d", layer.x, layer.w, {0}, layer.options);
  const auto x = random_normal<float>(g.x_shape(), default_generator()), w = random_normal<float>(g.w_shape(), default_generator()),
             y = random_normal<float>(g.y_shape(), default_generator());
  const ConvArrays arrays{x.data(), w.data(), y.data()};
  Tensor<float> result = which == ConvPass::forward ? y : which == ConvPass::grad_input ? x : w;
  run_segnet(g, which, arrays, ConvAlgorithm::im2col_gemm).run();
  const auto expected = result.clone();
  result.fill(0);
  const ConvRunner runner = contender.make(g, which, arrays);
  runner.run();
  runner.fetch();
  if (!(largest_difference(result, expected) < 1e-4)) return state.SkipWithError("differs from im2col_gemm");

  const double flop = kernels::flops(g), bytes = kernels::compulsory_bytes(g, sizeof(float));
  const double limit = std::max(flop / fma_peak(), bytes / copy_bandwidth(static_cast<std::size_t>(bytes) / 2));
  for (auto _ : state) runner.run();
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = benchmark::Counter(flop, rate);
  state.counters["B/s"] = benchmark::Counter(bytes, rate);
  state.counters["%roof"] = benchmark::Counter(100 * limit, rate);
}

}  // namespace

int main(int argc, char** argv) {
  const std::pair<const char*, ConvPass> passes[] = {
      {"forward", ConvPass::forward}, {"grad_input", ConvPass::grad_input}, {"grad_weight", ConvPass::grad_weight}};
  for (const Layer& layer : layers)
    for (const auto& [name, which] : passes)
      for (const ConvContender& contender : conv_contenders())
        benchmark::RegisterBenchmark(concat("conv2d_", name, "/", layer.name, "/", contender.name).c_str(),
                                     [&layer, which = which, contender](benchmark::State& state) { pass(state, layer, which, contender); })
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  std::printf("fused multiply-add peak: %.0f GFLOP/s on %d threads (%s)\n", fma_peak() * 1e-9, num_threads(), to_string(current_isa()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
