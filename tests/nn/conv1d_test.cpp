// Convolutions of sequences, operations and layers. (Their numbers are PyTorch's: golden families conv1d, conv_transpose1d.)
#include "segnet/nn/conv1d.hpp"

#include "segnet/autograd/backward.hpp"
#include "segnet/nn/summary.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("conv1d: numbers worked out by hand") {
  const Tensor<float> a({1, 4, 1}, {4, 5, 6, 7}), w({1, 3, 1}, {1, 2, 3});
  CHECK(equal(conv1d(a, w, {}, {.padding = 1}), Tensor<float>({1, 4, 1}, {23, 32, 38, 20})));
  CHECK(equal(conv1d(a, w, {}, {.stride = 2, .padding = 1}), Tensor<float>({1, 2, 1}, {23, 38})));
  CHECK(equal(conv1d(a, w, Tensor<float>({1}, {100}), {.padding = {2, 0}}), Tensor<float>({1, 4, 1}, {112, 123, 132, 138})));
  CHECK(equal(conv_transpose1d(a, w), Tensor<float>({1, 6, 1}, {4, 13, 28, 34, 32, 21})));
  CHECK(equal(conv_transpose1d(Tensor<float>({1, 2, 1}, {4, 5}), w, {}, {.stride = 2, .padding = 1, .output_padding = 1}),
              Tensor<float>({1, 4, 1}, {8, 17, 10, 15})));
}

TEST_CASE("conv1d, conv_transpose1d: exact transposes of each other, and of their gradients") {
  const auto x = integers<float>({2, 11, 6}, -3, 3).requires_grad(), w = integers<float>({4, 3, 3}, -3, 3).requires_grad();
  const auto y = conv1d(x, w, {}, {.stride = 2, .padding = {1, 2}, .dilation = 2, .groups = 2});
  const auto dy = integers<float>(y.shape(), -3, 3);
  y.backward(dy);
  CHECK(dot(y, dy) == dot(x, x.grad()));
  CHECK(dot(y, dy) == dot(w, w.grad()));
  const auto back =
      conv_transpose1d(dy, w.detach(), {},
                       {.stride = 2, .padding = {1, 2}, .output_padding = ConvAxis{3, 2, {1, 2}, 2}.rest(11), .dilation = 2, .groups = 2});
  CHECK(equal(back, x.grad()));
}

TEST_CASE("conv1d: errors name the operation and what is wrong") {
  const auto x = ones<float>({2, 8, 6}), w = ones<float>({4, 3, 6});
  CHECK_THROWS_WITH_AS((void)conv1d(ones<float>({8, 6}), w), "segnet::conv1d: argument 'x': expected [N, L, C], got [8, 6]", ShapeError);
  CHECK_THROWS_WITH_AS((void)conv_transpose1d(x, ones<float>({1, 4, 3, 6})),
                       "segnet::conv_transpose1d: argument 'weight': expected [O, k, C/groups], got [1, 4, 3, 6]", ShapeError);
  CHECK_THROWS_WITH_AS((void)conv1d(x, w, {}, {.dilation = 4}),
                       "segnet::conv1d: argument 'weight': expected a kernel within the padded image of 1x8, which with dilation 1x4 spans "
                       "1x9, got [4, 1, 3, 6]",
                       ShapeError);
  CHECK_THROWS_AS((void)conv_transpose1d(ones<float>({2, 8, 4}), w, {}, {.stride = 2, .output_padding = 2}), ShapeError);
}

TEST_CASE("nn::Conv1d, nn::ConvTranspose1d: shapes, parameters, and what a summary counts") {
  const nn::Conv1d<> down(6, 10, 5, {.stride = 2, .padding = 2, .groups = 2});
  const nn::ConvTranspose1d<> up(10, 6, 4, {.stride = 2, .padding = 1}, nn::Bias::no);
  CHECK(down.weight.shape() == Shape{10, 5, 3});
  CHECK(up.weight.shape() == Shape{10, 4, 6});
  CHECK_FALSE(up.bias);
  const auto x = normal<float>({2, 16, 6});
  CHECK(equal(down(x), conv1d(x, down.weight, down.bias, down.options)));
  CHECK(up(down(x)).shape() == x.shape());
  CHECK(nn::summarize(down, {1, 16, 6}).multiply_adds == 8 * 10 * 5 * 3);
  CHECK(nn::summarize(up, {1, 8, 10}).multiply_adds == 8 * 10 * 4 * 6);
  CHECK_THROWS_AS((nn::Conv1d<>(5, 4, 3, {.groups = 2})), ValueError);
  CHECK_THROWS_AS((nn::ConvTranspose1d<>(4, 5, 3, {.groups = 2})), ValueError);
}
