// What every network must be able to do.
#pragma once

#include "segnet/nn/module.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/optim/adam.hpp"
#include "support/testing.hpp"

namespace segnet::testing {

/// A few steps on one image lower the loss. Labels: vertical stripes, one for each class.
void learns(auto& net, const Shape& image, index_t classes, index_t label_size_h, index_t label_size_w, double lr = 1e-2) {
  const auto x = normal<float>(image);
  Tensor<std::int32_t> labels({image[0], label_size_h, label_size_w});
  for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % label_size_w * classes / label_size_w);
  optim::Adam<> adam(nn::parameters(net), {.lr = lr});
  nn::train(net);
  double first = 0, last = 0;
  for (int step = 0; step < 6; ++step) {
    const auto loss = cross_entropy(net(x), labels);
    (step ? last : first) = static_cast<double>(loss.item());
    adam.zero_grad();
    loss.backward();
    adam.step();
  }
  CHECK(last < first);
}

}  // namespace segnet::testing
