#include "segnet/kernels/conv2d_matrix.hpp"

#include "segnet/kernels/conv2d_reference.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using kernels::conv2d_geometry, kernels::conv2d_matrix;

namespace {

/// Row by row, with zeros.
template <class T>
std::vector<std::vector<T>> dense(const ConvMatrix<T>& m) {
  std::vector<std::vector<T>> rows;
  for (index_t i = 0; i < m.rows(); ++i) {
    rows.emplace_back(m.cols(), T(0));
    for (typename ConvMatrix<T>::InnerIterator place(m, i); place; ++place)
      rows.back()[static_cast<std::size_t>(place.col())] = place.value();
  }
  return rows;
}

}  // namespace

TEST_CASE("conv2d_matrix: a 3x3 kernel over 4x4 is 4 x 16, as in Dumoulin & Visin, section 4.1") {
  const Tensor<float> w({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto g = conv2d_geometry("test", {1, 4, 4, 1}, w.shape(), {0}, {});
  CHECK(dense(conv2d_matrix<float>(g, w.view())) == std::vector<std::vector<float>>{{1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0},
                                                                                    {0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0},
                                                                                    {0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0},
                                                                                    {0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9}});
}

TEST_CASE("conv2d_matrix: stride, padding on one side, dilation, channels and groups") {
  const Tensor<double> w({2, 1, 2, 1}, {1, 2, 3, 4});  // two groups of one channel
  const auto g = conv2d_geometry("test", {1, 1, 4, 2}, w.shape(), {0},
                                 {.stride = {1, 3}, .padding = {Extent2(0, 1), Extent2(0, 0)}, .dilation = {1, 2}, .groups = 2});
  CHECK(dense(conv2d_matrix<double>(g, w.view())) ==  // taps 2 apart, begun 1 in front: the first falls into the padding
        std::vector<std::vector<double>>{{0, 0, 2, 0, 0, 0, 0, 0}, {0, 0, 0, 4, 0, 0, 0, 0}});
  const auto pattern = kernels::conv2d_matrix_pattern(g);
  CHECK(pattern.nonZeros() == 2);
  CHECK(pattern.coeff(1, 3) == 3);
}

TEST_CASE("conv2d_matrix: weights that are zero keep their places") {
  const Tensor<float> w({1, 1, 2, 1}, {0, 1});
  const auto m = conv2d_matrix<float>(conv2d_geometry("test", {1, 1, 3, 1}, w.shape(), {0}, {}), w.view());
  CHECK(m.nonZeros() == 4);
}

TEST_CASE_TEMPLATE("ConvAlgorithm::matrix: all passes equal the reference", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const index_t batch : {0, 1, 3}) {
    const Tensor<T> x = integers<T>({batch, 6, 5, 4}, -3, 3), w = integers<T>({6, 3, 2, 2}, -3, 3), b = integers<T>({6}, -3, 3);
    const auto g =
        conv2d_geometry("test", x.shape(), w.shape(), b.shape(), {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 2});
    const Tensor<T> dy = integers<T>(g.y_shape(), -3, 3), c = integers<T>({4}, -3, 3);
    const Tensor<T> y(g.y_shape()), dx(g.x_shape()), dw(g.w_shape()), y2(g.y_shape()), dx2(g.x_shape()), dw2(g.w_shape());
    const auto& matrix = kernels::matrix::passes<T>();
    matrix.conv2d(g, x.view(), w.view(), b.view(), y.view());
    matrix.conv2d_grad_input(g, dy.view(), w.view(), c.view(), dx.view());
    matrix.conv2d_grad_weight(g, dy.view(), x.view(), dw.view());
    kernels::reference::conv2d<T>(g, x.view(), w.view(), b.view(), y2.view());
    kernels::reference::conv2d_grad_input<T>(g, dy.view(), w.view(), c.view(), dx2.view());
    kernels::reference::conv2d_grad_weight<T>(g, dy.view(), x.view(), dw2.view());
    CHECK(equal(y, y2));
    CHECK(equal(dx, dx2));
    CHECK(equal(dw, dw2));
    matrix.conv2d(g, x.view(), w.view(), {}, y.view());  // no bias
    kernels::reference::conv2d<T>(g, x.view(), w.view(), {}, y2.view());
    CHECK(equal(y, y2));
  }
}

TEST_CASE("ConvAlgorithm::matrix: an element type that it does not have says so") {
  CHECK_THROWS_WITH_AS(
      (void)kernels::matrix::passes<long double>(),
      "segnet::conv2d: not implemented: ConvAlgorithm::matrix without #include \"segnet/kernels/conv2d_matrix.hpp\" (float "
      "and double; needs Eigen)",
      NotImplemented);
}
