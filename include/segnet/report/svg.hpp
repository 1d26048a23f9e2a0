// Charts as SVG text: lines, bars, confusion matrices. Each is a whole document, and may stand inside an HTML page as it is.
//
// Text and axes take the reader's colour scheme (dark on light, light on dark); nothing paints a background. A chart shrinks
// with its page, but not so far that its text could not be read.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "segnet/core/tensor.hpp"
#include "segnet/io/palette.hpp"
#include "segnet/report/axis.hpp"
#include "segnet/report/text.hpp"

namespace segnet::report {

/// "#1f77b4"
[[nodiscard]] inline std::string hex(const Rgb& colour) {
  std::string text = "#";
  for (const std::uint8_t value : colour) {
    text += "0123456789abcdef"[value / 16];
    text += "0123456789abcdef"[value % 16];
  }
  return text;
}

namespace detail {

constexpr double font = 13;  // pixels, of everything but titles

/// The elements of one drawing, and its size in pixels. Strings named `attributes` are markup and end up in a tag as they are; all
/// others are text and are escaped here.
class Svg {
 public:
  double width = 0, height = 0;

  void line(double x1, double y1, double x2, double y2, std::string_view attributes) {
    add("<line x1=\"", pixels(x1), "\" y1=\"", pixels(y1), "\" x2=\"", pixels(x2), "\" y2=\"", pixels(y2), "\" ", attributes, "/>\n");
  }
  void rect(double x, double y, double w, double h, std::string_view attributes, std::string_view tooltip = {}) {
    add("<rect x=\"", pixels(x), "\" y=\"", pixels(y), "\" width=\"", pixels(w), "\" height=\"", pixels(h), "\" ", attributes);
    if (tooltip.empty()) add("/>\n");
    else add("><title>", escape(tooltip), "</title></rect>\n");
  }
  void circle(double x, double y, double radius, std::string_view attributes) {
    add("<circle cx=\"", pixels(x), "\" cy=\"", pixels(y), "\" r=\"", pixels(radius), "\" ", attributes, "/>\n");
  }
  void text(double x, double y, std::string_view content, std::string_view attributes = {}) {
    add("<text x=\"", pixels(x), "\" y=\"", pixels(y), "\"", attributes.empty() ? "" : " ", attributes, ">", escape(content), "</text>\n");
  }
  /// A title above the drawing. @return the space it takes
  double title(std::string_view content) {
    if (content.empty()) return 4;
    text(0, 16, content, "font-size=\"14\" font-weight=\"600\"");
    return 28;
  }
  template <class... Parts>
  void add(const Parts&... parts) {
    body_ += concat(parts...);
  }

  /// The whole document; `label` is read out by screen readers.
  std::string document(std::string_view label) const {
    const std::string w = pixels(std::ceil(width)), h = pixels(std::ceil(height));
    return concat("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"segnet-chart\" role=\"img\" aria-label=\"", escape(label),
                  "\" width=\"", w, "\" height=\"", h, "\" viewBox=\"0 0 ", w, " ", h,
                  "\" font-family=\"system-ui, 'Segoe UI', Roboto, sans-serif\" font-size=\"", font,
                  "\" fill=\"currentColor\" style=\"max-width:100%;min-width:", pixels(std::ceil(0.6 * width)),
                  "px;height:auto\">\n<style>.segnet-chart{color:#1f2328}"
                  "@media (prefers-color-scheme:dark){.segnet-chart{color:#e6edf3}}</style>\n",
                  body_, "</svg>\n");
  }

