// The arithmetic of convolutions, step by step, on one small case: a 3x3 kernel with stride 2 and padding 1 over a 5x5 image.
// `conv_arithmetic FOLDER` also writes the pictures. `segnet arith` does the same for any numbers.
#include <cstdio>

#include "segnet/io/image.hpp"
#include "segnet/report/conv_drawing.hpp"
#include "segnet/report/transpose_text.hpp"

using namespace segnet;

int main(int argc, char** argv) {
  const ConvAxis axis{.kernel = 3, .stride = 2, .padding = 1};
  const Conv2dOptions options{.stride = 2, .padding = 1};

  // 1. Sizes. The rounding makes 5 and 6 the same, and output padding tells them apart on the way back.
  const index_t out = conv_size(5, axis);
  const SizeRange same = conv_input_sizes(out, axis);
  std::printf("%s: 5 -> %td, as every size from %td to %td\n", to_string(axis).c_str(), out, same.first, same.last);
  for (index_t in = same.first; in <= same.last; ++in)
    std::printf("  the transpose leads back to %td with output padding %td\n", conv_transpose_size(out, axis, axis.rest(in)),
                axis.rest(in));

  // 2. What an output sees, three such layers deep.
  const ReceptiveField field = receptive_field({axis, axis, axis});
  std::printf("\nthree of them: %td inputs wide, %td apart, the first one from %td on\n", field.size, field.jump, field.first);

  // 3. The convolution is a matrix: y = C x. (One dimension here, so that it fits on the screen.)
  const auto line = kernels::conv2d_geometry("example", {1, 1, 5, 1}, {1, 1, 3, 1}, {0}, {.stride = {1, 2}, .padding = {0, 1}});
  const report::NamedMatrix C = report::named_matrix(line);
  std::printf("\nalong one axis, C =\n%sand y = C x is\n%s", report::matrix_text(C).c_str(), report::product_text(C, C.columns).c_str());

  // 4. The operation is that product.
  const auto x = reshape(arange<double>(25), Shape{1, 5, 5, 1});
  const Tensor<double> w({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  std::printf("\nconv2d(x, w), x = 0 ... 24, w = 1 ... 9\n%s", report::grid(conv2d(x, w, {}, options)).c_str());

  // 5. The transposed convolution, in its three other words.
  const Tensor<double> small({1, 2, 2, 1}, {1, 2, 3, 4});
  const ConvTranspose2dOptions back{.stride = 2, .padding = 1, .output_padding = 1};
  std::printf("\n%s", report::transpose_text(small, w, back).c_str());

  // 6. Pictures.
  if (argc > 1) {
    const std::string folder = argv[1];
    const report::ConvScene scene = report::conv_scene({5, 5}, {3, 3}, options);
    write_file_atomically(folder + "/convolution.svg", report::conv_animation(scene));
    write_file_atomically(folder + "/transposed.svg", report::conv_animation(report::conv_transpose_scene({2, 2}, {3, 3}, back)));
    write_file_atomically(folder + "/matrix.svg", report::matrix_drawing({C, C.transposed()}, {"C", "its transpose"}));
    write_png(folder + "/first_step.png", report::conv_frame(scene, 0));
    std::printf("\npictures in %s\n", folder.c_str());
  }
  return report::transpose_ways(small, w, back).equal() ? 0 : 1;
}
