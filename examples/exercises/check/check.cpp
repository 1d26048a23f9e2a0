// The answers to the exercises, as numbers: what a filled gap must give. Everything is compared as text, so that a wrong answer
// is shown beside the right one.
#include <doctest/doctest.h>

#include <cstdio>

#include "01_sizes.hpp"
#include "02_matrix.hpp"
#include "03_transposed.hpp"
#include "04_image_matrix.hpp"
#include "05_zero_insertion.hpp"
#include "06_unpooling.hpp"
#include "07_im2col.hpp"
#include "08_bilinear.hpp"
#include "09_dilation.hpp"
#include "10_receptive_field.hpp"
#include "11_fully_convolutional.hpp"
#include "12_inverse_sizes.hpp"

using namespace exercise;

namespace {

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}
std::string text(const Row& row) {
  std::string result;
  for (const double value : row) result += (result.empty() ? "" : " ") + text(value);
  return result;
}
std::string text(const std::vector<int>& row) { return text(Row(row.begin(), row.end())); }
std::string text(const Grid& grid) {
  std::string result;
  for (const Row& row : grid) result += (result.empty() ? "" : " | ") + text(row);
  return result;
}

void check(const std::string& what, const std::string& yours, const std::string& right) {
  INFO(what);
  CHECK(yours == right);
}

Row flat(const Grid& grid) {
  Row row;
  for (const Row& r : grid) row.insert(row.end(), r.begin(), r.end());
  return row;
}
Grid reshaped(const Row& row, int width) {
  Grid grid;
  for (int i = 0; i + width <= size(row); i += width) grid.emplace_back(row.begin() + i, row.begin() + i + width);
  return grid;
}
Grid counting(int first, int rows, int columns) {
  Row row;
  for (int i = 0; i < rows * columns; ++i) row.push_back(first + i);
  return reshaped(row, columns);
}

/// A direct convolution with zeros around; `behind` as many more below and to the right.
Grid convolved(const Grid& image, const Grid& kernel, int padding, int behind) {
  Grid result = zeros(height(image) + 2 * padding + behind - height(kernel) + 1, width(image) + 2 * padding + behind - width(kernel) + 1);
  for (int r = 0; r < height(result); ++r)
    for (int c = 0; c < width(result); ++c)
      for (int u = 0; u < height(kernel); ++u)
        for (int v = 0; v < width(kernel); ++v) {
          const int h = r + u - padding, w = c + v - padding;
          if (h >= 0 && h < height(image) && w >= 0 && w < width(image)) at(result, r, c) += at(kernel, u, v) * at(image, h, w);
        }
  return result;
}
/// A transposed convolution by stamping.
Grid stamped(const Grid& image, const Grid& kernel, int stride, int padding) {
  Grid result =
      zeros(stride * (height(image) - 1) + height(kernel) - 2 * padding, stride * (width(image) - 1) + width(kernel) - 2 * padding);
  for (int h = 0; h < height(image); ++h)
    for (int w = 0; w < width(image); ++w)
      for (int u = 0; u < height(kernel); ++u)
        for (int v = 0; v < width(kernel); ++v) {
          const int r = h * stride + u - padding, c = w * stride + v - padding;
          if (r >= 0 && r < height(result) && c >= 0 && c < width(result)) at(result, r, c) += at(kernel, u, v) * at(image, h, w);
        }
  return result;
}

const Row x{1, 2, 3}, a{4, 5, 6, 7}, b{4, 5};
const Grid g{{1, 2}, {3, 4}};

}  // namespace

TEST_CASE("01 sizes") {
  check("i 32, k 3, s 1, p 1, d 1", text(output_size(32, 3, 1, 1, 1)), "32");
  check("i 32, k 3, s 2, p 1, d 1", text(output_size(32, 3, 2, 1, 1)), "16");
  check("i 33, k 3, s 2, p 1, d 1", text(output_size(33, 3, 2, 1, 1)), "17");
  check("i 224, k 7, s 2, p 3, d 1: the first layer of ResNet", text(output_size(224, 7, 2, 3, 1)), "112");
  check("i 224, k 11, s 4, p 2, d 1: the first layer of AlexNet", text(output_size(224, 11, 4, 2, 1)), "55");
  check("i 112, k 3, s 2, p 1, d 1", text(output_size(112, 3, 2, 1, 1)), "56");
  check("i 28, k 3, s 1, p 2, d 2", text(output_size(28, 3, 1, 2, 2)), "28");
  check("i 28, k 3, s 1, p 0, d 4", text(output_size(28, 3, 1, 0, 4)), "20");
  check("i 500, k 3, s 1, p 100, d 1: the first layer of FCN", text(output_size(500, 3, 1, 100, 1)), "698");
  check("i 4, k 7, s 4, p 0, d 1: does not fit", text(output_size(4, 7, 4, 0, 1)), "0");
}

