#include "segnet/report/svg.hpp"

#include "report/markup.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;

namespace {

/// Parses a chart; it must be well-formed, and every coordinate a number within ten times the drawing.
Markup drawing(const std::string& svg) {
  const Markup markup = parse_markup(svg);
  CHECK(markup.error == "");
  if (!markup.error.empty()) return markup;
  const Element& root = markup.elements.at(0);
  CHECK(root.name == "svg");
  const double reach = 10 * std::max(root.number("width"), root.number("height")) + 1;
  for (const Element& e : markup.elements) {
    for (const char* name : {"x", "y", "x1", "y1", "x2", "y2", "width", "height", "fill-opacity"}) {
      const auto found = e.attributes.find(name);
      if (found == e.attributes.end()) continue;
      INFO(e.name, " ", name, "=", found->second);
      CHECK(found->second.find_first_not_of("-.0123456789") == std::string::npos);
      CHECK(std::abs(e.number(name)) <= reach);
      if (found->first == "width" || found->first == "height") CHECK(e.number(name) >= 0);
    }
    const auto d = e.attributes.find("d");
    if (d != e.attributes.end()) CHECK(d->second.find_first_not_of("MLh -.0123456789") == std::string::npos);
  }
  for (const auto& path : paths(markup))
    for (const auto& [x, y] : path) {
      CHECK(std::abs(x) <= reach);
      CHECK(std::abs(y) <= reach);
    }
  return markup;
}

/// The inner <svg>, whose size is that of the plot.
Element plot(const Markup& markup) { return markup.all("svg").at(1); }

/// Rectangles with a tooltip: bars and cells.
std::vector<Element> marked(const Markup& markup) {
  std::vector<Element> found;
  for (std::size_t i = 1; i < markup.elements.size(); ++i)
    if (markup.elements[i].name == "title") found.push_back(markup.elements[i - 1]);
  return found;
}

using Point = std::pair<double, double>;

}  // namespace

TEST_CASE("the checker of markup refuses what browsers forgive") {
  for (const char* wrong : {"", "<a>", "<a></b>", "<a/><b/>", "<a b=c/>", "<a b='c'/>", "<a b=\"<\"/>", "<a>&</a>", "<a>&nbsp;</a>",
                            "<a b=\"1\" b=\"2\"/>", "<a>></a>", "<a", "<a b=\"c/>", "a<b/>", "</a>", "<a></a>x"})
    CHECK_MESSAGE(parse_markup(wrong).error != "", wrong);
  CHECK(parse_markup("<a b=\"c\">x &amp; y<d/></a>\n").error == "");
}

TEST_CASE("hex") {
  CHECK(hex({31, 119, 180}) == "#1f77b4");
  CHECK(hex({0, 255, 9}) == "#00ff09");
}

TEST_CASE("line_chart: points lie where their values say") {
  const Markup chart = drawing(line_chart({{"loss", {0, 1, 0.25}}}, {.title = "Loss", .x_label = "epoch", .y_label = "nats"}));
  const double w = plot(chart).number("width"), h = plot(chart).number("height");
  const auto lines = paths(chart);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0] == std::vector<Point>{{0, h}, {w / 2, 0}, {w, 0.75 * h}});
  for (const char* text : {"Loss", "epoch", "nats", "loss", "0", "1.0"}) CHECK(chart.has_text(text));
  CHECK(plot(chart).attributes.at("overflow") == "visible");

  const Markup log = drawing(line_chart({{"", {0.01, 0.1, 10}, {0, 5, 10}}}, {.log_y = true}));
  const double log_height = plot(log).number("height"), log_width = plot(log).number("width");
  REQUIRE(paths(log).size() == 1);
  const auto line = paths(log)[0];
  CHECK(line[0].second == doctest::Approx(log_height));
  CHECK(line[1].second == doctest::Approx(log_height * 2 / 3).epsilon(1e-4));
  CHECK(line[1].first == doctest::Approx(log_width / 2).epsilon(1e-4));
  CHECK(line[2].second == doctest::Approx(0));
}