 private:
  std::string body_;
};

/// Colours that can be told apart on white and on black; the line becomes dashed when they start over.
inline std::string series_style(std::size_t i) {
  static constexpr const char* colours[] = {"#3b82f6", "#f0701a", "#2ca25f", "#d6478f", "#9a6ce0", "#12a0b5", "#b58900", "#8a929c"};
  static constexpr const char* dashes[] = {"", " stroke-dasharray=\"6 3\"", " stroke-dasharray=\"2 3\"", " stroke-dasharray=\"8 3 2 3\""};
  return concat("stroke=\"", colours[i % 8], "\"", dashes[i / 8 % 4]);
}

constexpr const char* faint = "stroke=\"currentColor\" stroke-opacity=\"0.16\"";
constexpr const char* muted = "fill-opacity=\"0.72\"";

}  // namespace detail

/// One line of a chart.
struct Series {
  std::string name{};
  std::vector<double> y{};  ///< NaN and infinities leave a gap
  std::vector<double> x{};  ///< of each y, rising; empty: 1, 2, 3, ...
};

struct LineChartOptions {
  std::string title{}, x_label{}, y_label{};
  bool log_x = false, log_y = false;        ///< logarithmic; what is not positive leaves a gap
  std::optional<double> y_low{}, y_high{};  ///< ends of the y axis instead of those of the data; what lies outside is cut off
  double width = 560, height = 320;         ///< pixels
};

namespace detail {

/// A line of very many points, drawn with at most four per pixel column (the first, lowest, highest and last of each run), which
/// looks the same. Gaps stay.
inline std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points, std::size_t columns) {
  if (points.size() <= 4 * columns) return points;
  std::vector<std::pair<double, double>> out;
  for (std::size_t c = 0; c < columns; ++c) {
    const std::size_t begin = points.size() * c / columns, end = points.size() * (c + 1) / columns;
    std::vector<std::size_t> keep{begin, end - 1};
    std::size_t low = end, high = end, gap = end;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(points[i].second)) gap = i;
      else {
        if (low == end || points[i].second < points[low].second) low = i;
        if (high == end || points[i].second > points[high].second) high = i;
      }
    }
    for (const std::size_t i : {low, high, gap})
      if (i != end) keep.push_back(i);
    std::sort(keep.begin(), keep.end());
    keep.erase(std::unique(keep.begin(), keep.end()), keep.end());
    for (const std::size_t i : keep) out.push_back(points[i]);
  }
  return out;
}

/// Lines through runs of finite points; a run of one point is a dot.
inline void draw_series(Svg& svg, const std::vector<std::pair<double, double>>& points, const std::string& style, double width) {
  std::string path;
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin;
    while (end < points.size() && std::isfinite(points[end].first) && std::isfinite(points[end].second)) ++end;
    if (end == begin + 1)
      svg.add("<path d=\"M", pixels(points[begin].first), " ", pixels(points[begin].second), "h0\" fill=\"none\" ", style,
              " stroke-width=\"6\" stroke-linecap=\"round\"/>\n");
    else
      for (std::size_t i = begin; i < end; ++i)
        path += concat(i == begin ? "M" : "L", pixels(points[i].first), " ", pixels(points[i].second));
    begin = std::max(end, begin) + 1;
  }
  if (!path.empty())
    svg.add("<path d=\"", path, "\" fill=\"none\" ", style, " stroke-width=\"", pixels(width), "\" stroke-linejoin=\"round\"/>\n");
}

/// Names with a stroke of their colour, in as many rows as they need. @return their height
inline double draw_legend(Svg& svg, const std::vector<Series>& series, double left, double top, double width) {
  double x = left, y = top;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const std::string name = shortened(series[i].name, font, width - 32);
    const double entry = 28 + text_width(name, font) + 14;
    if (x > left && x + entry - 14 > left + width) x = left, y += 18;
    svg.line(x, y + 8, x + 22, y + 8, concat(series_style(i), " stroke-width=\"3\""));
    svg.text(x + 28, y + 12, name);
    x += entry;
  }
  return series.empty() ? 0 : y - top + 24;
}

}  // namespace detail

