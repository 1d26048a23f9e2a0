// Convolutions in words and pictures: matrices, products, transposes, drawings.
#include "report/markup.hpp"
#include "segnet/report/conv_drawing.hpp"
#include "segnet/report/transpose_text.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;
using kernels::conv2d_geometry;

namespace {

Markup parsed(const std::string& svg) {
  const Markup markup = parse_markup(svg);
  CHECK(markup.error == "");
  return markup;
}
kernels::ConvGeometry sequence(index_t length, index_t kernel, const Conv2dOptions& options) {
  return conv2d_geometry("test", {1, 1, length, 1}, {1, 1, kernel, 1}, {0}, options);
}

}  // namespace

TEST_CASE("parse_layer: what it takes, and what it does not") {
  const ConvAxis a = parse_layer("k3s2p1d4");
  CHECK(to_string(a) == "kernel 3, stride 2, padding 1, dilation 4");
  CHECK(to_string(parse_layer("p0:1k2")) == "kernel 2, stride 1, padding 0:1, dilation 1");
  for (const char* text : {"", "s2", "k", "3", "k3x1", "k0", "k3s0", "k3p", "k3 s2", "k9999999"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_layer(text), ValueError);
  }
}

TEST_CASE("matrix_text, product_text: the sheet that everybody has drawn once") {
  const NamedMatrix m = padded_matrix(sequence(4, 3, {.padding = {0, 1}}), {0, 1});
  CHECK(matrix_text(m) ==
        "      0 x0 x1 x2 x3  0\n"
        "  y0 w0 w1 w2  .  .  .\n"
        "  y1  . w0 w1 w2  .  .\n"
        "  y2  .  . w0 w1 w2  .\n"
        "  y3  .  .  . w0 w1 w2\n");
  CHECK(product_text(m, m.columns) ==
        "  y0 = w1 x0 + w2 x1\n"
        "  y1 = w0 x0 + w1 x1 + w2 x2\n"
        "  y2 = w0 x1 + w1 x2 + w2 x3\n"
        "  y3 = w0 x2 + w1 x3\n");
  const NamedMatrix without = named_matrix(sequence(4, 3, {.stride = {1, 2}, .padding = {0, 1}}));
  CHECK(matrix_text(without) ==
        "     x0 x1 x2 x3\n"
        "  y0 w1 w2  .  .\n"
        "  y1  . w0 w1 w2\n");
  CHECK(matrix_text(without.transposed()) ==
        "     y0 y1\n"
        "  x0 w1  .\n"
        "  x1 w2 w0\n"
        "  x2  . w1\n"
        "  x3  . w2\n");
  NamedMatrix numbers = without;
  numbers.weights = {"1", "2", "3"};
  CHECK(product_text(numbers, {"4", "5", "6", "7"}, {"23", "38"}) == "  y0 = 2*4 + 3*5 = 23\n  y1 = 1*5 + 2*6 + 3*7 = 38\n");
  CHECK(product_text(named_matrix(sequence(1, 1, {.stride = {1, 3}, .padding = {0, 1}})).transposed(), {"y"}) == "  x = 0\n");
}

TEST_CASE("element_names: indices of the dimensions that there are") {
  CHECK(element_names("w", {1, 2, 2, 1}) == Labels{"w00", "w01", "w10", "w11"});
  CHECK(element_names("w", {1, 1, 1, 1}) == Labels{"w"});
  CHECK(element_names("x", {1, 12, 1}).back() == "x11");
  CHECK(element_names("x", {2, 12, 1})[13] == "x1.1");
}

