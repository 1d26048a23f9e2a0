// Devices are types: mixing them is a compile error, and code without CUDA never sees it.
#pragma once

namespace segnet {

struct Cpu {
  static constexpr const char* name = "cpu";
};
struct Cuda {
  static constexpr const char* name = "cuda";
};

}  // namespace segnet
