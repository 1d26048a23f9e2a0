// JSON: what the standard allows is read, what it does not allow is an error, and no text whatever does harm.
#include "segnet/io/json.hpp"

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

bool accepted(std::string_view text) {
  try {
    (void)Json::parse(text);
    return true;
  } catch (const IoError&) {
    return false;
  }
}

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

}  // namespace

TEST_CASE("Json: values keep their kind, their order and every bit") {
  const Json json = Json::parse(R"( {"a": [1, -2.5, 1e3, true, false, null, "x"], "z": {}, "b": [], "n": 9007199254740993} )");
  CHECK(json["a"][0].integer() == 1);
  CHECK(json["a"][0].number() == 1.0);
  CHECK(json["a"][1].number() == -2.5);
  CHECK(!json["a"][1].is_integer());
  CHECK(json["a"][2].number() == 1000);
  CHECK(!json["a"][2].is_integer());
  CHECK(json["a"][3].boolean());
  CHECK(!json["a"][4].boolean());
  CHECK(json["a"][5].is_null());
  CHECK(json["a"][6].string() == "x");
  CHECK(json["a"].array().size() == 7);
  CHECK(json["z"].object().empty());
  CHECK(json["b"].array().empty());
  CHECK(json["n"].integer() == 9007199254740993);  // 2^53 + 1, no double
  CHECK(json.find("missing") == nullptr);
  const char* order[] = {"a", "z", "b", "n"};
  for (std::size_t i = 0; i < 4; ++i) CHECK(json.object()[i].first == order[i]);
}

TEST_CASE("Json: numbers") {
  const struct {
    const char* text;
    double value;
  } numbers[] = {{"0", 0},
                 {"-0", -0.0},
                 {"0.1", 0.1},
                 {"1E+2", 100},
                 {"-1.5e-3", -0.0015},
                 {"1e308", 1e308},
                 {"2.2250738585072014e-308", 0x1p-1022},
                 {"123456789012345678901234567890", 123456789012345678901234567890.0}};
  for (const auto& [text, value] : numbers) {
    INFO(text);
    CHECK(Json::parse(text).number() == value);
  }
  CHECK(Json::parse("9223372036854775807").integer() == INT64_MAX);
  CHECK(Json::parse("-9223372036854775808").integer() == INT64_MIN);
  CHECK(!Json::parse("9223372036854775808").is_integer());
}

TEST_CASE("Json: strings, escapes, UTF-8") {
  CHECK(Json::parse(R"("\"\\\/\b\f\n\r\t")").string() == "\"\\/\b\f\n\r\t");
  CHECK(Json::parse(R"("\u0041\u00e4\u20AC\ud83d\ude00")").string() == "A\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  CHECK(Json::parse("\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"").string() == "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F");
  CHECK(Json::parse(R"("\u0000x")").string() == std::string("\0x", 2));
}

TEST_CASE("Json: what append_json_string writes is read back") {
  std::string all;
  for (char c = 1; c > 0 && c < 127; ++c) all += c;
  for (const std::string& text : {std::string(), all, std::string("\0", 1), std::string("gr\xC3\xBC\xC3\x9F")}) {
    std::string json;
    append_json_string(json, text);
    CHECK(Json::parse(json).string() == text);
  }
}

TEST_CASE("Json: what the standard does not allow is refused") {
  const std::vector<std::string> wrong = {
      "", " ", "nul", "nulll", "True", "tru", "01", "-", "+1", "1.", ".5", "1e", "1e+", "--1", "0x10", "NaN", "Infinity", "-Infinity",
      "1e400", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}",
      "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":2}", "{1:2}", "\"", "\"abc", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
      "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\t\"", "\"\n\"", "1 1", "[] []", "// x\n1", "[1]x", std::string("1\0", 2),
      std::string("\0", 1),
      // UTF-8: stray, truncated, overlong, surrogate, beyond U+10FFFF
      "\"\x80\"", "\"\xC3\"", "\"\xC0\xAF\"", "\"\xE0\x80\xAF\"", "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"", "\"\xF8\x88\x80\x80\x80\"",
      "\xEF\xBB\xBF"
      "1"};
  for (const std::string& text : wrong) {
    INFO(text);
    CHECK(!accepted(text));
  }
}

