// How often each class occurs, and weights of a loss that make up for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "segnet/data/sample.hpp"

namespace segnet::data {

/// Pixels and images of each class, counted over label maps.
struct LabelCounts {
  std::vector<index_t> pixels;        ///< [classes] with that label
  std::vector<index_t> images;        ///< [classes] that contain it
  std::vector<index_t> image_pixels;  ///< [classes] all pixels, ignored ones too, of the images that contain it
  index_t all_pixels = 0, all_images = 0;

  explicit LabelCounts(index_t num_classes = 0)
      : pixels(static_cast<std::size_t>(num_classes)), images(pixels.size()), image_pixels(pixels.size()) {}

  /// Adds one label map. Labels outside [0, classes) count as pixels of the image only.
  void add(const Tensor<std::int32_t>& label) {
    std::vector<index_t> here(pixels.size());
    for (index_t i = 0; i < label.numel(); ++i)
      if (const auto id = static_cast<std::size_t>(label.data()[i]); id < here.size()) ++here[id];
    for (std::size_t c = 0; c < here.size(); ++c) {
      pixels[c] += here[c];
      if (here[c]) ++images[c], image_pixels[c] += label.numel();
    }
    all_pixels += label.numel();
    ++all_images;
  }
};

/// Counts the labels of all samples; reads every one.
[[nodiscard]] inline LabelCounts count_labels(const Dataset& dataset) {
  LabelCounts counts(dataset.info().num_classes());
  for (index_t i = 0; i < dataset.size(); ++i) counts.add(dataset.get(i).label);
  return counts;
}

enum class Frequency {
  per_image,   ///< f_c = pixels of c / pixels of the images that contain c (the definition of the papers)
  over_pixels  ///< f_c = pixels of c / pixels of all images (what many programs compute)
};

/// Median frequency balancing: w_c = median(f) / f_c (D. Eigen, R. Fergus, arXiv:1411.4734, section 6.3.2). A class that does not occur
/// gets 0 and no part in the median. @return [classes]
[[nodiscard]] inline std::vector<float> median_frequency_weights(const LabelCounts& counts, Frequency rule = Frequency::per_image) {
  std::vector<double> f(counts.pixels.size()), sorted;
  for (std::size_t c = 0; c < f.size(); ++c) {
    if (!counts.pixels[c]) continue;
    f[c] = static_cast<double>(counts.pixels[c]) /
           static_cast<double>(rule == Frequency::per_image ? counts.image_pixels[c] : counts.all_pixels);
    sorted.push_back(f[c]);
  }
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  const double median = n == 0 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  std::vector<float> weights;
  for (const double frequency : f) weights.push_back(frequency > 0 ? static_cast<float>(median / frequency) : 0.0f);
  return weights;
}

/// ENet's weights: w_c = 1 / ln(1.02 + p_c), p_c = share of the labelled pixels (A. Paszke et al., arXiv:1606.02147, section 5.2).
[[nodiscard]] inline std::vector<float> enet_weights(const LabelCounts& counts) {
  double labelled = 0;
  for (const index_t pixels : counts.pixels) labelled += static_cast<double>(pixels);
  std::vector<float> weights;
  for (const index_t pixels : counts.pixels)
    weights.push_back(static_cast<float>(1 / std::log(1.02 + (labelled > 0 ? static_cast<double>(pixels) / labelled : 0))));
  return weights;
}

}  // namespace segnet::data
