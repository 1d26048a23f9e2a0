// Text for SVG and HTML: escaping, numbers that do not depend on the locale, estimated widths.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "segnet/core/config.hpp"

namespace segnet::report {

namespace detail {

/// Length in bytes of the well-formed UTF-8 character at the head of `text`, 0 if there is none (Unicode 15.0, table 3-7).
inline std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned a = byte(0), b = byte(1);
  if (text.empty()) return 0;
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return continues(1) ? 2 : 0;
  if (a >= 0xE0 && a <= 0xEF) {
    const bool in_range = continues(1) && (a != 0xE0 || b >= 0xA0) && (a != 0xED || b < 0xA0);  // no overlong forms, no surrogates
    return in_range && continues(2) ? 3 : 0;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    const bool in_range = continues(1) && (a != 0xF0 || b >= 0x90) && (a != 0xF4 || b < 0x90);
    return in_range && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

inline std::string without_padded_exponent(std::string text) {  // 1e+06 -> 1e6, 2e-05 -> 2e-5
  const std::size_t e = text.find('e');
  if (e == std::string::npos) return text;
  std::size_t digits = e + 2;
  while (digits + 1 < text.size() && text[digits] == '0') ++digits;
  return text.substr(0, e + 1) + (text[e + 1] == '-' ? "-" : "") + text.substr(digits);
}

}  // namespace detail

/// Text as it may stand between tags or in a quoted attribute, in HTML and XML alike: & < > " ' become entities; control characters
/// other than tab and newline, and bytes that are not UTF-8, become U+FFFD, because one of them makes a whole SVG unreadable.
[[nodiscard]] inline std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const std::string_view c = text.substr(0, length);
    const bool control = length == 1 && (c[0] == 0x7F || (static_cast<unsigned char>(c[0]) < 0x20 && c[0] != '\t' && c[0] != '\n'));
    if (c == "&") out += "&amp;";
    else if (c == "<") out += "&lt;";
    else if (c == ">") out += "&gt;";
    else if (c == "\"") out += "&quot;";
    else if (c == "'") out += "&#39;";
    else if (length == 0 || control || c == "\xEF\xBF\xBE" || c == "\xEF\xBF\xBF") out += "\xEF\xBF\xBD";
    else out += c;
    text.remove_prefix(length ? length : 1);
  }
  return out;
}

/// With that many decimals: fixed(0.71349, 3) is "0.713". Never "-0". NaN is an en dash, infinities are "∞" and "-∞".
[[nodiscard]] inline std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value < 0 ? "-∞" : "∞";
  char buffer[400];  // the largest double has 309 digits before its point
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, decimals).ptr;
  std::string text(buffer, end);
  if (text[0] == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

/// With at most that many significant digits, without trailing zeros, as an exponent where that is shorter to read: "0.0125",
/// "31.4", "1e6", "2.5e-7". NaN is an en dash.
[[nodiscard]] inline std::string number(double value, int digits = 4) {
  if (!std::isfinite(value)) return fixed(value, 0);
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value == 0 ? 0.0 : value, std::chars_format::general, digits).ptr;
  return detail::without_padded_exponent(std::string(buffer, end));
}

/// With an exponent and at most that many significant digits, without trailing zeros: "1.5e-4", "2e15".
[[nodiscard]] inline std::string scientific(double value, int digits) {
  if (!std::isfinite(value)) return fixed(value, 0);
  char buffer[64];
  const int decimals = digits < 1 ? 0 : digits > 17 ? 16 : digits - 1;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific, decimals).ptr;
  std::string text = detail::without_padded_exponent(std::string(buffer, end));
  const std::size_t e = text.find('e');
  std::size_t last = e;
  if (text.find('.') < e) {
    while (text[last - 1] == '0') --last;
    if (text[last - 1] == '.') --last;
  }
  return text.erase(last, e - last);
}

/// A length in pixels: two decimals at most, "12.5", "3".
[[nodiscard]] inline std::string pixels(double value) {
  std::string text = fixed(value, 2);
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

/// Estimated width of a line of sans-serif text, in pixels at that font size; rather too wide than too narrow.
[[nodiscard]] inline double text_width(std::string_view text, double font_size) {
  double ems = 0;
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    ems += length >= 3 ? 1.0 : 0.62;  // East Asian characters and symbols are about square
    text.remove_prefix(length ? length : 1);
  }
  return ems * font_size;
}

/// The text if it is at most that wide, else its beginning and "…".
[[nodiscard]] inline std::string shortened(std::string_view text, double font_size, double width) {
  if (text_width(text, font_size) <= width) return std::string(text);
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t length = detail::utf8_length(text.substr(end)), next = end + (length ? length : 1);
    if (text_width(text.substr(0, next), font_size) + font_size > width) break;
    end = next;
  }
  return std::string(text.substr(0, end)) + "…";
}

/// Bytes as text, RFC 4648 section 4.
[[nodiscard]] inline std::string base64(const std::uint8_t* data, std::size_t size) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((size + 2) / 3 * 4);
  for (std::size_t i = 0; i < size; i += 3) {
    const std::size_t have = size - i < 3 ? size - i : 3;
    unsigned bits = 0;
    for (std::size_t j = 0; j < 3; ++j) bits = bits << 8 | (j < have ? data[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) text += j <= have ? alphabet[bits >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

}  // namespace segnet::report
