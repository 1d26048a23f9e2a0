// Activations, functions of one and two tensors.
#include "segnet/ops/activation.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/unary.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

[[noreturn]] void unknown_op(const std::string& op) { throw Error(concat("unknown op '", op, "'")); }

const auto activation = [](auto& c) {
  const std::string& op = c.text("op");
  if (op == "prelu") {  // one slope per channel: the channel has to be where it is in images
    const Layout layout = c.shape("x").rank() >= 2 ? Layout::channels_first : Layout::plain;
    const auto x = c.input("x", layout);
    c.output("y", prelu(x, c.input("weight")), {layout});
    c.check_gradients();
    return;
  }
  const auto x = c.input("x");
  const auto gelu_approximation = [&] {
    const std::string name = c.has_attribute("approximate") ? c.text("approximate") : "none";
    if (name != "none" && name != "tanh") throw Error(concat("unknown approximation '", name, "'"));
    return name == "tanh" ? GeluApproximation::tanh : GeluApproximation::none;
  };
  const auto y = op == "relu"          ? relu(x)
                 : op == "relu6"       ? relu6(x)
                 : op == "leaky_relu"  ? leaky_relu(x, c.number("slope"))
                 : op == "gelu"        ? gelu(x, gelu_approximation())
                 : op == "silu"        ? silu(x)
                 : op == "sigmoid"     ? sigmoid(x)
                 : op == "logsigmoid"  ? logsigmoid(x)
                 : op == "tanh"        ? segnet::tanh(x)
                 : op == "softplus"    ? softplus(x, c.number("beta"), c.number("threshold"))
                 : op == "hardswish"   ? hardswish(x)
                 : op == "hardsigmoid" ? hardsigmoid(x)
                 : op == "mish"        ? mish(x)
                 : op == "elu"         ? elu(x, c.number("alpha"))
                                       : (unknown_op(op), x);
  c.output("y", y);
  c.check_gradients();
};

const auto unary = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  const std::string& op = c.text("op");
  const auto x = c.input("x");
  const auto y = op == "exp"          ? segnet::exp(x)
                 : op == "expm1"      ? segnet::expm1(x)
                 : op == "log"        ? segnet::log(x)
                 : op == "log1p"      ? segnet::log1p(x)
                 : op == "sqrt"       ? segnet::sqrt(x)
                 : op == "rsqrt"      ? rsqrt(x)
                 : op == "abs"        ? segnet::abs(x)
                 : op == "sin"        ? segnet::sin(x)
                 : op == "cos"        ? segnet::cos(x)
                 : op == "square"     ? square(x)
                 : op == "neg"        ? -x
                 : op == "reciprocal" ? reciprocal(x)
                 : op == "erf"        ? segnet::erf(x)
                 : op == "floor"      ? segnet::floor(x)
                 : op == "ceil"       ? segnet::ceil(x)
                 : op == "round"      ? segnet::round(x)
                 : op == "clamp"      ? clamp(x, static_cast<T>(c.number("min", -INFINITY)), static_cast<T>(c.number("max", INFINITY)))
                 : op == "pow_scalar" ? segnet::pow(x, static_cast<T>(c.number("p")))
                                      : (unknown_op(op), x);
  c.output("y", y);
  c.check_gradients();
};

const auto binary = [](auto& c) {
  const std::string& op = c.text("op");
  const auto a = c.input("a"), b = c.input("b");
  const auto y = op == "add"       ? a + b
                 : op == "sub"     ? a - b
                 : op == "mul"     ? a * b
                 : op == "div"     ? a / b
                 : op == "pow"     ? segnet::pow(a, b)
                 : op == "maximum" ? maximum(a, b)
                 : op == "minimum" ? minimum(a, b)
                 : op == "atan2"   ? segnet::atan2(a, b)
                                   : (unknown_op(op), a);
  c.output("y", y);
  c.check_gradients();
};

}  // namespace

void add_elementwise(Registry& registry) {
  registry.add("activations", activation);
  registry.add("unary", unary);
  registry.add("binary", binary);
}

}  // namespace segnet::golden
