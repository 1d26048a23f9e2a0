// Scenes: pictures composed on the fly out of Fashion-MNIST garments over textured ground, with exact labels.
//
// A data set for learning and testing that needs no download: semantic classes (10 garments and 6 textures), instances that cover
// one another, hence panoptic labels. Scene i of a seed is a pure function of (seed, split, i, options).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "segnet/core/random.hpp"
#include "segnet/data/fashion_mnist.hpp"
#include "segnet/data/sample.hpp"

namespace segnet::data {

/// What scenes look like, and so how hard they are. Lengths are in parts of `size`.
struct ScenesOptions {
  index_t size = 128;                       ///< pixels, height and width
  index_t count = 0;                        ///< scenes in the data set; 0: 20,000 for training, 500 to validate, 1,000 to test
  std::uint64_t seed = 0;                   ///< other seeds, other scenes
  int min_objects = 2, max_objects = 6;     ///< garments; fewer where no free place is found
  double min_side = 0.36, max_side = 0.56;  ///< side of a garment's 28 x 28 picture
  double spacing = 0.8;                     ///< least distance of two garments' centres, in their mean side: less hides more
  double rotation = 10;                     ///< degrees, at most, either way
  double hue_spread = 0.05;                 ///< standard deviation of a garment's hue around its class's usual one, in turns; 1: any hue
  int min_regions = 2, max_regions = 4;     ///< textures of the ground
  double noise = 4;                         ///< standard deviation of the noise at most, in levels of 255
  double blur = 0.15;                       ///< share of each neighbour in a 3-tap blur, at most
  double lighting = 0.3;                    ///< how much the light may change from edge to edge

  /// Smaller garments, more of them, closer, turned further, of any colour, in more noise.
  [[nodiscard]] static ScenesOptions hard() {
    ScenesOptions options;
    options.min_objects = 4;
    options.max_objects = 12;
    options.min_side = 0.22;
    options.max_side = 0.5;
    options.spacing = 0.6;
    options.rotation = 30;
    options.hue_spread = 1;
    options.noise = 8;
    return options;
  }
};

[[nodiscard]] inline DatasetInfo scenes_info() {
  DatasetInfo info{{FashionMnist::classes, FashionMnist::classes + 10},
                   {{230, 25, 75},
                    {0, 130, 200},
                    {245, 130, 48},
                    {240, 50, 230},
                    {145, 30, 180},
                    {255, 225, 25},
                    {250, 160, 170},
                    {60, 180, 75},
                    {70, 240, 240},
                    {154, 99, 36},
                    {96, 110, 128},
                    {150, 140, 120},
                    {116, 140, 116},
                    {140, 112, 112},
                    {170, 170, 180},
                    {84, 84, 96}},
                   255,
                   std::vector<bool>(16, false)};
  for (const char* texture : {"stripes", "checks", "dots", "bricks", "zigzag", "clouds"}) info.classes.push_back(texture);
  std::fill_n(info.is_thing.begin(), 10, true);
  return info;
}

namespace detail {

struct Colour {
  float r, g, b;
};
inline Colour mix(const Colour& a, const Colour& b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}
/// hue in turns, saturation and value in [0, 1] -> [0, 255]
inline Colour from_hsv(double hue, double saturation, double value) {
  const auto channel = [&](double shift) {
    const double k = std::fmod(shift + 6 * (hue - std::floor(hue)), 6.0);
    return static_cast<float>(255 * value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0)));
  };
  return {channel(5), channel(3), channel(1)};
}

/// The ground's textures: how much of the second colour is at a point, in [0, 1].
struct Texture {
  int kind;                // 0 to 5, the order of `scenes_info`
  float cosine, sine;      // of its direction
  float frequency;         // 1 / period in pixels
  float phase_u, phase_v;  // in periods
  Colour first, second;
  std::uint32_t seed;  // of the clouds

  static float fraction(float t) { return t - std::floor(t); }
  static float edge(float distance) { return std::clamp(0.5f + distance, 0.0f, 1.0f); }  // pixels inside -> coverage
  static float triangle(float t) { return std::abs(2 * fraction(t) - 1); }               // 1 at whole numbers, 0 between

