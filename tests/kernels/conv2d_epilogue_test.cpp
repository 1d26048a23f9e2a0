#include "segnet/kernels/conv2d_epilogue.hpp"

#include "ops/conv_cases.hpp"

using namespace segnet;
using namespace segnet::testing;
using kernels::ConvGeometry;
using kernels::Epilogue;

namespace {

/// Which parts of an epilogue are there.
struct Parts {
  bool scale, shift, residual;
  Activation activation;
};
std::vector<Parts> all_parts() {
  std::vector<Parts> all;
  for (int bits = 0; bits < 8; ++bits)
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
      all.push_back({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, activation});
  return all;
}

/// Calls pass(epilogue, y) with every combination of parts and compares y with one operation after the other, done to plain sums.
template <class T, class Pass>
void check_epilogues(const Shape& shape, const Tensor<T>& sums, const Pass& pass) {
  const index_t channels = shape[3];
  const auto scale = integers<T>({channels}, -2, 2), shift = integers<T>({channels}, -9, 9), residual = integers<T>(shape, -9, 9);
  for (const Parts& parts : all_parts()) {
    INFO("scale ", parts.scale, ", shift ", parts.shift, ", residual ", parts.residual, ", activation ",
         static_cast<int>(parts.activation));
    Epilogue<T> e;
    if (parts.scale) e.scale = scale.data();
    if (parts.shift) e.shift = shift.data();
    if (parts.residual) e.residual = residual.data();
    e.activation = parts.activation;
    Tensor<T> y = full<T>(shape, std::numeric_limits<T>::quiet_NaN()), expected(shape);
    pass(e, y.view());
    for (index_t i = 0; i < y.numel(); ++i) {
      T value = sums.data()[i];
      if (parts.scale) value *= scale.data()[i % channels];
      if (parts.shift) value += shift.data()[i % channels];
      if (parts.residual) value += residual.data()[i];
      if (parts.activation != Activation::none) value = std::max(value, T(0));
      if (parts.activation == Activation::relu6) value = std::min(value, T(6));
      expected.data()[i] = value;
    }
    CHECK(equal(y, expected));
  }
}

template <class T>
void check_case(const ConvCase& c, std::initializer_list<ConvAlgorithm> algorithms) {
  INFO(describe(c));
  const ConvGeometry& g = c.geometry;
  const auto x = integers<T>(c.x, -3, 3), w = integers<T>(c.w, -3, 3), dy = integers<T>(g.y_shape(), -3, 3);
  const Tensor<T> y(g.y_shape()), dx(g.x_shape());
  kernels::conv2d(g, x.view(), w.view(), {}, y.view(), ConvAlgorithm::reference);
  kernels::conv2d_grad_input(g, dy.view(), w.view(), {}, dx.view(), ConvAlgorithm::reference);
  for (const auto algorithm : algorithms) {
    if (algorithm == ConvAlgorithm::depthwise && (g.groups != g.C || g.groups != g.O)) continue;
    INFO(std::string(to_string(algorithm)));
    check_epilogues(g.y_shape(), y, [&](const Epilogue<T>& e, View<T> to) { kernels::conv2d(g, x.view(), w.view(), e, to, algorithm); });
    check_epilogues(g.x_shape(), dx,
                    [&](const Epilogue<T>& e, View<T> to) { kernels::conv2d_grad_input(g, dy.view(), w.view(), e, to, algorithm); });
  }
}

}  // namespace

TEST_CASE_TEMPLATE("conv2d_epilogue: every algorithm scales, shifts, adds and activates as it stores", T, float, double) {
  for (int i = 0; i < 6; ++i)
    check_case<T>(random_conv_case(), {ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm, ConvAlgorithm::implicit_gemm});
  for (int i = 0; i < 16; ++i) check_case<T>(random_conv_case(), {ConvAlgorithm::automatic});
  for (const ConvCase& c : large_conv_cases()) check_case<T>(c, {ConvAlgorithm::automatic});
}

TEST_CASE_TEMPLATE("conv2d_epilogue: NaN stays NaN behind a ReLU", T, float, double) {
  const ConvCase c = conv_case({1, 5, 6, 1}, {40, 1, 1, 1}, {});
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto x = full<T>(c.x, nan), w = full<T>(c.w, 1), y = full<T>(c.geometry.y_shape(), 0);
  for (const auto algorithm : {ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm, ConvAlgorithm::implicit_gemm})
    for (const auto activation : {Activation::relu, Activation::relu6}) {
      Epilogue<T> e;
      e.activation = activation;
      kernels::conv2d(c.geometry, x.view(), w.view(), e, y.view(), algorithm);
      for (index_t i = 0; i < y.numel(); ++i) REQUIRE(std::isnan(y.data()[i]));
    }
}
