// Deterministic weights for networks whose weights nobody ships: a value for each (tensor name, element).
#pragma once

#include <cmath>

#include "segnet/core/tensor.hpp"

namespace segnet::golden {

/// 64-bit FNV-1a of a text.
inline std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}
inline std::uint64_t splitmix64(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
/// Element i of the tensor whose name has this hash: uniform in [-1, 1), exact in float.
inline double hash_uniform(std::uint64_t name_hash, index_t i) {
  return static_cast<double>(splitmix64(name_hash + static_cast<std::uint64_t>(i)) >> 40) * 0x1p-23 - 1;
}

/// The tensor of that name and shape (PyTorch's order of dimensions). `kind` is what it is in a network: weight, bias, norm_weight,
/// scale, norm_bias, running_mean, running_var or input. @throws Error for another kind
inline Tensor<float> hash_fill(const std::string& name, const Shape& shape, std::string_view kind, double gain = 1) {
  double scale = 1, offset = 0;
  bool magnitude = false;
  if (kind == "weight") scale = gain * std::sqrt(3.0 / static_cast<double>(shape.numel() / shape[0]));  // fan_in = numel / shape[0]
  else if (kind == "bias") scale = 0.01;
  else if (kind == "norm_weight" || kind == "scale") scale = 0.1, offset = 1;
  else if (kind == "norm_bias" || kind == "running_mean") scale = 0.1;
  else if (kind == "running_var") scale = 0.5, offset = 1, magnitude = true;
  else if (kind != "input") throw Error(segnet::concat("no fill for tensors of kind '", kind, "'"));
  const std::uint64_t hash = fnv1a64(name);
  Tensor<float> t(shape);
  for (index_t i = 0; i < t.numel(); ++i) {
    const double u = hash_uniform(hash, i);
    t.data()[i] = static_cast<float>(offset + scale * (magnitude ? std::abs(u) : u));
  }
  return t;
}

}  // namespace segnet::golden
