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
  for (const double far : {-1.001, 4.0, -1e30, 1e30, -HUGE_VAL, HUGE_VAL}) {
    CHECK_FALSE(kernels::BilinearAxis<double>(far, 4).reaches);
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
      const bool outside = y < -1 || y >= 3 || x < -1 || x >= 5;
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

TEST_CASE("dcnv4: dcnv3 with everything in one tensor, whose tail is not read") {
  for (const V3Case& c : v3_cases()) {
    INFO(describe(c));
    const index_t taps = mask_shape(c)[3] / c.options.groups, width = dcnv4_width(c.options.groups, taps);
    const auto x = normal<double>(c.x), offset = smooth_offsets<double>(offset_shape(c), 1), mask = normal<double>(mask_shape(c));
    auto all = full<double>({mask.dim(0), mask.dim(1), mask.dim(2), width}, NAN);
    const index_t pixels = mask.numel() / mask.dim(3);
    const auto copy = [&](const Tensor<double>& from, const Tensor<double>& numbers, bool there) {  // and back
      const index_t size = from.dim(3) / c.options.groups, at = size == taps ? 2 * taps : 0;
      for (index_t p = 0; p < pixels; ++p)
        for (index_t i = 0; i < from.dim(3); ++i) {
          double &a = from.data()[p * from.dim(3) + i], &b = numbers.data()[p * width + i / size * 3 * taps + at + i % size];
          there ? b = a : a = b;
        }
    };
    copy(offset, all, true);
    copy(mask, all, true);
    for (const auto& t : {x, offset, mask, all}) t.requires_grad();
    const auto y = dcnv3(x, offset, mask, c.options), z = dcnv4(x, all, c.options);
    CHECK(equal(z, y));
    const auto dy = normal<double>(y.shape());
    y.backward(dy);
    const auto dx = x.grad();
    x.zero_grad();
    z.backward(dy);
    CHECK(equal(x.grad(), dx));
    const auto doffset = zeros<double>(offset.shape()), dmask = zeros<double>(mask.shape());
    copy(doffset, all.grad(), false);
    copy(dmask, all.grad(), false);
    CHECK(equal(doffset, offset.grad()));
    CHECK(equal(dmask, mask.grad()));
    if (width > 3 * c.options.groups * taps) CHECK(all.grad().data()[width - 1] == 0);
  }
  CHECK(dcnv4_width(4, 9) == 112);
  CHECK(dcnv4_width(8, 9) == 216);
}

// ---- deform_conv2d

namespace {

struct DeformCase {
  Shape x, w;
  DeformConv2dOptions options;
  index_t offset_groups = 1;
  bool mask = true, bias = true;
};
std::string describe(const DeformCase& c) {
  const DeformConv2dOptions& o = c.options;
  return concat("deform_conv2d ", c.x, " * ", c.w, ", {.stride = ", o.stride, ", .padding = ", o.padding.begin, "/", o.padding.end,
                ", .dilation = ", o.dilation, ", .groups = ", o.groups, "}, offset groups ", c.offset_groups, c.mask ? ", mask" : "",
                c.bias ? ", bias" : "");
}
/// Groups of weights within, across and around groups of offsets.
std::vector<DeformCase> deform_cases() {
  return {
      {{2, 4, 5, 4}, {6, 3, 3, 4}, {.padding = 1}, 1, false},
      {{1, 5, 6, 6}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}, 3},
      {{1, 6, 5, 12}, {6, 3, 3, 2}, {.padding = 2, .dilation = 2, .groups = 6}, 2, true, false},
      {{2, 7, 4, 34}, {3, 2, 3, 34}, {.stride = {2, 1}, .padding = {{0, 2}, {1, 0}}, .dilation = {2, 1}}, 2},
      {{1, 3, 2, 20}, {2, 1, 1, 20}, {}, 1},
  };
}
template <class T>
std::vector<Tensor<T>> deform_inputs(const DeformCase& c, bool displaced = true) {
  const auto g =
      kernels::conv2d_geometry("", c.x, c.w, {0}, {c.options.stride, c.options.padding, c.options.dilation, c.options.groups, {}});
  const Shape offset{g.N, g.OH, g.OW, c.offset_groups * 2 * g.taps()}, mask{g.N, g.OH, g.OW, c.offset_groups * g.taps()};
  return {integers<T>(c.x, -3, 3), displaced ? smooth_offsets<T>(offset, 1) : zeros<T>(offset), integers<T>(c.w, -3, 3),
          c.bias ? integers<T>({c.w[0]}, -3, 3) : Tensor<T>{}, c.mask ? integers<T>(mask, -2, 2) : Tensor<T>{}};
}
const auto convolve = [](const DeformCase& c, const auto& in) { return deform_conv2d(in[0], in[1], in[2], in[3], in[4], c.options); };

}  // namespace

