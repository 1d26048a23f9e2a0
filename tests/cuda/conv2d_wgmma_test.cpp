// Hopper's convolution kernels against the CPU's. Integers: every sum is exact, so results are equal up to the one rounding at the end.
#include "segnet/cuda/conv2d_wgmma.cuh"

#include "same_on_gpu.hpp"
#include "segnet/kernels/conv2d.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// How the CPU computes: Winograd's sums of integers are not exact.
constexpr ConvAlgorithm exact = ConvAlgorithm::implicit_gemm;

kernels::ConvGeometry geometry(const Shape& x, const Shape& w, const Conv2dOptions& options) {
  return kernels::conv2d_geometry("conv2d", x, w, {0}, options);
}

/// Every way in which tiles, chunks, blocks and phases end early.
std::vector<kernels::ConvGeometry> shapes() {
  return {geometry({1, 31, 39, 64}, {64, 3, 3, 64}, {.padding = 1}),
          geometry({1, 30, 40, 128}, {128, 3, 3, 128}, {.padding = 1}),
          geometry({2, 31, 29, 40}, {72, 3, 3, 40}, {.padding = 1}),
          geometry({1, 19, 27, 256}, {192, 1, 1, 256}, {}),
          geometry({1, 61, 45, 64}, {128, 3, 3, 64}, {.stride = 2, .padding = 1}),
          geometry({1, 30, 29, 96}, {136, 3, 3, 96}, {.padding = 4, .dilation = 4}),
          geometry({2, 40, 60, 128}, {64, 2, 2, 128}, {.stride = 2}),
          geometry({1, 64, 70, 32}, {64, 7, 7, 32}, {.stride = 2, .padding = 3}),
          geometry({3, 13, 51, 64}, {136, 1, 5, 64}, {.stride = {1, 2}, .padding = {Extent2(0, 3), Extent2(1, 0)}}),
          geometry({1, 31, 34, 64}, {64, 5, 5, 64}, {.padding = 2}),
          geometry({1, 47, 45, 64}, {64, 3, 3, 64}, {.padding = 2, .dilation = 2}),
          geometry({3, 30, 23, 128}, {64, 3, 1, 128}, {.padding = {1, 0}}),
          geometry({1, 46, 46, 32}, {32, 3, 3, 32}, {})};
}

/// T's rounding of the CPU's float result.
template <class T>
void check_rounded(const Tensor<T, Cuda>& got, const Tensor<float>& expected) {
  CHECK(max_difference(cast<float>(got.template to<Cpu>()), cast<float>(cast<T>(expected))) == 0);
}

template <class T>
Tensor<T, Cuda> on_gpu(const Tensor<float>& x) {
  return cast<T>(x).template to<Cuda>();
}

constexpr cuda::WgmmaTiles all_tiles[] = {cuda::WgmmaTiles::automatic, cuda::WgmmaTiles::runs, cuda::WgmmaTiles::columns,
                                          cuda::WgmmaTiles::boxes};

bool hopper() { return gpu() && cuda::device_info().compute_capability == 90; }

}  // namespace

