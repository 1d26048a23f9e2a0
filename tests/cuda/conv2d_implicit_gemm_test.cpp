// Convolutions on tensor cores against the CPU's. Integers: every sum is exact in every precision, so results are equal up to the one
// rounding at the end.
#include "segnet/cuda/conv2d_implicit_gemm.cuh"

#include "ops/conv_cases.hpp"
#include "same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;
using cuda::Precision, kernels::ConvGeometry;

namespace {

bool tensor_cores() { return gpu() && cuda::device_info().compute_capability >= 80; }

/// What the CPU makes of one case, not by Winograd, whose sums of integers are not exact.
struct Expected {
  Tensor<float> x, w, b, c, dy;  // b: bias of y, c: of dx
  Tensor<float> y, dx, dw;

  Expected(const ConvGeometry& g, bool bias)
      : x(integers<float>(g.x_shape(), -2, 2)),
        w(integers<float>(g.w_shape(), -2, 2)),
        b(bias ? integers<float>({g.O}, -5, 5) : Tensor<float>{}),
        c(bias ? integers<float>({g.C}, -5, 5) : Tensor<float>{}),
        dy(integers<float>(g.y_shape(), -2, 2)),
        y(g.y_shape()),
        dx(g.x_shape()),
        dw(g.w_shape()) {
    kernels::conv2d<float>(g, x.view(), w.view(), b.view(), y.view(), ConvAlgorithm::implicit_gemm);
    kernels::conv2d_grad_input<float>(g, dy.view(), w.view(), c.view(), dx.view(), ConvAlgorithm::implicit_gemm);
    kernels::conv2d_grad_weight<float>(g, dy.view(), x.view(), dw.view(), ConvAlgorithm::implicit_gemm);
  }
};

/// A tensor on the GPU `offset` elements behind the beginning of its memory.
template <class T>
struct Shifted {
  Tensor<T, Cuda> all;
  Shape shape;
  index_t offset;

  Shifted(const Shape& s, index_t by) : all({s.numel() + by}), shape(s), offset(by) {}
  Shifted(const Tensor<float>& t, index_t by) : shape(t ? t.shape() : Shape{0}), offset(by) {
    if (!t) return;
    Tensor<T> padded({t.numel() + by});
    for (index_t i = 0; i < padded.numel(); ++i) padded.data()[i] = static_cast<T>(i < by ? 0.0f : t.data()[i - by]);
    all = padded.template to<Cuda>();
  }
  T* data() const { return all ? all.data() + offset : nullptr; }
  /// As floats, on the CPU.
  Tensor<float> result() const {
    const Tensor<T> host = all.template to<Cpu>();
    Tensor<float> t(shape);
    for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<float>(host.data()[i + offset]);
    return t;
  }
};

template <class T>
Tensor<float> rounded(const Tensor<float>& t) {
  return cast<float>(cast<T>(t));
}

/// All passes, twice: they equal the CPU's and each other. Fresh memory holds NaN.
template <class T>
void check_passes(const ConvGeometry& g, const Expected& e, Precision precision, index_t offset = 0) {
  INFO("bytes ", sizeof(T), ", precision ", static_cast<int>(precision), ", offset ", offset);
  for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight})
    REQUIRE(cuda::implicit_gemm_takes<T>(g, pass));
  poison_fresh_memory<Cuda>(true);
  const Shifted<T> x(e.x, offset), w(e.w, offset), b(e.b, offset), c(e.c, offset), dy(e.dy, offset);
  for (int run = 0; run < 2; ++run) {
    const Shifted<T> y(g.y_shape(), offset), dx(g.x_shape(), offset), dw(g.w_shape(), offset);
    cuda::implicit_gemm_forward<T>(g, x.data(), w.data(), b.data(), y.data(), precision);
    CHECK(equal(y.result(), rounded<T>(e.y)));
    cuda::implicit_gemm_grad_input<T>(g, dy.data(), w.data(), c.data(), dx.data(), precision);
    CHECK(equal(dx.result(), rounded<T>(e.dx)));
    cuda::implicit_gemm_grad_weight<T>(g, dy.data(), x.data(), dw.data(), precision);
    CHECK(equal(dw.result(), rounded<T>(e.dw)));
  }
  poison_fresh_memory<Cuda>(false);
}

void check_all(const ConvCase& c, bool bias, index_t offset = 0) {
  INFO(describe(c));
  const Expected e(c.geometry, bias);
  check_passes<float>(c.geometry, e, Precision::full, offset);
  check_passes<float>(c.geometry, e, Precision::tf32, offset);
  check_passes<bfloat16>(c.geometry, e, Precision::full, offset);
}

}  // namespace

TEST_CASE("implicit_gemm on the GPU: random convolutions, forward and both gradients") {
  if (!tensor_cores()) return;
  for (int i = 0; i < on_gpu(60, 12); ++i) check_all(random_conv_case(), i % 2 == 0, i % 3 == 0);
}