TEST_CASE("Json: nesting ends before the stack does") {
  CHECK(accepted(nested(JsonReader::max_depth)));
  CHECK(!accepted(nested(JsonReader::max_depth + 1)));
  CHECK(!accepted(std::string(10'000'000, '[')));
  const std::string deep = nested(10'000'000);
  JsonReader reader(deep, "deep");
  CHECK(contains(error_text<IoError>([&] { reader.skip(); }), "at most 128 nested values"));
}

TEST_CASE("Json: errors name the source, the byte and what was expected") {
  CHECK(error_text<IoError>([] { (void)Json::parse("{\"a\": 1,, }", "notes.json"); }) == "notes.json: JSON, byte 8: expected a string");
  CHECK(error_text<IoError>([] { (void)Json::parse("[1e999]", "notes.json"); }) ==
        "notes.json: JSON, byte 1: expected a number in the range of double");
  CHECK(contains(error_text<IoError>([] { (void)Json::parse("{\"k\":1,\"k\":1}"); }), "'k' is there twice"));
  CHECK(contains(error_text<ValueError>([] { (void)Json::parse("[]").string(); }), "expected a string, got an array"));
  CHECK(contains(error_text<ValueError>([] { (void)Json::parse("{}")["x"]; }), "a member 'x'"));
  CHECK(contains(error_text<ValueError>([] { (void)Json::parse("[1]")[1]; }), "below 1"));
}

TEST_CASE("JsonReader: reads what it is asked for and skips the rest") {
  const std::string text = R"({"skip": {"a": [1, {"b": "c"}, null, true]}, "sizes": [3, 4], "name": "x"})";
  JsonReader reader(text, "text");
  std::vector<index_t> sizes;
  std::string name;
  reader.object([&](const std::string& key) {
    if (key == "sizes") reader.array([&] { sizes.push_back(reader.integer()); });
    else if (key == "name") name = reader.string();
    else reader.skip();
  });
  reader.end();
  CHECK(sizes == std::vector<index_t>{3, 4});
  CHECK(name == "x");
  JsonReader wrong("3.5", "text");
  CHECK(contains(error_text<IoError>([&] { (void)wrong.integer(); }), "byte 0: expected a 64-bit integer"));
}

// A document after 1 to 4 random edits is read or refused with an IoError: nothing else happens. Address sanitizer sees the rest.
TEST_CASE("Json: damaged documents") {
  const std::string good = R"({"a\u00e4": [1, -2.5e3, true, {"b": null, "c": "\ud83d\ude00 text"}], "d": [[], {}, ""]})";
  CHECK(accepted(good));
  for (std::size_t length = 0; length < good.size(); ++length) CHECK(!accepted(good.substr(0, length)));
  int survivors = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = good;
    for (index_t edits = 1 + testing::random().below(4); edits > 0 && !text.empty(); --edits) {
      const auto at = static_cast<std::size_t>(testing::random().below(static_cast<index_t>(text.size())));
      switch (testing::random().below(3)) {
        case 0:
          text[at] = static_cast<char>(testing::random().below(256));
          break;
        case 1:
          text.erase(at, static_cast<std::size_t>(1 + testing::random().below(8)));
          break;
        default:
          text.insert(at, good.substr(static_cast<std::size_t>(testing::random().below(static_cast<index_t>(good.size()))), 5));
      }
    }
    survivors += accepted(text);
  }
  CHECK(survivors > 100);  // the edits are mild enough to reach beyond the first byte
  CHECK(survivors < 19900);
}