TEST_CASE_TEMPLATE("wgmma: forward and gradients equal the CPU's", T, bfloat16, float) {
  if (!hopper()) return;
  poison_fresh_memory<Cuda>(true);
  int taken = 0;
  for (const kernels::ConvGeometry& g : shapes()) {
    INFO(g.x_shape(), " * ", g.w_shape());
    const auto x = integers<float>(g.x_shape(), -2, 2), w = integers<float>(g.w_shape(), -2, 2), dy = integers<float>(g.y_shape(), -2, 2);
    const auto b = integers<float>({g.O}, -5, 5), c = integers<float>({g.C}, -5, 5);
    const auto gx = on_gpu<T>(x), gw = on_gpu<T>(w), gdy = on_gpu<T>(dy), gb = on_gpu<T>(b), gc = on_gpu<T>(c);
    if (cuda::wgmma_takes<T>(g, ConvPass::forward)) {
      ++taken;
      const Tensor<float> y(g.y_shape());
      for (const cuda::WgmmaTiles tiles : all_tiles) {  // the first without bias
        INFO("tiles ", static_cast<int>(tiles));
        const bool bias = tiles != cuda::WgmmaTiles::automatic;
        const Tensor<T, Cuda> got(g.y_shape());
        kernels::conv2d<float>(g, x.view(), w.view(), bias ? b.view() : View<const float>{}, y.view(), exact);
        cuda::wgmma_forward<T>(g, gx.data(), gw.data(), bias ? gb.data() : nullptr, got.data(), tiles);
        check_rounded(got, y);
      }
    }
    if (cuda::wgmma_takes<T>(g, ConvPass::grad_input)) {
      ++taken;
      const Tensor<float> dx(g.x_shape());
      for (const cuda::WgmmaTiles tiles : all_tiles) {
        INFO("tiles ", static_cast<int>(tiles));
        const bool bias = tiles != cuda::WgmmaTiles::automatic;
        const Tensor<T, Cuda> got(g.x_shape());
        kernels::conv2d_grad_input<float>(g, dy.view(), w.view(), bias ? c.view() : View<const float>{}, dx.view(), exact);
        cuda::wgmma_grad_input<T>(g, gdy.data(), gw.data(), bias ? gc.data() : nullptr, got.data(), tiles);
        check_rounded(got, dx);
      }
    }
    if (cuda::wgmma_takes<T>(g, ConvPass::grad_weight)) {
      ++taken;
      const Tensor<float> dw(g.w_shape());
      const Tensor<T, Cuda> got(g.w_shape()), again(g.w_shape());
      kernels::conv2d_grad_weight<float>(g, dy.view(), x.view(), dw.view(), exact);
      cuda::wgmma_grad_weight<T>(g, gdy.data(), gx.data(), got.data());
      cuda::wgmma_grad_weight<T>(g, gdy.data(), gx.data(), again.data());
      check_rounded(got, dw);
      CHECK(equal(got.template to<Cpu>(), again.template to<Cpu>()));
    }
  }
  CHECK(taken > 20);
  poison_fresh_memory<Cuda>(false);
}

TEST_CASE("wgmma: shapes that it leaves to others") {
  if (!hopper()) return;
  const auto takes = [](const kernels::ConvGeometry& g, ConvPass pass) { return cuda::wgmma_takes<bfloat16>(g, pass); };
  const Shape image{4, 64, 64, 64};
  const auto good = geometry(image, {64, 3, 3, 64}, {.padding = 1});
  for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) CHECK(takes(good, pass));
  CHECK_FALSE(takes(geometry({4, 64, 64, 3}, {64, 3, 3, 3}, {.padding = 1}), ConvPass::forward));    // no whole 16 bytes
  CHECK_FALSE(takes(geometry({4, 64, 64, 16}, {64, 3, 3, 16}, {.padding = 1}), ConvPass::forward));  // three quarters of a chunk empty
  CHECK_FALSE(takes(geometry(image, {64, 3, 3, 32}, {.padding = 1, .groups = 2}), ConvPass::forward));
  CHECK_FALSE(takes(geometry(image, {64, 9, 9, 64}, {.padding = 4}), ConvPass::forward));  // more taps than there is room for
  CHECK_FALSE(takes(geometry(image, {64, 3, 3, 64}, {.padding = 130, .dilation = 130}), ConvPass::forward));  // corners of 8 bits
  CHECK_FALSE(takes(geometry({1, 8, 8, 64}, {64, 3, 3, 64}, {.padding = 1}), ConvPass::forward));             // small
  CHECK_FALSE(takes(geometry(image, {64, 1, 1, 64}, {.stride = 2}), ConvPass::grad_input));                   // three phases without a tap
  CHECK_FALSE(cuda::wgmma_takes<float>(good, ConvPass::grad_weight));
}