  /// Random numbers in [0, 1) on the whole numbers, blended smoothly between.
  float lattice(float x, float y, std::uint32_t octave) const {
    const float fx = std::floor(x), fy = std::floor(y);
    const auto corner = [&](int dx, int dy) {
      std::uint32_t h = seed + octave * 0x9E3779B9u;
      h = (h ^ static_cast<std::uint32_t>(static_cast<int>(fx) + dx)) * 0x85EBCA6Bu;
      h = (h ^ h >> 15 ^ static_cast<std::uint32_t>(static_cast<int>(fy) + dy)) * 0xC2B2AE35u;
      return static_cast<float>((h ^ h >> 14) >> 8) * 0x1p-24f;
    };
    const float tx = x - fx, ty = y - fy, sx = tx * tx * (3 - 2 * tx), sy = ty * ty * (3 - 2 * ty);
    const float top = corner(0, 0) + sx * (corner(1, 0) - corner(0, 0)), bottom = corner(0, 1) + sx * (corner(1, 1) - corner(0, 1));
    return top + sy * (bottom - top);
  }

  Colour at(float x, float y) const {
    const float period = 1 / frequency;
    const float u = (cosine * x + sine * y) * frequency + phase_u, v = (cosine * y - sine * x) * frequency + phase_v;
    const auto bands = [&](float t) { return edge((triangle(t) - 0.5f) * 0.5f * period); };
    float t = 0;
    switch (kind) {
      case 0:
        t = bands(u);
        break;
      case 1: {
        const float a = bands(u), b = bands(v);
        t = a + b - 2 * a * b;
        break;
      }
      case 2: {
        const float du = fraction(u) - 0.5f, dv = fraction(v) - 0.5f;
        t = edge((0.3f - std::sqrt(du * du + dv * dv)) * period);
        break;
      }
      case 3: {
        const float row = v * 1.6f, along = u * 0.8f + 0.5f * (std::floor(row) - 2 * std::floor(row / 2));
        const float to_joint = std::min((1 - triangle(row)) / 1.6f, (1 - triangle(along)) / 0.8f) * 0.5f * period;
        t = edge(to_joint - 1.2f);
        break;
      }
      case 4:
        t = bands(u + 0.8f * triangle(v * 0.7f));
        break;
      default:
        t = 0.62f * lattice(u, v, 0) + 0.38f * lattice(2.1f * u, 2.1f * v, 1);
        t = std::clamp(1.6f * t - 0.3f, 0.0f, 1.0f);
    }
    return mix(first, second, t);
  }
};

/// A garment's picture ready for sampling: 28 x 28 with a transparent border of 2 all around.
struct Garment {
  static constexpr int side = 32;
  float alpha[side * side] = {}, tone[side * side] = {};  // tone is multiplied by alpha

  /// Opaque is what is not background; background is what is dark and reaches the border of the picture. The gaps within sandals
  /// and under the handles of bags stay open, dark prints on other garments do not. The outline is as opaque as it is bright.
  Garment(const std::uint8_t* picture, int label) {
    constexpr int dark = 6;
    const auto value = [&](int i) {
      const int x = i % side - 2, y = i / side - 2;
      return x < 0 || y < 0 || x > 27 || y > 27 ? 0 : picture[y * 28 + x];
    };
    bool outside[side * side] = {};
    int stack[side * side], depth = 0;
    stack[depth++] = 0;
    outside[0] = true;
    while (depth) {
      const int i = stack[--depth], x = i % side, y = i / side;
      const int neighbours[4] = {x ? i - 1 : i, x + 1 < side ? i + 1 : i, y ? i - side : i, y + 1 < side ? i + side : i};
      for (const int k : neighbours)
        if (!outside[k] && value(k) <= dark) outside[k] = true, stack[depth++] = k;
    }
    const bool open = label == 5 || label == 8;  // sandals, bags
    for (int i = 0; i < side * side; ++i) {
      if (outside[i] || (open && value(i) <= dark)) continue;
      const bool outline = outside[i - 1] || outside[i + 1] || outside[i - side] || outside[i + side];
      alpha[i] = outline ? std::min(1.0f, static_cast<float>(value(i) + 20) / 80) : 1.0f;
      tone[i] = alpha[i] * static_cast<float>(value(i)) / 255;
    }
  }

  /// Bilinear samples of `map` at (x, y), 0 outside.
  static float sample(const float* map, float x, float y) {
    if (!(x >= 0 && y >= 0 && x < side - 1 && y < side - 1)) return 0;
    const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
    const float tx = x - static_cast<float>(x0), ty = y - static_cast<float>(y0);
    const float* p = map + y0 * side + x0;
    const float top = p[0] + tx * (p[1] - p[0]), bottom = p[side] + tx * (p[side + 1] - p[side]);
    return top + ty * (bottom - top);
  }
};