TEST_CASE("02 the matrix of a convolution") {
  const Row padded{0, 4, 5, 6, 7, 0};
  const Grid X = convolution_matrix(x, 6, 1);
  check("X, stride 1", text(X), "1 2 3 0 0 0 | 0 1 2 3 0 0 | 0 0 1 2 3 0 | 0 0 0 1 2 3");
  check("X times (0, 4, 5, 6, 7, 0)", text(multiply(X, padded)), "23 32 38 20");
  const Grid strided = convolution_matrix(x, 6, 2);
  check("X, stride 2", text(strided), "1 2 3 0 0 0 | 0 0 1 2 3 0");
  check("the same product, stride 2", text(multiply(strided, padded)), "23 38");
}

TEST_CASE("03 the transposed convolution") {
  check("stride 1", text(transposed_convolution(x, a, 1, 0, 0)), "4 13 28 34 32 21");
  check("stride 1, padding 1", text(transposed_convolution(x, a, 1, 1, 0)), "13 28 34 32");
  check("stride 2", text(transposed_convolution(x, b, 2, 0, 0)), "4 8 17 10 15");
  check("stride 2, output padding 1", text(transposed_convolution(x, b, 2, 0, 1)), "4 8 17 10 15 0");
  check("stride 2, padding 1", text(transposed_convolution(x, b, 2, 1, 0)), "8 17 10");
  check("stride 2, padding 1, output padding 1", text(transposed_convolution(x, b, 2, 1, 1)), "8 17 10 15");
}

TEST_CASE("04 the matrix of a convolution of images") {
  const Grid C = image_matrix(counting(1, 3, 3), 4, 4);
  check("row 2 of C", text(C.at(2)), "0 0 0 0 1 2 3 0 4 5 6 0 7 8 9 0");
  check("C times the image 0, 1, ..., 15", text(reshaped(multiply(C, flat(counting(0, 4, 4))), 2)), "303 348 | 483 528");
  check("its transpose times 1, 2, 3, 4", text(reshaped(multiply(transpose(C), flat(g)), 4)),
        "1 4 7 6 | 7 23 33 24 | 19 53 63 42 | 21 52 59 36");
  check("a 1x2 kernel over 2x3", text(image_matrix({{5, 6}}, 2, 3)), "5 6 0 0 0 0 | 0 5 6 0 0 0 | 0 0 0 5 6 0 | 0 0 0 0 5 6");
}

TEST_CASE("05 zero insertion") {
  const Grid w = counting(1, 3, 3);
  check("zeros inserted, stride 2", text(insert_zeros(g, 2)), "1 0 2 | 0 0 0 | 3 0 4");
  check("zeros inserted, stride 3", text(insert_zeros({{1, 2}}, 3)), "1 0 0 2");
  check("the kernel turned", text(turned(w)), "9 8 7 | 6 5 4 | 3 2 1");
  check("both, padding 0", text(convolved(insert_zeros(g, 2), turned(w), 2, 0)),
        "1 2 5 4 6 | 4 5 14 10 12 | 10 14 36 24 30 | 12 15 34 20 24 | 21 24 55 32 36");
  check("both, padding 1", text(convolved(insert_zeros(g, 2), turned(w), 1, 0)), "5 14 10 | 14 36 24 | 15 34 20");
  check("both, padding 1, output padding 1", text(convolved(insert_zeros(g, 2), turned(w), 1, 1)),
        "5 14 10 12 | 14 36 24 30 | 15 34 20 24 | 24 55 32 36");
}

TEST_CASE("06 unpooling") {
  check("nearest", text(nearest(g)), "1 1 2 2 | 1 1 2 2 | 3 3 4 4 | 3 3 4 4");
  check("bed of nails", text(bed_of_nails(g)), "1 0 2 0 | 0 0 0 0 | 3 0 4 0 | 0 0 0 0");
  check("max unpooling with the indices 5, 2, 12, 15", text(max_unpool(g, {{5, 2}, {12, 15}})), "0 0 2 0 | 0 1 0 0 | 0 0 0 0 | 3 0 0 4");
  check("backward pass of nearest", text(nearest_backward(counting(0, 4, 4))), "10 18 | 42 50");
}

