// Scores of an image out of those of windows of it, such as object proposals: Noh, Hong, Han, "Learning deconvolution network for semantic
// segmentation", ICCV 2015, arXiv:1505.04366, section 5.1, equation 1, and the authors' code.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/resize.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet::models {

/// A part of a picture, in pixels.
struct Window {
  index_t top = 0, left = 0, height = 0, width = 0;

  [[nodiscard]] bool lies_in(index_t picture_height, index_t picture_width) const {
    return height > 0 && width > 0 && top >= 0 && left >= 0 && height <= picture_height && width <= picture_width &&
           top <= picture_height - height && left <= picture_width - width;
  }
  friend bool operator==(const Window&, const Window&) = default;
};

[[nodiscard]] inline std::string to_string(const Window& w) {
  return concat(w.height, " x ", w.width, " pixels (height x width) from row ", w.top, ", column ", w.left, " on");
}

struct WindowOptions {
  index_t side = 224;      ///< the network sees each window resized to side x side pixels
  index_t min_side = 112;  ///< windows that are shorter or narrower are left out
  index_t most = 50;       ///< of the others the first so many are looked at
};

/// Those that `window_scores` looks at.
[[nodiscard]] inline std::vector<Window> usable_windows(const std::vector<Window>& windows, const WindowOptions& options = {}) {
  std::vector<Window> usable;
  for (const Window& w : windows)
    if (std::min(w.height, w.width) >= options.min_side && static_cast<index_t>(usable.size()) < options.most) usable.push_back(w);
  return usable;
}

/// Scores [1, H, W, classes] of x [1, H, W, C], without gradients: at each pixel and for each class the largest of the windows that cover
/// it, and of 0, which is also where no window is. `network` maps a resized window to logits of its height and width; put it into
/// inference mode (`eval`) first. Both the window and its logits are resized bilinearly; logits are put together on the host.
///
/// Softmax makes probabilities of scores. The paper's ensemble does of their product with another network's: scores * relu(logits).
/// @param windows best first
/// @throws ShapeError: x; ValueError: a window that is not inside of x, or none that is large enough
template <class F, class T, class D>
[[nodiscard]] Tensor<Master<T>, D> window_scores(const F& network, const Tensor<T, D>& x, const std::vector<Window>& windows,
                                                 const WindowOptions& options = {}) {
  using P = Master<T>;
  if (x.rank() != 4 || x.dim(0) != 1) throw ShapeError("window_scores", "x", "[1, H, W, C]: windows are of one image", x.shape());
  NoGrad guard;
  const index_t H = x.dim(1), W = x.dim(2);
  for (const Window& w : windows)
    if (!w.lies_in(H, W))
      throw ValueError("window_scores", "windows", concat("windows inside of the ", H, " x ", W, " pixels of the image"), to_string(w));
  const std::vector<Window> usable = usable_windows(windows, options);
  if (usable.empty())
    throw ValueError("window_scores", "windows", concat("one of at least ", options.min_side, " x ", options.min_side, " pixels"),
                     concat("none such among ", windows.size()));
  Tensor<P> scores;
  for (const Window& w : usable) {
    const Tensor<P, D> part = resize(cast<P>(narrow(narrow(x, 1, w.top, w.height), 2, w.left, w.width)), {options.side, options.side});
    const Tensor<P> own = resize(cast<P>(network(cast<T>(part))), {w.height, w.width}).template to<Cpu>();
    const index_t C = own.dim(3);
    if (!scores) scores = zeros<P>({1, H, W, C});
    for (index_t i = 0; i < w.height; ++i) {
      P* to = scores.data() + ((w.top + i) * W + w.left) * C;
      const P* from = own.data() + i * w.width * C;
      for (index_t k = 0; k < w.width * C; ++k) to[k] = std::max(to[k], from[k]);
    }
  }
  return scores.template to<D>();
}

}  // namespace segnet::models
