// From images of any size to class probabilities: padding to what a network takes, tiles, averages over scales and mirror images.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/flip.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/resize.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet::models {

/// A network for images of any size: pads each side to `network.padded_size(n)`, `network.margin()` pixels of it in front, and crops
/// the logits to the image. The padding mirrors the image without repeating its border (the overlap-tile strategy of the
/// U-Net paper, section 2), or repeats the border pixel where the image is too small to be mirrored. Its tensors have the names
/// of the network's own. Gradients flow through, so it trains as well.
template <class M>
struct AnySize {
  M network;

  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (x.rank() != 4 || x.dim(1) < 1 || x.dim(2) < 1)
      throw ShapeError("AnySize", "x", "[N, H, W, C] with H and W of at least 1", x.shape());
    const index_t h = x.dim(1), w = x.dim(2), margin = network.margin();
    const index_t bottom = network.padded_size(h) - margin - h, right = network.padded_size(w) - margin - w;
    Tensor<T, D> y = x;
    if (margin || bottom || right) {
      const bool mirror = std::max(margin, bottom) < h && std::max(margin, right) < w;
      y = pad(x, {0, 0, margin, right, margin, bottom}, mirror ? PadMode::reflect : PadMode::replicate);
    }
    y = network(y);
    if (y.dim(1) != h) y = narrow(y, 1, 0, h);
    if (y.dim(2) != w) y = narrow(y, 2, 0, w);
    return y;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    std::remove_cvref_t<decltype(self.network)>::for_each_field(self.network, visit);
  }
};

/// A network on the GPU for inference, without gradients: the second call for a shape is recorded and those that follow replay it.
/// `network` must do the same at every call, and keeps its tensors where they are. What cannot be recorded is called as it is.
template <class F, class T>
class Replayed {
 public:
  explicit Replayed(F network) : network_(std::move(network)) {}

  Tensor<T, Cuda> operator()(const Tensor<T, Cuda>& x) const {
    NoGrad guard;
    for (Call& call : calls_) {
      if (call.x.shape() != x.shape()) continue;
      if (!call.graph) record(call);
      if (!call.graph) break;
      call.x.copy_from(x);
      call.graph->replay();
      return call.y.clone();
    }
    const Tensor<T, Cuda> y = network_(x);
    if (calls_.size() < most_) calls_.push_back({x.clone(), y.clone(), {}});
    return y;
  }

 private:
  struct Call {
    Tensor<T, Cuda> x, y;
    std::optional<cuda::Graph> graph;
    bool possible = true;
  };
  void record(Call& call) const {
    if (!call.possible) return;
    try {
      call.graph.emplace([&] { call.y.copy_from(network_(call.x)); });
    } catch (const NotImplemented&) {
      call.possible = false;
    }
  }

  static constexpr std::size_t most_ = 8;  // shapes
  F network_;
  mutable std::vector<Call> calls_;
};

struct InferenceOptions {
  index_t tile = 0;                  ///< side of the square tiles that the image is cut into; 0: the whole image at once
  index_t overlap = 64;              ///< pixels that neighbouring tiles share; probabilities are averaged there
  bool flip = false;                 ///< average with the prediction for the mirrored image
  std::vector<double> scales = {1};  ///< average over the image resized by these factors; tiles are cut from the resized image
};

