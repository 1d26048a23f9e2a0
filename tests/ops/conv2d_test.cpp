#include "segnet/ops/conv2d.hpp"

#include "ops/conv_cases.hpp"
#include "segnet/autograd/backward.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class T>
struct Passes {
  Tensor<T> y, dx, dw, db;
};

/// y = conv2d(x, w, b) and the gradients of <y, dy>.
template <class T>
Passes<T> all_passes(const Tensor<T>& x, const Tensor<T>& w, const Tensor<T>& b, const Tensor<T>& dy, const Conv2dOptions& options) {
  const auto leaf_x = x.detach().requires_grad(), leaf_w = w.detach().requires_grad(), leaf_b = b.detach().requires_grad();
  const auto y = conv2d(leaf_x, leaf_w, leaf_b, options);
  y.backward(dy);
  return {y, leaf_x.grad(), leaf_w.grad(), leaf_b.grad()};
}

template <class T>
void check_all_algorithms(ConvCase c) {
  INFO(describe(c));
  const kernels::ConvGeometry& g = c.geometry;
  const auto x = integers<T>(c.x, -3, 3), w = integers<T>(c.w, -3, 3), b = integers<T>({g.O}, -3, 3), dy = integers<T>(g.y_shape(), -3, 3);
  c.options.algorithm = ConvAlgorithm::reference;
  const Passes<T> expected = all_passes(x, w, b, dy, c.options);
  for (const auto algorithm :
       {ConvAlgorithm::automatic, ConvAlgorithm::implicit_gemm, ConvAlgorithm::im2col_gemm, ConvAlgorithm::depthwise}) {
    if (algorithm == ConvAlgorithm::depthwise && (g.groups != g.C || g.groups != g.O)) continue;
    INFO(std::string(to_string(algorithm)));
    c.options.algorithm = algorithm;
    const Passes<T> actual = all_passes(x, w, b, dy, c.options);
    CHECK(equal(actual.y, expected.y));
    CHECK(equal(actual.dx, expected.dx));
    CHECK(equal(actual.dw, expected.dw));
    CHECK(equal(actual.db, expected.db));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("conv2d: a convolution worked out by hand", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  // Dumoulin & Visin, figure 1.1: a 3 x 3 kernel over a 5 x 5 image.
  const Tensor<T> x({1, 5, 5, 1}, {3, 3, 2, 1, 0, 0, 0, 1, 3, 1, 3, 1, 2, 2, 3, 2, 0, 0, 2, 2, 2, 0, 0, 0, 1});
  const Tensor<T> w({1, 3, 3, 1}, {0, 1, 2, 2, 2, 0, 0, 1, 2});
  for (const auto algorithm :
       {ConvAlgorithm::reference, ConvAlgorithm::implicit_gemm, ConvAlgorithm::im2col_gemm, ConvAlgorithm::depthwise})
    CHECK(equal(conv2d(x, w, {}, {.algorithm = algorithm}), Tensor<T>({1, 3, 3, 1}, {12, 12, 17, 10, 17, 19, 9, 6, 14})));
  // Two channels in, two out, with a bias; padding on the left only, stride 2 across.
  const Tensor<T> x2({1, 1, 3, 2}, {1, 10, 2, 20, 3, 30}), w2({2, 1, 2, 2}, {1, 0, 0, 1, 2, 0, 0, 0}), b2({2}, {100, 200});
  const auto y = conv2d(x2, w2, b2, {.stride = 2, .padding = {Extent2(0, 1), Extent2(0, 0)}});
  CHECK(equal(y, Tensor<T>({1, 1, 2, 2}, {110, 200, 2 + 30 + 100, 4 + 200})));
}

TEST_CASE_TEMPLATE("conv2d: every algorithm computes the same sums, forward and backward", Where, EVERYWHERE) {
  for (int i = 0; i < 300; ++i) check_all_algorithms<typename Where::value_type>(random_conv_case());
}

TEST_CASE_TEMPLATE("conv2d: every algorithm on images larger than its blocks", Where, EVERYWHERE) {
  for (const ConvCase& c : large_conv_cases()) check_all_algorithms<typename Where::value_type>(c);
}

TEST_CASE_TEMPLATE("conv2d: both gradients are exact transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (int i = 0; i < 100; ++i) {
    const ConvCase c = random_conv_case();
    INFO(describe(c));
    const auto x = integers<T>(c.x, -3, 3).requires_grad(), w = integers<T>(c.w, -3, 3).requires_grad();
    const auto y = conv2d(x, w, {}, c.options);
    const auto dy = integers<T>(y.shape(), -3, 3);
    y.backward(dy);
    CHECK(dot(y, dy) == dot(x, x.grad()));
    CHECK(dot(y, dy) == dot(w, w.grad()));
  }
}

TEST_CASE("conv2d: the same bits for any number of threads") {
  const int before = num_threads();
  for (ConvCase c : large_conv_cases())
    for (const auto algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::implicit_gemm, ConvAlgorithm::im2col_gemm}) {
      INFO(describe(c), " ", std::string(to_string(algorithm)));
      c.options.algorithm = algorithm;
      const auto x = normal<float>(c.x), w = normal<float>(c.w), b = normal<float>({c.geometry.O}),
                 dy = normal<float>(c.geometry.y_shape());
      set_num_threads(1);
      const auto one = all_passes(x, w, b, dy, c.options);
      for (const int threads : {2, 3, 7}) {
        set_num_threads(threads);
        const auto many = all_passes(x, w, b, dy, c.options);
        CHECK(equal(one.y, many.y));
        CHECK(equal(one.dx, many.dx));
        CHECK(equal(one.dw, many.dw));
        CHECK(equal(one.db, many.db));
      }
    }
  set_num_threads(before);
}