TEST_CASE("line_chart: a chosen range cuts off, and reaches where it was told") {
  const Markup chart = drawing(line_chart({{"a", {0.5, 2, -1e300, 0.75}}}, {.y_low = 0, .y_high = 1}));
  CHECK(plot(chart).attributes.at("overflow") == "hidden");
  const double h = plot(chart).number("height");
  const auto lines = paths(chart);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0][0].second == doctest::Approx(h / 2).epsilon(1e-3));
  CHECK(lines[0][1].second < 0);
  CHECK(lines[0][2].second > h);
  CHECK(lines[0][3].second == doctest::Approx(h / 4).epsilon(1e-3));
  // One end alone keeps the other end at the data.
  CHECK(paths(drawing(line_chart({{"a", {2, 4}}}, {.y_low = 0})))[0][1].second == 0);
}

TEST_CASE("line_chart: gaps at NaN, infinity and, on logarithmic axes, at what is not positive; lone points are dots") {
  const double inf = INFINITY;
  const auto lines = paths(drawing(line_chart({{"a", {1, 2, NAN, 3, inf, 4, 5, -inf}}})));
  REQUIRE(lines.size() == 3);
  std::vector<std::size_t> lengths{lines[0].size(), lines[1].size(), lines[2].size()};
  std::sort(lengths.begin(), lengths.end());
  CHECK(lengths == std::vector<std::size_t>{1, 2, 2});
  CHECK(paths(drawing(line_chart({{"a", {1, 10, 0, 100, -1, 10, 1}}}, {.log_y = true}))).size() == 3);
  CHECK(paths(drawing(line_chart({{"a", {1, 2, 3}, {0, 1, 10}}}, {.log_x = true}))).size() == 1);
  CHECK(paths(drawing(line_chart({{"a", {1, 2, 3}, {1, NAN, 10}}}))).size() == 2);
  CHECK(paths(drawing(line_chart({{"one", {7}}}))).size() == 1);
}

TEST_CASE("line_chart: nothing to draw says so") {
  const std::vector<std::vector<Series>> nothing{{}, {{"a", {}}}, {{"a", {NAN, NAN}}, {"b", {INFINITY}}}};
  for (const auto& series : nothing)
    for (const bool log : {false, true}) {
      const Markup chart = drawing(line_chart(series, {.log_x = log, .log_y = log}));
      CHECK(chart.has_text("no data"));
      CHECK(paths(chart).empty());
    }
  CHECK_FALSE(drawing(line_chart({{"a", {1}}})).has_text("no data"));
}

TEST_CASE("line_chart: many points become few, and keep their extremes and gaps") {
  Series s{"loss", {}};
  for (int i = 0; i < 100000; ++i) s.y.push_back(0.5 + 0.1 * std::sin(i));
  s.y[41234] = 9;
  s.y[70001] = -3;
  s.y[90000] = NAN;
  const std::string svg = line_chart({s}, {.y_low = -3, .y_high = 9});
  CHECK(svg.size() < 60000);
  const Markup chart = drawing(svg);
  const auto lines = paths(chart);
  REQUIRE(lines.size() == 2);  // the gap is still there
  double lowest = INFINITY, highest = -INFINITY;
  for (const auto& [x, y] : lines[0]) lowest = std::min(lowest, y), highest = std::max(highest, y);
  CHECK(lowest == 0);
  CHECK(highest == plot(chart).number("height"));
  CHECK(lines[0].front().first == 0);
  CHECK(lines[1].back().first == doctest::Approx(plot(chart).number("width")));
}

TEST_CASE("line_chart: the legend names every series, in its colour, and wraps") {
  std::vector<Series> series;
  for (int i = 0; i < 150; ++i) series.push_back({concat("series number ", i), {1.0, 2.0 + i}});
  const Markup chart = drawing(line_chart(series));
  double lowest = 0;
  for (const Element& text : chart.all("text"))
    if (text.text.starts_with("series number")) {
      CHECK(text.number("x") + text_width(text.text, 13) <= chart.elements[0].number("width"));
      lowest = std::max(lowest, text.number("y"));
    }
  CHECK(lowest < plot(chart).number("y"));
  CHECK(plot(chart).number("height") > 100);  // however long the legend is
  for (int i = 0; i < 150; ++i) CHECK(chart.has_text(concat("series number ", i)));
  // Series 1 and 9 share a colour, and differ by their dashes.
  const auto drawn = chart.all("path");
  CHECK(drawn[1].attributes.at("stroke") == drawn[9].attributes.at("stroke"));
  CHECK(drawn[1].attributes.count("stroke-dasharray") == 0);
  CHECK(drawn[9].attributes.count("stroke-dasharray") == 1);
}

