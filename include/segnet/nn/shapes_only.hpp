// Networks without arithmetic, to count what they are made of: building VGG-16 or running PSPNet takes no time then.
#pragma once

namespace segnet::nn {

namespace detail {
inline int& shapes_only_depth() {
  thread_local int depth = 0;
  return depth;
}
}  // namespace detail

/// Whether a `ShapesOnly` lives on this thread.
[[nodiscard]] inline bool shapes_only() { return detail::shapes_only_depth() > 0; }

/// While it lives, layers on this thread draw no weights, and their convolutions, matrix products and norms check shapes and
/// give tensors that are not initialised. What is counted stays right: parameters, output shapes, multiply-adds, memory.
///
///   nn::ShapesOnly shapes;
///   models::Vgg<> net({.depth = 16});
///   nn::summarize(net, {1, 224, 224, 3}).multiply_adds;
class ShapesOnly {
 public:
  ShapesOnly() { ++detail::shapes_only_depth(); }
  ~ShapesOnly() { --detail::shapes_only_depth(); }
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
};

/// A network M whose weights are to come from elsewhere: none are drawn for it.
template <class M, class Options>
[[nodiscard]] M unfilled(const Options& options) {
  const ShapesOnly no_weights;
  return M(options);
}

}  // namespace segnet::nn
