// JSON (RFC 8259), read strictly: what the standard does not allow is an error that names the file and the byte.
//
// `JsonReader` hands out one value after the other and keeps nothing, for headers and large files; `Json` is a whole document.
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "segnet/core/config.hpp"
#include "segnet/core/error.hpp"

namespace segnet {

/// Appends `text` as a JSON string with its quotes. Bytes above 127 are taken as the UTF-8 they are.
inline void append_json_string(std::string& json, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  json += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (byte < 0x20) {
      json += "\\u00";
      json += hex[byte >> 4];
      json += hex[byte & 15];
    } else {
      json += c;
    }
  }
  json += '"';
}

namespace detail {
/// Bytes of the well-formed UTF-8 sequence that begins at text[i], 0 if there is none (RFC 3629: no overlong forms, no surrogates).
inline std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
  const auto follows = [&](std::size_t k, unsigned low = 0x80, unsigned high = 0xBF) { return byte(k) >= low && byte(k) <= high; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) return follows(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) && follows(2) ? 3 : 0;
  if (lead >= 0xF0 && lead <= 0xF4)
    return follows(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) && follows(2) && follows(3) ? 4 : 0;
  return 0;
}
inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}
inline void append_utf8(std::string& text, unsigned code) {
  const auto put = [&](unsigned byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  } else {
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  }
}
}  // namespace detail

/// Reads JSON text from front to back, value by value:
///
///     reader.object([&](const std::string& key) {
///       if (key == "shape") reader.array([&] { shape.push_back(reader.integer()); });
///       else reader.skip();                       // every callback takes exactly one value
///     });
///     reader.end();
///
/// @throws IoError(source, ...) at the first byte that is not as expected
class JsonReader {
 public:
  static constexpr int max_depth = 128;