TEST_CASE("transpose_ways: backward pass, transposed matrix and direct convolution are one, for random attributes") {
  const auto between = [](index_t low, index_t high) { return low + segnet::testing::random().below(high - low + 1); };
  for (int i = 0, done = 0; done < 150; ++i) {
    REQUIRE(i < 1000);
    const index_t groups = between(1, 3);
    const Extent2 stride(between(1, 3), between(1, 3)), dilation(between(1, 3), between(1, 3));
    const ConvTranspose2dOptions options{
        .stride = stride,
        .padding = {Extent2(between(0, 3), between(0, 3)), Extent2(between(0, 3), between(0, 3))},
        .output_padding = {between(0, std::max(stride.h, dilation.h) - 1), between(0, std::max(stride.w, dilation.w) - 1)},
        .dilation = dilation,
        .groups = groups};
    const index_t O = groups * between(1, 2);
    const auto x = integers<double>({between(1, 2), between(1, 5), between(1, 5), O}, -9, 9);
    const auto w = integers<double>({O, between(1, 4), between(1, 4), between(1, 2)}, -9, 9);
    try {
      const auto ways = transpose_ways(x, w, options);
      INFO("x ", x.shape(), " w ", w.shape(), " stride ", to_string(stride), " dilation ", to_string(dilation), " output_padding ",
           to_string(options.output_padding), " groups ", groups);
      CHECK(equal(ways.backward, ways.operation));
      CHECK(equal(ways.matrix, ways.operation));
      CHECK(equal(ways.by_direct, ways.operation));
      CHECK(ways.equal());
      ++done;
    } catch (const ShapeError&) {  // cropped to nothing
    }
  }
}

