// One self-contained HTML page: text, tables, charts and pictures, all inside the file. Needs libpng (io/image.hpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "segnet/io/file.hpp"
#include "segnet/io/image.hpp"
#include "segnet/report/svg.hpp"
#include "segnet/report/text.hpp"

namespace segnet::report {

namespace detail {

/// Printable, in light and dark, from a phone to a wide screen.
constexpr std::string_view style_sheet =
    R"(:root{color-scheme:light dark;--text:#1f2328;--page:#fff;--soft:#f3f5f8;--rule:#d5dae1;--muted:#59636e}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--page:#0f1318;--soft:#191f27;--rule:#343c47;--muted:#9aa5b1}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:60rem;background:var(--page);color:var(--text);font:16px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.75rem;line-height:1.25;margin:.5rem 0 1rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-bottom:.3rem;border-bottom:1px solid var(--rule)}
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
p{margin:.6rem 0;max-width:46rem}
figure{margin:1rem 0}
figcaption{color:var(--muted);font-size:.875rem;margin-top:.35rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:1rem 0;font-size:.925rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .8rem;text-align:left;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--muted);font-weight:600;border-bottom-width:2px}
.n{text-align:right}
pre{background:var(--soft);padding:.75rem 1rem;border-radius:6px;overflow-x:auto;font:.85rem/1.45 ui-monospace,Menlo,Consolas,monospace}
svg,img{display:block}
img{max-width:100%;height:auto}
.enlarged{image-rendering:pixelated}
.gallery{display:flex;flex-wrap:wrap;gap:0 1rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1rem 0}
.facts div{background:var(--soft);border-radius:6px;padding:.55rem .85rem}
.facts b{display:block;font-size:1.3rem;font-weight:600;overflow-wrap:anywhere}
.facts span{color:var(--muted);font-size:.85rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.75rem 0;font-size:.875rem}
.legend i{display:inline-block;width:.85em;height:.85em;margin-right:.4em;border-radius:2px;border:1px solid var(--rule);vertical-align:-.08em;print-color-adjust:exact;-webkit-print-color-adjust:exact}
@media print{body{max-width:none;padding:0;font-size:11pt}figure,table,pre,.facts{break-inside:avoid}h1,h2,h3{break-after:avoid}.scroll,pre{overflow:visible}pre{white-space:pre-wrap}}
)";

/// Whether a table aligns it to the right: digits with signs, separators, an exponent or a unit of one letter.
inline bool looks_numeric(std::string_view cell) {
  if (cell == "–" || cell == "-") return true;  // stands for NaN
  bool digits = false;
  std::size_t letters = 0;
  for (const char c : cell) {
    if (c >= '0' && c <= '9') digits = true;
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) ++letters;
    else if (std::string_view("+-±<., %").find(c) == std::string_view::npos) return false;
  }
  return digits && letters <= 1 && cell[0] < 'A';
}

}  // namespace detail

/// A picture with a line of text below.
struct Picture {
  Tensor<std::uint8_t, Cpu> image{};  ///< [H, W, 3], or [H, W] or [H, W, 1] grey
  std::string caption{};
};

/// A page that grows from top to bottom. All text is escaped; pictures are stored as PNG inside the page; nothing is loaded from
/// elsewhere, and there are no scripts. The same calls give the same bytes.
///
///   HtmlReport page("Training of U-Net");
///   page.heading("Loss").svg(line_chart({{"train", losses}}));
///   page.save("report.html");
class HtmlReport {
 public:
  explicit HtmlReport(std::string title) : title_(std::move(title)) {}

  /// @param level 2 for chapters, 3 for sections   @throws ValueError: level outside [2, 6]
  HtmlReport& heading(std::string_view text, int level = 2) {
    if (level < 2 || level > 6) throw ValueError("HtmlReport::heading", "level", "2 to 6", concat(level));
    return add("<h", level, ">", escape(text), "</h", level, ">\n");
  }

  HtmlReport& paragraph(std::string_view text) { return add("<p>", escape(text), "</p>\n"); }

  /// Text in a typewriter face, spaces and line ends as they are.
  HtmlReport& code(std::string_view text) { return add("<pre><code>", escape(text), "</code></pre>\n"); }

  /// The few numbers a reader looks for first: {name, value} each.
  HtmlReport& facts(const std::vector<std::pair<std::string, std::string>>& facts) {
    add("<div class=\"facts\">\n");
    for (const auto& [name, value] : facts) add("<div><b>", escape(value), "</b><span>", escape(name), "</span></div>\n");
    return add("</div>\n");
  }

