// Whole networks: weights from the hash fill under the names that PyTorch gives them, outputs and gradients compared.
#pragma once

#include "golden/golden.hpp"
#include "golden/hash_fill.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/reduction.hpp"

namespace segnet::golden {

template <class T, class D = Cpu>
struct NamedOutput {
  std::string name;
  Tensor<T, D> tensor;  ///< images channels last
};

/// Tensors as files of networks keep them: complete up to 2000 elements, of larger ones 2000 values at floor(k * numel / 2000).
[[nodiscard]] inline Tensor<double> sampled(const Tensor<double>& t) {
  constexpr index_t samples = 2000;
  if (t.numel() <= samples) return t;
  Tensor<double> s({samples});
  for (index_t k = 0; k < samples; ++k) s.data()[k] = t.data()[k * t.numel() / samples];
  return s;
}

/// The tensor of that name from the fill, in PyTorch's order of dimensions, as elements of type T.
template <class T>
[[nodiscard]] Tensor<T> filled(const std::string& name, const Shape& shape, const std::string& kind, double gain) {
  const Tensor<float> values = hash_fill(name, shape, kind, gain);
  Tensor<T> t(shape);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<T>(values.data()[i]);
  return t;
}

inline Shape shape_of(const Json& sizes) {
  Shape shape;
  for (const Json& size : sizes.array()) shape.push_back(size.integer());
  return shape;
}

/// Fills all parameters and buffers of a module. Every name and shape of the case must be in the module, and the other way round.
/// Returns the parameters in the order of the case.
template <class T, class D, class M>
std::vector<nn::NamedTensor<T, D>> fill_weights(Case<T, D>& c, const M& module) {
  std::map<std::string, nn::NamedTensor<T, D>> state;
  for (const auto& entry : nn::state_dict<T, D>(module)) state.emplace(entry.name, entry);
  const double gain = c.number("gain");
  std::vector<nn::NamedTensor<T, D>> parameters;
  std::size_t found = 0;
  for (const char* list : {"params", "buffers"})
    for (const Json& entry : c.attribute(list).array()) {
      const std::string& name = entry[0].string();
      const Shape shape = shape_of(entry[1]);
      const auto here = state.find(name);
      if (here == state.end()) throw Error(concat("the network has no tensor '", name, "'"));
      Tensor<T, D> target = here->second.tensor;
      if (pytorch_shape(target.shape(), here->second.layout) != shape)
        throw Error(concat("'", name, "' is ", target.shape(), " here, expected ", shape, " in PyTorch's order"));
      const Tensor<T> values = filled<T>(name, shape, entry[2].string(), gain);
      target.copy_from(here->second.layout == nn::WeightLayout::convolution ? from_nchw(values) : values);
      if (std::string_view(list) == "params") parameters.push_back(here->second);
      ++found;
    }
  if (found != state.size()) throw Error(concat("the network has ", state.size(), " tensors, expected ", found));
  index_t count = 0;
  for (const auto& parameter : parameters) count += parameter.tensor.numel();
  if (count != c.integer("param_count")) throw Error(concat("the network has ", count, " parameters, expected ", c.integer("param_count")));
  return parameters;
}

/// Has every convolution that the algorithm takes computed by it; the others choose as ever.
template <class M>
void use_algorithm(M& module, ConvAlgorithm algorithm) {
  nn::for_each_module(module, [=](const std::string&, auto& layer) {
    if constexpr (requires { layer.options.algorithm = algorithm; }) {
      const bool three = layer.weight.dim(1) == 3 && layer.weight.dim(2) == 3, dense = layer.options.stride == Extent2(1);
      if (algorithm != ConvAlgorithm::winograd || (three && dense)) layer.options.algorithm = algorithm;
    }
  });
}

/// An input of a network: the name of its gradient is "grad_" + name, its elements are those of the hash of `from`.
struct NamedInput {
  std::string name, from;
  Shape shape;  ///< in PyTorch's order
};

/// Runs a case of a network: `forward(x)` maps its inputs, a vector of images [N, H, W, C], to its outputs, in the order of the case.
///
/// Outputs in the file are PyTorch's float results, which are up to `max_abs_err_f32` away from its double ones: so close must
/// double come here, and float within 8 times of it, since its sums are in another order. Gradients in the file are from double;
/// in float, an activation that is nearly 0 may end on the other side of its ReLU, which moves gradients by far more than rounding does:
/// `gradient_in_float` is what they may be off, relative to the largest of them (or to their norm), and `gradient_in_double` alike.
/// Traced with each algorithm: of U-Net's 1,499,136 ReLUs none falls to the other side, and the image's gradient is 2e-6 off; by
/// Winograd's algorithm one does (1e-6 of its layer's largest value), and it is 6e-3 off, but 3e-6 from that of doubles that are kept on
/// float's side. In ResNet-50 one of 1,457,856 by implicit_gemm: 1e-3 and 1e-6; none by the others: 1e-6.
template <class T, class D, class M, class Forward>
void run_network_on(Case<T, D>& c, M& module, const std::vector<NamedInput>& inputs, const Forward& forward, double gradient_in_float,
                    double gradient_in_double) {
  constexpr bool exact = std::is_same_v<T, double>;
  const auto parameters = fill_weights(c, module);
  nn::train(module, c.text("mode") == "train");
  use_algorithm(module, c.algorithm);
  const bool gradients = c.has("param_grad_stats");
  std::vector<Tensor<T, D>> x;
  for (const auto& input : inputs) {
    x.push_back(from_nchw(filled<T>(input.from, input.shape, "input", 1)).template to<D>());
    if (gradients) x.back().requires_grad();
  }
  const std::vector<NamedOutput<T, D>> outputs = forward(std::as_const(x));

  const auto in_file_order = [](const Tensor<T, D>& on_device) {
    const Tensor<T> t = on_device.detach().template to<Cpu>();
    return in_double(t.rank() >= 3 ? to_nchw(t) : t);
  };
  double loss = 0;
  Tensor<T, D> loss_with_graph;  // one walk back for all outputs
  if (outputs.size() != c.attribute("outputs").object().size())
    throw Error(concat("the network has ", outputs.size(), " outputs, expected ", c.attribute("outputs").object().size()));
  for (const auto& [name, y] : outputs) {
    const Json& expected = c.attribute("outputs")[name];
    const Tensor<double> values = in_file_order(y);
    if (!c.check_shape(name, values.shape(), shape_of(expected["shape"]))) return;
    const double noise = expected["max_abs_err_f32"].number(), largest = expected["absmax"].number();
    const double off = exact ? 1.1 * noise + 1e-7 * largest : 8 * noise + 1e-6 * largest;
    c.check_numbers(name, sampled(values), {.absolute = off});

    double sum = 0, squares = 0;
    for (index_t i = 0; i < values.numel(); ++i) sum += values.data()[i];
    const double n = static_cast<double>(values.numel()), mean = sum / n;
    for (index_t i = 0; i < values.numel(); ++i) squares += (values.data()[i] - mean) * (values.data()[i] - mean);
    c.check_close(name + ": mean", mean, expected["mean"].number(), off);
    c.check_close(name + ": standard deviation", std::sqrt(squares / n), expected["std"].number(), off);

    // loss = sum over outputs of sum(y * g) / numel with g from the hash of "grad." + name
    const std::uint64_t hash = fnv1a64("grad." + name);
    Tensor<T> dy(values.shape());
    for (index_t i = 0; i < values.numel(); ++i) {
      dy.data()[i] = static_cast<T>(hash_uniform(hash, i) / n);
      loss += values.data()[i] * hash_uniform(hash, i) / n;
    }
    if (!gradients) continue;
    const Tensor<T, D> part = segnet::sum(y * (y.rank() >= 3 ? from_nchw(dy) : dy).template to<D>());
    loss_with_graph = loss_with_graph ? loss_with_graph + part : part;
  }

  for (const auto& entry : nn::state_dict<T, D>(module))
    if (c.has("after." + entry.name))
      c.check_numbers("after." + entry.name, in_double(entry.tensor.detach().template to<Cpu>()), {.of_largest = 1e-5});
  if (!gradients) return;
  loss_with_graph.backward();

  c.check_close("loss", loss, c.number("loss"), (exact ? 1e-12 : 1e-6) + (exact ? 1e-9 : 1e-4) * std::abs(c.number("loss")));
  // One ReLU at the bottom of U-Net is seen by many pixels, and which of them fall to the other side differs by algorithm and device.
  const double gradient_of_pixel = std::max(gradient_in_float, 2e-2);
  for (std::size_t i = 0; i < x.size(); ++i)
    c.check_numbers("grad_" + inputs[i].name, sampled(in_file_order(x[i].grad())),
                    {.of_largest = exact ? gradient_in_double : gradient_of_pixel});

  // For each parameter the sum of its gradient (small, of many numbers of either sign), its 2-norm, and its largest magnitude.
  const Tensor<double> stats = c.numbers("param_grad_stats");
  if (!c.check_shape("param_grad_stats", stats.shape(), {static_cast<index_t>(parameters.size()), 3})) return;
  const double* expected = stats.data();
  // What is 0 but for rounding (of a bias that moves all scores of a softmax, say) is the difference of numbers like the largest.
  double rounding = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) rounding = std::max(rounding, (exact ? 1e-16 : 1e-8) * expected[3 * i + 1]);
  for (const auto& parameter : parameters) {
    double sum = 0, squares = 0, largest = 0;
    const Tensor<T> g = parameter.tensor.grad().template to<Cpu>();
    for (index_t i = 0; i < g.numel(); ++i) {
      const double value = static_cast<double>(g.data()[i]);
      sum += value;
      squares += value * value;
      largest = std::max(largest, std::abs(value));
    }
    const double tolerance = 1e-15 + rounding + (exact ? gradient_in_double : gradient_in_float) * expected[1];
    const double count = static_cast<double>(parameter.tensor.numel());
    c.check_close(parameter.name + ": sum of the gradient", sum, expected[0], tolerance * std::sqrt(count));
    c.check_close(parameter.name + ": norm of the gradient", std::sqrt(squares), expected[1], tolerance);
    c.check_close(parameter.name + ": largest gradient", largest, expected[2], tolerance);
    expected += 3;
  }
}

/// The same of one image: `forward(x)`.
template <class T, class D, class M, class Forward>
void run_network(Case<T, D>& c, M& module, const Forward& forward, double gradient_in_float = 2e-3, double gradient_in_double = 1e-9) {
  run_network_on(
      c, module, {{"x", c.text("input"), shape_of(c.attribute("size"))}}, [&](const auto& inputs) { return forward(inputs[0]); },
      gradient_in_float, gradient_in_double);
}

}  // namespace segnet::golden
