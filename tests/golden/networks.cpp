#include "golden/networks.hpp"

#include "golden/hash_fill.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/reduction.hpp"

namespace segnet::golden {

namespace {

/// Tensors as files of networks keep them: complete up to 2000 elements, of larger ones 2000 values at floor(k * numel / 2000).
[[nodiscard]] Tensor<double> sampled(const Tensor<double>& t) {
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

/// Fills all parameters and buffers of a network. Every name and shape of the case must be in it, and the other way round.
/// Returns the parameters in the order of the case.
template <class T, class D>
std::vector<nn::NamedTensor<T, D>> fill_weights(Case<T, D>& c, const std::vector<nn::NamedTensor<T, D>>& state_dict) {
  std::map<std::string, nn::NamedTensor<T, D>> state;
  for (const auto& entry : state_dict) state.emplace(entry.name, entry);
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

}  // namespace

template <class T, class D>
void run_network(Case<T, D>& c, const AnyNetwork<T, D>& net, const std::vector<NamedInput>& inputs, double gradient_in_float,
                 double gradient_in_double) {
  constexpr bool exact = std::is_same_v<T, double>;
  const auto parameters = fill_weights(c, net.state_dict());
  net.train(c.text("mode") == "train");
  net.use_algorithm(c.algorithm);
  const bool gradients = c.has("param_grad_stats");
  std::vector<Tensor<T, D>> x;
  for (const auto& input : inputs) {
    x.push_back(from_nchw(filled<T>(input.from, input.shape, "input", 1)).template to<D>());
    if (gradients) x.back().requires_grad();
  }
  const std::vector<NamedOutput<T, D>> outputs = net.forward(x);

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

  for (const auto& entry : net.state_dict())
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

template void run_network(Case<float>&, const AnyNetwork<float, Cpu>&, const std::vector<NamedInput>&, double, double);
template void run_network(Case<double>&, const AnyNetwork<double, Cpu>&, const std::vector<NamedInput>&, double, double);
#if defined(SEGNET_CUDA)
template void run_network(Case<float, Cuda>&, const AnyNetwork<float, Cuda>&, const std::vector<NamedInput>&, double, double);
template void run_network(Case<double, Cuda>&, const AnyNetwork<double, Cuda>&, const std::vector<NamedInput>&, double, double);
#endif

}  // namespace segnet::golden
