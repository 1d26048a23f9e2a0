// The fill of networks whose weights nobody ships (hash_fill.hpp), on which all network cases stand.
#include "golden/golden.hpp"
#include "golden/hash_fill.hpp"

namespace segnet::golden {

void add_hash(Registry& registry) {
  registry.add("hash", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    const index_t count = c.integer("count"), start = c.integer("start");
    const std::uint64_t name = fnv1a64(c.text("name"));
    Tensor<std::int64_t> h({count});
    Tensor<T> u({count});
    for (index_t i = 0; i < count; ++i) {
      h.data()[i] = static_cast<std::int64_t>(splitmix64(name + static_cast<std::uint64_t>(start + i)));
      u.data()[i] = static_cast<T>(hash_uniform(name, start + i));
    }
    c.check("h", h);
    c.check("u", u, {.in_float = {.of_largest = 0}});
    if (!c.has("value")) return;
    const std::vector<index_t> sizes = c.integers("shape");
    const Tensor<float> value = hash_fill(c.text("name"), Shape(sizes.begin(), sizes.end()), c.text("kind"), c.number("gain", 1));
    Tensor<T> exact(value.shape());
    for (index_t i = 0; i < value.numel(); ++i) exact.data()[i] = static_cast<T>(value.data()[i]);
    c.check("value", exact, {.in_float = {.of_largest = 0}});
  });
}

}  // namespace segnet::golden
