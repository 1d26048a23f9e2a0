// Drawings of convolutions: a kernel that slides over its input, as an animated SVG or as single pictures, and the matrix in colours.
// In the manner of the animations to Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
#pragma once

#include <cstdint>

#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/report/conv_text.hpp"
#include "segnet/report/svg.hpp"

namespace segnet::report {

/// What a kernel slides over, and what comes out: two grids.
struct ConvScene {
  enum class Cell : std::uint8_t { padding, input, zero };  ///< zero: inserted between pixels by a transposed convolution

  std::string title{};
  Extent2 shown, output;    ///< sizes of the two grids; `shown` has the padding
  std::vector<Cell> cells;  ///< [shown.h, shown.w]
  Extent2 kernel, stride, dilation;
  Labels inputs{}, weights{}, outputs{};  ///< numbers in the cells, in the order of memory: of shown, kernel, output; empty: none

  [[nodiscard]] index_t steps() const { return output.h * output.w; }
};

namespace detail {
inline void check_steps(const ConvScene& scene) {
  const auto more_than = [](index_t most, Extent2 e) { return e.h > most || e.w > most / e.h; };
  if (more_than(1024, scene.output) || more_than(4096, scene.shown))
    throw ValueError("ConvScene", "size", "at most 1024 outputs, and 4096 inputs with their padding",
                     concat(scene.output, " outputs and ", scene.shown, " inputs"));
}
inline std::string sizes_title(std::string_view name, Extent2 in, Extent2 out, const kernels::ConvGeometry& g, const Padding2& padding) {
  const auto one = [](Extent2 e) { return e.h == e.w ? concat(e.h) : to_string(e); };
  const bool same = padding.begin == padding.end;
  return concat(name, " ", in, " to ", out, ": kernel ", one({g.kh, g.kw}), ", stride ", one(g.stride), ", padding ", one(padding.begin),
                same ? "" : concat(" and ", one(padding.end)), ", dilation ", one(g.dilation));
}
}  // namespace detail

/// A convolution of an image of that size. @throws ShapeError, ValueError  as conv2d; larger than can be drawn
[[nodiscard]] inline ConvScene conv_scene(Extent2 input, Extent2 kernel, const Conv2dOptions& options = {}) {
  const auto g = kernels::conv2d_geometry("conv_scene", {1, input.h, input.w, 1}, {1, kernel.h, kernel.w, 1}, {0}, options);
  const Padding2& p = options.padding;
  ConvScene scene{.title = detail::sizes_title("convolution", input, {g.OH, g.OW}, g, p),
                  .shown = {input.h + p.begin.h + p.end.h, input.w + p.begin.w + p.end.w},
                  .output = {g.OH, g.OW},
                  .cells = {},
                  .kernel = kernel,
                  .stride = g.stride,
                  .dilation = g.dilation};
  detail::check_steps(scene);
  for (index_t h = -p.begin.h; h < input.h + p.end.h; ++h)
    for (index_t v = -p.begin.w; v < input.w + p.end.w; ++v)
      scene.cells.push_back(h >= 0 && h < input.h && v >= 0 && v < input.w ? ConvScene::Cell::input : ConvScene::Cell::padding);
  return scene;
}

/// A transposed convolution of an image of that size, drawn as the direct convolution that it equals (ops/direct_convolution.hpp): over
/// the image with zeros inserted, with stride 1. @throws ShapeError, ValueError  as conv_transpose2d; larger than can be drawn
[[nodiscard]] inline ConvScene conv_transpose_scene(Extent2 input, Extent2 kernel, const ConvTranspose2dOptions& options = {}) {
  const auto g =
      kernels::conv_transpose2d_geometry("conv_transpose_scene", {1, input.h, input.w, 1}, {1, kernel.h, kernel.w, 1}, {0}, options);
  ConvScene scene{.title = detail::sizes_title("transposed convolution", input, {g.H, g.W}, g, options.padding),
                  .shown = {g.H + g.dilation.h * (g.kh - 1), g.W + g.dilation.w * (g.kw - 1)},
                  .output = {g.H, g.W},
                  .cells = {},
                  .kernel = kernel,
                  .stride = 1,
                  .dilation = g.dilation};
  if (options.output_padding != Extent2(0)) scene.title += concat(", output padding ", options.output_padding);
  detail::check_steps(scene);
  const Extent2 first(g.dilation.h * (g.kh - 1) - g.padding.h, g.dilation.w * (g.kw - 1) - g.padding.w);  // where pixel 0 lies
  const auto kind = [](index_t at, index_t stride, index_t size) {
    return at < 0 || at > (size - 1) * stride ? ConvScene::Cell::padding : at % stride ? ConvScene::Cell::zero : ConvScene::Cell::input;
  };
  for (index_t h = 0; h < scene.shown.h; ++h)
    for (index_t v = 0; v < scene.shown.w; ++v) {
      const auto rows = kind(h - first.h, g.stride.h, input.h), columns = kind(v - first.w, g.stride.w, input.w);
      scene.cells.push_back(rows == ConvScene::Cell::padding || columns == ConvScene::Cell::padding ? ConvScene::Cell::padding
                            : rows == ConvScene::Cell::zero || columns == ConvScene::Cell::zero     ? ConvScene::Cell::zero
                                                                                                    : ConvScene::Cell::input);
    }
  return scene;
}

/// Colours of the drawings.
struct ConvColours {
  Rgb input{77, 148, 219}, zero{214, 228, 242}, padding{236, 236, 236}, window{240, 112, 26}, output{44, 162, 95}, pending{205, 232, 216},
      ground{255, 255, 255};
};

namespace detail {

/// Where the grids lie, in cells: the output to the right of the input, both centred.
struct SceneLayout {
  explicit SceneLayout(const ConvScene& s)
      : height(std::max(s.shown.h, s.output.h)),
        width(s.shown.w + 2 + s.output.w),
        input_top(0.5 * static_cast<double>(height - s.shown.h)),
        output_top(0.5 * static_cast<double>(height - s.output.h)),
        output_left(static_cast<double>(s.shown.w + 2)) {}
  index_t height, width;
  double input_top, output_top, output_left;
};

}  // namespace detail

struct ConvAnimationOptions {
  double seconds = 0.5;  ///< for each output
  double cell = 30;      ///< pixels
  ConvColours colours{};
};

/// The kernel at one output after the other, in a loop, as an SVG document that needs nothing else. Outputs become solid when they have
/// been computed. Where animations are not played, the picture shows the first output. @throws ValueError: cell or seconds not positive
[[nodiscard]] inline std::string conv_animation(const ConvScene& scene, const ConvAnimationOptions& options = {}) {
  if (!(options.cell > 0) || !(options.seconds > 0))
    throw ValueError("conv_animation", "cell, seconds", "positive numbers", concat(options.cell, ", ", options.seconds));
  const detail::SceneLayout layout(scene);
  const ConvColours& colours = options.colours;
  const double cell = options.cell, gap = cell / 15, side = cell - 2 * gap, margin = 2;
  detail::Svg svg;
  const double top = svg.title(scene.title) + margin;
  svg.width = std::max(static_cast<double>(layout.width) * cell + 2 * margin, text_width(scene.title, 14));
  svg.height = top + static_cast<double>(layout.height) * cell + margin;
  const double x0 = margin, y0 = top + layout.input_top * cell, x1 = margin + layout.output_left * cell,
               y1 = top + layout.output_top * cell;
  const auto square = [&](double x, double y, const Rgb& colour, std::string_view more = {}) {
    svg.rect(x + gap, y + gap, side, side,
             concat("rx=\"", pixels(cell / 10), "\" fill=\"", hex(colour), "\"", more.empty() ? "" : " ", more));
  };
  const auto label = [&](double x, double y, const std::string& text, std::string_view attributes) {
    svg.text(x + cell / 2, y + cell * 0.63, text, concat("text-anchor=\"middle\" font-size=\"", pixels(cell * 0.4), "\" ", attributes));
  };
  const auto at = [&](index_t i) { return static_cast<double>(i) * cell; };

  for (index_t i = 0; i < scene.shown.h * scene.shown.w; ++i) {
    const auto kind = scene.cells[static_cast<std::size_t>(i)];
    const double x = x0 + at(i % scene.shown.w), y = y0 + at(i / scene.shown.w);
    if (kind == ConvScene::Cell::padding)
      svg.rect(x + gap, y + gap, side, side, "fill=\"none\" stroke=\"currentColor\" stroke-opacity=\"0.35\" stroke-dasharray=\"2 3\"");
    else square(x, y, kind == ConvScene::Cell::input ? colours.input : colours.zero);
  }

  // What moves is moved by the same clock: step i of n begins at i/n of the loop.
  const index_t n = scene.steps();
  const std::string clock =
      concat("calcMode=\"discrete\" dur=\"", pixels(static_cast<double>(n) * options.seconds), "s\" repeatCount=\"indefinite\"");
  std::string windows, cursors, rays;
  const double span_w = at(scene.dilation.w * (scene.kernel.w - 1) + 1), span_h = at(scene.dilation.h * (scene.kernel.h - 1) + 1);
  std::string first_ray;
  for (index_t i = 0; i < n; ++i) {
    const index_t oh = i / scene.output.w, ow = i % scene.output.w;
    const double wx = at(ow * scene.stride.w), wy = at(oh * scene.stride.h), cx = at(ow), cy = at(oh);
    const char* separator = i ? ";" : "";
    windows += concat(separator, pixels(wx), " ", pixels(wy));
    cursors += concat(separator, pixels(cx), " ", pixels(cy));
    const std::string ray =
        concat("M", pixels(x0 + wx + span_w), " ", pixels(y0 + wy), "L", pixels(x1 + cx), " ", pixels(y1 + cy), "M",
               pixels(x0 + wx + span_w), " ", pixels(y0 + wy + span_h), "L", pixels(x1 + cx), " ", pixels(y1 + cy + cell));
    rays += separator + ray;
    if (i == 0) first_ray = ray;
    // Solid once computed: from step i to the end of the loop.
    const std::string begin = i == 0 ? "" : concat("0;", number(static_cast<double>(i) / static_cast<double>(n), 6));
    const double x = x1 + cx, y = y1 + cy;
    square(x, y, colours.pending);
    svg.add(
        "<g",
        i == 0 ? ">" : concat(" opacity=\"0\"><animate attributeName=\"opacity\" values=\"0;1\" keyTimes=\"", begin, "\" ", clock, "/>"),
        "\n");
    square(x, y, colours.output);
    if (!scene.outputs.empty()) label(x, y, scene.outputs[static_cast<std::size_t>(i)], "fill=\"#fff\"");
    svg.add("</g>\n");
  }
  const auto moved = [&](const std::string& places) {
    if (n > 1) svg.add("<animateTransform attributeName=\"transform\" type=\"translate\" values=\"", places, "\" ", clock, "/>\n");
  };
  svg.add("<g>\n");
  moved(windows);
  for (index_t i = 0; i < scene.kernel.h * scene.kernel.w; ++i) {
    const double x = x0 + at(i % scene.kernel.w * scene.dilation.w), y = y0 + at(i / scene.kernel.w * scene.dilation.h);
    square(x, y, colours.window, "fill-opacity=\"0.45\"");
    if (!scene.weights.empty())
      svg.text(x + cell * 0.9, y + cell * 0.88, scene.weights[static_cast<std::size_t>(i)],
               concat("text-anchor=\"end\" font-size=\"", pixels(cell * 0.27), "\""));
  }
  svg.rect(x0, y0, span_w, span_h,
           concat("rx=\"", pixels(cell / 8), "\" fill=\"none\" stroke=\"", hex(colours.window), "\" stroke-width=\"2\""));
  svg.add("</g>\n");
  for (index_t i = 0; i < scene.shown.h * scene.shown.w && !scene.inputs.empty(); ++i)  // above the window
    if (scene.cells[static_cast<std::size_t>(i)] == ConvScene::Cell::input)
      label(x0 + at(i % scene.shown.w), y0 + at(i / scene.shown.w), scene.inputs[static_cast<std::size_t>(i)], "fill=\"#fff\"");
  svg.add("<g>\n");
  moved(cursors);
  svg.rect(x1, y1, cell, cell,
           concat("rx=\"", pixels(cell / 8), "\" fill=\"none\" stroke=\"", hex(colours.window), "\" stroke-width=\"2\""));
  svg.add("</g>\n<path d=\"", first_ray, "\" stroke=\"", hex(colours.window), "\" stroke-opacity=\"0.6\" fill=\"none\">\n");
  if (n > 1) svg.add("<animate attributeName=\"d\" values=\"", rays, "\" ", clock, "/>\n");
  svg.add("</path>\n");
  return svg.document(scene.title);
}

/// Step `step` of the same drawing, without numbers, as pixels [H, W, 3] (write_png writes them): squares of `cell` pixels.
/// @throws ValueError: no such step, cell < 4
[[nodiscard]] inline Tensor<std::uint8_t> conv_frame(const ConvScene& scene, index_t step, index_t cell = 24,
                                                     const ConvColours& colours = {}) {
  if (step < 0 || step >= scene.steps()) throw ValueError("conv_frame", "step", concat("0 to ", scene.steps() - 1), concat(step));
  if (cell < 4) throw ValueError("conv_frame", "cell", "at least 4 pixels", concat(cell));
  const detail::SceneLayout layout(scene);
  const index_t margin = cell / 4, height = layout.height * cell + 2 * margin, width = layout.width * cell + 2 * margin;
  const auto image = zeros<std::uint8_t>({height, width, 3});
  const auto fill = [&](double left, double top, double w, double h, const Rgb& colour, double opacity = 1) {
    for (auto y = static_cast<index_t>(top); y < static_cast<index_t>(top + h); ++y)
      for (auto x = static_cast<index_t>(left); x < static_cast<index_t>(left + w); ++x)
        for (index_t c = 0; c < 3; ++c) {
          std::uint8_t& value = image.data()[(y * width + x) * 3 + c];
          value = static_cast<std::uint8_t>(value + opacity * (colour[static_cast<std::size_t>(c)] - value) + 0.5);
        }
  };
  const double size = static_cast<double>(cell), gap = std::max(1.0, std::floor(size / 15)), border = std::max(1.0, std::floor(size / 12));
  const auto square = [&](double x, double y, const Rgb& colour, double opacity = 1) {
    fill(x + gap, y + gap, size - 2 * gap, size - 2 * gap, colour, opacity);
  };
  const auto frame = [&](double x, double y, double w, double h) {
    fill(x, y, w, border, colours.window);
    fill(x, y + h - border, w, border, colours.window);
    fill(x, y, border, h, colours.window);
    fill(x + w - border, y, border, h, colours.window);
  };
  fill(0, 0, static_cast<double>(width), static_cast<double>(height), colours.ground);
  const double x0 = static_cast<double>(margin), y0 = x0 + layout.input_top * size, x1 = x0 + layout.output_left * size,
               y1 = x0 + layout.output_top * size;
  const auto at = [&](index_t i) { return static_cast<double>(i) * size; };
  for (index_t i = 0; i < scene.shown.h * scene.shown.w; ++i) {
    const auto kind = scene.cells[static_cast<std::size_t>(i)];
    square(x0 + at(i % scene.shown.w), y0 + at(i / scene.shown.w),
           kind == ConvScene::Cell::input  ? colours.input
           : kind == ConvScene::Cell::zero ? colours.zero
                                           : colours.padding);
  }
  for (index_t i = 0; i < scene.steps(); ++i)
    square(x1 + at(i % scene.output.w), y1 + at(i / scene.output.w), i <= step ? colours.output : colours.pending);
  const index_t oh = step / scene.output.w, ow = step % scene.output.w;
  const double wx = x0 + at(ow * scene.stride.w), wy = y0 + at(oh * scene.stride.h);
  for (index_t i = 0; i < scene.kernel.h * scene.kernel.w; ++i)
    square(wx + at(i % scene.kernel.w * scene.dilation.w), wy + at(i / scene.kernel.w * scene.dilation.h), colours.window, 0.55);
  frame(wx, wy, at(scene.dilation.w * (scene.kernel.w - 1) + 1), at(scene.dilation.h * (scene.kernel.h - 1) + 1));
  frame(x1 + at(ow), y1 + at(oh), size, size);
  return image;
}

/// Matrices side by side, C and its transpose for example: each weight a colour, the same wherever it stands, so that the diagonals
/// of a convolution show. Cells tell their names on hovering, and show those of weights where they fit.
[[nodiscard]] inline std::string matrix_drawing(const std::vector<NamedMatrix>& matrices, const Labels& titles, double cell = 26) {
  detail::Svg svg;
  const double font = cell * 0.42, head = 20;
  double x = 0;
  for (std::size_t k = 0; k < matrices.size(); ++k) {
    const NamedMatrix& m = matrices[k];
    const auto widest = [&](const Labels& names) {
      double width = 0;
      for (const std::string& name : names) width = std::max(width, text_width(name, font));
      return width;
    };
    const double left = x + widest(m.rows) + 8, top = head + font + 8;
    const double rows = static_cast<double>(m.pattern.rows()), columns = static_cast<double>(m.pattern.cols());
    svg.text(x, 14, titles[k], "font-weight=\"600\"");
    for (index_t j = 0; j < m.pattern.cols(); ++j)
      svg.text(left + (static_cast<double>(j) + 0.5) * cell, top - 5, m.columns[static_cast<std::size_t>(j)],
               concat("text-anchor=\"middle\" font-size=\"", pixels(font), "\" ", detail::muted));
    svg.rect(left, top, columns * cell, rows * cell, "fill=\"currentColor\" fill-opacity=\"0.05\"");
    for (index_t r = 0; r < m.pattern.rows(); ++r) {
      const double y = top + static_cast<double>(r) * cell;
      svg.text(left - 5, y + cell * 0.64, m.rows[static_cast<std::size_t>(r)],
               concat("text-anchor=\"end\" font-size=\"", pixels(font), "\" ", detail::muted));
      for (ConvMatrix<index_t>::InnerIterator place(m.pattern, r); place; ++place) {
        const std::string& name = m.weights[static_cast<std::size_t>(place.value())];
        const double at = left + static_cast<double>(place.col()) * cell;
        // Hues turn by the golden angle, so that neighbours differ.
        const double hue = std::fmod(210 + 137.5 * static_cast<double>(place.value()), 360);
        svg.rect(at + 1, y + 1, cell - 2, cell - 2, concat("rx=\"", pixels(cell / 10), "\" fill=\"hsl(", pixels(hue), ",55%,45%)\""),
                 concat(m.rows[static_cast<std::size_t>(r)], ", ", m.columns[static_cast<std::size_t>(place.col())], ": ", name));
        if (text_width(name, font) < cell)
          svg.text(at + cell / 2, y + cell * 0.64, name,
                   concat("text-anchor=\"middle\" fill=\"#fff\" pointer-events=\"none\" font-size=\"", pixels(font), "\""));
      }
    }
    x = std::max(left + columns * cell, x + text_width(titles[k], 13)) + 28;
    svg.height = std::max(svg.height, top + rows * cell + 4);
  }
  svg.width = std::max(1.0, x - 26);
  return svg.document(titles.empty() ? "matrix" : titles[0]);
}

}  // namespace segnet::report