/// Lines over a common x axis: losses, scores, learning rates. Axes end at the data (x) and at round numbers (y), unless asked
/// otherwise; the y axis starts at 0 where the data comes near it. Without anything to draw: empty axes that say "no data".
/// @return an SVG document   @throws ValueError: x and y of a series differ in length; y_low not below y_high, or not positive on a
/// logarithmic axis
[[nodiscard]] inline std::string line_chart(const std::vector<Series>& series, const LineChartOptions& options = {}) {
  double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
  bool whole = true;  // every x is an integer
  const auto bounded = [](double v) { return std::isfinite(v) ? std::clamp(v, -1e300, 1e300) : v; };
  std::vector<std::vector<std::pair<double, double>>> lines;
  for (const Series& s : series) {
    if (!s.x.empty() && s.x.size() != s.y.size())
      throw ValueError("line_chart", "series", concat("as many x as y in '", s.name, "'"), concat(s.x.size(), " x and ", s.y.size(), " y"));
    auto& line = lines.emplace_back();
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      const double x = bounded(s.x.empty() ? static_cast<double>(i + 1) : s.x[i]), y = bounded(s.y[i]);
      const bool seen = std::isfinite(x) && std::isfinite(y) && (!options.log_x || x > 0) && (!options.log_y || y > 0);
      line.emplace_back(x, seen ? y : NAN);
      if (!seen) continue;
      whole = whole && x == std::floor(x);
      x_low = std::min(x_low, x), x_high = std::max(x_high, x);
      y_low = std::min(y_low, y), y_high = std::max(y_high, y);
    }
  }
  const bool empty = !(x_low <= x_high);
  if (!options.log_y && y_low > 0 && y_low < 0.5 * y_high) y_low = 0;
  const bool chosen = options.y_low || options.y_high;
  if (options.log_y && ((options.y_low && !(*options.y_low > 0)) || (options.y_high && !(*options.y_high > 0))))
    throw ValueError("line_chart", "y_low", "positive ends of a logarithmic axis",
                     number(options.y_low ? *options.y_low : *options.y_high));
  if (options.y_low && options.y_high && !(*options.y_low < *options.y_high))
    throw ValueError("line_chart", "y_low", concat("less than y_high = ", *options.y_high), concat(*options.y_low));
  if (options.y_low) y_low = *options.y_low, y_high = std::max(y_high, y_low);
  if (options.y_high) y_high = *options.y_high, y_low = std::min(y_low, y_high);
  const double chart_width = std::max(200.0, options.width), chart_height = std::max(120.0, options.height);
  const Axis y_axis =
      make_axis(y_low, y_high, {.log = options.log_y, .rounded = !chosen, .count = std::max(2, static_cast<int>(chart_height / 60))});
  const Axis x_axis = make_axis(
      x_low, x_high, {.log = options.log_x, .rounded = false, .whole = whole, .count = std::max(2, static_cast<int>(chart_width / 85))});

  detail::Svg svg;
  double label_width = 0;
  for (const std::string& label : y_axis.labels) label_width = std::max(label_width, text_width(label, detail::font));
  const double left = label_width + (options.y_label.empty() ? 10 : 30), right = chart_width - 14;
  double top = svg.title(options.title);
  top += detail::draw_legend(svg, series, left, top, right - left) + 6;
  const double below = options.x_label.empty() ? 24 : 44, height = std::max(chart_height - top - below, chart_height * 0.4);
  const double bottom = top + height, width = right - left;
  svg.width = chart_width;
  svg.height = bottom + below;
  const auto to_x = [&](double x) { return width * x_axis.position(x); };
  const auto to_y = [&](double y) { return height * (1 - y_axis.position(y)); };

  for (std::size_t i = 0; i < y_axis.ticks.size(); ++i) {
    const double y = top + to_y(y_axis.ticks[i]);
    svg.line(left, y, right, y, detail::faint);
    svg.text(left - 8, y + 4, y_axis.labels[i], "text-anchor=\"end\"");
  }
  for (std::size_t i = 0; i < x_axis.ticks.size(); ++i) {
    const double x = left + to_x(x_axis.ticks[i]);
    svg.line(x, bottom, x, bottom + 4, "stroke=\"currentColor\" stroke-opacity=\"0.6\"");
    svg.text(x, bottom + 18, x_axis.labels[i], "text-anchor=\"middle\"");
  }
  svg.line(left, bottom, right, bottom, "stroke=\"currentColor\" stroke-opacity=\"0.6\"");
  if (!options.x_label.empty()) svg.text(left + width / 2, bottom + 37, options.x_label, concat("text-anchor=\"middle\" ", detail::muted));
  if (!options.y_label.empty())
    svg.text(0, 0, options.y_label,
             concat("text-anchor=\"middle\" ", detail::muted, " transform=\"translate(12 ", pixels(top + height / 2), ") rotate(-90)\""));

  // An <svg> of its own cuts off what lies outside a chosen range. Without one nothing does, and strokes at the edge stay whole.
  svg.add("<svg x=\"", pixels(left), "\" y=\"", pixels(top), "\" width=\"", pixels(std::max(width, 0.0)), "\" height=\"",
          pixels(std::max(height, 0.0)), "\" overflow=\"", chosen ? "hidden" : "visible", "\">\n");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (auto& [x, y] : lines[i]) {
      x = std::clamp(to_x(x), -10 * width, 10 * width);  // NaN stays NaN
      y = std::clamp(to_y(y), -10 * height, 10 * height);
    }
    const bool dense = static_cast<double>(lines[i].size()) > 2 * width;
    const auto columns = static_cast<std::size_t>(std::max(width, 1.0));
    detail::draw_series(svg, detail::thinned(lines[i], columns), detail::series_style(i), dense ? 1.3 : 2);
  }
  if (empty) svg.text(width / 2, height / 2, "no data", concat("text-anchor=\"middle\" ", detail::muted));
  svg.add("</svg>\n");
  return svg.document(options.title.empty() ? "line chart" : options.title);
}

