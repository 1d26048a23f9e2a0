#include "networks.hpp"

namespace segnet::program {

const std::vector<NetworkInfo>& networks() {
  static const std::vector<NetworkInfo> all = [] {
    std::vector<NetworkInfo> list;
    for (const auto family :
         {small_networks, vgg_networks, classic_networks, resnet_networks, hrnet_networks, transformer_networks, internimage_networks})
      for (NetworkInfo& info : family()) list.push_back(std::move(info));
    return list;
  }();
  return all;
}

const NetworkInfo& network_info(const std::string& name) {
  std::string known;
  for (const auto& info : networks()) {
    if (info.name == name) return info;
    known += (known.empty() ? "" : ", ") + info.name;
  }
  throw ValueError("program", "--model", "one of " + known, name);
}

}  // namespace segnet::program