TEST_CASE_TEMPLATE("conv2d: an empty batch gives an empty result and zero gradients of the weights", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto p = all_passes<T>(Tensor<T>({0, 5, 5, 3}), ones<T>({4, 3, 3, 3}), ones<T>({4}), Tensor<T>({0, 3, 3, 4}), {});
  CHECK(p.y.shape() == Shape{0, 3, 3, 4});
  CHECK(p.dx.shape() == Shape{0, 5, 5, 3});
  CHECK(equal(p.dw, zeros<T>({4, 3, 3, 3})));
  CHECK(equal(p.db, zeros<T>({4})));
}

TEST_CASE("conv2d: only the gradients that somebody wants, once per use") {
  const auto x = integers<float>({1, 4, 4, 3}, -3, 3), w = integers<float>({2, 3, 3, 3}, -3, 3).requires_grad();
  const auto y = conv2d(x, w);
  const auto dy = integers<float>(y.shape(), -3, 3);
  y.backward(dy, true);
  CHECK(dot(y, dy) == dot(w, w.grad()));
  y.backward(dy);
  CHECK(2 * dot(y, dy) == dot(w, w.grad()));  // added up
  CHECK_FALSE(x.grad());
  const auto x2 = x.detach().requires_grad();
  const auto y2 = conv2d(x2, w.detach());
  y2.backward(dy);
  CHECK(dot(y2, dy) == dot(x2, x2.grad()));
}

TEST_CASE("conv2d: same padding keeps the size") {
  for (const Extent2 kernel : {Extent2(3, 5), Extent2(2, 4), Extent2(1, 6)})
    for (const Extent2 dilation : {Extent2(1), Extent2(2, 3)}) {
      const auto y = conv2d(ones<float>({1, 9, 8, 2}), ones<float>({1, kernel.h, kernel.w, 2}), {},
                            {.padding = same_padding(kernel, dilation), .dilation = dilation});
      CHECK(y.shape() == Shape{1, 9, 8, 1});
    }
  CHECK(same_padding(Extent2(4, 3)) == Padding2(Extent2(1, 1), Extent2(2, 1)));  // the odd zero goes behind
}

TEST_CASE("conv2d: operations and bytes of a geometry") {
  const auto g = kernels::conv2d_geometry("conv2d", {2, 8, 8, 6}, {4, 3, 3, 3}, {0}, {.stride = 2, .padding = 1, .groups = 2});
  CHECK(kernels::flops(g) == 2.0 * (2 * 4 * 4) * 4 * (3 * 3 * 3));
  CHECK(kernels::compulsory_bytes(g, 4) == 4.0 * (2 * 8 * 8 * 6 + 4 * 3 * 3 * 3 + 2 * 4 * 4 * 4));
}

