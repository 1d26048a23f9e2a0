// conv1d, conv2d, conv_transpose1d, conv_transpose2d: each case by each algorithm that takes its shape. The weight of a transposed
// convolution lies in the file as that of the convolution it transposes, [C, O/groups, kh, kw].
#include "segnet/kernels/conv2d_matrix.hpp"
#include "segnet/ops/conv1d.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

constexpr ConvAlgorithm algorithms[] = {ConvAlgorithm::automatic,   ConvAlgorithm::reference,     ConvAlgorithm::matrix,
                                        ConvAlgorithm::im2col_gemm, ConvAlgorithm::implicit_gemm, ConvAlgorithm::winograd,
                                        ConvAlgorithm::depthwise};

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

const auto convolution2d = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::channels_first), w = c.input("weight", Layout::channels_first), b = c.optional_input("bias");
    const Extent2 dilation = c.extent("dilation", 1);
    const Conv2dOptions options{.stride = c.extent("stride", 1),
                                .padding = padding(c, {w.dim(1), w.dim(2)}, dilation),
                                .dilation = dilation,
                                .groups = c.integer("groups"),
                                .algorithm = algorithm};
    c.output("y", conv2d(x, w, b, options), {Layout::channels_first});
    c.check_gradients();
  });
};

const auto transposed_convolution2d = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::channels_first), w = c.input("weight", Layout::channels_first), b = c.optional_input("bias");
    const ConvTranspose2dOptions options{.stride = c.extent("stride", 1),
                                         .padding = c.extent("padding", 0),
                                         .output_padding = c.extent("output_padding", 0),
                                         .dilation = c.extent("dilation", 1),
                                         .groups = c.integer("groups"),
                                         .algorithm = algorithm};
    c.output("y", conv_transpose2d(x, w, b, options), {Layout::channels_first});
    c.check_gradients();
  });
};

// Attributes of sequences are lists of one number.
const auto convolution1d = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::channels_first), w = c.input("weight", Layout::channels_first), b = c.optional_input("bias");
    const index_t dilation = c.extent("dilation", 1).w;
    const Padding2 both = padding(c, {1, w.dim(1)}, {1, dilation});
    const Conv1dOptions options{.stride = c.extent("stride", 1).w,
                                .padding = {both.begin.w, both.end.w},
                                .dilation = dilation,
                                .groups = c.integer("groups"),
                                .algorithm = algorithm};
    c.output("y", conv1d(x, w, b, options), {Layout::channels_first});
    c.check_gradients();
  });
};

const auto transposed_convolution1d = [](auto& c) {
  with_each_algorithm(c, [&](ConvAlgorithm algorithm) {
    const auto x = c.input("x", Layout::channels_first), w = c.input("weight", Layout::channels_first), b = c.optional_input("bias");
    const ConvTranspose1dOptions options{.stride = c.extent("stride", 1).w,
                                         .padding = c.extent("padding", 0).w,
                                         .output_padding = c.extent("output_padding", 0).w,
                                         .dilation = c.extent("dilation", 1).w,
                                         .groups = c.integer("groups"),
                                         .algorithm = algorithm};
    c.output("y", conv_transpose1d(x, w, b, options), {Layout::channels_first});
    c.check_gradients();
  });
};

}  // namespace

void add_convolutions(Registry& registry) {
  registry.add("conv1d", convolution1d);
  registry.add("conv2d", convolution2d);
  registry.add("conv_transpose1d", transposed_convolution1d);
  registry.add("conv_transpose2d", transposed_convolution2d);
}

}  // namespace segnet::golden
