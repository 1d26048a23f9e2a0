// Mean field iteration as a recurrent network: Zheng et al., "Conditional random fields as recurrent neural networks", ICCV 2015,
// arXiv:1502.03240, section 4.
#pragma once

#include "segnet/crf/features.hpp"
#include "segnet/crf/gaussian_filter.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/nn/shapes_only.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/linear.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet::crf {

struct CrfRnnOptions {
  index_t classes = 21;
  double theta_gamma = 3;                           ///< pixels: of the smoothness kernel
  double theta_alpha = 160;                         ///< pixels: of the appearance kernel
  double theta_beta = 3;                            ///< its colours, in units of 0 to 255
  double spatial_weight = 3, bilateral_weight = 5;  ///< at first
  int train_iterations = 5, test_iterations = 10;   ///< more in training hurt its gradients
  FilterAlgorithm algorithm = FilterAlgorithm::permutohedral;
  bool include_self = true;  ///< see FilterOptions
};

/// Refines logits S of an image's pixels, T times A <- S + M (W_s K_s Q + W_b K_b Q) with Q = softmax(A), beginning with A = S:
///
///   message passing           F_m = K_m Q, Gaussian filters whose rows sum to 1: of positions (s), of positions and colours (b)
///   reweighting               G = W_s F_s + W_b F_b
///   compatibility transform   P = M G
///   adding unaries            A = S + P
///
/// Gradients flow through all iterations to S, W and M, not to the image. Names, signs (M = identity: equal labels attract) and initial
/// values are those of the PyTorch port; files of the Caffe and Keras versions have -M.
///
/// Filters run on the CPU; what is on the GPU comes to the host and goes back. Memory of a training step: five maps like S an iteration.
template <class T = float, class D = Cpu>
struct CrfRnn {
  nn::Parameter<Master<T>, D> spatial_ker_weights, bilateral_ker_weights, compatibility_matrix;  ///< [classes, classes] each
  CrfRnnOptions options;
  bool training = true;

  explicit CrfRnn(const CrfRnnOptions& o = {}) : options(o) {
    if (o.classes < 1) throw ValueError("crf::CrfRnn", "classes", "at least 1", concat(o.classes));
    if (std::min(o.train_iterations, o.test_iterations) < 0)
      throw ValueError("crf::CrfRnn", "iterations", "at least 0", concat(std::min(o.train_iterations, o.test_iterations)));
    const auto diagonal = [&](double value) {
      Tensor<Master<T>> m = zeros<Master<T>>({o.classes, o.classes});
      for (index_t c = 0; c < o.classes; ++c) m.data()[c * (o.classes + 1)] = static_cast<Master<T>>(value);
      return nn::Parameter<Master<T>, D>(m.template to<D>());
    };
    spatial_ker_weights = diagonal(o.spatial_weight);
    bilateral_ker_weights = diagonal(o.bilateral_weight);
    compatibility_matrix = diagonal(1);
  }

  /// @param logits [N, H, W, classes]   @param image [N, H, W, 3], colours from 0 to 255 or these less a mean   @return refined logits
  /// @throws ShapeError: logits, image;  ValueError: colours that are not finite
  Tensor<T, D> operator()(const Tensor<T, D>& logits, const Tensor<T, D>& image) const {
    if (logits.rank() != 4 || logits.dim(3) != options.classes)
      throw ShapeError("crf::CrfRnn", "logits", concat("[N, H, W, ", options.classes, "]"), logits.shape());
    const Shape like{logits.dim(0), logits.dim(1), logits.dim(2), 3};
    if (image.shape() != like) throw ShapeError("crf::CrfRnn", "image", concat(like), image.shape());
    if (nn::shapes_only()) return nn::detail::observed(this, "CrfRnn", logits, Tensor<T, D>(logits.shape()), multiply_adds(logits.shape()));

    using P = Master<T>;
    const Tensor<P> s = cast<P>(logits).template to<Cpu>(), colours = cast<P>(image.detach()).template to<Cpu>();
    const Weights weights{spatial_ker_weights.template to<Cpu>(), bilateral_ker_weights.template to<Cpu>(),
                          compatibility_matrix.template to<Cpu>()};
    std::vector<Tensor<P>> refined;
    for (index_t n = 0; n < like[0]; ++n) refined.push_back(one_image(weights, narrow(s, 0, n, 1), narrow(colours, 0, n, 1)));
    const Tensor<P> all = refined.empty() ? s : refined.size() == 1 ? refined[0] : concat(refined, 0);
    return nn::detail::observed(this, "CrfRnn", logits, cast<T>(all.template to<D>()), multiply_adds(logits.shape()));
  }

  [[nodiscard]] int iterations() const { return training ? options.train_iterations : options.test_iterations; }

  SEGNET_FIELDS(spatial_ker_weights, bilateral_ker_weights, compatibility_matrix)

 private:
  struct Weights {
    Tensor<Master<T>> spatial, bilateral, compatibility;
  };

  template <class P>
  [[nodiscard]] Tensor<P> one_image(const Weights& w, const Tensor<P>& s, const Tensor<P>& image) const {
    const index_t H = s.dim(1), W = s.dim(2);
    const FilterOptions filter{FilterNormalization::after, options.algorithm, options.include_self};
    const GaussianFilter<P> spatial(position_features<P>(H, W, options.theta_gamma), filter);
    const GaussianFilter<P> bilateral(bilateral_features<P>(image.alias({H, W, 3}), options.theta_alpha, options.theta_beta), filter);
    Tensor<P> a = s;
    for (int t = 0; t < iterations(); ++t) {
      const Tensor<P> q = softmax(a);
      a = s + linear(linear(spatial(q), w.spatial) + linear(bilateral(q), w.bilateral), w.compatibility);
    }
    return a;
  }
  /// Of the three products of an iteration; the filters' depend on the image.
  [[nodiscard]] index_t multiply_adds(const Shape& logits) const { return iterations() * 3 * logits.numel() * options.classes; }
};

}  // namespace segnet::crf
