// Pyramids of averages: a map pooled to grids of several sizes. As a vector of fixed length (SPP: He, Zhang, Ren, Sun, arXiv:1406.4729,
// figure 3), and as a map with the image's context at every pixel (PPM: Zhao et al., "Pyramid scene parsing network", arXiv:1612.01105,
// figure 3).
#pragma once

#include <vector>

#include "segnet/models/conv_bn_relu.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

/// How the cells of a pyramid are pooled. Cell i of n covers rows floor(i H / n) up to ceil((i + 1) H / n), so cells overlap unless n
/// divides H.
enum class PyramidPool { max, average };

/// SPP: [N, H, W, C] -> [N, C * sum of bins^2] whatever H and W are, so that fully connected layers can follow. Grid by grid, cells in
/// row-major order, channels of a cell together.
struct SpatialPyramidPooling {
  std::vector<index_t> bins{1, 2, 4};
  PyramidPool pool = PyramidPool::max;

  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> parts;
    for (const index_t n : bins)
      parts.push_back(flatten(pool == PyramidPool::max ? adaptive_max_pool2d(x, n).output : adaptive_avg_pool2d(x, n), 1));
    return concat(parts, 1);
  }
  SEGNET_FIELDS()
};

struct PyramidPoolingOptions {
  index_t in = 2048;
  std::vector<index_t> bins{1, 2, 3, 6};
  PyramidPool pool = PyramidPool::average;
  index_t channels = 0;  ///< of each grid; 0: in / (number of grids), which must divide it
  bool align_corners = true;
};

/// PPM: every grid of averages passes a 1x1 convolution to `channels` channels with norm and ReLU, is resized back and joined to x.
/// [N, H, W, in] -> [N, H, W, in + (number of grids) channels], 2 in unless options say otherwise. Names as in the authors' PyTorch code:
/// features.0.1, ... Training needs batches of at least 2, since the norm of the 1x1 grid sees one pixel an image.
template <class T = float, class D = Cpu>
struct PyramidPooling {
  nn::ModuleList<ConvBnRelu<T, D>> features;
  PyramidPoolingOptions options;

  explicit PyramidPooling(const PyramidPoolingOptions& o = {}) : options(o) {
    const auto grids = static_cast<index_t>(o.bins.size());
    if (grids < 1 || (o.channels == 0 && o.in % grids != 0))
      throw ValueError("PyramidPooling", "bins", concat("a number of them that divides the ", o.in, " channels"), concat(grids));
    for (index_t i = 0; i < grids; ++i) features.push_back({o.in, o.channels ? o.channels : o.in / grids, {.kernel = 1}});
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> maps{x};
    for (std::size_t i = 0; i < features.size(); ++i) {
      const index_t n = options.bins[i];
      const auto cells = options.pool == PyramidPool::max ? adaptive_max_pool2d(x, n).output : adaptive_avg_pool2d(x, n);
      maps.push_back(resize(features[i](cells), {x.dim(1), x.dim(2)}, InterpolateMode::bilinear, options.align_corners));
    }
    return concat(maps, -1);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.features.size(); ++i)
      ConvBnRelu<T, D>::for_each_field_at(
          self.features[i], [&](const std::string& name, auto& field) { visit(segnet::concat("features.", i, ".", name), field); }, 1);
  }
};

}  // namespace segnet::models
