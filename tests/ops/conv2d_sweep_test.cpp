// Every algorithm of conv2d and conv_transpose2d, in all passes, over thousands of random combinations of attributes.
#include <array>
#include <set>

#include "ops/conv_cases.hpp"
#include "segnet/autograd/backward.hpp"
#include "segnet/kernels/conv2d_matrix.hpp"
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

constexpr ConvAlgorithm algorithms[] = {ConvAlgorithm::automatic,     ConvAlgorithm::matrix,   ConvAlgorithm::im2col_gemm,
                                        ConvAlgorithm::implicit_gemm, ConvAlgorithm::winograd, ConvAlgorithm::depthwise};

index_t below(index_t n) { return segnet::testing::random().below(n); }
index_t between(index_t low, index_t high) { return low + below(high - low + 1); }
Extent2 extent(index_t low, index_t high) { return {between(low, high), between(low, high)}; }
Extent2 often_one(index_t high) { return below(2) ? Extent2(1) : extent(1, high); }

/// A convolution, or (transposed) one that maps y to x; options of either kind.
struct SweepCase {
  bool transposed;
  kernels::ConvGeometry g;
  ConvTranspose2dOptions options;
};

/// Sizes 1-17, kernels 1-7, strides and dilations 1-4, asymmetric padding 0-3, output padding, few channels in up to 4 groups. Every
/// third is of the shape that Winograd's algorithm takes.
SweepCase random_case() {
  for (;;) {
    const bool transposed = below(2), square = below(3) == 0, depthwise = below(4) == 0;
    const index_t groups = depthwise ? between(1, 20) : below(2) ? between(2, 4) : 1, channels = below(12) ? 3 : 12;
    const index_t inputs = depthwise ? 1 : between(1, channels), outputs = depthwise ? 1 : between(1, channels);
    const Extent2 kernel = square ? Extent2(3) : extent(1, 7), stride = square ? Extent2(1) : often_one(4), dilation = often_one(4);
    const Extent2 size = transposed ? Extent2(between(1, 17 / stride.h), between(1, 17 / stride.w)) : extent(1, 17);
    const Padding2 padding(extent(0, 3), extent(0, 3));
    const Shape w{groups * outputs, kernel.h, kernel.w, inputs};
    const Extent2 rest(between(0, std::max(stride.h, dilation.h) - 1), between(0, std::max(stride.w, dilation.w) - 1));
    const ConvTranspose2dOptions options{
        .stride = stride, .padding = padding, .output_padding = rest, .dilation = dilation, .groups = groups};
    const index_t batch = below(4) ? 1 : between(0, 2);
    try {
      if (transposed) {
        const Shape x{batch, size.h, size.w, w[0]};
        return {true, kernels::conv_transpose2d_geometry("sweep", x, w, {0}, options), options};
      }
      const Shape x{batch, size.h, size.w, groups * inputs};
      const Conv2dOptions forward{.stride = stride, .padding = padding, .dilation = dilation, .groups = groups};
      return {false, kernels::conv2d_geometry("sweep", x, w, {0}, forward), options};
    } catch (const ShapeError&) {  // a kernel larger than its image, or an image cropped to nothing: draw again
    }
  }
}

template <class T>
struct Tensors {
  Tensor<T> x, w, b, dy;
};
/// y and the gradients to x, w and b.
template <class T>
using Results = std::array<Tensor<T>, 4>;

template <class T>
Results<T> compute(const SweepCase& c, const Tensors<T>& t, ConvAlgorithm algorithm) {
  const ConvTranspose2dOptions& o = c.options;
  const auto x = t.x.detach().requires_grad(), w = t.w.detach().requires_grad(), b = t.b.detach().requires_grad();
  const Tensor<T> y = c.transposed ? conv_transpose2d(x, w, b, {o.stride, o.padding, o.output_padding, o.dilation, o.groups, algorithm})
                                   : conv2d(x, w, b, {o.stride, o.padding, o.dilation, o.groups, algorithm});
  y.backward(t.dy);
  return {y, x.grad(), w.grad(), b.grad()};
}

/// Winograd's transforms round, the other algorithms add the same products: on integers they are exact.
template <class T>
bool agrees(ConvAlgorithm algorithm, const Tensor<T>& actual, const Tensor<T>& expected) {
  if (algorithm != ConvAlgorithm::winograd && algorithm != ConvAlgorithm::automatic) return equal(actual, expected);
  double largest = 1;
  for (index_t i = 0; i < expected.numel(); ++i) largest = std::max(largest, std::abs(static_cast<double>(expected.data()[i])));
  return max_difference(actual, expected) <= (sizeof(T) == 4 ? 5e-5 : 1e-12) * largest;
}

}  // namespace

TEST_CASE_TEMPLATE("conv2d, conv_transpose2d: every algorithm equals the reference on random attributes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  constexpr int cases = 2000;
  const char* const results[] = {"y", "grad x", "grad weight", "grad bias"};
  std::array<int, std::size(algorithms)> accepted{};
  int wrong = 0;
  for (int i = 0; i < cases && wrong < 5; ++i) {
    const SweepCase c = random_case();
    const kernels::ConvGeometry& g = c.g;
    const auto draw = [](const Shape& shape) { return integers<T>(shape, -3, 3); };
    const Tensors<T> t = c.transposed ? Tensors<T>{draw(g.y_shape()), draw(g.w_shape()), draw({g.C}), draw(g.x_shape())}
                                      : Tensors<T>{draw(g.x_shape()), draw(g.w_shape()), draw({g.O}), draw(g.y_shape())};
    const Results<T> expected = compute(c, t, ConvAlgorithm::reference);
    for (std::size_t a = 0; a < std::size(algorithms); ++a) {
      Results<T> actual;
      try {
        actual = compute(c, t, algorithms[a]);
      } catch (const ValueError& e) {
        REQUIRE(e.argument == "algorithm");  // it does not take the shape
        continue;
      } catch (const NotImplemented&) {
        continue;
      }
      ++accepted[a];
      for (std::size_t r = 0; r < actual.size(); ++r)
        if (!agrees(algorithms[a], actual[r], expected[r])) {
          ++wrong;
          FAIL_CHECK(to_string(algorithms[a]), ": ", results[r], " of ", c.transposed ? "conv_transpose2d" : "conv2d", ", x ", t.x.shape(),
                     ", weight ", t.w.shape(), ", stride ", to_string(g.stride), ", padding ", to_string(c.options.padding.begin), " and ",
                     to_string(c.options.padding.end), ", dilation ", to_string(g.dilation), ", groups ", g.groups, ", output_padding ",
                     to_string(c.options.output_padding));
        }
    }
  }
  for (std::size_t a = 0; a < std::size(algorithms); ++a) {
    INFO(to_string(algorithms[a]), " took ", accepted[a], " of ", cases);
    if (algorithms[a] == ConvAlgorithm::depthwise) CHECK(accepted[a] > cases / 5);
    else if (algorithms[a] == ConvAlgorithm::winograd) CHECK(accepted[a] > cases / 10);
    else CHECK(accepted[a] == cases);
  }
}
