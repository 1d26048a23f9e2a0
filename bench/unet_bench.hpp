// What the U-Net benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// A U-Net with batch norm and same padding on random images, 11 classes.
struct UNetCase {
  int width, height, side, batch;  ///< channels of the first level; image height and width; images
  std::string name() const {
    return std::to_string(width) + " wide, " + std::to_string(batch) + " x " + std::to_string(height) + " x " + std::to_string(side);
  }
};

/// One library's network, ready to run.
struct UNetRunner {
  virtual ~UNetRunner() = default;
  virtual void train_step() = 0;  ///< forward, cross entropy, backward, SGD with momentum
  virtual void inference() = 0;   ///< forward in inference mode, without gradients
};

struct UNetContender {
  std::string name;
  std::function<std::unique_ptr<UNetRunner>(const UNetCase&, int threads)> make;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<UNetContender>& unet_contenders();
