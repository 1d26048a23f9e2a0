// ResNet.
#include "networks.hpp"

namespace segnet::program {
std::vector<NetworkInfo> resnet_networks() { return {}; }
}  // namespace segnet::program
