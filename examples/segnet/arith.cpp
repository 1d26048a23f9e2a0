// segnet arith size, receptive-field, matrix, transpose, draw.
#include "arith.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "segnet/io/image.hpp"
#include "segnet/report/conv_drawing.hpp"
#include "segnet/report/transpose_text.hpp"

namespace segnet::program {

namespace {

using report::Labels;

/// A convolution as the command line says it. Lists have one number for both axes, or two: rows and columns.
struct Convolution {
  std::vector<index_t> input{4}, kernel{3}, stride{1}, padding{0}, padding_end, dilation{1}, output_padding{0};
  index_t channels = 1, filters = 1, groups = 1;
  bool transposed = false;
  std::vector<double> weights, data;

  static Extent2 extent(const std::vector<index_t>& list) { return {list.front(), list.back()}; }
  [[nodiscard]] Padding2 pads() const { return {extent(padding), extent(padding_end.empty() ? padding : padding_end)}; }
  [[nodiscard]] Conv2dOptions forward() const { return {extent(stride), pads(), extent(dilation), groups}; }
  [[nodiscard]] ConvTranspose2dOptions backward() const {
    return {extent(stride), pads(), extent(output_padding), extent(dilation), groups};
  }
  [[nodiscard]] Shape w_shape() const { return {filters, kernel.front(), kernel.back(), channels / std::max<index_t>(groups, 1)}; }
  /// Its input as one reads it: the small image, if transposed.
  [[nodiscard]] Shape x_shape() const { return {1, input.front(), input.back(), transposed ? filters : channels}; }
  [[nodiscard]] kernels::ConvGeometry geometry() const {
    return transposed ? kernels::conv_transpose2d_geometry("arith", x_shape(), w_shape(), {0}, backward())
                      : kernels::conv2d_geometry("arith", x_shape(), w_shape(), {0}, forward());
  }
  [[nodiscard]] ConvAxis rows() const { return {kernel.front(), stride.front(), {pads().begin.h, pads().end.h}, dilation.front()}; }
  [[nodiscard]] ConvAxis columns() const { return {kernel.back(), stride.back(), {pads().begin.w, pads().end.w}, dilation.back()}; }
};

/// The numbers given, or first, first + 1, ...
Tensor<double> numbers(const char* name, const Shape& shape, const std::vector<double>& given, double first) {
  Tensor<double> t(shape);
  if (!given.empty() && static_cast<index_t>(given.size()) != shape.numel())
    throw ValueError("arith", name, concat(shape.numel(), " numbers, ", shape), concat(given.size()));
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = given.empty() ? first + static_cast<double>(i) : given[static_cast<std::size_t>(i)];
  return t;
}

void add_convolution(CLI::App* app, Convolution& c, bool channels = false) {
  const auto add = [app](const char* name, std::vector<index_t>& value, const char* help) {
    app->add_option(name, value, help)->expected(1, 2)->multi_option_policy(CLI::MultiOptionPolicy::Throw)->capture_default_str();
  };
  add("--input", c.input, "size of the image: HEIGHT [WIDTH]");
  add("--kernel", c.kernel, "");
  add("--stride", c.stride, "");
  add("--padding", c.padding, "zeros in front and behind; of a transposed convolution: what is cropped");
  add("--padding-end", c.padding_end, "zeros behind, where they are not as many as in front");
  add("--dilation", c.dilation, "");
  add("--output-padding", c.output_padding, "of a transposed convolution");
  if (!channels) return;
  app->add_option("--channels", c.channels, "of the image (of what a transposed convolution gives)")->capture_default_str();
  app->add_option("--filters", c.filters, "output channels (of what a transposed convolution takes)")->capture_default_str();
  app->add_option("--groups", c.groups, "")->capture_default_str();
}
void add_numbers(CLI::App* app, Convolution& c) {
  app->add_option("--weights", c.weights, "numbers of the kernel [filters, height, width, channels]; left out: 1, 2, 3, ...")->take_all();
  app->add_option("--data", c.data, "numbers of the image [height, width, channels]; left out: see above")->take_all();
}

/// What becomes of sizes along an axis.
void print_size(const char* name, const ConvAxis& axis, index_t in, index_t output_padding, bool transposed) {
  if (transposed) {
    std::printf("%s%s: transposed, %s\n  %td -> %td   s(i - 1) + k_e - 2p + q with k_e = %td\n", name, name[0] ? "" : "size",
                to_string(axis).c_str(), in, conv_transpose_size(in, axis, output_padding), axis.reach());
    for (index_t q = 0; q < std::max(axis.stride, axis.dilation); ++q)
      if (axis.restored(in, q) > 0) std::printf("  with output padding %td: %td\n", q, conv_transpose_size(in, axis, q));
    return;
  }
  const index_t out = conv_size(in, axis);
  const SizeRange same = conv_input_sizes(out, axis);
  std::printf("%s%s: %s\n  %td -> %td   floor((i + 2p - k_e) / s) + 1 with k_e = %td\n", name, name[0] ? "" : "size",
              to_string(axis).c_str(), in, out, axis.reach());
  for (index_t i = same.first; i <= same.last; ++i) std::printf("  %td -> %td, and back with output padding %td\n", i, out, axis.rest(i));
}

void run_size(const Convolution& c) {
  (void)c.geometry();
  const ConvAxis rows = c.rows(), columns = c.columns();
  const bool square =
      c.input.front() == c.input.back() && c.output_padding.front() == c.output_padding.back() && to_string(rows) == to_string(columns);
  print_size(square ? "" : "rows", rows, c.input.front(), c.output_padding.front(), c.transposed);
  if (!square) print_size("columns", columns, c.input.back(), c.output_padding.back(), c.transposed);
}

void run_receptive_field(const std::vector<std::string>& layers, index_t input) {
  std::vector<Labels> rows{{"layer", "field", "jump", "first", "centre"}};
  if (input > 0) rows[0].push_back("size");
  ReceptiveField field;
  const auto line = [&](const std::string& name) {
    rows.push_back({name, concat(field.size), concat(field.jump), concat(field.first), concat(field.centre())});
    if (input > 0) rows.back().push_back(concat(input));
  };
  line("input");
  for (const std::string& layer : layers) {
    const ConvAxis axis = report::parse_layer(layer);
    field = receptive_field(field, axis);
    if (input > 0) input = conv_size(input, axis);
    line(layer);
  }
  std::fputs(report::table(rows, "").c_str(), stdout);
  std::printf("\nOutput o sees the inputs first + o jump ... first + o jump + field - 1; negative ones lie in the padding.\n");
}

void run_matrix(const Convolution& c, bool padded, bool by_number, const std::string& svg) {
  const kernels::ConvGeometry g = c.geometry();
  const auto more_than_256 = [](const Shape& image) { return image[1] > 256 || image[2] > 256 || image[3] > 256 || image.numel() > 256; };
  if (more_than_256(g.x_shape()) || more_than_256(g.y_shape()))
    throw ValueError("arith matrix", "--input", "at most 256 inputs and 256 outputs", concat(g.x_shape(), " and ", g.y_shape()));
  report::NamedMatrix m = padded ? report::padded_matrix(g, c.pads().end) : report::named_matrix(g);
  const Tensor<double> w = numbers("--weights", g.w_shape(), c.weights, 1);
  if (by_number) m.weights = report::element_values(w);

  std::printf("%s [%td, %td, %td] -> [%td, %td, %td], as the matrix C (%td x %td) of %s convolution\n\n",
              c.transposed ? "transposed convolution" : "convolution", c.transposed ? g.OH : g.H, c.transposed ? g.OW : g.W,
              c.transposed ? g.O : g.C, c.transposed ? g.H : g.OH, c.transposed ? g.W : g.OW, c.transposed ? g.C : g.O, m.pattern.rows(),
              m.pattern.cols(), c.transposed ? "the transposed" : "the");
  std::printf("C =\n%s\nits transpose =\n%s\n", report::matrix_text(m).c_str(), report::matrix_text(m.transposed()).c_str());

  // y = C x, and its transpose, x = C^T y: in numbers, both of the data given.
  Labels factors = m.columns, back = m.rows, results, back_results;
  if (by_number) {
    const ConvMatrix<double> C = m.pattern.unaryExpr([&w](index_t i) { return w.data()[i]; });
    const std::vector<double> none;
    const Tensor<double> image = numbers("--data", g.x_shape(), c.transposed ? none : c.data, 0);
    const Tensor<double> y = numbers("--data", g.y_shape(), c.transposed ? c.data : none, 1), Cx({m.pattern.rows()});
    const auto x = zeros<double>({m.pattern.cols()}), Cty = zeros<double>({m.pattern.cols()});
    for (index_t i = 0, next = 0; i < x.numel(); ++i)
      if (m.columns[static_cast<std::size_t>(i)] != "0") x.data()[i] = image.data()[next++];
    const auto column = [](const Tensor<double>& t) { return kernels::matrix::columns(t.data(), t.numel(), 1); };
    column(Cx) = C * column(x);
    column(Cty) = C.transpose() * column(y);
    factors = report::element_values(x);
    back = report::element_values(y);
    results = report::element_values(Cx);
    back_results = report::element_values(Cty);
  }
  if (!c.transposed) std::printf("y = C x\n%s\n", report::product_text(m, factors, results).c_str());
  std::printf("x = C^T y, %s\n%s", c.transposed ? "the transposed convolution" : "its backward pass and the transposed convolution",
              report::product_text(m.transposed(), back, back_results).c_str());
  if (!svg.empty()) {
    write_file_atomically(svg, report::matrix_drawing({m, m.transposed()}, {"C", "its transpose"}));
    std::printf("\ndrawn in %s\n", svg.c_str());
  }
}

int run_transpose(const Convolution& c) {
  const Tensor<double> x = numbers("--data", {1, c.input.front(), c.input.back(), 1}, c.data, 1);
  const Tensor<double> w = numbers("--weights", {1, c.kernel.front(), c.kernel.back(), 1}, c.weights, 1);
  std::fputs(report::transpose_text(x, w, c.backward()).c_str(), stdout);
  return report::transpose_ways(x, w, c.backward()).equal() ? 0 : 1;
}

struct Drawing {
  std::string output = "convolution.svg", frames;
  double seconds = 0.5, cell = 30;
  bool numbers = false;
};

/// Writes the numbers of the convolution into the cells of its drawing.
void label_cells(report::ConvScene& scene, const Convolution& c) {
  const Tensor<double> w = numbers("--weights", c.w_shape(), c.weights, 1);
  const Tensor<double> x = numbers("--data", c.x_shape(), c.data, c.transposed ? 1 : 0);
  const Padding2 p = c.pads();
  const DirectConvolution<double> direct =
      c.transposed ? direct_convolution(x, w, c.backward())
                   : DirectConvolution<double>{
                         pad(x, {0, 0, p.begin.w, p.end.w, p.begin.h, p.end.h}), w, {c.extent(c.stride), 0, c.extent(c.dilation)}};
  scene.inputs = report::element_values(direct.x);
  scene.weights = report::element_values(direct.w);
  scene.outputs = report::element_values(conv2d(direct.x, direct.w, {}, direct.options));
}

void run_draw(const Convolution& c, const Drawing& drawing) {
  const Extent2 input = Convolution::extent(c.input), kernel = Convolution::extent(c.kernel);
  report::ConvScene scene =
      c.transposed ? report::conv_transpose_scene(input, kernel, c.backward()) : report::conv_scene(input, kernel, c.forward());
  if (drawing.numbers) label_cells(scene, c);
  if (!drawing.output.empty()) {
    write_file_atomically(drawing.output, report::conv_animation(scene, {.seconds = drawing.seconds, .cell = drawing.cell}));
    std::printf("%s: %s\n", drawing.output.c_str(), scene.title.c_str());
  }
  if (drawing.frames.empty()) return;
  std::filesystem::create_directories(drawing.frames);
  for (index_t step = 0; step < scene.steps(); ++step) {
    const std::string digits = concat(step);
    write_png(concat(drawing.frames, "/", std::string(4 - std::min<std::size_t>(4, digits.size()), '0'), digits, ".png"),
              report::conv_frame(scene, step, static_cast<index_t>(drawing.cell)));
  }
  std::printf("%s: %td pictures\n", drawing.frames.c_str(), scene.steps());
}

}  // namespace

void add_arith(CLI::App& app, int& exit_code) {
  CLI::App* arith = app.add_subcommand("arith", "the arithmetic of convolutions: sizes, fields, matrices, transposes, drawings");
  arith->require_subcommand(1);
  const auto command = [arith](const char* name, const char* help) { return arith->add_subcommand(name, help); };

  CLI::App* size = command("size", "output sizes, and what leads back from them");
  auto sized = std::make_shared<Convolution>();
  add_convolution(size, *sized);
  size->add_flag("--transposed", sized->transposed, "of the transposed convolution");
  size->callback([sized] { run_size(*sized); });

  CLI::App* field = command("receptive-field", "what an output of a stack of layers sees");
  auto layers = std::make_shared<std::vector<std::string>>();
  auto length = std::make_shared<index_t>(0);
  field->add_option("layers", *layers, "kernel, stride, padding, dilation of each, in order: k7s2p3 k3s2p1 k3p2d2 ...")
      ->required()
      ->take_all();
  field->add_option("--input", *length, "also the sizes that become of this one");
  field->callback([layers, length] { run_receptive_field(*layers, *length); });

  CLI::App* matrix = command("matrix", "the matrix of a small convolution, its transpose, and the products written out");
  auto small = std::make_shared<Convolution>();
  auto padded = std::make_shared<bool>(false), by_number = std::make_shared<bool>(false);
  auto svg = std::make_shared<std::string>();
  add_convolution(matrix, *small, true);
  add_numbers(matrix, *small);
  matrix->add_flag("--transposed", small->transposed, "of the transposed convolution");
  matrix->add_flag("--padded", *padded, "columns for the zeros of the padding too");
  matrix->add_flag("--numbers", *by_number, "numbers in place of names: those given, else 1, 2, 3, ... and an image of 0, 1, 2, ...");
  matrix->add_option("--svg", *svg, "draw it into this file");
  matrix->callback([=] { run_matrix(*small, *padded, *by_number || !small->weights.empty() || !small->data.empty(), *svg); });

  CLI::App* transpose =
      command("transpose", "a transposed convolution as backward pass, as transposed matrix, as direct convolution: all equal");
  auto turned = std::make_shared<Convolution>();
  turned->input = {2};
  turned->stride = {2};
  turned->transposed = true;
  add_convolution(transpose, *turned);
  add_numbers(transpose, *turned);
  transpose->callback([turned, &exit_code] { exit_code = run_transpose(*turned); });

  CLI::App* draw = command("draw", "a kernel that slides over its input, as an animated SVG and as PNG pictures");
  auto drawn = std::make_shared<Convolution>();
  auto drawing = std::make_shared<Drawing>();
  add_convolution(draw, *drawn);
  add_numbers(draw, *drawn);
  draw->add_flag("--transposed", drawn->transposed, "a transposed convolution, over its input with zeros inserted");
  draw->add_flag("--numbers", drawing->numbers, "with the numbers of image, kernel and result");
  draw->add_option("-o,--output", drawing->output, "SVG file; empty: none")->capture_default_str();
  draw->add_option("--frames", drawing->frames, "folder for the steps as 0000.png, 0001.png, ...");
  draw->add_option("--seconds", drawing->seconds, "for each step")->check(CLI::PositiveNumber)->capture_default_str();
  draw->add_option("--cell", drawing->cell, "pixels of a cell")->check(CLI::Range(4.0, 200.0))->capture_default_str();
  draw->callback([drawn, drawing] { run_draw(*drawn, *drawing); });
}

}  // namespace segnet::program
