#include "segnet/report/html.hpp"

#include "report/markup.hpp"
#include "segnet/report/overlay.hpp"
#include "support/files.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;

namespace {

const std::string evil = "</p></td><script src=\"x\">1 & '2'</script>";

Markup page(const HtmlReport& report) {
  const Markup markup = parse_markup(report.html(), true);
  CHECK(markup.error == "");
  return markup;
}

std::string decoded(std::string_view base64_text) {
  std::string bytes;
  unsigned bits = 0;
  int have = 0;
  for (const char c : base64_text) {
    const std::size_t value = std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    if (value == std::string_view::npos) break;  // padding
    bits = bits << 6 | static_cast<unsigned>(value);
    if ((have += 6) >= 8) bytes += static_cast<char>(bits >> (have -= 8) & 255);
  }
  return bytes;
}

HtmlReport example() {
  HtmlReport report(evil);
  report.heading(evil).heading(evil, 3).paragraph(evil).code(evil).facts({{evil, evil}}).table({evil, "n"}, {{evil, "1"}});
  report.svg(line_chart({{evil, {1, 2}}}), evil).svg(bar_chart({{evil, 1}})).image(full<std::uint8_t>({2, 3, 3}, 7), evil);
  report.gallery({{full<std::uint8_t>({2, 3}, 7), evil}, {full<std::uint8_t>({2, 3, 1}, 7), {}}}).legend({evil}, {{1, 2, 3}});
  return report;
}

}  // namespace

TEST_CASE("HtmlReport: every part is well-formed and escaped, also when empty") {
  const HtmlReport report = example();
  const Markup markup = page(report);
  CHECK(report.html().find("<script") == std::string::npos);
  for (const char* name : {"title", "h1", "h2", "h3", "p", "code", "b", "th", "td", "figcaption"}) {
    REQUIRE_FALSE(markup.all(name).empty());
    CHECK(markup.all(name)[0].text == escape(evil));
  }
  CHECK(markup.all("img")[0].attributes.at("alt") == escape(evil));

  page(HtmlReport(""));
  HtmlReport empty("empty");
  page(empty.heading("").paragraph("").code("").facts({}).table({}, {}).table({"a"}, {}).gallery({}).legend({}, {}).svg(line_chart({})));
}

TEST_CASE("HtmlReport: one file that needs nothing else") {
  const std::string html = example().html();
  const Markup markup = parse_markup(html, true);
  for (const Element& e : markup.elements) {
    CHECK(e.name != "script");
    CHECK(e.name != "link");
    CHECK(e.attributes.count("href") == 0);
    const auto source = e.attributes.find("src");
    if (source != e.attributes.end()) CHECK(source->second.starts_with("data:image/png;base64,"));
    if (e.name == "style") {
      CHECK(e.text.find("url(") == std::string::npos);
      CHECK(e.text.find("@import") == std::string::npos);
    }
  }
  CHECK(html.find("<meta name=\"viewport\"") != std::string::npos);
  CHECK(html.find("prefers-color-scheme:dark") != std::string::npos);
  CHECK(html.find("@media print") != std::string::npos);
  CHECK(html == example().html());
}

TEST_CASE("HtmlReport: a picture in the page is the picture, byte for byte") {
  const Tensor<std::uint8_t> image = integers<std::uint8_t>({17, 13, 3}, 0, 255);
  HtmlReport report("pictures");
  report.image(image, "noise", 2.5).image(image);
  const auto images = page(report).all("img");
  REQUIRE(images.size() == 2);
  CHECK(images[0].attributes.at("width") == "33");
  CHECK(images[0].attributes.at("height") == "43");
  CHECK(images[0].attributes.at("class") == "enlarged");
  CHECK(images[1].attributes.at("width") == "13");
  CHECK(images[1].attributes.count("class") == 0);

  const TemporaryFolder folder;
  const std::string source = images[0].attributes.at("src");
  write_file_atomically(folder / "a.png", decoded(source.substr(source.find(',') + 1)));
  CHECK(equal(read_image(folder / "a.png"), image));
}

TEST_CASE("HtmlReport: columns of numbers are aligned to the right") {
  HtmlReport report("table");
  report.table({"class", "IoU", "share", "pixels", "size"},
               {{"road", "91.3", "3.1 %", "1,234", "480 × 360"}, {"3d box", "–", "<1 %", "2.5e-7", ""}, {"sky", "-1", "10 %", "31k", "1"}});
  std::vector<bool> right;
  for (const Element& th : page(report).all("th")) right.push_back(th.attributes.count("class") == 1);
  CHECK(right == std::vector<bool>{false, true, true, true, false});
}

TEST_CASE("HtmlReport: errors leave the page as it was") {
  HtmlReport report("errors");
  report.paragraph("before");
  const std::string before = report.html();
  CHECK_THROWS_WITH_AS(report.table({"a", "b"}, {{"1", "2"}, {"3"}}),
                       "segnet::HtmlReport::table: argument 'rows': expected 2 cells in each row, got 1", ValueError);
  CHECK_THROWS_AS(report.image(Tensor<std::uint8_t>({2, 2, 4})), ShapeError);
  CHECK_THROWS_AS(report.image(Tensor<std::uint8_t>({0, 2, 3})), ShapeError);
  CHECK_THROWS_AS(report.image(full<std::uint8_t>({1, 1, 3}, 0), "", 0), ValueError);
  CHECK_THROWS_AS(report.image(full<std::uint8_t>({1, 1, 3}, 0), "", NAN), ValueError);
  CHECK_THROWS_AS(report.gallery({{full<std::uint8_t>({1, 1, 3}, 0), "fine"}, {{}, "undefined"}}), ShapeError);
  CHECK_THROWS_AS(report.legend({"a", "b"}, {{1, 2, 3}}), ValueError);
  CHECK_THROWS_AS(report.heading("a", 1), ValueError);
  CHECK_THROWS_AS(report.heading("a", 7), ValueError);
  CHECK(report.html() == before);
}

TEST_CASE("HtmlReport::save: the page as it is, over an older one") {
  const TemporaryFolder folder;
  HtmlReport report("saved");
  report.save(folder / "report.html");
  report.paragraph("more");
  report.save(folder / "report.html");
  CHECK(read_file(folder / "report.html") == report.html());
  CHECK_THROWS_AS(report.save("/nowhere/at/all.html"), IoError);
}
