// --crf: what a dense CRF makes of a network's probabilities.
#include "segnet/crf/dense_crf.hpp"

#include "commands.hpp"
#include "segnet/crf/unary.hpp"

namespace segnet::program {

Tensor<float> crf_refined(const Tensor<float>& probabilities, const Tensor<std::uint8_t>& image, const CrfConfig& c) {
  crf::DenseCrf<float> crf(image.dim(0), image.dim(1), probabilities.dim(-1));
  if (c.smoothness[0] > 0) crf.add(crf::GaussianTerm{.sxy = c.smoothness[1], .compat = c.smoothness[0]});
  if (c.appearance[0] > 0) crf.add(crf::BilateralTerm{.sxy = c.appearance[1], .srgb = c.appearance[2], .compat = c.appearance[0]}, image);
  return crf.infer(crf::unary_from_probabilities(probabilities), c.iterations);
}

}  // namespace segnet::program
