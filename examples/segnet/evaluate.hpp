// Scores of a network on a data set, at full size.
#pragma once

#include <functional>

#include "checkpoint.hpp"
#include "progress.hpp"
#include "segnet/data/loader.hpp"
#include "segnet/metrics/confusion.hpp"

namespace segnet::program {

struct EvaluateOptions {
  std::int64_t batch = 1;
  models::InferenceOptions inference = {};
  std::function<Tensor<float>(const data::Sample&)> probabilities = {};  ///< [1, H, W, classes] otherwise than by `inference`; batch: 1
  std::function<Tensor<float>(const Tensor<float>&, const data::Sample&)> refined =
      {};                    ///< what becomes of the [1, H, W, classes] of an image
  std::int64_t samples = 0;  ///< pictures to keep, spread evenly over the data set
  bool show = false;         ///< a progress bar
};

struct SamplePicture {
  data::Sample sample;
  Tensor<std::int32_t> prediction;  ///< [H, W]
};

struct Evaluation {
  ConfusionMatrix confusion;
  double loss = 0;  ///< mean cross entropy of the labelled pixels
  std::vector<SamplePicture> pictures;
  double images_per_second = 0;
};

/// Runs the network in inference mode over the whole data set, images of equal size together. Its mode is inference afterwards.
template <class T, class D>
Evaluation evaluate(nn::AnyModule<T, D>& network, const NetworkInfo& info, const data::Dataset& dataset, const EvaluateOptions& options) {
  network.eval();
  NoGrad guard;
  const auto infer = for_inference(network);
  const std::int32_t ignore = dataset.info().ignore_index;
  Evaluation result{ConfusionMatrix(static_cast<index_t>(dataset.info().classes.size()), ignore), 0, {}, 0};
  Progress progress("eval");
  double loss_sum = 0, pixels = 0;
  std::vector<data::Sample> waiting;
  const index_t total = dataset.size();
  const auto run = [&](index_t first) {
    const index_t n = static_cast<index_t>(waiting.size()), h = waiting[0].image.dim(0), w = waiting[0].image.dim(1);
    Tensor<float> x({n, h, w, 3});
    Tensor<std::int32_t> target({n, h, w});
    for (index_t i = 0; i < n; ++i) {
      const auto& sample = waiting[static_cast<std::size_t>(i)];
      x.alias({1, h, w, 3}, i * h * w * 3).copy_from(network_input(info, sample.image));
      target.alias({h, w}, i * h * w).copy_from(sample.label);
    }
    const Tensor<float> probabilities =
        options.probabilities ? options.probabilities(waiting[0])
                              : models::predict_probabilities(infer, cast<T>(x.to<D>()), options.inference).template to<Cpu>();
    const index_t C = probabilities.dim(3);
    for (index_t i = 0; options.refined && i < n; ++i) {
      Tensor<float> one = probabilities.alias({1, h, w, C}, i * h * w * C);
      one.copy_from(options.refined(one, waiting[static_cast<std::size_t>(i)]));
    }
    const Tensor<std::int32_t> prediction = models::most_likely(probabilities);
    result.confusion.add(prediction, target);
    for (index_t p = 0; p < target.numel(); ++p) {
      const std::int32_t t = target.data()[p];
      if (t == ignore) continue;
      loss_sum -= std::log(std::max(static_cast<double>(probabilities.data()[p * C + t]), 1e-12));
      pixels += 1;
    }
    for (index_t i = 0; i < n; ++i) {
      const index_t number = first + i, kept = static_cast<index_t>(result.pictures.size());
      if (kept < options.samples && number == kept * total / options.samples)
        result.pictures.push_back({waiting[static_cast<std::size_t>(i)], prediction.alias({h, w}, i * h * w).clone()});
    }
    waiting.clear();
  };
  index_t first = 0;
  for (index_t i = 0; i < total; ++i) {
    data::Sample sample = dataset.get(i);
    try {
      data::check_labels(sample, dataset.info());
    } catch (const Error& e) {
      throw data::SampleError(sample.name, i, e.what());
    }
    if (!waiting.empty() &&
        (waiting[0].image.shape() != sample.image.shape() || static_cast<std::int64_t>(waiting.size()) == options.batch)) {
      run(first);
      first = i;
    }
    waiting.push_back(std::move(sample));
    if (options.show) progress.update(i + 1, total, "");
  }
  if (!waiting.empty()) run(first);
  result.loss = pixels > 0 ? loss_sum / pixels : 0;
  result.images_per_second = static_cast<double>(total) / progress.seconds();
  return result;
}

}  // namespace segnet::program
