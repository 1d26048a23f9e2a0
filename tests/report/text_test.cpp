#include "segnet/report/text.hpp"

#include "report/markup.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;

TEST_CASE("escape: markup, control characters, bytes that are not UTF-8") {
  CHECK(escape("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  CHECK(escape("tab\tline\n") == "tab\tline\n");
  CHECK(escape("é 道路 🚗") == "é 道路 🚗");
  const std::string bad = "\xEF\xBF\xBD";  // U+FFFD
  CHECK(escape(std::string_view("\0\x01\x7F\r", 4)) == bad + bad + bad + bad);
  CHECK(escape("caf\xE9") == "caf" + bad);                     // Latin-1
  CHECK(escape("\xC0\xAF") == bad + bad);                      // overlong /
  CHECK(escape("\xE0\x80\xAF") == bad + bad + bad);            // overlong /
  CHECK(escape("\xED\xA0\x80") == bad + bad + bad);            // half of a surrogate pair
  CHECK(escape("\xF4\x90\x80\x80") == bad + bad + bad + bad);  // beyond U+10FFFF
  CHECK(escape("\xF0\x8F\xBF\xBF") == bad + bad + bad + bad);  // overlong
  CHECK(escape("\xEF\xBF\xBE") == bad);                        // no XML character
  CHECK(escape("\xE9\x81") == bad + bad);                      // cut short
  CHECK(escape("") == "");
}

TEST_CASE("escape: any bytes become text that may stand in markup") {
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (index_t i = testing::random().below(40); i > 0; --i) bytes += static_cast<char>(testing::random().below(256));
    INFO("SEGNET_TEST_SEED=", run_seed(), " round ", round);
    CHECK(parse_markup("<a b=\"" + escape(bytes) + "\">" + escape(bytes) + "</a>").error == "");
    CHECK(escape(escape(bytes)).find('<') == std::string::npos);
  }
}

TEST_CASE("numbers: decimals, significant digits, exponents, special values") {
  CHECK(fixed(0.71349, 3) == "0.713");
  CHECK(fixed(2, 0) == "2");
  CHECK(fixed(-0.0004, 2) == "0.00");
  CHECK(fixed(-0.006, 2) == "-0.01");
  CHECK(fixed(1e300, 0).size() == 301);
  CHECK(fixed(NAN, 1) == "–");
  CHECK(fixed(INFINITY, 1) == "∞");
  CHECK(fixed(-INFINITY, 1) == "-∞");
  CHECK(number(0.0125) == "0.0125");
  CHECK(number(31.4) == "31.4");
  CHECK(number(-0.0) == "0");
  CHECK(number(1e6) == "1e6");
  CHECK(number(2.5e-7) == "2.5e-7");
  CHECK(number(1e-300) == "1e-300");
  CHECK(number(1e100) == "1e100");
  CHECK(number(NAN) == "–");
  CHECK(number(2.0 / 3, 2) == "0.67");
  CHECK(scientific(1.5e-4, 3) == "1.5e-4");
  CHECK(scientific(2e15, 4) == "2e15");
  CHECK(scientific(-1e-10, 1) == "-1e-10");
  CHECK(scientific(123456, 3) == "1.23e5");
  CHECK(scientific(10, 1) == "1e1");
  CHECK(pixels(12.5) == "12.5");
  CHECK(pixels(100) == "100");
  CHECK(pixels(99.999) == "100");
  CHECK(pixels(-0.001) == "0");
}

TEST_CASE("text_width and shortened: by characters, not bytes, and never through the middle of one") {
  CHECK(text_width("abcd", 10) == doctest::Approx(24.8));
  CHECK(text_width("éééé", 10) == doctest::Approx(24.8));
  CHECK(text_width("道路", 10) == doctest::Approx(20));
  CHECK(shortened("sidewalk", 10, 100) == "sidewalk");
  CHECK(shortened("sidewalk", 10, 30) == "sid…");
  CHECK(shortened("道路標識", 10, 30) == "道路…");
  CHECK(shortened("sidewalk", 10, 0) == "…");
  CHECK(text_width(shortened("a very long name of a class", 12, 80), 12) <= 80);
}

TEST_CASE("base64: the vectors of RFC 4648, and bytes above 127") {
  const auto encoded = [](std::string_view text) { return base64(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()); };
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foob") == "Zm9vYg==");
  CHECK(encoded("fooba") == "Zm9vYmE=");
  CHECK(encoded("foobar") == "Zm9vYmFy");
  CHECK(encoded("\xFB\xEF\xFF") == "++//");
}
