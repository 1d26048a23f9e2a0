// Convolutions as text: grids of numbers, the matrix of a convolution with the names of its weights, products written out.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "segnet/core/tensor.hpp"
#include "segnet/kernels/conv2d_matrix.hpp"
#include "segnet/report/text.hpp"

namespace segnet::report {

using Labels = std::vector<std::string>;

/// "k3s2p1d2": kernel, stride, padding ("p0:1": before and behind) and dilation of a layer along one axis. The kernel must be there.
/// @throws ValueError naming the text
[[nodiscard]] inline ConvAxis parse_layer(std::string_view text) {
  const auto fail = [&] {
    throw ValueError("parse_layer", "layer", "letters k, s, p, d and their numbers, such as k3s2p1 or k3p0:1", text);
  };
  ConvAxis axis{.kernel = 0};
  std::size_t i = 0;
  const auto number = [&] {
    index_t n = 0;
    const std::size_t begin = i;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) n = 10 * n + (text[i] - '0');
    if (i == begin || i - begin > 6) fail();
    return n;
  };
  while (i < text.size()) {
    switch (text[i++]) {
      case 'k':
        axis.kernel = number();
        break;
      case 's':
        axis.stride = number();
        break;
      case 'd':
        axis.dilation = number();
        break;
      case 'p':
        axis.padding = number();
        if (i < text.size() && text[i] == ':') ++i, axis.padding.end = number();
        break;
      default:
        fail();
    }
  }
  if (axis.kernel < 1 || axis.stride < 1 || axis.dilation < 1) fail();
  return axis;
}

/// Names of a tensor's elements, in the order of memory: the letter and the indices, of those dimensions that are larger than 1.
/// "w00", "w01", ...; with points between, "x1.10", where an index has two digits.
[[nodiscard]] inline Labels element_names(std::string_view letter, const Shape& shape) {
  const bool narrow = std::all_of(shape.begin(), shape.end(), [](index_t n) { return n <= 10; });
  Labels names;
  for (index_t i = 0; i < shape.numel(); ++i) {
    std::string index;
    index_t rest = i;
    for (int d = shape.rank(); d-- > 0; rest /= shape[d])
      if (shape[d] > 1) index = concat(rest % shape[d], narrow || index.empty() ? "" : ".", index);
    names.push_back(concat(letter, index));
  }
  return names;
}
/// A tensor's elements as text, in the order of memory.
template <class T>
[[nodiscard]] Labels element_values(const Tensor<T>& x) {
  Labels values;
  for (index_t i = 0; i < x.numel(); ++i) values.push_back(number(static_cast<double>(x.data()[i]), 6));
  return values;
}

/// Cells in columns, each as wide as its widest, all to the right; every line begins with `indent`.
[[nodiscard]] inline std::string table(const std::vector<Labels>& rows, std::string_view indent = "  ") {
  std::vector<std::size_t> widths;
  for (const Labels& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t j = 0; j < row.size(); ++j) widths[j] = std::max(widths[j], row[j].size());
  }
  std::string text;
  for (const Labels& row : rows) {
    text += indent;
    for (std::size_t j = 0; j < row.size(); ++j) text += concat(j ? " " : "", std::string(widths[j] - row[j].size(), ' '), row[j]);
    text += '\n';
  }
  return text;
}

/// Channel c of the first image of x [N, H, W, C].
template <class T>
[[nodiscard]] std::string grid(const Tensor<T>& x, index_t c = 0, std::string_view indent = "  ") {
  std::vector<Labels> rows;
  for (index_t h = 0; h < x.dim(1); ++h) {
    rows.emplace_back();
    for (index_t v = 0; v < x.dim(2); ++v) rows.back().push_back(number(static_cast<double>(x.at(0, h, v, c)), 6));
  }
  return table(rows, indent);
}

