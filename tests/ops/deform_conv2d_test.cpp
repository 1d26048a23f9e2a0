#include "segnet/kernels/bilinear_sample.hpp"

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
