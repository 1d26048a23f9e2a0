#include "segnet/nn/deform_conv.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/slice.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Value of an image [H, W, 1] at a point, and its derivatives.
struct Sampled {
  double value = 0, dy = 0, dx = 0;
};
Sampled sample(const Tensor<double>& image, double y, double x) {
  const auto H = static_cast<std::int32_t>(image.dim(0)), W = static_cast<std::int32_t>(image.dim(1));
  const kernels::BilinearPoint<double> point(y, x, H, W);
  Sampled s;
  for (int corner = 0; corner < 4; ++corner) {
    const double v = image.data()[point.pixel(corner, W)];
    s.value += point.weight(corner) * v;
    s.dy += point.slope_y(corner) * v;
    s.dx += point.slope_x(corner) * v;
  }
  return s;
}

}  // namespace

TEST_CASE("bilinear sampling: values fade to zero over the pixel around the image") {
  const auto eight = full<double>({4, 4, 1}, 8);
  const auto value = [&](double y, double x) { return sample(eight, y, x).value; };
  CHECK(value(0, 0) == 8);
  CHECK(value(-0.5, 0) == 4);
  CHECK(value(-0.999, 0) == doctest::Approx(0.008));
  CHECK(value(-1, 0) == 0);
  CHECK(value(3.5, 0) == 4);
  CHECK(value(4, 0) == 0);
  CHECK(value(-0.5, -0.5) == 2);
  CHECK(value(0, -0.25) == 6);
  for (const double far : {-1.0, 4.0, -1e30, 1e30, -HUGE_VAL, HUGE_VAL}) {
    CHECK_FALSE(kernels::BilinearAxis<double>(far, 4).reaches());
    for (const auto& [y, x] : {std::pair(far, 1.5), std::pair(1.5, far)}) {
      const Sampled s = sample(eight, y, x);
      CHECK(s.value == 0);
      CHECK(s.dy == 0);
      CHECK(s.dx == 0);
    }
  }
  CHECK(std::isnan(value(NAN, 1)));
  CHECK(std::isnan(value(1, NAN)));
}

TEST_CASE("bilinear sampling: by definition, with the derivative to the right") {
  const auto image = normal<double>({3, 5, 1});
  const auto pixel = [&](double y, double x) { return y < 0 || y > 2 || x < 0 || x > 4 ? 0 : image.at(index_t(y), index_t(x), 0); };
  for (double y = -1.25; y <= 3.25; y += 0.25)
    for (double x = -1.25; x <= 5.25; x += 0.25) {
      INFO(y, ", ", x);
      const bool outside = y <= -1 || y >= 3 || x <= -1 || x >= 5;
      const double y0 = std::floor(y), x0 = std::floor(x), ly = y - y0, lx = x - x0;
      const double v00 = pixel(y0, x0), v01 = pixel(y0, x0 + 1), v10 = pixel(y0 + 1, x0), v11 = pixel(y0 + 1, x0 + 1);
      const Sampled s = sample(image, y, x);
      CHECK(s.value == doctest::Approx(outside ? 0 : (1 - ly) * ((1 - lx) * v00 + lx * v01) + ly * ((1 - lx) * v10 + lx * v11)));
      CHECK(s.dy == doctest::Approx(outside ? 0 : (1 - lx) * (v10 - v00) + lx * (v11 - v01)));
      CHECK(s.dx == doctest::Approx(outside ? 0 : (1 - ly) * (v01 - v00) + ly * (v11 - v10)));
    }
}

// ---- dcnv3

