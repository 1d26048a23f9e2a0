#include "segnet/ops/reduction.hpp"

#include "golden/golden.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet::golden {

namespace {

const auto reduction = [](auto& c) {
  const std::string& op = c.text("op");
  const bool keep = c.flag("keepdim", false), everything = !c.has_attribute("dim");
  const auto x = c.input("x");
  std::vector<int> list;
  if (!everything)
    for (const index_t d : c.integers("dim")) list.push_back(static_cast<int>(d));
  const Dims dims(list);
  const auto one_dim = [&] {
    if (list.size() != 1) throw Error(concat("'", op, "' takes one dimension"));
    return list[0];
  };
  const auto with_indices = [&](const auto& result) {
    c.output("y", result.values);
    c.check("indices", result.indices);
  };

  if (op == "sum") c.output("y", sum(x, dims, keep));
  else if (op == "mean") c.output("y", mean(x, dims, keep));
  else if (op == "var") c.output("y", var(x, dims, c.flag("unbiased"), keep));
  else if (op == "std") c.output("y", stddev(x, dims, c.flag("unbiased"), keep));
  else if (op == "logsumexp") c.output("y", logsumexp(x, dims, keep));
  else if (op == "amax") c.output("y", amax(x, dims, keep));
  else if (op == "amin") c.output("y", amin(x, dims, keep));
  else if (op == "max" && everything) c.output("y", max(x));
  else if (op == "min" && everything) c.output("y", min(x));
  else if (op == "max") with_indices(max(x, one_dim(), keep));
  else if (op == "min") with_indices(min(x, one_dim(), keep));
  else if (op == "argmax") c.check("y", everything ? argmax(x) : argmax(x, one_dim(), keep));
  else if (op == "argmin") c.check("y", everything ? argmin(x) : argmin(x, one_dim(), keep));
  else if (op == "prod") c.output("y", everything ? prod(reshape(x, {x.numel()}), 0) : prod(x, one_dim(), keep));
  else if (op == "cumsum") c.output("y", cumsum(x, one_dim()));
  else if (op == "norm") {
    const double p = c.number("p");
    if (p != 1 && p != 2) c.not_implemented(concat("norm with p = ", p));
    c.output("y", norm(x, dims, static_cast<int>(p), keep));
  } else throw Error(concat("unknown op '", op, "'"));
  c.check_gradients();
};

}  // namespace

void add_reductions(Registry& registry) { registry.add("reductions", reduction); }

}  // namespace segnet::golden
