// shape_ops: what moves elements without changing them. All run in the file's order of dimensions, but for what is about images.
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/flip.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/pixel_shuffle.hpp"
#include "segnet/ops/repeat.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/unfold.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

std::vector<int> ints(const std::vector<index_t>& list) { return std::vector<int>(list.begin(), list.end()); }

/// [start, stop, step] or null for each dimension.
template <class C>
std::vector<Range> ranges(const C& c) {
  std::vector<Range> list;
  for (const Json& range : c.attribute("slices").array()) {
    if (range.is_null()) list.push_back({});
    else list.push_back({range[0].integer(), range[1].integer(), range[2].integer()});
  }
  return list;
}

template <class C>
PadMode pad_mode(const C& c) {
  for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular})
    if (c.text("mode") == to_string(mode)) return mode;
  throw Error(concat("unknown mode '", c.text("mode"), "'"));
}

/// unfold, fold, pixel_shuffle, pixel_unshuffle: of images, channels last. A row of patches is (tap, channel) here, (channel, tap)
/// in the file.
template <class C>
void image_op(C& c, const std::string& op) {
  constexpr Layout images = Layout::channels_first;
  if (op == "pixel_shuffle" || op == "pixel_unshuffle") {
    const auto x = c.input("x", images);
    c.output("y", op == "pixel_shuffle" ? pixel_shuffle(x, c.integer("r")) : pixel_unshuffle(x, c.integer("r")), {images});
  } else {
    const Extent2 kernel = c.extent("kernel", 1);
    const index_t taps = kernel.h * kernel.w;
    const UnfoldOptions options{.stride = c.extent("stride", 1), .padding = c.extent("padding", 0), .dilation = c.extent("dilation", 1)};
    if (op == "unfold") {
      const auto rows = unfold(c.input("x", images), kernel, options);  // [N, L, taps * C]
      const index_t n = rows.dim(0), places = rows.dim(1), channels = rows.dim(2) / taps;
      c.output("y", reshape(permute(reshape(rows, {n, places, taps, channels}), {0, 3, 2, 1}), {n, channels * taps, places}));
    } else {
      const auto x = c.input("x");  // [N, C * taps, L]
      const index_t n = x.dim(0), channels = x.dim(1) / taps, places = x.dim(2);
      const auto rows = reshape(permute(reshape(x, {n, channels, taps, places}), {0, 3, 2, 1}), {n, places, taps * channels});
      c.output("y", fold(rows, c.extent("output_size", 1), kernel, options), {images});
    }
  }
  c.check_gradients();
}

const auto shape_op = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  using D = typename std::remove_reference_t<decltype(c)>::device;
  const std::string& op = c.text("op");
  const auto dim = [&] { return static_cast<int>(c.integer("dim")); };

  if (op == "cat" || op == "stack") {
    std::vector<Tensor<T, D>> parts;
    for (index_t i = 0; c.has(concat("x", i)); ++i) parts.push_back(c.input(concat("x", i)));
    c.output("y", op == "cat" ? segnet::concat(parts, dim()) : stack(parts, dim()));
    c.check_gradients();
    return;
  }

  if (op == "unfold" || op == "fold" || op == "pixel_shuffle" || op == "pixel_unshuffle") return image_op(c, op);

  const auto x = c.input("x");
  if (op == "split" || op == "chunk") {
    const auto parts = op == "split" ? split(x, c.integers("sizes"), dim()) : chunk(x, c.integer("chunks"), dim());
    for (std::size_t i = 0; i < parts.size(); ++i) c.output(concat("y", i), parts[i]);
  } else if (op == "permute") {
    c.output("y", permute(x, ints(c.integers("dims"))));
  } else if (op == "reshape") {
    c.output("y", reshape(x, c.integers("to")));
  } else if (op == "permute_reshape") {
    c.output("y", reshape(permute(x, ints(c.integers("dims"))), c.integers("to")));
  } else if (op == "slice") {
    c.output("y", slice(x, ranges(c)));
  } else if (op == "pad") {
    c.output("y", pad(x, c.integers("pad"), pad_mode(c), static_cast<T>(c.number("value", 0))));
  } else if (op == "flip") {
    c.output("y", flip(x, ints(c.integers("dims"))));
  } else if (op == "roll") {
    const auto shifts = c.integers("shifts"), dims = c.integers("dims");
    auto y = x;
    for (std::size_t i = 0; i < dims.size(); ++i) y = roll(y, shifts.at(i), static_cast<int>(dims[i]));
    c.output("y", y);
  } else if (op == "expand") {
    const auto to = c.integers("to");
    c.output("y", expand(x, Shape(to.begin(), to.end())));
  } else if (op == "repeat") {
    c.output("y", repeat(x, c.integers("reps")));
  } else if (op == "repeat_interleave") {
    c.output("y", repeat_interleave(x, c.integer("reps"), dim()));
  } else if (op == "tril") {
    c.output("y", tril(x, c.integer("k", 0)));
  } else if (op == "triu") {
    c.output("y", triu(x, c.integer("k", 0)));
  } else {
    throw Error(concat("unknown op '", op, "'"));
  }
  c.check_gradients();
};

}  // namespace

void add_shapes(Registry& registry) { registry.add("shape_ops", shape_op); }

}  // namespace segnet::golden