TEST_CASE("conv2d: errors name the argument, what was expected and what came") {
  const auto x = ones<float>({2, 8, 9, 64}), w = ones<float>({128, 3, 3, 32});
  const auto text = [&](const Tensor<float>& image, const Tensor<float>& weight, const Tensor<float>& bias, const Conv2dOptions& options) {
    try {
      (void)conv2d(image, weight, bias, options);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  CHECK(text(x, w, {}, {}) ==
        "segnet::conv2d: argument 'weight': expected [O, kh, kw, 64] for input [2, 8, 9, 64] with groups = 1, got [128, 3, 3, 32]");
  CHECK(text(ones<float>({8, 9, 64}), w, {}, {}) == "segnet::conv2d: argument 'x': expected [N, H, W, C], got [8, 9, 64]");
  CHECK(text(x, ones<float>({3, 3, 64}), {}, {}) == "segnet::conv2d: argument 'weight': expected [O, kh, kw, C/groups], got [3, 3, 64]");
  CHECK(text(x, w, ones<float>({64}), {.groups = 2}) == "segnet::conv2d: argument 'bias': expected [128], got [64]");
  CHECK(text(x, w, {}, {.groups = 3}) ==
        "segnet::conv2d: argument 'weight': expected [O, kh, kw, C/groups] with O a multiple of groups = 3, got [128, 3, 3, 32]");
  CHECK(text(ones<float>({1, 8, 8, 30}), ones<float>({8, 3, 3, 8}), {}, {.groups = 4}) ==
        "segnet::conv2d: argument 'x': expected [N, H, W, C] with C a multiple of groups = 4, got [1, 8, 8, 30]");
  CHECK(text(x, w, {}, {.groups = 0}) == "segnet::conv2d: argument 'groups': expected at least 1, got 0");
  CHECK(text(x, w, {}, {.stride = {1, 0}, .groups = 2}) == "segnet::conv2d: argument 'stride': expected at least 1, got 1x0");
  CHECK(text(x, w, {}, {.dilation = 0, .groups = 2}) == "segnet::conv2d: argument 'dilation': expected at least 1, got 0x0");
  CHECK(text(x, w, {}, {.padding = -1, .groups = 2}) == "segnet::conv2d: argument 'padding': expected at least 0, got -1x-1");
  CHECK(text(x, w, {}, {.dilation = 4, .groups = 2}) ==
        "segnet::conv2d: argument 'weight': expected a kernel within the padded image of 8x9, which with dilation 4x4 spans 9x9, "
        "got [128, 3, 3, 32]");
  CHECK(text(ones<float>({2, 8, 0, 64}), w, {}, {}) ==
        "segnet::conv2d: argument 'x': expected [N, H, W, C] with H, W, C of at least 1, got [2, 8, 0, 64]");
  CHECK(text(x, w, {}, {.groups = 2, .algorithm = ConvAlgorithm::depthwise}) ==
        "segnet::conv2d: argument 'algorithm': expected depthwise only where groups = C = O, got groups = 2, C = 64, O = 128");
  CHECK(text(x, w, {}, {.stride = {1, 2}, .groups = 2, .algorithm = ConvAlgorithm::winograd}) ==
        "segnet::conv2d: argument 'algorithm': expected winograd only for 3x3 kernels with stride 1, got kernel 3x3, stride 1x2");
  CHECK(text(x, ones<float>({128, 3, 1, 32}), {}, {.groups = 2, .algorithm = ConvAlgorithm::winograd}) ==
        "segnet::conv2d: argument 'algorithm': expected winograd only for 3x3 kernels with stride 1, got kernel 3x1, stride 1x1");
  CHECK_THROWS_AS((void)conv2d(x, w), ShapeError);
  CHECK_THROWS_AS((void)conv2d(x, w, {}, {.groups = 3}), ShapeError);
  CHECK_THROWS_AS((void)conv2d(x, w, {}, {.groups = 0}), ValueError);
}