TEST_CASE("direct_convolution: zeros inserted, the kernel turned; gradients reach both") {
  const Tensor<double> x({1, 2, 2, 1}, {1, 2, 3, 4}), w({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto direct = direct_convolution(x.requires_grad(), w, {.stride = 2, .padding = 1, .output_padding = 1});
  CHECK(grid(direct.x) == "  0 0 0 0 0 0\n  0 1 0 2 0 0\n  0 0 0 0 0 0\n  0 3 0 4 0 0\n  0 0 0 0 0 0\n  0 0 0 0 0 0\n");
  CHECK(grid(direct.w) == "  9 8 7\n  6 5 4\n  3 2 1\n");
  const auto y = conv2d(direct.x, direct.w, {}, direct.options);
  CHECK(grid(y) == "   5 14 10 12\n  14 36 24 30\n  15 34 20 24\n  24 55 32 36\n");
  const auto dy = integers<double>(y.shape(), -3, 3);
  y.backward(dy);
  CHECK(equal(x.grad(), conv2d(dy, w, {}, {.stride = 2, .padding = 1})));
}

TEST_CASE("transpose_text: says that all are equal") {
  const Tensor<double> x({1, 2, 2, 1}, {1, 2, 3, 4}), w({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const std::string text = transpose_text(x, w, {.stride = 2, .padding = 1});
  CHECK(text.find("conv_transpose2d(x, w) =\n   5 14 10\n  14 36 24\n  15 34 20\n") != std::string::npos);
  CHECK(text.find("C the 4 x 9 matrix") != std::string::npos);
  CHECK(text.ends_with("All are equal, number by number.\n"));
  CHECK_THROWS_AS((void)transpose_text(x, ones<double>({1, 1, 1, 2}), {}), ShapeError);
}

TEST_CASE("conv_scene: which cells are padding, pixels and inserted zeros") {
  using enum ConvScene::Cell;
  const ConvScene scene = conv_scene({1, 3}, {1, 2}, {.stride = {1, 2}, .padding = {Extent2(0, 1), Extent2(0, 2)}});
  CHECK(scene.cells == std::vector{padding, input, input, input, padding, padding});
  CHECK(scene.output == Extent2(1, 3));
  const ConvScene turned = conv_transpose_scene({1, 2}, {1, 3}, {.stride = {1, 2}, .padding = {0, 1}, .output_padding = {0, 1}});
  CHECK(turned.cells == std::vector{padding, input, zero, input, padding, padding});
  CHECK(turned.output == Extent2(1, 4));
  CHECK(turned.stride == Extent2(1));
  // Cropped beyond the first pixel: it is not seen.
  CHECK(conv_transpose_scene({1, 3}, {1, 2}, {.stride = {1, 2}, .padding = {0, 2}}).cells == std::vector{zero, input, zero});
  for (const index_t huge : {index_t{100}, index_t{1} << 40}) CHECK_THROWS_AS((void)conv_scene({huge, huge}, {1, 1}), ValueError);
}

TEST_CASE("conv_animation: the window, the output and the rays go through all steps; outputs appear in order") {
  ConvScene scene = conv_scene({5, 5}, {3, 3}, {.stride = 2, .padding = 1});
  scene.weights = {"1", "2", "3", "4", "5", "6", "7", "8", "<&>"};
  const std::string svg = conv_animation(scene, {.seconds = 1, .cell = 10});
  const Markup markup = parsed(svg);
  const auto motions = markup.all("animateTransform");
  REQUIRE(motions.size() == 2);
  CHECK(motions[0].attributes.at("values") == "0 0;20 0;40 0;0 20;20 20;40 20;0 40;20 40;40 40");
  CHECK(motions[1].attributes.at("values") == "0 0;10 0;20 0;0 10;10 10;20 10;0 20;10 20;20 20");
  int rays = 0, appearing = 0;
  for (const auto& a : markup.all("animate")) {
    CHECK(a.attributes.at("dur") == "9s");
    if (a.attributes.at("attributeName") == "d")
      rays = 1 + static_cast<int>(std::count(a.attributes.at("values").begin(), a.attributes.at("values").end(), ';'));
    else ++appearing;
  }
  CHECK(rays == 9);
  CHECK(appearing == 8);  // the first is there from the beginning
  CHECK(svg.find("&lt;&amp;&gt;") != std::string::npos);
  CHECK(parsed(conv_animation(conv_scene({3, 3}, {3, 3}))).all("animateTransform").empty());  // one step does not move
  CHECK_THROWS_AS((void)conv_animation(scene, {.seconds = 0}), ValueError);
}

TEST_CASE("conv_frame: the window lies where the step reads") {
  const ConvColours colours;
  const ConvScene scene = conv_scene({4, 4}, {2, 2}, {.stride = 2});
  const index_t cell = 10, margin = 2;
  const auto pixel = [&](const Tensor<std::uint8_t>& image, double column, double row) {
    const auto x = static_cast<index_t>(column * cell) + margin, y = static_cast<index_t>(row * cell) + margin;
    return Rgb{image.at(y, x, 0), image.at(y, x, 1), image.at(y, x, 2)};
  };
  const auto image = conv_frame(scene, 3, cell);  // the last: window over rows and columns 2 and 3
  CHECK(image.shape() == Shape{4 * cell + 2 * margin, 8 * cell + 2 * margin, 3});
  CHECK(pixel(image, 0.5, 0.5) == colours.input);
  CHECK(pixel(image, 1.5, 2.5) == colours.input);
  CHECK(pixel(image, 2.5, 2.5) != colours.input);
  CHECK(pixel(image, 3.5, 3.5) == pixel(image, 2.5, 2.5));
  CHECK(pixel(image, 7.5, 2.5) == colours.output);
  const auto first = conv_frame(scene, 0, cell);
  CHECK(pixel(first, 6.5, 1.5) == colours.output);
  CHECK(pixel(first, 7.5, 2.5) == colours.pending);
  CHECK_THROWS_AS((void)conv_frame(scene, 4), ValueError);
}

TEST_CASE("matrix_drawing: a square for each weight, in one colour wherever it stands") {
  const NamedMatrix m = named_matrix(sequence(4, 3, {.padding = {0, 1}}));
  const Markup markup = parsed(matrix_drawing({m, m.transposed()}, {"C", "its transpose"}));
  std::map<std::string, int> colours;
  for (const auto& e : markup.all("rect"))
    if (e.attributes.at("fill").starts_with("hsl")) ++colours[e.attributes.at("fill")];
  CHECK(colours.size() == 3);
  int places = 0;
  for (const auto& [colour, count] : colours) places += count;
  CHECK(places == 2 * m.pattern.nonZeros());
  CHECK(markup.has_text("y0, x1: w2"));
}