TEST_CASE("implicit_gemm on the GPU: several tiles of every size, and edges in all of them") {
  if (!tensor_cores()) return;
  if (on_gpu(true, false))
    for (const ConvCase& c : large_conv_cases()) check_all(c, true);
  // 128 x 128, inner steps over two taps
  check_all(conv_case({on_gpu(12, 1), 30, on_gpu(34, 17), 32}, {120, 3, 3, 32}, {.padding = 1}), true);
  // 128 x 64, steps that straddle taps
  check_all(conv_case({on_gpu(2, 1), on_gpu(50, 20), on_gpu(60, 25), 72}, {64, 3, 3, 72}, {.padding = 1}), true);
  // few pixels, long sums
  check_all(conv_case({1, on_gpu(16, 8), on_gpu(17, 9), on_gpu(256, 128)}, {on_gpu(192, 96), 3, 3, on_gpu(256, 128)},
                      {.padding = 2, .dilation = 2}),
            false);
  check_all(conv_case({on_gpu(2, 1), on_gpu(65, 33), 70, 64}, {12, 1, 1, 64}, {}), true);            // a classifier
  check_all(conv_case({on_gpu(3, 1), on_gpu(64, 32), 62, 3}, {64, 3, 3, 3}, {.padding = 1}), true);  // a stem
}

TEST_CASE("implicit_gemm on the GPU: phases of transposed convolutions") {
  if (!tensor_cores()) return;
  check_all(conv_case({2, 32, 48, 32}, {64, 2, 2, 32}, {.stride = 2}), true);
  check_all(conv_case({1, 31, 23, 16}, {24, 1, 1, 16}, {.stride = 2}), true);                  // three phases without a tap
  check_all(conv_case({1, 40, 41, 8}, {8, 4, 4, 8}, {.stride = {6, 5}, .padding = 1}), true);  // more than fit one launch
  check_all(conv_case({1, 33, 34, 16}, {16, 5, 5, 16}, {.stride = {4, 6}, .padding = 4, .dilation = {2, 4}}), true);  // every second tap
}

TEST_CASE("implicit_gemm on the GPU: gradients of weights that fill the largest tiles") {
  if (!tensor_cores()) return;
  const auto check = [](const ConvCase& c) {
    INFO(describe(c));
    const auto x = integers<float>(c.x, -2, 2), dy = integers<float>(c.geometry.y_shape(), -2, 2);
    const Tensor<float> dw(c.w);
    kernels::conv2d_grad_weight<float>(c.geometry, dy.view(), x.view(), dw.view(), ConvAlgorithm::implicit_gemm);
    const auto check_as = [&]<class T>(T, Precision precision) {
      const Shifted<T> gx(x, 0), gdy(dy, 0), got(c.w, 0);
      cuda::implicit_gemm_grad_weight<T>(c.geometry, gdy.data(), gx.data(), got.data(), precision);
      CHECK(equal(got.result(), rounded<T>(dw)));
    };
    check_as(float{}, Precision::full);
    check_as(float{}, Precision::tf32);
    check_as(bfloat16{}, Precision::full);
  };
  check(conv_case({1, 5, 7, 484}, {248, 3, 3, 484}, {.padding = 1}));  // 128 x 128
  check(conv_case({1, 5, 7, 980}, {56, 3, 3, 980}, {.padding = 1}));   // 64 x 128
}

TEST_CASE("implicit_gemm on the GPU: an empty batch") {
  if (!tensor_cores()) return;
  check_all(conv_case({0, 9, 8, 16}, {24, 3, 3, 16}, {.padding = 1}), true);
}

/// Largest differences of T's passes from sums in double, relative to the largest.
struct Errors {
  double y, dx, dw;
};
template <class T>
Errors errors(const ConvGeometry& g, const Tensor<float>& x, const Tensor<float>& w, const Tensor<float>& dy, Precision precision) {
  const auto exact = [](const Tensor<float>& t) { return cast<double>(rounded<T>(t)); };
  Tensor<double> y(g.y_shape()), dx(g.x_shape()), dw(g.w_shape());
  kernels::conv2d<double>(g, exact(x).view(), exact(w).view(), View<const double>{}, y.view());
  kernels::conv2d_grad_input<double>(g, exact(dy).view(), exact(w).view(), View<const double>{}, dx.view());
  kernels::conv2d_grad_weight<double>(g, exact(dy).view(), exact(x).view(), dw.view());
  const Shifted<T> gx(x, 0), gw(w, 0), gdy(dy, 0), gy(g.y_shape(), 0), gdx(g.x_shape(), 0), gdw(g.w_shape(), 0);
  cuda::implicit_gemm_forward<T>(g, gx.data(), gw.data(), nullptr, gy.data(), precision);
  cuda::implicit_gemm_grad_input<T>(g, gdy.data(), gw.data(), nullptr, gdx.data(), precision);
  cuda::implicit_gemm_grad_weight<T>(g, gdy.data(), gx.data(), gdw.data(), precision);
  return {relative_difference(gy.result(), y), relative_difference(gdx.result(), dx), relative_difference(gdw.result(), dw)};
}

