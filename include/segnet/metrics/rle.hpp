// Run-length encoded masks, in COCO's format (cocodataset/cocoapi, common/maskApi.c).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "segnet/core/tensor.hpp"

namespace segnet {

/// Lengths of runs of zeros and ones in turn, down the columns, zeros first (the first count may be 0).
struct Rle {
  index_t h = 0, w = 0;
  std::vector<std::int64_t> counts;
  friend bool operator==(const Rle&, const Rle&) = default;
};

/// @param mask [H, W], not 0 where the object is   @throws ShapeError
[[nodiscard]] inline Rle rle_encode(const Tensor<std::uint8_t>& mask) {
  if (mask.rank() != 2) throw ShapeError("rle_encode", "mask", "[H, W]", mask.shape());
  Rle r{mask.dim(0), mask.dim(1), {0}};
  bool one = false;
  for (index_t x = 0; x < r.w; ++x)
    for (index_t y = 0; y < r.h; ++y) {
      if ((mask.data()[y * r.w + x] != 0) != one) {
        one = !one;
        r.counts.push_back(0);
      }
      ++r.counts.back();
    }
  return r;
}

namespace detail {
inline void check_rle(const char* op, const Rle& r) {
  std::int64_t sum = 0;
  for (const std::int64_t c : r.counts) {
    if (c < 0 || c > r.h * r.w - sum) throw ValueError(op, "rle", concat("counts that add up to ", r.h, "x", r.w), "others");
    sum += c;
  }
  if (sum != r.h * r.w) throw ValueError(op, "rle", concat("counts that add up to ", r.h, "x", r.w), concat(sum));
}

/// f(value in a, value in b, length) for the stretches on which neither changes.
template <class F>
void for_each_stretch(const Rle& a, const Rle& b, const F& f) {
  std::size_t i = 0, j = 0;
  std::int64_t left_a = a.counts.empty() ? 0 : a.counts[0], left_b = b.counts.empty() ? 0 : b.counts[0];
  while (i < a.counts.size() && j < b.counts.size()) {
    const std::int64_t n = std::min(left_a, left_b);
    if (n > 0) f(i % 2 == 1, j % 2 == 1, n);
    left_a -= n;
    left_b -= n;
    if (left_a == 0 && ++i < a.counts.size()) left_a = a.counts[i];
    if (left_b == 0 && ++j < b.counts.size()) left_b = b.counts[j];
  }
}
}  // namespace detail

/// [H, W] of 0 and 1. @throws ValueError: counts that do not add up to h * w
[[nodiscard]] inline Tensor<std::uint8_t> rle_decode(const Rle& r) {
  detail::check_rle("rle_decode", r);
  const Tensor<std::uint8_t> mask({r.h, r.w});
  std::int64_t p = 0;
  for (std::size_t i = 0; i < r.counts.size(); ++i)
    for (const std::int64_t end = p + r.counts[i]; p < end; ++p) mask.data()[p % r.h * r.w + p / r.h] = i % 2;
  return mask;
}

/// Pixels of the object.
[[nodiscard]] inline std::int64_t rle_area(const Rle& r) {
  std::int64_t area = 0;
  for (std::size_t i = 1; i < r.counts.size(); i += 2) area += r.counts[i];
  return area;
}

/// The box around the object: x, y, width, height, all 0 for an empty mask. A run that goes on in the next column counts as all of the
/// height, as in cocoapi.
[[nodiscard]] inline std::array<double, 4> rle_box(const Rle& r) {
  std::int64_t x1 = r.w, y1 = r.h, x2 = -1, y2 = -1, p = 0;
  for (std::size_t i = 0; i < r.counts.size(); p += r.counts[i++]) {
    if (i % 2 == 0 || r.counts[i] == 0) continue;
    const std::int64_t last = p + r.counts[i] - 1;
    const bool whole = p / r.h != last / r.h;
    x1 = std::min(x1, p / r.h), x2 = std::max(x2, last / r.h);
    y1 = whole ? 0 : std::min(y1, p % r.h), y2 = whole ? r.h - 1 : std::max(y2, last % r.h);
  }
  if (x2 < 0) return {0, 0, 0, 0};
  return {static_cast<double>(x1), static_cast<double>(y1), static_cast<double>(x2 - x1 + 1), static_cast<double>(y2 - y1 + 1)};
}

/// Pixels of either mask, or of both if `intersect`. @throws ValueError: masks of different sizes
[[nodiscard]] inline Rle rle_merge(const Rle& a, const Rle& b, bool intersect = false) {
  if (a.h != b.h || a.w != b.w) throw ValueError("rle_merge", "b", concat("a mask of ", a.h, "x", a.w), concat(b.h, "x", b.w));
  Rle r{a.h, a.w, {0}};
  detail::for_each_stretch(a, b, [&](bool in_a, bool in_b, std::int64_t n) {
    const bool one = intersect ? in_a && in_b : in_a || in_b;
    if (one != (r.counts.size() % 2 == 0)) r.counts.push_back(0);
    r.counts.back() += n;
  });
  return r;
}

/// Common pixels over those of either; over those of `a` alone if b is a crowd, of which an object may be a part.
[[nodiscard]] inline double rle_iou(const Rle& a, const Rle& b, bool crowd = false) {
  std::int64_t both = 0;
  detail::for_each_stretch(a, b, [&](bool in_a, bool in_b, std::int64_t n) { both += in_a && in_b ? n : 0; });
  const std::int64_t area = rle_area(a), all = crowd ? area : area + rle_area(b) - both;
  return both == 0 ? 0 : static_cast<double>(both) / static_cast<double>(all);
}

/// The compressed text: from the third count on the difference to the count before the last, 5 bits at a time, low ones first, each
/// as the character 48 + bits, plus 32 where more follow.
[[nodiscard]] inline std::string rle_to_text(const Rle& r) {
  std::string text;
  for (std::size_t i = 0; i < r.counts.size(); ++i) {
    std::int64_t x = r.counts[i] - (i > 2 ? r.counts[i - 2] : 0);
    for (bool more = true; more;) {
      const int bits = static_cast<int>(x & 31);
      x >>= 5;
      more = (bits & 16) ? x != -1 : x != 0;
      text.push_back(static_cast<char>(48 + bits + (more ? 32 : 0)));
    }
  }
  return text;
}

/// The mask of such a text. @throws ValueError: other characters, a cut text, counts that do not add up to h * w
[[nodiscard]] inline Rle rle_from_text(std::string_view text, index_t h, index_t w) {
  Rle r{h, w, {}};
  for (std::size_t p = 0; p < text.size();) {
    std::int64_t x = 0;
    for (int shift = 0;; shift += 5, ++p) {
      const int c = p < text.size() ? static_cast<int>(text[p]) - 48 : -1;
      if (c < 0 || c > 63 || shift > 50) throw ValueError("rle_from_text", "text", "characters of counts", concat("none at ", p));
      x |= static_cast<std::int64_t>(c & 31) << shift;
      if (c & 32) continue;
      if (c & 16) x -= std::int64_t{32} << shift;  // the sign
      break;
    }
    ++p;
    const std::size_t i = r.counts.size();
    if (i > 2) x += r.counts[i - 2];
    if (x < 0 || x > h * w) throw ValueError("rle_from_text", "text", concat("counts of at most ", h, "x", w), concat(x));
    r.counts.push_back(x);
  }
  detail::check_rle("rle_from_text", r);
  return r;
}

/// The pixels of a polygon x0, y0, x1, y1, ...: its border is walked in fifths of pixels, and crossed by the middles of columns.
/// @throws ValueError: fewer than three corners, an odd number of coordinates, one that is no number of at most 1e6
[[nodiscard]] inline Rle rle_of_polygon(const std::vector<double>& xy, index_t h, index_t w) {
  constexpr double scale = 5;
  if (xy.size() < 6 || xy.size() % 2 != 0) throw ValueError("rle_of_polygon", "xy", "pairs, at least three", concat(xy.size(), " numbers"));
  const std::size_t corners = xy.size() / 2;
  std::vector<int> x, y, u, v;
  for (std::size_t j = 0; j <= corners; ++j)
    for (int k = 0; k < 2; ++k) {
      const double at = xy[j % corners * 2 + static_cast<std::size_t>(k)];
      if (!(std::abs(at) <= 1e6)) throw ValueError("rle_of_polygon", "xy", "numbers of at most 1e6", concat(at));
      (k == 0 ? x : y).push_back(static_cast<int>(scale * at + .5));
    }
  for (std::size_t j = 0; j < corners; ++j) {
    int x1 = x[j], x2 = x[j + 1], y1 = y[j], y2 = y[j + 1];
    const int dx = std::abs(x2 - x1), dy = std::abs(y2 - y1);
    const bool turned = (dx >= dy && x1 > x2) || (dx < dy && y1 > y2);
    if (turned) {
      std::swap(x1, x2);
      std::swap(y1, y2);
    }
    const int longer = std::max(dx, dy);
    const double slope = longer == 0 ? 0 : dx >= dy ? static_cast<double>(y2 - y1) / dx : static_cast<double>(x2 - x1) / dy;
    for (int d = 0; d <= longer; ++d) {
      const int t = turned ? longer - d : d;
      u.push_back(dx >= dy ? t + x1 : static_cast<int>(x1 + slope * t + .5));
      v.push_back(dx >= dy ? static_cast<int>(y1 + slope * t + .5) : t + y1);
    }
  }
  // Where the border passes the middle of a column: there the mask changes, from that row on, down to the next such place.
  std::vector<std::int64_t> changes;
  for (std::size_t j = 1; j < u.size(); ++j) {
    if (u[j] == u[j - 1]) continue;
    const double column = ((u[j] < u[j - 1] ? u[j] : u[j] - 1) + .5) / scale - .5;
    if (std::floor(column) != column || column < 0 || column > static_cast<double>(w - 1)) continue;
    const double row = std::clamp((std::min(v[j], v[j - 1]) + .5) / scale - .5, 0., static_cast<double>(h));
    changes.push_back(static_cast<std::int64_t>(column) * h + static_cast<std::int64_t>(std::ceil(row)));
  }
  changes.push_back(h * w);
  std::sort(changes.begin(), changes.end());
  Rle r{h, w, {}};
  std::int64_t before = 0;
  bool joined = false;  // two changes at one place are none
  for (const std::int64_t at : changes) {
    if (joined) {
      r.counts.back() += at - before;
      joined = false;
    } else if (at > before || r.counts.empty()) r.counts.push_back(at - before);
    else joined = true;
    before = at;
  }
  return r;
}

}  // namespace segnet