  /// Columns whose cells are all numbers are aligned to the right.
  /// @throws ValueError: a row has not as many cells as the header
  HtmlReport& table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::string_view> alignment(header.size(), rows.empty() ? "" : " class=\"n\"");
    for (const auto& row : rows) {
      if (row.size() != header.size())
        throw ValueError("HtmlReport::table", "rows", concat(header.size(), " cells in each row"), concat(row.size()));
      for (std::size_t j = 0; j < row.size(); ++j)
        if (!row[j].empty() && !detail::looks_numeric(row[j])) alignment[j] = "";
    }
    const auto add_row = [&](std::string_view tag, const std::vector<std::string>& cells) {
      add("<tr>");
      for (std::size_t j = 0; j < cells.size(); ++j) add("<", tag, alignment[j], ">", escape(cells[j]), "</", tag, ">");
      add("</tr>\n");
    };
    add("<div class=\"scroll\"><table>\n<thead>");
    add_row("th", header);
    add("</thead>\n<tbody>\n");
    for (const auto& row : rows) add_row("td", row);
    return add("</tbody></table></div>\n");
  }

  /// A chart of report/svg.hpp, or other SVG markup, which is inserted as it is.
  HtmlReport& svg(std::string_view markup, std::string_view caption = {}) {
    return add("<figure><div class=\"scroll\">", markup, "</div>", end_of_figure(caption));
  }

  /// @param scale pixels on the screen per pixel of the image; from 2 on they show as squares   @throws ShapeError, ValueError
  HtmlReport& image(const Tensor<std::uint8_t, Cpu>& image, std::string_view caption = {}, double scale = 1) {
    return add(figure(image, caption, scale));
  }

  /// Pictures beside each other, as many as fit, then below. @throws ShapeError, ValueError
  HtmlReport& gallery(const std::vector<Picture>& pictures, double scale = 1) {
    std::string figures;  // complete before the page changes: a picture may throw
    for (const Picture& picture : pictures) figures += figure(picture.image, picture.caption, scale);
    return add("<div class=\"gallery\">\n", figures, "</div>\n");
  }

  /// Class names with their colours. @throws ValueError: a name without a colour
  HtmlReport& legend(const std::vector<std::string>& names, const Palette& palette) {
    if (names.size() > palette.size())
      throw ValueError("HtmlReport::legend", "palette", concat("a colour for each of ", names.size(), " names"), concat(palette.size()));
    add("<div class=\"legend\">\n");
    for (std::size_t i = 0; i < names.size(); ++i)
      add("<span><i style=\"background:", hex(palette[i]), "\"></i>", escape(names[i]), "</span>\n");
    return add("</div>\n");
  }

  /// The whole page.
  [[nodiscard]] std::string html() const {
    return concat(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
        escape(title_), "</title>\n<style>\n", detail::style_sheet, "</style>\n</head>\n<body>\n<h1>", escape(title_), "</h1>\n", body_,
        "</body>\n</html>\n");
  }

  /// Writes the page, at once or not at all: a page that is open in a browser can be replaced while training goes on. @throws IoError
  void save(const std::string& path) const { write_file_atomically(path, html()); }

 private:
  template <class... Parts>
  HtmlReport& add(const Parts&... parts) {
    (segnet::detail::append(body_, parts), ...);
    return *this;
  }
  static std::string end_of_figure(std::string_view caption) {
    return caption.empty() ? "</figure>\n" : concat("<figcaption>", escape(caption), "</figcaption></figure>\n");
  }
  static std::string figure(const Tensor<std::uint8_t, Cpu>& image, std::string_view caption, double scale) {
    if (!(scale > 0)) throw ValueError("HtmlReport::image", "scale", "a positive number", concat(scale));
    const std::string png = encode_png(image);
    const auto shown = [scale](index_t size) { return static_cast<index_t>(std::ceil(static_cast<double>(size) * scale)); };
    return concat("<figure><img", scale >= 2 ? " class=\"enlarged\"" : "", " width=\"", shown(image.dim(1)), "\" height=\"",
                  shown(image.dim(0)), "\" alt=\"", escape(caption), "\" src=\"data:image/png;base64,",
                  base64(reinterpret_cast<const std::uint8_t*>(png.data()), png.size()), "\">", end_of_figure(caption));
  }

  std::string title_, body_;
};

}  // namespace segnet::report