namespace {

/// The 3 x 3 image of the worked examples.
template <class T>
Tensor<T> nine() {
  return Tensor<T>({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 10});
}

struct V3Case {
  Shape x;
  DCNv3Options options;
};
std::string describe(const V3Case& c) {
  const DCNv3Options& o = c.options;
  return concat("dcnv3 ", c.x, ", {.kernel = ", o.kernel, ", .stride = ", o.stride, ", .padding = ", o.padding.begin, "/", o.padding.end,
                ", .dilation = ", o.dilation, ", .groups = ", o.groups, ", .offset_scale = ", o.offset_scale,
                ", .remove_center = ", o.remove_center, "}");
}
/// Strides, dilations, kernels, paddings, scales; groups of one channel, of whole vectors, of vectors and a rest.
std::vector<V3Case> v3_cases() {
  return {
      {{2, 4, 5, 6}, {.padding = 1, .groups = 2}},
      {{1, 5, 6, 34}, {.stride = 2, .padding = 1, .groups = 2, .offset_scale = 2}},
      {{1, 6, 5, 16}, {.padding = 2, .dilation = 2, .offset_scale = 1.5}},
      {{1, 4, 4, 8}, {.kernel = 5, .padding = 2, .groups = 8, .remove_center = true}},
      {{2, 5, 4, 3}, {.kernel = {2, 3}, .stride = {1, 2}, .padding = {{1, 0}, {0, 2}}, .dilation = {2, 1}, .groups = 3}},
      {{1, 3, 2, 21}, {.kernel = 1}},
      {{1, 1, 1, 4}, {.padding = 1, .groups = 2}},
  };
}
Shape offset_shape(const V3Case& c) {
  const auto g = kernels::dcnv3_geometry("dcnv3", c.x, c.options);
  return {g.N, g.OH, g.OW, 2 * g.groups * g.taps()};
}
Shape mask_shape(const V3Case& c) {
  Shape s = offset_shape(c);
  s[3] /= 2;
  return s;
}
/// Offsets whose points lie a quarter and more from any pixel: no kink is near, for a grid of whole or half pixels.
template <class T>
Tensor<T> smooth_offsets(const Shape& shape, double scale) {
  const auto t = integers<T>(shape, -6, 6);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<T>((0.25 + 0.5 * static_cast<double>(t.data()[i])) / scale);
  return t;
}

/// By definition, one number at a time.
template <class T>
Tensor<double> dcnv3_by_definition(const V3Case& c, const Tensor<T>& x, const Tensor<T>& offset, const Tensor<T>& mask) {
  const DCNv3Options& o = c.options;
  const index_t C = c.x[3], P = o.kernel.h * o.kernel.w - o.remove_center, each = C / o.groups;
  const index_t centre_h = o.dilation.h * (o.kernel.h - 1) / 2, centre_w = o.dilation.w * (o.kernel.w - 1) / 2;
  const auto y = zeros<double>({c.x[0], offset.dim(1), offset.dim(2), C});
  const auto read = [&](index_t n, double h, double w, index_t ch) {
    double sum = 0;
    for (index_t i = 0; i < c.x[1]; ++i)
      for (index_t j = 0; j < c.x[2]; ++j)
        sum += std::max(0.0, 1 - std::abs(h - static_cast<double>(i))) * std::max(0.0, 1 - std::abs(w - static_cast<double>(j))) *
               static_cast<double>(x.at(n, i, j, ch));
    return sum;
  };
  for (index_t n = 0; n < y.dim(0); ++n)
    for (index_t i = 0; i < y.dim(1); ++i)
      for (index_t j = 0; j < y.dim(2); ++j)
        for (index_t ch = 0; ch < C; ++ch) {
          index_t k = ch / each * P;
          for (index_t a = 0; a < o.kernel.w; ++a)
            for (index_t b = 0; b < o.kernel.h; ++b) {
              if (o.remove_center && a == o.kernel.w / 2 && b == o.kernel.h / 2) continue;
              const double w =
                  static_cast<double>(centre_w - o.padding.begin.w + j * o.stride.w) +
                  o.offset_scale * (static_cast<double>(a * o.dilation.w - centre_w) + static_cast<double>(offset.at(n, i, j, 2 * k)));
              const double h =
                  static_cast<double>(centre_h - o.padding.begin.h + i * o.stride.h) +
                  o.offset_scale * (static_cast<double>(b * o.dilation.h - centre_h) + static_cast<double>(offset.at(n, i, j, 2 * k + 1)));
              y.at(n, i, j, ch) += static_cast<double>(mask.at(n, i, j, k++)) * read(n, h, w, ch);
            }
        }
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("dcnv3: the worked example, forward and backward", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
  const auto x = nine<T>().requires_grad();
  const auto offset = zeros<T>({1, 3, 3, 18}), logits = zeros<T>({1, 3, 3, 9});
  logits.at(0, 1, 1, 0) = std::log(T(2));
  const auto displace = [&](index_t tap, double dx, double dy) {
    offset.at(0, 1, 1, 2 * tap) = static_cast<T>(dx);
    offset.at(0, 1, 1, 2 * tap + 1) = static_cast<T>(dy);
  };
  displace(0, 0.25, 0.5);
  displace(7, 0.5, -0.25);
  displace(8, 1, 1);
  offset.requires_grad();
  logits.requires_grad();
  const auto y = dcnv3(x, offset, softmax(logits), {.padding = 1});
  CHECK(y.at(0, 1, 1, 0) == doctest::Approx(3.7125).epsilon(tolerance));
  const auto dy = zeros<T>(y.shape());
  dy.at(0, 1, 1, 0) = 1;
  y.backward(dy);
  const Tensor<double> dx({1, 3, 3, 1}, {0.075, 0.125, 0.1125, 0.175, 0.125, 0.0375, 0.1, 0.1, 0});
  CHECK(max_difference(x.grad(), dx) <= tolerance);
  const Tensor<double> doffset({18}, {.2, .6, .1, .3, .1, -.7, .1, .3, .1, .3, .2, -.8, -.3, .3, -.525, .15, 0, 0});
  const Tensor<double> dlogits({9}, {-0.1925, 0.02875, 0.32875, -0.17125, 0.12875, 0.42875, -0.07125, -0.10875, -0.37125});
  const auto middle = [](const Tensor<T>& t) { return reshape(narrow(reshape(t, Shape{9, t.dim(-1)}), 0, 4, 1), Shape{t.dim(-1)}); };
  CHECK(max_difference(middle(offset.grad()), doffset) <= tolerance);
  CHECK(max_difference(middle(logits.grad()), dlogits) <= tolerance);
}

TEST_CASE("dcnv3: taps run down columns, pairs are (x, y), the scale is of grid and offsets") {
  const auto ramp = reshape(arange<double>(16), Shape{1, 4, 4, 1});
  const double expected[] = {0, 4, 8, 1, 5, 9, 2, 6, 10};
  for (index_t k = 0; k < 9; ++k) {
    const auto mask = zeros<double>({1, 4, 4, 9});
    mask.at(0, 1, 1, k) = 1;
    CHECK(dcnv3(ramp, zeros<double>({1, 4, 4, 18}), mask, {.padding = 1}).at(0, 1, 1, 0) == expected[k]);
  }
  const auto offset = zeros<double>({1, 4, 4, 18}), mask = zeros<double>({1, 4, 4, 9});
  offset.at(0, 1, 1, 8) = 0.25;
  offset.at(0, 1, 1, 9) = 0.5;
  mask.at(0, 1, 1, 4) = 1;
  CHECK(dcnv3(ramp, offset, mask, {.padding = 1}).at(0, 1, 1, 0) == 7.25);
  CHECK(dcnv3(ramp, offset, mask, {.padding = 1, .offset_scale = 2}).at(0, 1, 1, 0) == 9.5);
  const auto impulse = zeros<double>({1, 7, 7, 1});
  impulse.at(0, 3, 3, 0) = 9;
  for (const int scale : {1, 2}) {
    const auto y =
        dcnv3(impulse, zeros<double>({1, 7, 7, 18}), full<double>({1, 7, 7, 9}, 1. / 9), {.padding = 1, .offset_scale = double(scale)});
    for (int i = 0; i < 7; ++i)
      for (int j = 0; j < 7; ++j) {
        const int u = std::abs(i - 3), v = std::abs(j - 3);
        CHECK(y.at(0, i, j, 0) == (u % scale == 0 && v % scale == 0 && u <= scale && v <= scale ? 1 : 0));
      }
  }
}

TEST_CASE_TEMPLATE("dcnv3: by definition, and the exact transpose in x", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const V3Case& c : v3_cases()) {
    INFO(describe(c));
    const auto x = integers<T>(c.x, -4, 4), mask = integers<T>(mask_shape(c), -2, 2);
    const auto offset = smooth_offsets<T>(offset_shape(c), c.options.offset_scale == 1.5 ? 1 : c.options.offset_scale);
    x.requires_grad();
    const auto y = dcnv3(x, offset, mask, c.options), dy = integers<T>(y.shape(), -3, 3);
    CHECK(max_difference(y, dcnv3_by_definition(c, x, offset, mask)) == 0);  // weights are sixteenths, or 64ths: all sums are exact
    y.backward(dy);
    CHECK(dot(y, dy) == dot(x, x.grad()));
  }
}

TEST_CASE("dcnv3: derivatives, by differences") {
  for (const V3Case& c : v3_cases())
    check_gradients(
        describe(c), [&](const auto& in) { return dcnv3(in[0], in[1], in[2], c.options); },
        {normal<double>(c.x), smooth_offsets<double>(offset_shape(c), c.options.offset_scale == 1.5 ? 1 : c.options.offset_scale),
         normal<double>(mask_shape(c))},
        {.max_elements = 24});
}