  /// `text` and `source` (a path, for errors) must outlive the reader.
  JsonReader(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  /// The first character of the next value: one of `{ [ " t f n` or of a number; 0 at the end of the text.
  [[nodiscard]] char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  /// Calls member(key) before each value of an object; member reads the value.
  template <class F>
  void object(const F& member) {
    list('{', '}', "an object", [&] {
      const std::string key = string();
      expect(':', "':'");
      member(key);
    });
  }
  /// Calls element() before each value of an array; element reads the value.
  template <class F>
  void array(const F& element) {
    list('[', ']', "an array", element);
  }

  [[nodiscard]] std::string string() {
    if (peek() != '"') fail("a string");
    ++at_;
    std::string value;
    for (;;) {
      const std::size_t begin = at_;
      while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
      value.append(text_, begin, at_ - begin);
      if (at_ == text_.size()) fail("the end of a string");
      const char c = text_[at_];
      if (c == '"') break;
      if (c == '\\') escape(value);
      else if (static_cast<unsigned char>(c) < 0x20) fail("no control character in a string");
      else {
        const std::size_t length = detail::utf8_length(text_, at_);
        if (length == 0) fail("UTF-8");
        value.append(text_, at_, length);
        at_ += length;
      }
    }
    ++at_;
    return value;
  }

  /// A number, rounded to double.
  [[nodiscard]] double number() {
    const std::string_view token = number_token().text;
    double value = 0;
    if (std::from_chars(token.data(), token.data() + token.size(), value).ec != std::errc())
      fail_at(token, "a number in the range of double");
    return value;
  }
  /// A number written as an integer (no point, no exponent) that fits 64 bits.
  [[nodiscard]] index_t integer() {
    const auto [token, integral] = number_token();
    index_t value = 0;
    if (!integral || std::from_chars(token.data(), token.data() + token.size(), value).ec != std::errc())
      fail_at(token, "a 64-bit integer");
    return value;
  }
  /// Whether the next value is a number that `integer` can read.
  [[nodiscard]] bool is_integer() {
    const std::size_t begin = at_;
    const auto [token, integral] = number_token();
    at_ = begin;
    index_t value = 0;
    return integral && std::from_chars(token.data(), token.data() + token.size(), value).ec == std::errc();
  }
  [[nodiscard]] bool boolean() {
    if (peek() == 't') return literal("true"), true;
    literal("false");
    return false;
  }
  void null() { literal("null"); }

  /// Reads the next value, whatever it is, and forgets it.
  void skip() {
    switch (peek()) {
      case '{':
        object([&](const std::string&) { skip(); });
        break;
      case '[':
        array([&] { skip(); });
        break;
      case '"':
        (void)string();
        break;
      case 't':
      case 'f':
        (void)boolean();
        break;
      case 'n':
        null();
        break;
      default:
        (void)number_token();
    }
  }

  /// Checks that nothing but white space follows.
  void end() {
    if (peek() != '\0' || at_ != text_.size()) fail("the end of the text");
  }

  /// Throws: `expected` at the place where the reader is.
  [[noreturn]] void fail(std::string_view expected) const { throw IoError(source_, concat("JSON, byte ", at_, ": expected ", expected)); }

 private:
  struct Token {
    std::string_view text;
    bool integral;
  };

  static bool is_plain(char c) {
    return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x80;
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void expect(char c, std::string_view what) {
    if (peek() != c || at_ == text_.size()) fail(what);
    ++at_;
  }

  template <class F>
  void list(char open, char close, std::string_view what, const F& item) {
    expect(open, what);
    if (++depth_ > max_depth) fail(concat("at most ", max_depth, " nested values"));
    if (peek() == close) {
      ++at_;
    } else {
      for (;;) {
        item();
        const char c = peek();
        if (c != ',' && c != close) fail(concat("',' or '", close, "'"));
        ++at_;
        if (c == close) break;
      }
    }
    --depth_;
  }

  void literal(std::string_view word) {
    (void)peek();
    if (text_.substr(at_, word.size()) != word) fail(word == "false" ? "true or false" : word);
    at_ += word.size();
  }

  /// number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ ("e" / "E") [ "+" / "-" ] 1*digit ]
  Token number_token() {
    (void)peek();
    const std::size_t begin = at_;
    const auto here = [&] { return at_ < text_.size() ? text_[at_] : '\0'; };
    const auto digits = [&] {
      if (!is_digit(here())) fail(at_ == begin ? "a value" : "a digit");
      while (is_digit(here())) ++at_;
    };
    bool integral = true;
    if (here() == '-') ++at_;
    if (here() == '0') ++at_;
    else digits();
    if (here() == '.') ++at_, integral = false, digits();
    if (here() == 'e' || here() == 'E') {
      ++at_, integral = false;
      if (here() == '+' || here() == '-') ++at_;
      digits();
    }
    return {text_.substr(begin, at_ - begin), integral};
  }
  [[noreturn]] void fail_at(std::string_view token, std::string_view expected) {
    at_ -= token.size();
    fail(expected);
  }

  unsigned hex4() {
    unsigned value = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || end != digits.data() + 4) fail("four hexadecimal digits");
    at_ += 4;
    return value;
  }
  void escape(std::string& value) {
    static constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    ++at_;
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    if (c == 'u') {
      ++at_;
      unsigned code = hex4();
      if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {  // the first half of a surrogate pair
        at_ += 2;
        const unsigned low = hex4();
        if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      if (code >= 0xD800 && code < 0xE000) fail("a surrogate pair");
      detail::append_utf8(value, code);
      return;
    }
    const std::size_t which = c == '\0' ? std::string_view::npos : names.find(c);
    if (which == std::string_view::npos) fail("an escape: one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    value += meanings[which];
    ++at_;
  }

  std::string_view text_, source_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

/// A JSON document in memory. Members of an object keep their order; integers that fit 64 bits stay exact.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;  ///< null

  /// The document that `text` is. `source` names it in errors. @throws IoError, also for an object with the same key twice
  [[nodiscard]] static Json parse(std::string_view text, std::string_view source = "JSON text") {
    JsonReader reader(text, source);
    Json value = read(reader);
    reader.end();
    return value;
  }
  /// The next value of a reader.
  [[nodiscard]] static Json read(JsonReader& reader) {
    switch (reader.peek()) {
      case '{': {
        Object members;
        reader.object([&](const std::string& key) { members.emplace_back(key, read(reader)); });
        std::vector<std::string_view> keys;
        for (const auto& member : members) keys.push_back(member.first);
        std::sort(keys.begin(), keys.end());
        const auto twice = std::adjacent_find(keys.begin(), keys.end());
        if (twice != keys.end()) reader.fail(concat("each key once in the object that ends here, '", *twice, "' is there twice"));
        return Json(Value(std::move(members)));
      }
      case '[': {
        Array elements;
        reader.array([&] { elements.push_back(read(reader)); });
        return Json(Value(std::move(elements)));
      }
      case '"':
        return Json(Value(reader.string()));
      case 't':
      case 'f':
        return Json(Value(reader.boolean()));
      case 'n':
        reader.null();
        return {};
      default:
        return reader.is_integer() ? Json(Value(reader.integer())) : Json(Value(reader.number()));
    }
  }

  [[nodiscard]] bool is_null() const { return holds<std::nullptr_t>(); }
  [[nodiscard]] bool is_bool() const { return holds<bool>(); }
  [[nodiscard]] bool is_integer() const { return holds<index_t>(); }
  [[nodiscard]] bool is_number() const { return holds<index_t>() || holds<double>(); }
  [[nodiscard]] bool is_string() const { return holds<std::string>(); }
  [[nodiscard]] bool is_array() const { return holds<Array>(); }
  [[nodiscard]] bool is_object() const { return holds<Object>(); }

  // The value as what it is. @throws ValueError when it is something else
  [[nodiscard]] bool boolean() const { return get<bool>("true or false"); }
  [[nodiscard]] index_t integer() const { return get<index_t>("an integer"); }
  [[nodiscard]] double number() const { return is_integer() ? static_cast<double>(integer()) : get<double>("a number"); }
  [[nodiscard]] const std::string& string() const { return get<std::string>("a string"); }
  [[nodiscard]] const Array& array() const { return get<Array>("an array"); }
  [[nodiscard]] const Object& object() const { return get<Object>("an object"); }

  /// The member of that name, nullptr if this is an object without it. @throws ValueError if it is no object
  [[nodiscard]] const Json* find(std::string_view key) const {
    for (const auto& member : object())
      if (member.first == key) return &member.second;
    return nullptr;
  }
  /// The member of that name. @throws ValueError if there is none
  [[nodiscard]] const Json& operator[](std::string_view key) const {
    const Json* const member = find(key);
    if (!member) throw ValueError("Json", "key", concat("a member '", key, "'"), "an object without it");
    return *member;
  }
  /// Element i of an array. @throws ValueError if there is none
  [[nodiscard]] const Json& operator[](std::size_t i) const {
    if (i >= array().size()) throw ValueError("Json", "index", concat("below ", array().size()), concat(i));
    return array()[i];
  }

 private:
  using Value = std::variant<std::nullptr_t, bool, index_t, double, std::string, Array, Object>;
  explicit Json(Value value) : value_(std::move(value)) {}

  template <class V>
  [[nodiscard]] bool holds() const {
    return std::holds_alternative<V>(value_);
  }
  template <class V>
  [[nodiscard]] const V& get(std::string_view expected) const {
    static constexpr std::string_view kinds[] = {"null", "true or false", "an integer", "a number", "a string", "an array", "an object"};
    const V* const value = std::get_if<V>(&value_);
    if (!value) throw ValueError("Json", "value", expected, kinds[value_.index()]);
    return *value;
  }

  Value value_;
};

}  // namespace segnet
