// What the U-Net benchmark asks of segnet and of its peers.
#pragma once

#include "whole_network.hpp"

/// A U-Net with batch norm and same padding on random images, 11 classes.
struct UNetCase {
  int width, height, side, batch;  ///< channels of the first level; image height and width; images
  bool training = false;           ///< steps (forward, cross entropy, backward, SGD with momentum), or inference without gradients
  int threads = 1;
  std::string name() const {
    return std::to_string(width) + " wide, " + std::to_string(batch) + " x " + std::to_string(height) + " x " + std::to_string(side);
  }
};

struct UNetContender {
  std::string name;
  std::function<std::unique_ptr<NetworkRunner>(const UNetCase&)> make;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<UNetContender>& unet_contenders();