TEST_CASE("07 im2col and col2im") {
  const Grid image = counting(1, 3, 3);
  check("im2col, k 2", text(im2col(image, 2)), "1 2 4 5 | 2 3 5 6 | 4 5 7 8 | 5 6 8 9");
  check("col2im of ones: how many patches see each pixel", text(col2im({{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}}, 3, 3, 2)),
        "1 2 1 | 2 4 2 | 1 2 1");
  check("col2im(im2col(image))", text(col2im(im2col(image, 2), 3, 3, 2)), "1 4 3 | 8 20 12 | 7 16 9");
}

TEST_CASE("08 bilinear interpolation") {
  check("tent, k 2", text(tent(2)), "0.5 0.5");
  check("tent, k 3", text(tent(3)), "0.5 1 0.5");
  check("tent, k 4", text(tent(4)), "0.25 0.75 0.75 0.25");
  check("tent, k 8", text(tent(8)), "0.125 0.375 0.625 0.875 0.875 0.625 0.375 0.125");
  for (const auto& [factor, right] :
       std::vector<std::pair<int, std::string>>{{2, "4 1"}, {3, "5 1"}, {4, "8 2"}, {8, "16 4"}, {32, "64 16"}}) {
    const Upsampling up = upsampling(factor);
    check("kernel and padding for factor " + text(factor), text(std::vector<int>{up.kernel, up.padding}), right);
  }
  const Upsampling twice = upsampling(2);
  const Row v = tent(twice.kernel);
  Grid kernel = zeros(size(v), size(v));
  for (int u = 0; u < size(v); ++u)
    for (int t = 0; t < size(v); ++t) at(kernel, u, t) = at(v, u) * at(v, t);
  check("[[1, 2], [3, 4]] twice as large", text(stamped(g, kernel, twice.stride, twice.padding)),
        "0.5625 0.9375 1.3125 1.125 | 1.125 1.75 2.25 1.875 | 1.875 2.75 3.25 2.625 | 1.6875 2.4375 2.8125 2.25");
}

TEST_CASE("09 dilated convolution") {
  const Row signal{1, 2, 3, 4, 5, 6, 7, 8, 9};
  check("dilation 2", text(dilated_convolution(signal, x, 2, 0)), "22 28 34 40 46");
  check("dilation 2, padding 2", text(dilated_convolution(signal, x, 2, 2)), "11 16 22 28 34 40 46 22 25");
  check("dilation 1: the ordinary convolution", text(dilated_convolution({0, 4, 5, 6, 7, 0}, x, 1, 0)), "23 32 38 20");
}

TEST_CASE("10 the receptive field") {
  const auto sees = [](const std::vector<Layer>& layers) {
    const Field field = receptive_field(layers);
    return text(std::vector<int>{field.size, field.jump});
  };
  check("3x3 with dilations 1, 2, 4: size and jump", sees({{3}, {3, 1, 2}, {3, 1, 4}}), "15 1");
  check("7x7 with stride 2, then 3x3", sees({{7, 2}, {3}}), "11 2");
  std::vector<Layer> vgg;
  const std::vector<std::string> right{"6 2", "16 4", "44 8", "100 16", "212 32"};
  const int convolutions[] = {2, 2, 3, 3, 3};
  for (std::size_t stage = 0; stage < 5; ++stage) {
    for (int i = 0; i < convolutions[stage]; ++i) vgg.push_back({3});
    vgg.push_back({2, 2});
    check("VGG-16 behind pooling " + text(static_cast<double>(stage + 1)), sees(vgg), right[stage]);
  }
  vgg.push_back({7});
  check("VGG-16, first fully connected layer", sees(vgg), "404 32");
}

TEST_CASE("11 fully convolutional") {
  const Row signal{1, 3, 2, 5, 4, 6}, longer{2, 7, 1, 8, 2, 8, 1, 8, 2, 8};
  check("1, 3, 2, 5, 4, 6", text(fully_convolutional(signal, {1, -1}, x)), "-9 -2 -7");
  check("the digits of e", text(fully_convolutional(longer, {1, -1}, x)), text(sliding_window(longer, {1, -1}, x)));
}

TEST_CASE("12 inverse sizes") {
  check("inputs that give 3 with k 3, s 2, p 1", text(inputs_of(3, 3, 2, 1)), "5 6");
  check("inputs that give 1 with k 7, s 4, p 3", text(inputs_of(1, 7, 4, 3)), "1 2 3 4");
  check("inputs that give 1 with k 1, s 3, p 1", text(inputs_of(1, 1, 3, 1)), "1");
  check("output padding back to 5", text(output_padding_for(5, 3, 2, 1)), "0");
  check("output padding back to 6", text(output_padding_for(6, 3, 2, 1)), "1");
}
