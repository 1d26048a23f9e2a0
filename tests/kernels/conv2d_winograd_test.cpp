#include "segnet/kernels/conv2d_winograd.hpp"
#include "segnet/kernels/conv2d_reference.hpp"
#include "segnet/kernels/conv2d_winograd_grad_weight.hpp"
#include "segnet/ops/cast.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using kernels::ConvGeometry;

namespace {

struct Case {
  Shape x;
  index_t O;
  Conv2dOptions options;
};

// Tiles of 2 and 4 against every remainder; channels against every vector; blocks of tiles, channels and outputs, and their ends.
const Case cases[] = {
    {{1, 3, 3, 1}, 1, {}},
    {{1, 1, 1, 3}, 2, {.padding = 1}},
    {{2, 1, 17, 5}, 7, {.padding = {Extent2(2, 0), Extent2(1, 1)}}},
    {{3, 5, 4, 16}, 16, {.padding = 1}},
    {{1, 6, 7, 17}, 33, {.padding = {Extent2(0, 1), Extent2(2, 0)}}},
    {{2, 8, 9, 65}, 31, {.padding = 1}},
    {{1, 10, 11, 130}, 70, {.padding = {Extent2(1, 2), Extent2(0, 3)}}},
    {{1, 12, 13, 8}, 129, {.padding = 2}},
    {{1, 14, 15, 12}, 20, {.padding = 1, .groups = 4}},
    {{1, 16, 17, 40}, 34, {.padding = 1, .groups = 2}},
    {{1, 9, 9, 9}, 9, {.padding = 1, .groups = 9}},
    {{2, 17, 16, 20}, 24, {.padding = 2, .dilation = 2}},
    {{1, 13, 17, 18}, 19, {.padding = {Extent2(3, 1), Extent2(2, 4)}, .dilation = {3, 1}}},
    {{1, 17, 11, 24}, 10, {.padding = {Extent2(0, 4), Extent2(5, 3)}, .dilation = {2, 4}, .groups = 2}},
    {{1, 7, 7, 33}, 12, {.padding = 12, .dilation = 12}},
    {{1, 9, 9, 6}, 6, {.dilation = 4}},
    {{1, 4, 4, 4}, 4, {.padding = {Extent2(5, 6), Extent2(7, 3)}}},  // more padding than the kernel reaches over
    {{2, 37, 41, 36}, 68, {.padding = 1}},
    {{2, 20, 20, 200}, 150, {.padding = 1}},  // U is made anew for each of several blocks
    {{0, 5, 5, 4}, 4, {.padding = 1}},
};

template <class T>
struct Passes {
  Tensor<T> y, dx, dw;
};
template <class T, class Y, class X, class W>
Passes<T> passes(const ConvGeometry& g, const Y& forward, const X& grad_input, const W& grad_weight) {
  const Passes<T> p{Tensor<T>(g.y_shape()), Tensor<T>(g.x_shape()), Tensor<T>(g.w_shape())};
  forward(p.y.view());
  grad_input(p.dx.view());
  grad_weight(p.dw.view());
  return p;
}

/// The largest number.
double largest(const Tensor<double>& t) {
  double most = 0;
  for (index_t i = 0; i < t.numel(); ++i) most = std::max(most, std::abs(t.data()[i]));
  return most;
}

template <class T>
struct Data {
  Tensor<T> x, w, dy, b, c;
};
template <class T, class U>
Data<T> as(const Data<U>& d) {
  return {cast<T>(d.x), cast<T>(d.w), cast<T>(d.dy), cast<T>(d.b), cast<T>(d.c)};
}

template <class T>
Passes<T> winograd(const ConvGeometry& g, const Data<T>& d, int m) {
  namespace k = kernels::winograd;
  return passes<T>(
      g, [&](View<T> y) { k::conv2d<T>(g, d.x.view(), d.w.view(), ConstView<T>(d.b.view()), y, m); },
      [&](View<T> dx) { k::conv2d_grad_input<T>(g, d.dy.view(), d.w.view(), ConstView<T>(d.c.view()), dx, m); },
      [&](View<T> dw) { k::conv2d_grad_weight<T>(g, d.dy.view(), d.x.view(), dw, m); });
}

Passes<double> reference(const ConvGeometry& g, const Data<double>& d) {
  namespace k = kernels::reference;
  return passes<double>(
      g, [&](View<double> y) { k::conv2d<double>(g, d.x.view(), d.w.view(), ConstView<double>(d.b.view()), y); },
      [&](View<double> dx) { k::conv2d_grad_input<double>(g, d.dy.view(), d.w.view(), ConstView<double>(d.c.view()), dx); },
      [&](View<double> dw) { k::conv2d_grad_weight<double>(g, d.dy.view(), d.x.view(), dw); });
}

/// Errors are relative to the largest sum, or to the largest product in it: the few sums of a small case may cancel.
template <class T>
void check_close(const Passes<T>& actual, const Passes<double>& expected, const Data<double>& d, double tolerance) {
  const auto size = [](const Tensor<double>& sums, const Tensor<double>& a, const Tensor<double>& b) {
    return std::max(largest(sums), largest(a) * largest(b));
  };
  CHECK(max_difference(actual.y, expected.y) <= tolerance * size(expected.y, d.x, d.w));
  CHECK(max_difference(actual.dx, expected.dx) <= tolerance * size(expected.dx, d.dy, d.w));
  CHECK(max_difference(actual.dw, expected.dw) <= tolerance * size(expected.dw, d.dy, d.x));
}

}  // namespace

