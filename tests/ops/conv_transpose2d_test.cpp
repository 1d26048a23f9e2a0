#include "segnet/ops/conv_transpose2d.hpp"

#include "ops/conv_cases.hpp"
#include "segnet/autograd/backward.hpp"
#include "segnet/ops/conv2d.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// The transpose of a random convolution, with the output padding that leads back to the size that it took in.
struct TransposeCase {
  ConvCase convolution;
  ConvTranspose2dOptions options;
};

TransposeCase random_transpose_case() {
  const ConvCase c = random_conv_case();
  const kernels::ConvGeometry& g = c.geometry;
  const Conv2dOptions& o = c.options;
  const Extent2 rest((g.H + o.padding.begin.h + o.padding.end.h - o.dilation.h * (g.kh - 1) - 1) % o.stride.h,
                     (g.W + o.padding.begin.w + o.padding.end.w - o.dilation.w * (g.kw - 1) - 1) % o.stride.w);
  return {c, {.stride = o.stride, .padding = o.padding, .output_padding = rest, .dilation = o.dilation, .groups = o.groups}};
}

}  // namespace

TEST_CASE_TEMPLATE("conv_transpose2d: is the transpose of conv2d with the same weight", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (int i = 0; i < 200; ++i) {
    const auto [c, options] = random_transpose_case();
    INFO(describe(c), " output_padding ", to_string(options.output_padding));
    const auto a = integers<T>(c.x, -3, 3), w = integers<T>(c.w, -3, 3), x = integers<T>(c.geometry.y_shape(), -3, 3);
    const auto y = conv_transpose2d(x, w, {}, options);
    REQUIRE(y.shape() == c.x);
    CHECK(dot(conv2d(a, w, {}, c.options), x) == dot(a, y));
  }
}

TEST_CASE_TEMPLATE("conv_transpose2d: gradients are exact transposes, with a bias, for every algorithm", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (int i = 0; i < 100; ++i) {
    auto [c, options] = random_transpose_case();
    for (const auto algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm}) {
      INFO(describe(c), " output_padding ", to_string(options.output_padding), " ", std::string(to_string(algorithm)));
      options.algorithm = algorithm;
      const auto x = integers<T>(c.geometry.y_shape(), -3, 3).requires_grad(), w = integers<T>(c.w, -3, 3).requires_grad(),
                 b = integers<T>({c.geometry.C}, -3, 3).requires_grad();
      const auto y = conv_transpose2d(x, w, b, options);
      const auto dy = integers<T>(y.shape(), -3, 3);
      y.backward(dy);
      const double linear_in_x = dot(y, dy) - dot(b, b.grad());
      CHECK(linear_in_x == dot(x, x.grad()));
      CHECK(linear_in_x == dot(w, w.grad()));
      const auto plain = conv_transpose2d(x.detach(), w.detach(), {}, options);
      CHECK(dot(plain, dy) == linear_in_x);
    }
  }
}

TEST_CASE("conv_transpose2d: numbers worked out by hand") {
  // Each input pixel stamps the kernel, scaled, at twice its position; the last row and column are only reached by output_padding.
  const Tensor<float> x({1, 1, 2, 1}, {1, 10}), w({1, 1, 3, 1}, {1, 2, 3}), b({1}, {100});
  CHECK(equal(conv_transpose2d(x, w, {}, {.stride = 2}), Tensor<float>({1, 1, 5, 1}, {1, 2, 3 + 10, 20, 30})));
  CHECK(equal(conv_transpose2d(x, w, {}, {.stride = 2, .padding = {0, 1}}), Tensor<float>({1, 1, 3, 1}, {2, 13, 20})));
  CHECK(equal(conv_transpose2d(x, w, b, {.stride = 2, .output_padding = {1, 1}}),
              Tensor<float>({1, 2, 6, 1}, {101, 102, 113, 120, 130, 100, 100, 100, 100, 100, 100, 100})));
  // Cropping one side alone, and an output padding that the dilation allows although it exceeds the stride.
  CHECK(
      equal(conv_transpose2d(x, w, {}, {.stride = 2, .padding = {Extent2(0, 0), Extent2(0, 2)}}), Tensor<float>({1, 1, 3, 1}, {1, 2, 13})));
  CHECK(equal(conv_transpose2d(x, w, {}, {.output_padding = {0, 2}, .dilation = {1, 3}}),
              Tensor<float>({1, 1, 10, 1}, {1, 10, 0, 2, 20, 0, 3, 30, 0, 0})));
}

TEST_CASE("conv_transpose2d: the same bits for any number of threads") {
  const int before = num_threads();
  const auto x = normal<float>({2, 20, 31, 48}), w = normal<float>({48, 4, 4, 40}), b = normal<float>({40});
  set_num_threads(1);
  const ConvTranspose2dOptions options{.stride = 2, .padding = 1};
  const auto one = conv_transpose2d(x, w, b, options);
  for (const int threads : {2, 5}) {
    set_num_threads(threads);
    CHECK(equal(conv_transpose2d(x, w, b, options), one));
  }
  set_num_threads(before);
}

TEST_CASE("conv_transpose2d: an empty batch") {
  const auto w = ones<float>({4, 3, 3, 2}).requires_grad();
  const auto y = conv_transpose2d(Tensor<float>({0, 5, 5, 4}), w, {}, {.stride = 2});
  CHECK(y.shape() == Shape{0, 11, 11, 2});
  y.backward(Tensor<float>(y.shape()));
  CHECK(equal(w.grad(), zeros<float>(w.shape())));
}

TEST_CASE("conv_transpose2d: errors name the argument, what was expected and what came") {
  const auto x = ones<float>({2, 8, 8, 64}), w = ones<float>({64, 3, 3, 16});
  CHECK_THROWS_WITH_AS((void)conv_transpose2d(x, ones<float>({16, 3, 3, 64})),
                       "segnet::conv_transpose2d: argument 'weight': expected [64, kh, kw, C/groups] for input [2, 8, 8, 64], got "
                       "[16, 3, 3, 64]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      (void)conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = {0, 2}}),
      "segnet::conv_transpose2d: argument 'output_padding': expected at most [1, 1], less than stride 2x2 or dilation 1x1, "
      "got [0, 2]",
      ShapeError);
  CHECK_THROWS_WITH_AS((void)conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = {0, -1}}),
                       "segnet::conv_transpose2d: argument 'output_padding': expected at least 0, got 0x-1", ValueError);
  CHECK_THROWS_WITH_AS((void)conv_transpose2d(x, w, ones<float>({64}), {.groups = 2}),
                       "segnet::conv_transpose2d: argument 'bias': expected [32], got [64]", ShapeError);
  CHECK_THROWS_WITH_AS((void)conv_transpose2d(ones<float>({1, 1, 1, 64}), w, {}, {.padding = 2}),
                       "segnet::conv_transpose2d: argument 'x': expected an image of which padding leaves something; a kernel of 3x3 makes "
                       "it -1x-1, got [1, 1, 1, 64]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)conv_transpose2d(x, w, {}, {.groups = 5}),
                       "segnet::conv_transpose2d: argument 'weight': expected [O, kh, kw, C/groups] with O a multiple of groups = 5, got "
                       "[64, 3, 3, 16]",
                       ShapeError);
}