/// One bar. NaN: the class does not occur, and says "absent".
struct Bar {
  std::string name{};
  double value = 0;
};

struct BarChartOptions {
  std::string title{};
  double maximum = 1;              ///< length of the axis
  bool percent = true;             ///< write 0.713 as "71.3 %"
  Palette palette{};               ///< a swatch of colour i before bar i, if there is one
  std::optional<double> mark{};    ///< a vertical line, at the mean for example
  std::string mark_name = "mean";  ///< what it says
  double width = 560;              ///< pixels; the height follows from the number of bars
};

/// Horizontal bars from 0, one per class, in the order given: IoU, accuracy. Bars end at `maximum` and at 0, whatever the value.
/// @return an SVG document   @throws ValueError: maximum is not positive
[[nodiscard]] inline std::string bar_chart(const std::vector<Bar>& bars, const BarChartOptions& options = {}) {
  if (!(options.maximum > 0) || !std::isfinite(options.maximum))
    throw ValueError("bar_chart", "maximum", "a positive number", concat(options.maximum));
  const auto written = [&](double value) { return options.percent ? fixed(100 * value, 1) + " %" : number(value, 4); };
  const double row = 22, swatch = options.palette.empty() ? 0 : 20;
  double names = 0, values = text_width("absent", detail::font);
  for (const Bar& bar : bars) {
    names = std::max(names, text_width(bar.name, detail::font));
    values = std::max(values, text_width(written(bar.value), detail::font));
  }
  names = std::min(names, options.width * 0.35);
  const double left = names + swatch + 10, length = std::max(20.0, options.width - left - values - 10);

  detail::Svg svg;
  double top = svg.title(options.title);
  const bool marked = options.mark && std::isfinite(*options.mark);
  if (marked) top += 18;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double y = top + row * static_cast<double>(i), value = bars[i].value;
    svg.text(names, y + 15, shortened(bars[i].name, detail::font, names + 1), "text-anchor=\"end\"");
    if (i < options.palette.size())
      svg.rect(names + 7, y + 4.5, 13, 13,
               concat("rx=\"2\" fill=\"", hex(options.palette[i]), "\" stroke=\"currentColor\" stroke-opacity=\"0.35\""));
    svg.rect(left, y + 4, length, row - 8, "rx=\"2\" fill-opacity=\"0.08\"");
    if (std::isnan(value)) {
      svg.text(left + length + 8, y + 15, "absent", concat("font-style=\"italic\" ", detail::muted));
      continue;
    }
    svg.rect(left, y + 4, length * std::clamp(value / options.maximum, 0.0, 1.0), row - 8, "rx=\"2\" fill=\"#3b82f6\"",
             concat(bars[i].name, ": ", written(value)));
    svg.text(left + length + 8, y + 15, written(value));
  }
  const double bottom = top + row * static_cast<double>(bars.size());
  if (bars.empty()) svg.text(0, top + 15, "no data", detail::muted);
  if (marked) {
    const double x = left + length * std::clamp(*options.mark / options.maximum, 0.0, 1.0);
    const std::string label = concat(options.mark_name, " ", written(*options.mark));
    const double half = text_width(label, detail::font) / 2;
    svg.line(x, top - 2, x, bottom, "stroke=\"currentColor\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"");
    svg.text(std::clamp(x, half, std::max(half, options.width - half)), top - 7, label, "text-anchor=\"middle\"");
  }
  svg.width = options.width;
  svg.height = bottom + (bars.empty() ? row : 4);
  return svg.document(options.title.empty() ? "bar chart" : options.title);
}

struct MatrixChartOptions {
  std::string title{};
  std::string rows = "target", columns = "prediction";  ///< what the two axes are
  double size = 460;                                    ///< pixels of the cells' square, at least 7 for each class
};