TEST_CASE("conv2d_winograd: all passes agree with the reference in double, for both tiles, and do not depend on the threads") {
  const int before = num_threads();
  for (const Case& c : cases) {
    const Shape w{c.O, 3, 3, c.x[3] / c.options.groups};
    const ConvGeometry g = kernels::conv2d_geometry("conv2d", c.x, w, {0}, c.options);
    INFO(c.x, " -> ", c.O, ", groups ", g.groups, ", padding ", to_string(g.padding), ", dilation ", to_string(g.dilation));
    // Data that float holds exactly: the reference sees the same numbers.
    const Data<float> single{normal<float>(c.x), normal<float>(w), normal<float>(g.y_shape()), normal<float>({g.O}), normal<float>({g.C})};
    const Data<double> data = as<double>(single);
    const Passes<double> expected = reference(g, data);
    for (const int m : {2, 4}) {
      INFO("tiles of ", m);
      set_num_threads(1);
      const Passes<float> one = winograd(g, single, m);
      check_close(one, expected, data, m == 4 ? 5e-5 : 1e-5);
      check_close(winograd(g, data, m), expected, data, 1e-13);
      for (const int threads : {2, 3}) {
        set_num_threads(threads);
        const Passes<float> many = winograd(g, single, m);
        CHECK(equal(one.y, many.y));
        CHECK(equal(one.dx, many.dx));
        CHECK(equal(one.dw, many.dw));
      }
    }
    set_num_threads(before);
  }
}

TEST_CASE("conv2d_winograd: tiles of 2 x 2 are exact on small integers") {
  const ConvGeometry g = kernels::conv2d_geometry("conv2d", {2, 9, 11, 19}, {21, 3, 3, 19}, {0}, {.padding = 1});
  const Data<float> data{integers<float>(g.x_shape(), -3, 3), integers<float>(g.w_shape(), -3, 3), integers<float>(g.y_shape(), -3, 3),
                         integers<float>({g.O}, -3, 3), integers<float>({g.C}, -3, 3)};
  const Data<double> same = as<double>(data);
  check_close(winograd(g, data, 2), reference(g, same), same, 0);
}

TEST_CASE("conv2d_winograd: the epilogue is that of the reference") {
  for (const Case& c : {cases[6], cases[13]}) {
    const Shape w{c.O, 3, 3, c.x[3] / c.options.groups};
    const ConvGeometry g = kernels::conv2d_geometry("conv2d", c.x, w, {0}, c.options);
    const auto x = normal<double>(c.x), weight = normal<double>(w), scale = normal<double>({g.O}), shift = normal<double>({g.O});
    const auto residual = normal<double>(g.y_shape());
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
      for (const bool all : {false, true}) {
        kernels::Epilogue<double> e(ConstView<double>(shift.view()));
        if (all) e.scale = scale.data(), e.residual = residual.data();
        e.activation = activation;
        const Tensor<double> actual(g.y_shape()), expected(g.y_shape());
        kernels::winograd::conv2d<double>(g, x.view(), weight.view(), e, actual.view());
        kernels::reference::conv2d<double>(g, x.view(), weight.view(), e, expected.view());
        CHECK(max_difference(actual, expected) < 1e-11);
      }
  }
}

TEST_CASE("conv2d_winograd: tiles are as large as the image fills") {
  const auto size = [](index_t H, Extent2 dilation) {
    const ConvGeometry g = kernels::conv2d_geometry("conv2d", {1, H, H, 8}, {8, 3, 3, 8}, {0}, {.padding = dilation, .dilation = dilation});
    return kernels::winograd::tile_size(g, ConvPass::forward);
  };
  CHECK(size(64, 1) == 4);
  CHECK(size(4, 1) == 4);
  CHECK(size(2, 1) == 2);
  CHECK(size(6, 1) == 2);  // 2 x 2 tiles of 4 would compute 64 outputs for 36
  CHECK(size(64, 4) == 4);
}
