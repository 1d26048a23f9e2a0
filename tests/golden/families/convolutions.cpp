// conv1d, conv2d, conv_transpose1d, conv_transpose2d: each case by each algorithm that takes its shape. Sequences are images of
// height 1. The weight of a transposed convolution lies in the file as that of the convolution it transposes, [C, O/groups, kh, kw].
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

constexpr ConvAlgorithm algorithms[] = {ConvAlgorithm::automatic,     ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm,
                                        ConvAlgorithm::implicit_gemm, ConvAlgorithm::winograd,  ConvAlgorithm::depthwise};

/// Runs the case once for each algorithm. One that was asked for by name may decline the shape or not exist yet.
template <class C, class F>
void with_each_algorithm(C& c, const F& run) {
  for (const ConvAlgorithm algorithm : algorithms) {
    c.variant(to_string(algorithm));
    const bool must_run = algorithm == ConvAlgorithm::automatic || algorithm == ConvAlgorithm::reference;
    try {
      run(algorithm);
    } catch (const ValueError& e) {
      if (must_run || e.argument != "algorithm") throw;
    } catch (const NotImplemented&) {
      if (must_run) throw;
    }
  }
}

template <class C>
Padding2 padding(C& c, Extent2 kernel, Extent2 dilation) {
  if (!c.attribute("padding").is_string()) return c.extent("padding", 0);
  if (c.text("padding") == "same") return same_padding(kernel, dilation);
  if (c.text("padding") == "valid") return 0;
  throw Error(concat("unknown padding '", c.text("padding"), "'"));
}

const auto convolution = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::image), w = c.input("weight", Layout::image), b = c.optional_input("bias");
    const Extent2 dilation = c.extent("dilation", 1);
    const Conv2dOptions options{.stride = c.extent("stride", 1),
                                .padding = padding(c, {w.dim(1), w.dim(2)}, dilation),
                                .dilation = dilation,
                                .groups = c.integer("groups"),
                                .algorithm = algorithm};
    c.output("y", conv2d(x, w, b, options), {Layout::image});
    c.check_gradients();
  });
};

const auto transposed_convolution = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::image), w = c.input("weight", Layout::image), b = c.optional_input("bias");
    const ConvTranspose2dOptions options{.stride = c.extent("stride", 1),
                                         .padding = c.extent("padding", 0),
                                         .output_padding = c.extent("output_padding", 0),
                                         .dilation = c.extent("dilation", 1),
                                         .groups = c.integer("groups"),
                                         .algorithm = algorithm};
    c.output("y", conv_transpose2d(x, w, b, options), {Layout::image});
    c.check_gradients();
  });
};

}  // namespace

void add_convolutions(Registry& registry) {
  registry.add("conv1d", convolution);
  registry.add("conv2d", convolution);
  registry.add("conv_transpose1d", transposed_convolution);
  registry.add("conv_transpose2d", transposed_convolution);
}

}  // namespace segnet::golden
