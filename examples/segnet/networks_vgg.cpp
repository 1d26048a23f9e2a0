// VGG.
#include "networks.hpp"

namespace segnet::program {
std::vector<NetworkInfo> vgg_networks() { return {}; }
}  // namespace segnet::program