/// One scene while it is painted.
class ScenePainter {
 public:
  ScenePainter(const ScenesOptions& options, const FashionMnist& data, index_t first_picture, index_t pictures, Generator generator)
      : options_(options),
        data_(data),
        first_(first_picture),
        pictures_(pictures),
        random_(generator),
        size_(options.size),
        pixels_(static_cast<std::size_t>(size_ * size_)),
        sample_{Tensor<std::uint8_t>({size_, size_, 3}), Tensor<std::int32_t>({size_, size_}), zeros<std::int32_t>({size_, size_}), {}} {}

  Sample paint() {
    paint_ground();
    paint_garments();
    develop();
    return std::move(sample_);
  }

 private:
  float uniform(double low, double high) { return static_cast<float>(random_.uniform(low, high)); }

  /// Regions around random points, nearest point first, with wavy borders.
  void paint_ground() {
    const int regions = options_.min_regions + static_cast<int>(random_.below(options_.max_regions - options_.min_regions + 1));
    const float size = static_cast<float>(size_);
    int kinds[6] = {0, 1, 2, 3, 4, 5};
    std::vector<Texture> textures;
    std::vector<std::pair<float, float>> centres;
    const double hue = random_.uniform();
    for (int k = 0; k < regions; ++k) {
      std::swap(kinds[k % 6], kinds[k % 6 + random_.below(6 - k % 6)]);  // no kind twice
      const double angle = random_.uniform(0, 6.2831853), value = random_.uniform(0.5, 0.8), saturation = random_.uniform(0.08, 0.35);
      const double region_hue = hue + random_.uniform(0, 0.5), darker = random_.uniform(0.55, 0.7);
      const float period = (kinds[k % 6] == 5 ? 1.6f : 1.0f) * uniform(9, 15) * size / 128;
      textures.push_back({kinds[k % 6], static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle)), 1 / period, uniform(0, 8),
                          uniform(0, 8), from_hsv(region_hue, saturation, value * darker),
                          from_hsv(region_hue + random_.uniform(-0.12, 0.12), saturation, value),
                          static_cast<std::uint32_t>(random_.bits())});
      std::pair<float, float> best{}, candidate;
      for (float best_distance = -1, tries = 0; tries < 8; ++tries) {  // far from the others, so that no region is a sliver
        candidate = {uniform(0, size), uniform(0, size)};
        float distance = 2 * size * size;
        for (const auto& [x, y] : centres)
          distance = std::min(distance, (x - candidate.first) * (x - candidate.first) + (y - candidate.second) * (y - candidate.second));
        if (distance > best_distance) best = candidate, best_distance = distance;
      }
      centres.push_back(best);
    }
    std::vector<float> wave_x(static_cast<std::size_t>(size_)), wave_y(wave_x.size());
    for (std::vector<float>* wave : {&wave_x, &wave_y})
      for (int harmonic = 1; harmonic <= 2; ++harmonic) {
        const float amplitude = uniform(0.03, 0.07) * size / static_cast<float>(harmonic),
                    frequency = uniform(4, 9) / size * static_cast<float>(harmonic);
        const float phase = uniform(0, 6.2831853);
        for (std::size_t i = 0; i < wave->size(); ++i) (*wave)[i] += amplitude * std::sin(frequency * static_cast<float>(i) + phase);
      }
    for (index_t y = 0, i = 0; y < size_; ++y)
      for (index_t x = 0; x < size_; ++x, ++i) {
        const float px = static_cast<float>(x), py = static_cast<float>(y);
        const float wx = px + wave_x[static_cast<std::size_t>(y)], wy = py + wave_y[static_cast<std::size_t>(x)];
        std::size_t nearest = 0;
        float least = INFINITY;
        for (std::size_t k = 0; k < centres.size(); ++k) {
          const float dx = wx - centres[k].first, dy = wy - centres[k].second, distance = dx * dx + dy * dy;
          if (distance < least) least = distance, nearest = k;
        }
        pixels_[static_cast<std::size_t>(i)] = textures[nearest].at(px, py);
        sample_.label.data()[i] = 10 + textures[nearest].kind;
      }
  }

  void paint_garments() {
    struct Place {
      float x, y, side;
    };
    std::vector<Place> places;
    const int objects = options_.min_objects + static_cast<int>(random_.below(options_.max_objects - options_.min_objects + 1));
    const float size = static_cast<float>(size_), light = uniform(0, 6.2831853);
    for (int k = 0; k < objects; ++k) {
      const float side = size * uniform(options_.min_side, options_.max_side);
      for (int tries = 0; tries < 20; ++tries) {
        const float margin = std::min(0.4f * side, 0.5f * size);
        const Place place{uniform(margin, size - margin), uniform(margin, size - margin), side};
        const bool free = std::all_of(places.begin(), places.end(), [&](const Place& other) {
          return std::hypot(place.x - other.x, place.y - other.y) >= static_cast<float>(options_.spacing) * 0.5f * (side + other.side);
        });
        if (!free) continue;
        places.push_back(place);
        paint_garment(place.x, place.y, side, light, static_cast<std::int32_t>(places.size()));
        break;
      }
    }
  }

  /// Over what is there: a soft shadow away from the light, then the garment. The label goes where at least half a pixel is covered.
  void paint_garment(float cx, float cy, float side, float light, std::int32_t id) {
    const index_t picture = first_ + random_.below(pictures_);
    const int label = data_.labels.data()[picture];
    const Garment garment(data_.images.data() + picture * 28 * 28, label);
    const float angle = uniform(-options_.rotation, options_.rotation) * 0.017453293f, mirror = random_.uniform() < 0.5 ? -1.0f : 1.0f;
    const float scale = 28 / side, cosine = std::cos(angle) * scale, sine = std::sin(angle) * scale;
    // Shirts, pullovers, coats, dresses and T-shirts have one outline; what colours they come in is a hint, as in shops.
    constexpr double usual_hue[] = {0.0, 0.3, 0.2, 0.8, 0.4, 0.1, 0.6, 0.43, 0.5, 0.77};
    const double hue = usual_hue[label] + options_.hue_spread * random_.normal(), saturation = random_.uniform(0.55, 0.95);
    const Colour bright = from_hsv(hue, saturation, random_.uniform(0.85, 1));
    const Colour deep = from_hsv(hue + random_.uniform(-0.1, 0.1), saturation, random_.uniform(0.25, 0.45));
    const float shadow = 0.04f * side, shadow_x = shadow * std::cos(light), shadow_y = shadow * std::sin(light);
    const auto alpha_at = [&](const float* map, float dx, float dy) {
      return Garment::sample(map, 15.5f + mirror * (cosine * dx + sine * dy), 15.5f + cosine * dy - sine * dx);
    };
    const float reach = side * 0.75f + shadow;
    const auto clip = [&](float v) { return std::clamp(static_cast<index_t>(v), index_t{0}, size_); };
    for (index_t y = clip(cy - reach); y < clip(cy + reach + 1); ++y)
      for (index_t x = clip(cx - reach); x < clip(cx + reach + 1); ++x) {
        const float dx = static_cast<float>(x) - cx, dy = static_cast<float>(y) - cy;
        const auto i = static_cast<std::size_t>(y * size_ + x);
        const float alpha = alpha_at(garment.alpha, dx, dy);
        if (alpha < 1) {
          float shade = 0;  // four samples: soft enough
          for (const float spread : {-0.02f, 0.02f})
            shade += alpha_at(garment.alpha, dx - shadow_x + spread * side, dy - shadow_y + spread * side) +
                     alpha_at(garment.alpha, dx - shadow_x + spread * side, dy - shadow_y - spread * side);
          pixels_[i] = mix(pixels_[i], {0, 0, 0}, 0.1f * shade);
        }
        if (alpha <= 0) continue;
        const float tone = alpha_at(garment.tone, dx, dy) / alpha;
        pixels_[i] = mix(pixels_[i], mix(deep, bright, tone), alpha);
        if (alpha < 0.5f) continue;
        sample_.label.data()[i] = label;
        sample_.instance.data()[i] = id;
      }
  }

  /// Light, blur, noise, and down to 8 bits.
  void develop() {
    const float size = static_cast<float>(size_), direction = uniform(0, 6.2831853), slope = uniform(0, options_.lighting) / size;
    const float light_x = slope * std::cos(direction), light_y = slope * std::sin(direction);
    const float blur = uniform(0, options_.blur), noise = uniform(0, options_.noise) / 147.8f;  // 147.8: deviation of a sum of 4 bytes
    const auto blurred = [&](const Colour& a, const Colour& b, const Colour& c) {
      const float middle = 1 - 2 * blur;
      return Colour{middle * b.r + blur * (a.r + c.r), middle * b.g + blur * (a.g + c.g), middle * b.b + blur * (a.b + c.b)};
    };
    const auto at = [&](index_t y, index_t x) -> Colour& { return pixels_[static_cast<std::size_t>(y * size_ + x)]; };
    for (index_t y = 0; y < size_; ++y) {
      Colour left = at(y, 0);
      for (index_t x = 0; x < size_; ++x) {
        const Colour here = at(y, x);
        at(y, x) = blurred(left, here, at(y, std::min(x + 1, size_ - 1)));
        left = here;
      }
    }
    std::vector<Colour> above(static_cast<std::size_t>(size_));
    for (index_t x = 0; x < size_; ++x) above[static_cast<std::size_t>(x)] = at(0, x);
    const std::uint64_t stream = random_.next();
    std::uint8_t* out = sample_.image.data();
    for (index_t y = 0; y < size_; ++y)
      for (index_t x = 0; x < size_; ++x) {
        const Colour here = at(y, x);
        const Colour c = blurred(above[static_cast<std::size_t>(x)], here, at(std::min(y + 1, size_ - 1), x));
        above[static_cast<std::size_t>(x)] = here;
        const Philox random = Philox::block(random_.seed, stream, static_cast<std::uint64_t>(y * size_ + x));
        const float light = 1 + light_x * (static_cast<float>(x) - size / 2) + light_y * (static_cast<float>(y) - size / 2);
        const float levels[3] = {c.r, c.g, c.b};
        for (int k = 0; k < 3; ++k) {
          const std::uint32_t r = random.r[k];
          const float normal = static_cast<float>((r & 255) + (r >> 8 & 255) + (r >> 16 & 255) + (r >> 24)) - 510;
          *out++ = static_cast<std::uint8_t>(std::clamp(levels[k] * light + noise * normal + 0.5f, 0.0f, 255.0f));
        }
      }
  }

  const ScenesOptions& options_;
  const FashionMnist& data_;
  index_t first_, pictures_;
  Generator random_;
  index_t size_;
  std::vector<Colour> pixels_;
  Sample sample_;
};

}  // namespace detail

