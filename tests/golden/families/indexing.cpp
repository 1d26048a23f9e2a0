#include "segnet/ops/indexing.hpp"

#include "golden/golden.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/sort.hpp"

namespace segnet::golden {

namespace {

const auto indexing = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  const std::string& op = c.text("op");
  const auto dim = [&] { return static_cast<int>(c.integer("dim")); };
  const auto list = [&](const char* role) { return c.template integer_input<index_t>(role); };
  const auto mask = [&] { return c.template integer_input<bool>("mask"); };
  const auto with_indices = [&](const auto& result) {
    c.output("y", result.values);
    c.check("indices", result.indices);
  };

  if (op == "one_hot") {
    const Tensor<T> y = one_hot<T>(list("index"), c.integer("classes")).template to<Cpu>();
    Tensor<std::int64_t> integers(y.shape());
    for (index_t i = 0; i < y.numel(); ++i) integers.data()[i] = static_cast<std::int64_t>(y.data()[i]);
    c.check("y", integers);
    return;
  }
  if (op == "advanced") {  // y[k, :] = x[in[k], :, ih[k], iw[k]] of images in PyTorch's order
    c.output("y", gather_pixels(c.input("x", Layout::channels_first), list("in"), list("ih"), list("iw")));
    c.check_gradients();
    return;
  }

  const auto x = c.input("x");
  if (op == "gather") c.output("y", gather(x, dim(), list("index")));
  else if (op == "index_select") c.output("y", index_select(x, dim(), list("index")));
  else if (op == "scatter_add") c.output("y", scatter_add(x, dim(), list("index"), c.input("src")));
  else if (op == "index_add") c.output("y", index_add(x, dim(), list("index"), c.input("src"), static_cast<T>(c.number("alpha", 1))));
  else if (op == "masked_fill") c.output("y", masked_fill(x, mask(), static_cast<T>(c.number("value"))));
  else if (op == "where") c.output("y", where(mask(), x, c.input("other")));
  else if (op == "embedding") c.output("y", embedding(x, list("index")));
  else if (op == "topk") with_indices(topk(x, c.integer("k"), dim(), c.flag("largest", true)));
  else if (op == "sort") with_indices(sort(x, dim(), c.flag("descending", false)));
  else throw Error(concat("unknown op '", op, "'"));
  c.check_gradients();
};

}  // namespace

void add_indexing(Registry& registry) { registry.add("indexing", indexing); }

}  // namespace segnet::golden