TEST_CASE("line_chart: text is escaped") {
  const std::string evil = "</svg><script>alert(\"1\") & '2'</script>\xFF";
  const std::string svg = line_chart({{evil, {1, 2}}}, {.title = evil, .x_label = evil, .y_label = evil, .width = 900});
  drawing(svg);
  CHECK(svg.find("<script") == std::string::npos);
}

TEST_CASE("line_chart: hostile numbers never leave the drawing") {
  const double special[] = {0,   -0.0,     1,         -1,   5e-324, 1e-300, -1e-300, 1e300, 1.7976931348623157e308, -1.7976931348623157e308,
                            NAN, INFINITY, -INFINITY, 1e15, 1e-5};
  for (int round = 0; round < 150; ++round) {
    std::vector<Series> series(static_cast<std::size_t>(testing::random().below(4)));
    for (Series& s : series) {
      const bool with_x = testing::random().below(2);
      for (index_t i = testing::random().below(8); i > 0; --i) {
        s.y.push_back(special[testing::random().below(15)]);
        if (with_x) s.x.push_back(special[testing::random().below(15)]);
      }
    }
    LineChartOptions options{.log_x = testing::random().below(2) == 1, .log_y = testing::random().below(2) == 1};
    if (testing::random().below(3) == 0) options.y_low = 0.5;
    if (testing::random().below(3) == 0) options.y_high = 3;
    INFO("SEGNET_TEST_SEED=", run_seed(), " round ", round);
    drawing(line_chart(series, options));
  }
  for (const double size : {0.0, 1.0, 30.0, 20000.0}) drawing(line_chart({{"a", {1, 2}}}, {.width = size, .height = size}));
}

TEST_CASE("line_chart: arguments that contradict each other") {
  CHECK_THROWS_WITH_AS((void)line_chart({{"loss", {1, 2}, {1, 2, 3}}}),
                       "segnet::line_chart: argument 'series': expected as many x as y in 'loss', got 3 x and 2 y", ValueError);
  CHECK_THROWS_AS((void)line_chart({}, {.y_low = 1, .y_high = 1}), ValueError);
  CHECK_THROWS_AS((void)line_chart({}, {.log_y = true, .y_low = 0}), ValueError);
  CHECK_THROWS_AS((void)line_chart({}, {.log_y = true, .y_high = -1}), ValueError);
}

TEST_CASE("bar_chart: lengths, numbers, absent classes, colours, the mark") {
  const Palette palette{{1, 2, 3}, {4, 5, 6}};
  const Markup chart = drawing(bar_chart({{"road", 0.5}, {"car <2>", 1}, {"fence", NAN}, {"sky", 2}, {"sea", -1}},
                                         {.title = "IoU", .palette = palette, .mark = 0.25, .mark_name = "mean"}));
  const auto bars = marked(chart);
  REQUIRE(bars.size() == 4);
  const double full = bars[1].number("width");
  CHECK(full > 100);
  CHECK(bars[0].number("width") == doctest::Approx(full / 2).epsilon(1e-4));
  CHECK(bars[2].number("width") == full);
  CHECK(bars[3].number("width") == 0);
  for (const char* text : {"50.0 %", "100.0 %", "absent", "200.0 %", "-100.0 %", "car &lt;2&gt;", "mean 25.0 %", "IoU"})
    CHECK(chart.has_text(text));
  std::size_t swatches = 0;
  for (const Element& rect : chart.all("rect")) {
    const auto fill = rect.attributes.find("fill");
    if (fill != rect.attributes.end() && (fill->second == "#010203" || fill->second == "#040506")) ++swatches;
  }
  CHECK(swatches == 2);
  bool found = false;
  for (const Element& line : chart.all("line")) {
    CHECK(line.number("x1") == doctest::Approx(bars[0].number("x") + full / 4).epsilon(1e-4));
    found = true;
  }
  CHECK(found);

  CHECK(drawing(bar_chart({{"a", 12.5}}, {.maximum = 50, .percent = false})).has_text("12.5"));
  CHECK(drawing(bar_chart({})).has_text("no data"));
  CHECK(drawing(bar_chart({{"a", INFINITY}, {"b", -INFINITY}}, {.mark = NAN})).has_text("∞ %"));
  drawing(bar_chart({{std::string(500, 'w'), 1e300}}, {.width = 100}));
  for (const double maximum : {0.0, -1.0, double(NAN), double(INFINITY)})
    CHECK_THROWS_AS((void)bar_chart({}, {.maximum = maximum}), ValueError);
}