/// The data set. Training scenes show the first 55,000 training pictures of Fashion-MNIST, those to validate on the other 5,000, and
/// test scenes the 10,000 test pictures: no picture is in two splits.
class Scenes {
 public:
  /// @throws IoError when Fashion-MNIST is missing, see `fashion_mnist_folder`; ValueError
  explicit Scenes(Split split, const ScenesOptions& options = {}, const std::string& folder = {})
      : Scenes(split, options, load_fashion_mnist(split != Split::test, folder)) {}

  /// With pictures that are loaded already: the training pictures for train and val.
  Scenes(Split split, const ScenesOptions& options, FashionMnist data) : split_(split), options_(options), data_(std::move(data)) {
    const auto check = [](bool right, const char* argument, const char* expected, const std::string& actual) {
      if (!right) throw ValueError("Scenes", argument, expected, actual);
    };
    const ScenesOptions& o = options_;
    check(o.size >= 16 && o.size <= 4096, "size", "16 to 4096", concat(o.size));
    check(o.count >= 0, "count", "at least 0", concat(o.count));
    check(o.min_objects >= 0 && o.max_objects >= o.min_objects, "max_objects", "at least min_objects, and that at least 0",
          concat(o.min_objects, " to ", o.max_objects));
    check(o.min_regions >= 1 && o.max_regions >= o.min_regions && o.max_regions <= 6, "max_regions", "1 to 6, at least min_regions",
          concat(o.min_regions, " to ", o.max_regions));
    check(o.min_side > 0 && o.max_side >= o.min_side && o.max_side <= 2, "max_side", "at least min_side, and at most 2",
          concat(o.min_side, " to ", o.max_side));
    check(data_.labels.numel() >= 12, "data", "at least 12 pictures", concat(data_.labels.numel()));
    if (options_.count == 0) options_.count = split == Split::train ? 20000 : split == Split::val ? 500 : 1000;
    const index_t pictures = data_.labels.numel(), held_out = pictures / 12;
    first_ = split == Split::val ? pictures - held_out : 0;
    pictures_ = split == Split::train ? pictures - held_out : split == Split::val ? held_out : pictures;
  }

  [[nodiscard]] index_t size() const { return options_.count; }
  [[nodiscard]] const DatasetInfo& info() const { return info_; }
  [[nodiscard]] const ScenesOptions& options() const { return options_; }
  [[nodiscard]] std::string name(index_t i) const {
    char number[24];
    std::snprintf(number, sizeof number, "%06lld", static_cast<long long>(i));
    return concat(to_string(split_), "_", number);
  }
  [[nodiscard]] Sample get(index_t i) const {
    const Generator generator = Generator{options_.seed}.split(static_cast<std::uint64_t>(split_)).split(static_cast<std::uint64_t>(i));
    Sample sample = detail::ScenePainter(options_, data_, first_, pictures_, generator).paint();
    sample.name = name(i);
    return sample;
  }

 private:
  Split split_;
  ScenesOptions options_;
  FashionMnist data_;
  index_t first_ = 0, pictures_ = 0;
  DatasetInfo info_ = scenes_info();
};

}  // namespace segnet::data