TEST_CASE_TEMPLATE("deform_conv2d: the worked example, forward and backward", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
  const auto x = nine<T>();
  const Tensor<T> w({1, 3, 3, 1}, {1, 0, -1, 2, 0.5, -2, 1, 0, -1}), offset = zeros<T>({1, 1, 1, 18}), mask = ones<T>({1, 1, 1, 9});
  const auto displace = [&](index_t tap, double dy, double dx) {
    offset.data()[2 * tap] = static_cast<T>(dy);
    offset.data()[2 * tap + 1] = static_cast<T>(dx);
  };
  displace(0, 0.5, 0.25);
  displace(5, -0.25, 0.5);
  displace(8, 1, 1);
  mask.data()[0] = T(0.5);
  mask.data()[5] = T(0.25);
  for (const auto& t : {x, w, offset, mask}) t.requires_grad();
  const auto y = deform_conv2d(x, offset, w, {}, mask);
  CHECK(y.item() == doctest::Approx(14.5625).epsilon(tolerance));
  y.backward();
  CHECK(max_difference(x.grad(), Tensor<double>({1, 3, 3, 1}, {0.1875, 0.0625, -1.0625, 2.1875, 0.5625, -0.1875, 1, 0, 0})) <= tolerance);
  CHECK(max_difference(w.grad(), Tensor<double>({1, 3, 3, 1}, {1.375, 2, 3, 4, 5, 0.65625, 7, 8, 0})) <= tolerance);
  CHECK(max_difference(mask.grad(), Tensor<double>({1, 1, 1, 9}, {2.75, 0, -3, 8, 2.5, -5.25, 7, 0, 0})) <= tolerance);
  const Tensor<double> doffset({1, 1, 1, 18}, {1.5, 0.5, 0, 0, -3, 3, 6, 2, 1.5, 0.5, -0.75, 2.625, -7, 1, 0, 0, 0, 0});
  CHECK(max_difference(offset.grad(), doffset) <= tolerance);
}

TEST_CASE_TEMPLATE("deform_conv2d: without offsets it is conv2d, with whole ones conv2d of a shifted image", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (DeformCase c : deform_cases()) {
    INFO(describe(c));
    c.mask = false;
    auto in = deform_inputs<T>(c, false);
    const Conv2dOptions options{c.options.stride, c.options.padding, c.options.dilation, c.options.groups, ConvAlgorithm::reference};
    CHECK(equal(convolve(c, in), conv2d(in[0], in[2], in[3], options)));
    // (1, -2) everywhere: row h + 1, column w - 2
    const auto shifted = zeros<T>(c.x);
    for (index_t n = 0; n < c.x[0]; ++n)
      for (index_t h = 0; h + 1 < c.x[1]; ++h)
        for (index_t w = 2; w < c.x[2]; ++w)
          for (index_t i = 0; i < c.x[3]; ++i) shifted.at(n, h, w, i) = in[0].at(n, h + 1, w - 2, i);
    for (index_t i = 0; i < in[1].numel(); ++i) in[1].data()[i] = i % 2 ? T(-2) : T(1);
    // Where the convolution reads the padding, the image may go on: only what reads none is the same.
    const auto y = convolve(c, in), z = conv2d(shifted, in[2], in[3], options);
    const auto g = kernels::conv2d_geometry("", c.x, c.w, {0}, options);
    for (index_t oh = 0; oh < g.OH; ++oh)
      for (index_t ow = 0; ow < g.OW; ++ow) {
        const bool whole =
            g.input_row(oh, 0) >= 0 && g.input_row(oh, g.kh - 1) < g.H && g.input_column(ow, 0) >= 0 && g.input_column(ow, g.kw - 1) < g.W;
        if (whole)
          for (index_t o = 0; o < g.O; ++o) CHECK(y.at(0, oh, ow, o) == z.at(0, oh, ow, o));
      }
  }
}