/// Softmax probabilities [N, H, W, classes] of x [N, H, W, C], without gradients. `network` maps x (or a tile of it) to logits of
/// the same height and width; put it into inference mode (`eval`) first. Tiles are put together on the host. Multi-scale testing with
/// mirrored images, as DeepLab v3 and PSPNet report it: `{.flip = true, .scales = {0.5, 0.75, 1, 1.25, 1.5, 1.75}}`.
/// @throws ValueError: overlap not below tile, no scales or one that is not positive
template <class F, class T, class D>
[[nodiscard]] Tensor<Master<T>, D> predict_probabilities(const F& network, const Tensor<T, D>& x, const InferenceOptions& options = {}) {
  using P = Master<T>;
  NoGrad guard;
  const index_t H = x.dim(1), W = x.dim(2), tile = options.tile;
  if (options.scales.empty()) throw ValueError("predict_probabilities", "scales", "at least one", "none");
  if (options.scales.size() > 1 || options.scales[0] != 1) {
    InferenceOptions once = options;
    once.scales = {1};
    Tensor<P, D> sum;
    for (const double scale : options.scales) {
      if (!(scale > 0)) throw ValueError("predict_probabilities", "scales", "positive factors", concat(scale));
      const auto scaled = [scale](index_t n) { return std::max<index_t>(1, std::llround(static_cast<double>(n) * scale)); };
      const Extent2 size{scaled(H), scaled(W)};
      const bool same = size.h == H && size.w == W;
      Tensor<P, D> p = predict_probabilities(network, same ? x : cast<T>(resize(cast<P>(x), size)), once);
      if (!same) p = resize(p, {H, W});
      sum = sum ? sum + p : p;
    }
    return sum * static_cast<P>(1 / static_cast<double>(options.scales.size()));
  }
  if (options.flip) {
    InferenceOptions once = options;
    once.flip = false;
    const Tensor<P, D> a = predict_probabilities(network, x, once), b = flip(predict_probabilities(network, flip(x, {2}), once), {2});
    return (a + b) * 0.5;
  }
  if (tile == 0 || (tile >= H && tile >= W)) return softmax(cast<P>(network(x)), -1);
  if (options.overlap < 0 || options.overlap >= tile)
    throw ValueError("predict_probabilities", "overlap", concat("0 to ", tile - 1, ", below the tile"), concat(options.overlap));

  const auto starts = [&](index_t size) {  // the last tile ends with the image
    std::vector<index_t> at;
    for (index_t p = 0; p + tile < size; p += tile - options.overlap) at.push_back(p);
    at.push_back(std::max<index_t>(0, size - tile));
    return at;
  };
  Tensor<P> sum;
  std::vector<P> count(static_cast<std::size_t>(H * W), P(0));
  for (const index_t top : starts(H))
    for (const index_t left : starts(W)) {
      const index_t h = std::min(tile, H), w = std::min(tile, W);
      const Tensor<P> p = softmax(cast<P>(network(narrow(narrow(x, 1, top, h), 2, left, w))), -1).template to<Cpu>();
      const index_t C = p.dim(3);
      if (!sum) sum = zeros<P>({x.dim(0), H, W, C});
      for (index_t n = 0; n < x.dim(0); ++n)
        for (index_t i = 0; i < h; ++i) {
          P* to = sum.data() + ((n * H + top + i) * W + left) * C;
          const P* from = p.data() + (n * h + i) * w * C;
          for (index_t k = 0; k < w * C; ++k) to[k] += from[k];
        }
      for (index_t i = 0; i < h; ++i)
        for (index_t j = 0; j < w; ++j) count[static_cast<std::size_t>((top + i) * W + left + j)] += 1;
    }
  const index_t C = sum.dim(3);
  for (index_t p = 0; p < x.dim(0) * H * W; ++p)
    for (index_t c = 0; c < C; ++c) sum.data()[p * C + c] /= count[static_cast<std::size_t>(p % (H * W))];
  return sum.template to<D>();
}

/// The class of the largest score at each pixel, the first of equals: [N, H, W, classes] -> [N, H, W].
template <class T>
[[nodiscard]] Tensor<std::int32_t> most_likely(const Tensor<T>& scores) {
  if (scores.rank() != 4 || scores.dim(3) < 1) throw ShapeError("most_likely", "scores", "[N, H, W, classes]", scores.shape());
  Tensor<std::int32_t> labels({scores.dim(0), scores.dim(1), scores.dim(2)});
  const index_t C = scores.dim(3);
  parallel_for(labels.numel(), 4096, [&](index_t begin, index_t end) {
    for (index_t p = begin; p < end; ++p)
      labels.data()[p] =
          static_cast<std::int32_t>(std::max_element(scores.data() + p * C, scores.data() + (p + 1) * C) - (scores.data() + p * C));
  });
  return labels;
}

}  // namespace segnet::models
