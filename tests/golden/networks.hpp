// Whole networks: weights from the hash fill under the names that PyTorch gives them, outputs and gradients compared.
#pragma once

#include "golden/golden.hpp"
#include "segnet/nn/module.hpp"

namespace segnet::golden {

template <class T, class D = Cpu>
struct NamedOutput {
  std::string name;
  Tensor<T, D> tensor;  ///< images channels last
};

inline Shape shape_of(const Json& sizes) {
  Shape shape;
  for (const Json& size : sizes.array()) shape.push_back(size.integer());
  return shape;
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

/// What a case needs of a network, whatever its type: to compile the comparison once.
template <class T, class D>
struct AnyNetwork {
  std::function<std::vector<nn::NamedTensor<T, D>>()> state_dict;
  std::function<void(bool training)> train;
  std::function<void(ConvAlgorithm)> use_algorithm;
  std::function<std::vector<NamedOutput<T, D>>(const std::vector<Tensor<T, D>>& x)> forward;
};

/// Runs a case of a network: `forward` maps its inputs, a vector of images [N, H, W, C], to its outputs, in the order of the case.
///
/// Outputs in the file are PyTorch's float results, which are up to `max_abs_err_f32` away from its double ones: so close must
/// double come here, and float within 8 times of it, since its sums are in another order. Gradients in the file are from double;
/// in float, an activation that is nearly 0 may end on the other side of its ReLU, which moves gradients by far more than rounding does:
/// `gradient_in_float` is what they may be off, relative to the largest of them (or to their norm), and `gradient_in_double` alike.
/// Traced with each algorithm: of U-Net's 1,499,136 ReLUs none falls to the other side, and the image's gradient is 2e-6 off; by
/// Winograd's algorithm one does (1e-6 of its layer's largest value), and it is 6e-3 off, but 3e-6 from that of doubles that are kept on
/// float's side. In ResNet-50 one of 1,457,856 by implicit_gemm: 1e-3 and 1e-6; none by the others: 1e-6.
template <class T, class D>
void run_network(Case<T, D>& c, const AnyNetwork<T, D>& net, const std::vector<NamedInput>& inputs, double gradient_in_float,
                 double gradient_in_double);

/// The same: `forward(x)` of a vector.
template <class T, class D, class M, class Forward>
void run_network_on(Case<T, D>& c, M& module, const std::vector<NamedInput>& inputs, const Forward& forward, double gradient_in_float,
                    double gradient_in_double) {
  run_network<T, D>(c,
                    {.state_dict = [&] { return nn::state_dict<T, D>(module); },
                     .train = [&](bool training) { nn::train(module, training); },
                     .use_algorithm = [&](ConvAlgorithm algorithm) { use_algorithm(module, algorithm); },
                     .forward = [&](const std::vector<Tensor<T, D>>& x) { return forward(x); }},
                    inputs, gradient_in_float, gradient_in_double);
}

/// The same of one image: `forward(x)`.
template <class T, class D, class M, class Forward>
void run_network(Case<T, D>& c, M& module, const Forward& forward, double gradient_in_float = 2e-3, double gradient_in_double = 1e-9) {
  run_network_on(
      c, module, {{"x", c.text("input"), shape_of(c.attribute("size"))}}, [&](const auto& inputs) { return forward(inputs[0]); },
      gradient_in_float, gradient_in_double);
}

}  // namespace segnet::golden
