// For tests of reports: whether SVG and HTML text is well-formed, and what its elements say.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace segnet::testing {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  ///< directly inside it, entities as written

  double number(const std::string& attribute) const {
    const auto found = attributes.find(attribute);
    return found == attributes.end() ? -1e9 : std::strtod(found->second.c_str(), nullptr);
  }
};

struct Markup {
  std::string error;  ///< empty: well-formed
  std::vector<Element> elements;

  std::vector<Element> all(std::string_view name) const {
    std::vector<Element> found;
    for (const Element& e : elements)
      if (e.name == name) found.push_back(e);
    return found;
  }
  bool has_text(std::string_view text) const {
    return std::any_of(elements.begin(), elements.end(), [&](const Element& e) { return e.text == text; });
  }
};

/// Reads markup as strictly as XML: balanced tags, quoted attributes that occur once, & only as an entity, no stray < or >, one
/// root. HTML may open with a doctype and has its void elements.
inline Markup parse_markup(std::string_view text, bool html = false) {
  Markup markup;
  std::vector<std::size_t> open;  // indices of elements
  std::size_t i = 0, roots = 0;
  const auto fail = [&](const std::string& what) {
    markup.error = what + " at: " + std::string(text.substr(i, 60));
    return markup;
  };
  const auto name_length = [&](std::size_t at) {
    std::size_t n = 0;
    while (at + n < text.size() && (std::isalnum(static_cast<unsigned char>(text[at + n])) || text[at + n] == '-')) ++n;
    return n;
  };
  const auto plain = [](std::string_view part) {  // no bare &
    for (std::size_t at = part.find('&'); at != std::string_view::npos; at = part.find('&', at + 1)) {
      const std::string_view entity = part.substr(at, part.find(';', at) - at + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;" && entity != "&#39;") return false;
    }
    return part.find_first_of("<>") == std::string_view::npos;
  };
  if (html) {
    if (!text.starts_with("<!DOCTYPE html>\n")) return fail("no doctype");
    i = 16;
  }
  while (i < text.size()) {
    const std::size_t tag = std::min(text.find('<', i), text.size());
    const std::string_view content = text.substr(i, tag - i);
    if (!plain(content)) return fail("stray & or >");
    if (open.empty() && content.find_first_not_of(" \n") != std::string_view::npos) return fail("text outside the root");
    if (!open.empty()) markup.elements[open.back()].text += content;
    i = tag;
    if (i == text.size()) break;
    if (text.substr(i, 2) == "</") {
      const std::size_t n = name_length(i + 2);
      if (open.empty() || markup.elements[open.back()].name != text.substr(i + 2, n)) return fail("unbalanced end tag");
      if (text.substr(i + 2 + n, 1) != ">") return fail("bad end tag");
      open.pop_back();
      i += n + 3;
      continue;
    }
    const std::size_t n = name_length(i + 1);
    if (n == 0) return fail("stray <");
    Element element{std::string(text.substr(i + 1, n)), {}, {}};
    std::size_t at = i + 1 + n;
    while (at < text.size() && text[at] == ' ') {
      ++at;
      const std::size_t m = name_length(at);
      if (m == 0 || text.substr(at + m, 2) != "=\"") return fail("bad attribute");
      const std::size_t end = text.find('"', at + m + 2);
      if (end == std::string_view::npos) return fail("open quote");
      const std::string_view value = text.substr(at + m + 2, end - at - m - 2);
      if (!plain(value)) return fail("bad attribute value");
      if (!element.attributes.emplace(text.substr(at, m), value).second) return fail("attribute given twice");
      at = end + 1;
    }
    const bool closed = text.substr(at, 2) == "/>";
    if (!closed && text.substr(at, 1) != ">") return fail("bad tag");
    const bool is_void = html && (element.name == "meta" || element.name == "img");
    const bool style = element.name == "style";
    if (open.empty() && ++roots > 1) return fail("a second root");
    markup.elements.push_back(element);
    if (!closed && !is_void) open.push_back(markup.elements.size() - 1);
    i = at + (closed ? 2 : 1);
    if (style) {
      const std::size_t end = std::min(text.find("</", i), text.size());
      markup.elements.back().text = text.substr(i, end - i);
      i = end;
    }
  }
  if (!open.empty()) markup.error = "not closed: " + markup.elements[open.back()].name;
  if (roots == 0) markup.error = "no root";
  return markup;
}

/// The points of all paths of a drawing that has a single line chart, in order; a gap starts a new one.
inline std::vector<std::vector<std::pair<double, double>>> paths(const Markup& markup) {
  std::vector<std::vector<std::pair<double, double>>> out;
  for (const Element& path : markup.all("path")) {
    const char* at = path.attributes.at("d").c_str();
    while (*at == 'M' || *at == 'L') {
      if (*at == 'M') out.emplace_back();
      char* end = nullptr;
      const double x = std::strtod(at + 1, &end), y = std::strtod(end, &end);
      out.back().emplace_back(x, y);
      at = end;
    }
  }
  return out;
}

}  // namespace segnet::testing
