// shape_ops: what moves elements without changing them. All run in the file's order of dimensions, but for what is about images.
#include "segnet/ops/concat.hpp"
#include "segnet/ops/flip.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/repeat.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/slice.hpp"

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

const auto shape_op = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  const std::string& op = c.text("op");
  const auto dim = [&] { return static_cast<int>(c.integer("dim")); };

  if (op == "cat" || op == "stack") {
    std::vector<Tensor<T>> parts;
    for (index_t i = 0; c.has(concat("x", i)); ++i) parts.push_back(c.input(concat("x", i)));
    c.output("y", op == "cat" ? segnet::concat(parts, dim()) : stack(parts, dim()));
    c.check_gradients();
    return;
  }

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
  } else if (op == "unfold" || op == "fold" || op == "pixel_shuffle" || op == "pixel_unshuffle" || op == "tril") {
    c.not_implemented(concat("the operation '", op, "'"));
  } else {
    throw Error(concat("unknown op '", op, "'"));
  }
  c.check_gradients();
};

}  // namespace

void add_shapes(Registry& registry) { registry.add("shape_ops", shape_op); }

}  // namespace segnet::golden
