// What the benchmark of networks asks of segnet and of its peers.
#pragma once

#include <random>

#include "whole_network.hpp"

/// Inference with a network of networks_torch.py's, which wrote NAME.pt and NAME.pth to `folder`, on one image.
struct NetworkCase {
  std::string name, folder;
  int height = 360, width = 480;
  int threads = 1;

  [[nodiscard]] std::string file(const char* extension) const { return folder + "/" + name + extension; }
  /// [height, width, 3], the same each time.
  [[nodiscard]] std::vector<float> image() const {
    std::mt19937 random(1);
    std::vector<float> x(static_cast<std::size_t>(3 * height * width));
    for (float& value : x) value = static_cast<float>(random()) * 0x1p-30f - 2;
    return x;
  }
};

struct NetworkContender {
  std::string name;
  std::function<std::unique_ptr<NetworkRunner>(const NetworkCase&)> make;
};

/// segnet's peers; other files of this program add themselves.
std::vector<NetworkContender>& network_peers();