/// A convolution's matrix, to be written or drawn: which weight stands where, and what rows, columns and weights are called.
struct NamedMatrix {
  ConvMatrix<index_t> pattern;  ///< of kernels::conv2d_matrix_pattern
  Labels weights, rows, columns;

  [[nodiscard]] NamedMatrix transposed() const { return {pattern.transpose(), weights, columns, rows}; }
};

/// The matrix C with y, w and x by name: rows "y00", weights "w00", columns "x00". Padding has no columns.
[[nodiscard]] inline NamedMatrix named_matrix(const kernels::ConvGeometry& g) {
  return {kernels::conv2d_matrix_pattern(g), element_names("w", {g.O, g.kh, g.kw, g.group_inputs()}), element_names("y", {g.OH, g.OW, g.O}),
          element_names("x", {g.H, g.W, g.C})};
}

/// The same with zeros written out, as textbooks do: the columns are the padded image, its border called "0". `padding_end` is what the
/// geometry does not say: the padding behind the image.
[[nodiscard]] inline NamedMatrix padded_matrix(const kernels::ConvGeometry& g, Extent2 padding_end) {
  kernels::ConvGeometry padded = g;
  padded.H += g.padding.h + padding_end.h;
  padded.W += g.padding.w + padding_end.w;
  padded.padding = 0;
  NamedMatrix m = named_matrix(padded);
  const Labels names = element_names("x", {g.H, g.W, g.C});
  m.columns.assign(m.columns.size(), "0");
  for (index_t i = 0; i < g.H * g.W * g.C; ++i) {
    const index_t c = i % g.C, v = i / g.C % g.W + g.padding.w, h = i / g.C / g.W + g.padding.h;
    m.columns[static_cast<std::size_t>((h * padded.W + v) * g.C + c)] = names[static_cast<std::size_t>(i)];
  }
  return m;
}

/// The matrix with its rows' and columns' names; a point where there is no weight.
[[nodiscard]] inline std::string matrix_text(const NamedMatrix& m) {
  std::vector<Labels> rows{{""}};
  rows[0].insert(rows[0].end(), m.columns.begin(), m.columns.end());
  for (index_t r = 0; r < m.pattern.rows(); ++r) {
    Labels row(m.columns.size() + 1, ".");
    row[0] = m.rows[static_cast<std::size_t>(r)];
    for (ConvMatrix<index_t>::InnerIterator place(m.pattern, r); place; ++place)
      row[static_cast<std::size_t>(place.col()) + 1] = m.weights[static_cast<std::size_t>(place.value())];
    rows.push_back(std::move(row));
  }
  return table(rows);
}

/// The product with a vector, a line for each row: "y0 = w1 x0 + w2 x1". `factors` stand for the columns (a name "0" is left out), and
/// `results`, unless empty, are appended: "y0 = 2*4 + 3*5 = 23". Numbers are multiplied with a `*`, names side by side.
[[nodiscard]] inline std::string product_text(const NamedMatrix& m, const Labels& factors, const Labels& results = {}) {
  std::string text;
  std::size_t longest = 0;
  for (const std::string& name : m.rows) longest = std::max(longest, name.size());
  for (index_t r = 0; r < m.pattern.rows(); ++r) {
    const std::string& name = m.rows[static_cast<std::size_t>(r)];
    std::string sum;
    for (ConvMatrix<index_t>::InnerIterator place(m.pattern, r); place; ++place) {
      if (factors[static_cast<std::size_t>(place.col())] == "0" && results.empty()) continue;
      sum += concat(sum.empty() ? "" : " + ", m.weights[static_cast<std::size_t>(place.value())], results.empty() ? " " : "*",
                    factors[static_cast<std::size_t>(place.col())]);
    }
    text += concat("  ", std::string(longest - name.size(), ' '), name, " = ", sum.empty() ? "0" : sum);
    if (!results.empty() && !sum.empty()) text += concat(" = ", results[static_cast<std::size_t>(r)]);
    text += '\n';
  }
  return text;
}

}  // namespace segnet::report