TEST_CASE("matrix_chart: cells are shares of their row; rows without pixels are empty") {
  const Tensor<std::int64_t> counts({3, 3}, {90, 10, 0, 1, 999, 0, 0, 0, 0});
  const Markup chart = drawing(matrix_chart(counts, {"road", "a & b", "sky"}, {.title = "Confusion"}));
  const auto cells = marked(chart);
  REQUIRE(cells.size() == 4);  // zeros are left out
  CHECK(cells[0].number("fill-opacity") == doctest::Approx(std::sqrt(0.9)).epsilon(1e-3));
  CHECK(cells[1].number("fill-opacity") == doctest::Approx(std::sqrt(0.1)).epsilon(1e-3));
  CHECK(cells[0].attributes.at("fill") == cells[3].attributes.at("fill"));  // the diagonal
  CHECK(cells[0].attributes.at("fill") != cells[1].attributes.at("fill"));
  CHECK(cells[1].number("x") == cells[0].number("x") + cells[0].number("width"));
  CHECK(cells[1].number("y") == cells[0].number("y"));
  CHECK(cells[2].number("y") == cells[0].number("y") + cells[0].number("height"));
  for (const char* text : {"90", "10", "&lt;1", "100", "–", "a &amp; b", "target", "prediction", "Confusion"}) CHECK(chart.has_text(text));
  CHECK(chart.has_text("road → a &amp; b: 10.0 % (10)"));
  CHECK(chart.has_text("a &amp; b → road: 0.1 % (1)"));
}

TEST_CASE("matrix_chart: sizes from none to many classes, floating counts, errors") {
  CHECK(drawing(matrix_chart(Tensor<std::int64_t>(Shape{0, 0}))).has_text("no data"));
  const Markup one = drawing(matrix_chart(Tensor<double>({1, 1}, {0.25})));
  CHECK(one.has_text("100"));
  CHECK(one.has_text("0"));  // the class's name
  const Markup many = drawing(matrix_chart(ones<std::int32_t>({60, 60})));
  CHECK(marked(many).size() == 3600);
  for (const Element& text : many.all("text")) CHECK(text.text != "&lt;1");  // no numbers: cells are too small
  drawing(matrix_chart(Tensor<double>({2, 2}, {NAN, 1, INFINITY, 1})));
  drawing(matrix_chart(Tensor<double>({2, 2}, {-1, 2, 0, 0})));
  CHECK_THROWS_AS((void)matrix_chart(ones<float>({2, 3})), ShapeError);
  CHECK_THROWS_WITH_AS((void)matrix_chart(ones<float>({2, 2}), {"a"}), "segnet::matrix_chart: argument 'names': expected 2 names, got 1",
                       ValueError);
}

TEST_CASE("charts: the same data give the same bytes, and only the reader's colours for text") {
  const std::string a = line_chart({{"a", {1, 3, 2}}}), b = line_chart({{"a", {1, 3, 2}}});
  CHECK(a == b);
  CHECK(a.find("currentColor") != std::string::npos);
  CHECK(a.find("prefers-color-scheme:dark") != std::string::npos);
  for (const Element& text : parse_markup(a).all("text")) CHECK(text.attributes.count("fill") == 0);
}