TEST_CASE_TEMPLATE("deform_conv2d: the exact transpose in x, weight and mask", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (DeformCase c : deform_cases()) {
    INFO(describe(c));
    c.bias = false;
    const auto in = deform_inputs<T>(c);
    for (const auto& t : in)
      if (t) t.requires_grad();
    const auto y = convolve(c, in), dy = integers<T>(y.shape(), -3, 3);
    y.backward(dy);
    CHECK(dot(y, dy) == dot(in[0], in[0].grad()));
    CHECK(dot(y, dy) == dot(in[2], in[2].grad()));
    if (c.mask) CHECK(dot(y, dy) == dot(in[4], in[4].grad()));
  }
}

TEST_CASE("deform_conv2d: derivatives, by differences") {
  for (const DeformCase& c : deform_cases()) {
    std::vector<Tensor<double>> inputs = deform_inputs<double>(c), given;
    for (const auto& t : inputs)
      if (t) given.push_back(t);
    check_gradients(describe(c),
                    [&](const auto& in) {
                      std::size_t next = 3;
                      const auto b = c.bias ? in[next++] : Tensor<double>{}, mask = c.mask ? in[next++] : Tensor<double>{};
                      return deform_conv2d(in[0], in[1], in[2], b, mask, c.options);
                    },
                    given, {.max_elements = 24});
  }
}

// ---- both

TEST_CASE("deformable operators: the same bits for any number of threads") {
  const DeformCase c{{2, 9, 8, 20}, {4, 3, 3, 20}, {.padding = 1}, 2};
  const auto in = deform_inputs<float>(c);
  const auto numbers = normal<float>({2, 9, 8, dcnv4_width(5, 9)});
  const auto run = [&] {
    for (const auto& t : {in[0], in[1], in[2], in[4], numbers}) t.requires_grad(), t.zero_grad();
    const auto y = convolve(c, in), z = dcnv4(in[0], numbers, {.padding = 1, .groups = 5});
    y.backward(y.detach());
    z.backward(z.detach());
    return std::vector{y.detach(), z.detach(), in[0].grad(), in[1].grad(), in[2].grad(), in[4].grad(), numbers.grad()};
  };
  const int threads = num_threads();
  set_num_threads(1);
  const auto expected = run();
  for (const int t : {2, 5}) {
    set_num_threads(t);
    const auto got = run();
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(equal(got[i], expected[i]));
  }
  set_num_threads(threads);
}

TEST_CASE("deformable operators: points far away read zero, NaN is NaN, no images are none") {
  const auto x = full<double>({1, 3, 4, 2}, INFINITY).requires_grad(), mask = ones<double>({1, 3, 4, 9}).requires_grad();
  const auto w = ones<double>({1, 3, 3, 2});
  for (const double far : {100., -100., 1e18, -1e30, HUGE_VAL, -HUGE_VAL}) {
    INFO(far);
    const auto offset = full<double>({1, 3, 4, 18}, far).requires_grad();
    for (const auto& y : {dcnv3(x, offset, mask, {.padding = 1}), deform_conv2d(x, offset, w, {}, mask, {.padding = 1})}) {
      for (const double value : y.to_vector()) CHECK(value == 0);
      for (const auto& t : {x, mask, offset}) t.zero_grad();
      y.backward(ones<double>(y.shape()));
      for (const auto& t : {x, mask, offset}) CHECK(equal(t.grad(), zeros<double>(t.shape())));
    }
  }
  const auto finite = ones<double>({1, 3, 4, 2}), offset = zeros<double>({1, 3, 4, 18});
  offset.at(0, 1, 2, 5) = NAN;
  for (const auto& y : {dcnv3(finite, offset, mask, {.padding = 1}), deform_conv2d(finite, offset, w, {}, mask, {.padding = 1})})
    for (index_t i = 0; i < y.numel(); ++i) CHECK(std::isnan(y.data()[i]) == (i / y.dim(3) == 6));
  const auto none = zeros<double>({0, 3, 4, 2}).requires_grad(), no_offset = zeros<double>({0, 3, 4, 18});
  const auto weight = ones<double>({5, 3, 3, 2}).requires_grad();
  const auto y = dcnv3(none, no_offset, zeros<double>({0, 3, 4, 9}), {.padding = 1});
  CHECK(y.shape() == Shape{0, 3, 4, 2});
  y.backward(y.detach());
  CHECK(none.grad().shape() == none.shape());
  const auto z = deform_conv2d(none, no_offset, weight, {}, {}, {.padding = 1});
  CHECK(z.shape() == Shape{0, 3, 4, 5});
  z.backward(z.detach());
  CHECK(equal(weight.grad(), zeros<double>(weight.shape())));
}