TEST_CASE("implicit_gemm on the GPU: how far from exact sums") {
  if (!tensor_cores()) return;
  const ConvCase c = conv_case({on_gpu(2, 1), 40, on_gpu(40, 10), 96}, {64, 3, 3, 96}, {.padding = 1});
  const ConvGeometry& g = c.geometry;
  const auto x = normal<float>(c.x), w = normal<float>(c.w), dy = normal<float>(g.y_shape());
  const auto check = [&]<class T>(T, Precision precision, double tolerance) {
    INFO("bytes ", sizeof(T), ", precision ", static_cast<int>(precision));
    const Errors e = errors<T>(g, x, w, dy, precision);
    CHECK(e.y <= tolerance);
    CHECK(e.dx <= tolerance);
    CHECK(e.dw <= tolerance);
  };
  check(float{}, Precision::full, 1.5e-6);
  check(float{}, Precision::tf32, 2e-3);
  check(bfloat16{}, Precision::full, 4e-3);  // the result's own rounding, half of 2^-7
}

TEST_CASE("implicit_gemm on the GPU: long sums of floats do not drift") {
  if (!tensor_cores()) return;
  const auto check = [](const ConvCase& c) {
    INFO(describe(c));
    const ConvGeometry& g = c.geometry;
    const auto check_error = [&](auto numbers, double tolerance) {
      const Errors e = errors<float>(g, numbers(c.x), numbers(c.w), numbers(g.y_shape()), Precision::full);
      CHECK(e.y <= tolerance);
      CHECK(e.dx <= tolerance);
      CHECK(e.dw <= tolerance);
    };
    check_error([](const Shape& shape) { return normal<float>(shape); }, 3e-6);
    // Of one sign: where cutting off, instead of rounding, is worst.
    check_error([](const Shape& shape) { return random_uniform<float>(shape, testing::random()); }, 4e-6);
  };
  check(conv_case({1, on_gpu(12, 5), 12, 512}, {on_gpu(64, 32), 3, 3, 512}, {.padding = 1}));  // 4608 products to a pixel
  check(conv_case({1, on_gpu(320, 60), 310, 8}, {16, 1, 1, 8}, {}));                           // 99200 (18600) to a weight
}

TEST_CASE("implicit_gemm on the GPU: an infinite factor makes infinite sums, no NaN") {
  if (!tensor_cores()) return;
  const ConvGeometry g = conv_case({1, 12, 11, 16}, {24, 3, 3, 16}, {}).geometry;
  const auto check = [](const Tensor<float>& got, const Tensor<float>& expected) {
    for (index_t i = 0; i < expected.numel(); ++i) {
      const float e = expected.data()[i], v = got.data()[i];
      INFO("element ", i, " is ", v, ", not ", e);
      REQUIRE((std::isinf(e) ? v == e : std::isfinite(v)));
    }
  };
  for (const bool integral : {false, true}) {  // second parts of factors of either sign, or zero
    const auto numbers = [&](const Shape& shape) { return integral ? integers<float>(shape, 1, 3) : normal<float>(shape); };
    const auto x = numbers(g.x_shape()), w = numbers(g.w_shape()), dy = numbers(g.y_shape());
    Tensor<float> y(g.y_shape()), dx(g.x_shape()), dw(g.w_shape());
    x.data()[700] = dy.data()[900] = std::numeric_limits<float>::infinity();
    kernels::reference::conv2d<float>(g, x.view(), w.view(), View<const float>{}, y.view());
    kernels::reference::conv2d_grad_input<float>(g, dy.view(), w.view(), View<const float>{}, dx.view());
    const Shifted<float> gx(x, 0), gw(w, 0), gdy(dy, 0), gy(g.y_shape(), 0), gdx(g.x_shape(), 0), gdw(g.w_shape(), 0);
    cuda::implicit_gemm_forward<float>(g, gx.data(), gw.data(), nullptr, gy.data(), Precision::full);
    cuda::implicit_gemm_grad_input<float>(g, gdy.data(), gw.data(), nullptr, gdx.data(), Precision::full);
    check(gy.result(), y);
    check(gdx.result(), dx);
    x.data()[700] = 1;  // two infinite factors of one product may make NaN
    kernels::reference::conv2d_grad_weight<float>(g, dy.view(), x.view(), dw.view());
    const Shifted<float> finite_x(x, 0);
    cuda::implicit_gemm_grad_weight<float>(g, gdy.data(), finite_x.data(), gdw.data(), Precision::full);
    check(gdw.result(), dw);
  }
}

TEST_CASE("implicit_gemm on the GPU: what has no tensor cores, or too many pixels, is refused") {
  if (!gpu()) return;
  const ConvGeometry good = conv_case({2, 9, 8, 16}, {24, 3, 3, 16}, {}).geometry;
  CHECK(cuda::implicit_gemm_takes<float>(good, ConvPass::forward) == (cuda::device_info().compute_capability >= 80));
  const ConvGeometry large = conv_case({1 << 15, 256, 256, 1}, {1, 1, 1, 1}, {}).geometry;
  CHECK_FALSE(cuda::implicit_gemm_takes<float>(large, ConvPass::forward));
}