/// A confusion matrix: how the pixels of each class (row) were labelled (column), as shares of the row. Cells are tinted by the
/// square root of the share, so that confusions of a few per cent are seen (right: blue, wrong: orange); per cent stand in the
/// cells where they fit, and counts in the tooltips. A row without pixels says "–".
/// @param counts [C, C], row = target, column = prediction   @param names C of them; more and fewer are an error, none: 0, 1, 2, ...
/// @return an SVG document   @throws ShapeError, ValueError
template <class T>
  requires std::is_arithmetic_v<T>
[[nodiscard]] std::string matrix_chart(const Tensor<T, Cpu>& counts, std::vector<std::string> names = {},
                                       const MatrixChartOptions& options = {}) {
  if (counts.rank() != 2 || counts.dim(0) != counts.dim(1)) throw ShapeError("matrix_chart", "counts", "[C, C]", counts.shape());
  const auto classes = static_cast<std::size_t>(counts.dim(0));
  if (names.empty())
    for (std::size_t i = 0; i < classes; ++i) names.push_back(concat(i));
  if (names.size() != classes) throw ValueError("matrix_chart", "names", concat(classes, " names"), concat(names.size()));

  const double cell = std::clamp(options.size / std::max(1.0, static_cast<double>(classes)), 7.0, 48.0);
  const double side = cell * static_cast<double>(classes), letter = std::min(detail::font, cell),
               number_size = std::min(detail::font, cell * 0.42);
  double longest = 0;
  for (const std::string& name : names) longest = std::max(longest, text_width(name, letter));
  longest = std::min(longest, 150.0);

  detail::Svg svg;
  const std::string sized = concat("font-size=\"", pixels(letter), "\"");
  const double left = longest + 30, top = svg.title(options.title) + longest * 0.75 + 34;
  svg.text(left + side / 2, svg.title({}) + (options.title.empty() ? 10 : 34), options.columns,
           concat("text-anchor=\"middle\" ", detail::muted));
  svg.text(0, 0, options.rows,
           concat("text-anchor=\"middle\" ", detail::muted, " transform=\"translate(12 ", pixels(top + side / 2), ") rotate(-90)\""));
  svg.rect(left, top, side, side, concat("fill=\"none\" ", detail::faint));
  for (std::size_t i = 0; i < classes; ++i) {
    const double middle = cell * (static_cast<double>(i) + 0.5);
    const std::string name = shortened(names[i], letter, longest + 1);
    svg.text(left - 7, top + middle + letter * 0.35, name, concat("text-anchor=\"end\" ", sized));
    svg.text(0, 0, name,
             concat(sized, " transform=\"translate(", pixels(left + middle + letter * 0.2), " ", pixels(top - 7), ") rotate(-50)\""));
    double total = 0;
    const T* row = counts.data() + i * classes;
    for (std::size_t j = 0; j < classes; ++j) total += static_cast<double>(row[j]);
    if (!(total > 0)) {
      if (number_size >= 8) svg.text(left + 6, top + middle + number_size * 0.35, "–", detail::muted);
      continue;
    }
    for (std::size_t j = 0; j < classes; ++j) {
      const double count = static_cast<double>(row[j]), share = count / total, x = left + cell * static_cast<double>(j);
      if (!(share > 0)) continue;
      const double depth = std::sqrt(std::min(share, 1.0));
      svg.rect(x, top + middle - cell / 2, cell, cell,
               concat("fill=\"", i == j ? "#2563eb" : "#d9480f", "\" fill-opacity=\"", fixed(depth, 3), "\""),
               concat(names[i], " → ", names[j], ": ", fixed(100 * share, 1), " % (", number(count, 12), ")"));
      if (number_size >= 8)
        svg.text(x + cell / 2, top + middle + number_size * 0.35, share < 0.005 ? "<1" : fixed(100 * share, 0),
                 concat("text-anchor=\"middle\" font-size=\"", pixels(number_size), "\" pointer-events=\"none\"",
                        share > 0.8     ? " fill=\"#fff\""
                        : share < 0.005 ? " fill-opacity=\"0.5\""
                                        : ""));
    }
  }
  if (classes == 0) svg.text(0, top, "no data", detail::muted);
  svg.width = left + side + std::max(4.0, longest * 0.64 - cell / 2 + 4);
  svg.height = top + side + 4;
  return svg.document(options.title.empty() ? "confusion matrix" : options.title);
}

}  // namespace segnet::report