TEST_CASE("deformable operators: wrong arguments are named") {
  const auto x = zeros<float>({1, 4, 5, 6}), offset = zeros<float>({1, 4, 5, 36}), mask = zeros<float>({1, 4, 5, 18}),
             w = zeros<float>({2, 3, 3, 6});
  const DCNv3Options two{.padding = 1, .groups = 2};
  CHECK_THROWS_WITH_AS((void)dcnv3(zeros<float>({4, 5, 6}), offset, mask),
                       "segnet::dcnv3: argument 'x': expected [N, H, W, C], got [4, 5, 6]", ShapeError);
  CHECK_THROWS_WITH_AS((void)dcnv3(x, mask, mask, two), "segnet::dcnv3: argument 'offset': expected [1, 4, 5, 36], got [1, 4, 5, 18]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)dcnv3(x, offset, offset, two), "segnet::dcnv3: argument 'mask': expected [1, 4, 5, 18], got [1, 4, 5, 36]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)dcnv3(x, offset, mask, {.groups = 4}), doctest::Contains("with C a multiple of groups = 4, got [1, 4, 5, 6]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)dcnv3(x, offset, mask, {.groups = 0}), doctest::Contains("'groups': expected at least 1, got 0"), ValueError);
  CHECK_THROWS_WITH_AS((void)dcnv3(x, offset, mask, {.kernel = 0}), doctest::Contains("'kernel': expected at least 1, got 0x0"),
                       ValueError);
  CHECK_THROWS_WITH_AS(
      (void)dcnv3(x, offset, mask, {.kernel = {3, 5}, .remove_center = true}),
      doctest::Contains("'remove_center': expected false with a kernel that is not square, odd and larger than 1, got 3x5"), ValueError);
  CHECK_THROWS_WITH_AS((void)dcnv4(x, offset, two), "segnet::dcnv4: argument 'offset_mask': expected [1, 4, 5, 56], got [1, 4, 5, 36]",
                       ShapeError);
  const DeformConv2dOptions pad{.padding = 1};
  CHECK_THROWS_WITH_AS((void)deform_conv2d(x, mask, zeros<float>({2, 3, 3, 5}), {}, {}, pad),
                       doctest::Contains("segnet::deform_conv2d: argument 'weight': expected [O, kh, kw, 6]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)deform_conv2d(x, zeros<float>({1, 4, 5, 20}), w, {}, {}, pad),
                       "segnet::deform_conv2d: argument 'offset': expected [1, 4, 5, offset groups * 18], got [1, 4, 5, 20]", ShapeError);
  CHECK_THROWS_WITH_AS((void)deform_conv2d(x, zeros<float>({1, 4, 5, 72}), w, {}, {}, pad),
                       doctest::Contains("expected offset groups that divide 6 channels, not 4"), ShapeError);
  CHECK_THROWS_WITH_AS((void)deform_conv2d(x, offset, w, {}, zeros<float>({1, 4, 5, 9}), pad),
                       "segnet::deform_conv2d: argument 'mask': expected [1, 4, 5, 18], got [1, 4, 5, 9]", ShapeError);
  CHECK_THROWS_AS((void)deform_conv2d(x, offset, w, zeros<float>({3}), {}, pad), ShapeError);
  CHECK_THROWS_WITH_AS((void)nn::DCNv3<float>(6, {.groups = 4}), doctest::Contains("'groups': expected a divisor of the 6 channels, got 4"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)nn::DCNv3<float>(8, {.dw_kernel = 4}), doctest::Contains("'kernel': expected an odd number, got 4"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)nn::DeformConv2dPack<float>(8, 4, 3, {}, nn::Bias::yes, nn::Modulation::yes, 3),
                       doctest::Contains("'offset_groups': expected a divisor of the 8 input channels, got 3"), ValueError);
}

// ---- layers

TEST_CASE("nn::DCNv3: at the start the projected mean of projections; names, parameters, counts") {
  nn::DCNv3<double> layer(8, {.groups = 2});
  const auto x = normal<double>({1, 4, 5, 8});
  const auto mean = avg_pool2d(layer.input_proj(x), {.kernel = 3, .stride = 1, .padding = 1});  // zeros counted
  CHECK(max_difference(layer(x), layer.output_proj(mean)) < 1e-12);
  for (const auto& [channels, groups, parameters] : {std::tuple(64, 4, 16108), std::tuple(128, 8, 62424), std::tuple(256, 16, 245680)})
    CHECK(nn::num_parameters(nn::DCNv3<float>(channels, {.groups = groups})) == parameters);
  const nn::DCNv3<float> large(32, {.groups = 2, .dw_kernel = 5, .center_feature_scale = true});
  CHECK(nn::num_parameters(large) == 25 * 32 + 32 + 2 * 32 + 3 * 2 * 9 * 33 + 2 * (32 * 32 + 32) + 2 * 33);
  std::string names;
  for (const auto& entry : nn::state_dict<float>(large)) names += entry.name + " ";
  CHECK(names ==
        "center_feature_scale_proj_weight center_feature_scale_proj_bias dw_conv.0.weight dw_conv.0.bias dw_conv.1.1.weight "
        "dw_conv.1.1.bias offset.weight offset.bias mask.weight mask.bias input_proj.weight input_proj.bias output_proj.weight "
        "output_proj.bias ");
}

TEST_CASE("nn::DCNv3: gradients through everything, with the gate") {
  nn::DCNv3<double> layer(4, {.groups = 2, .offset_scale = 1.5, .center_feature_scale = true, .remove_center = true});
  auto parameters = nn::parameters<double>(layer);
  for (auto& p : parameters) p.copy_from(normal<double>(p.shape(), 0, 0.3));
  std::vector<Tensor<double>> inputs{normal<double>({1, 3, 4, 4})};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  check_gradients("DCNv3", [&](const auto& in) { return layer(in[0]); }, inputs, {.rtol = 1e-5, .max_elements = 6});
}

TEST_CASE("nn::DCNv4: nothing is aggregated at the start; names, parameters, counts") {
  for (const auto& [channels, groups, parameters] :
       {std::tuple(64, 4, 15536), std::tuple(128, 8, 60760), std::tuple(256, 16, 242352), std::tuple(512, 32, 968032)})
    CHECK(nn::num_parameters(nn::DCNv4<float>(channels, {.groups = groups, .output_bias = nn::Bias::no})) == parameters);
  nn::DCNv4<double> layer(4, {.groups = 2, .dw_kernel = 3, .remove_center = true});
  const auto x = normal<double>({1, 3, 4, 4});
  CHECK(equal(layer(x).detach(), zeros<double>(x.shape())));
  std::string names;
  for (const auto& entry : nn::state_dict<double>(layer)) names += entry.name + " ";
  CHECK(names ==
        "offset_mask_dw.weight offset_mask_dw.bias offset_mask.weight offset_mask.bias value_proj.weight value_proj.bias "
        "output_proj.weight output_proj.bias ");
  auto parameters = nn::parameters<double>(layer);
  for (auto& p : parameters) p.copy_from(normal<double>(p.shape(), 0, 0.3));
  parameters.push_back(x);
  check_gradients("DCNv4", [&](const auto& in) { return layer(in.back()); }, parameters, {.rtol = 1e-5, .max_elements = 6});
}

TEST_CASE("nn::DeformConv2dPack: at the start a convolution, with a mask half of it") {
  const auto x = integers<float>({1, 5, 6, 4}, -3, 3);
  for (const nn::Modulation modulation : {nn::Modulation::no, nn::Modulation::yes}) {
    const nn::DeformConv2dPack<float> layer(4, 6, 3, {.stride = 2, .padding = 1, .groups = 2}, nn::Bias::no, modulation, 2);
    const auto y = conv2d(x, layer.conv.weight, {}, {.stride = 2, .padding = 1, .groups = 2});
    CHECK(max_difference(layer(x), modulation == nn::Modulation::no ? y.detach() : y.detach() * 0.5f) < 1e-5);
    const index_t numbers = modulation == nn::Modulation::no ? 2 : 3;
    CHECK(nn::num_parameters(layer) == 9 * 2 * 6 + (9 * 4 + 1) * numbers * 2 * 9);
    std::string names;
    for (const auto& entry : nn::state_dict<float>(layer)) names += entry.name + " ";
    CHECK(names == "weight conv_offset.weight conv_offset.bias ");
  }
}
