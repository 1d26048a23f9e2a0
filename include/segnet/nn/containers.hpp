// Sequential: a few layers of different types, one after the other. ModuleList: any number of one type.
// The names inside are "0", "1", ..., as in PyTorch.
#pragma once

#include <tuple>
#include <vector>

#include "segnet/nn/module.hpp"

namespace segnet::nn {

/// Applies its layers in order. Meant for short chains; depth belongs into a ModuleList, whose type does not grow.
template <class... Layers>
struct Sequential {
  std::tuple<Layers...> layers;

  Sequential() = default;
  explicit Sequential(Layers... in_order) : layers(std::move(in_order)...) {}

  template <class X>
  X operator()(const X& x) const {
    return std::apply(
        [&](const auto&... layer) {
          X y = x;
          ((y = layer(y)), ...);
          return y;
        },
        layers);
  }
  /// Layer number i.
  template <std::size_t i>
  auto& get() {
    return std::get<i>(layers);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    std::apply(
        [&](auto&... layer) {
          std::size_t i = 0;
          (visit(std::to_string(i++), layer), ...);
        },
        self.layers);
  }
};

/// Modules of one type, built and called by the code around it.
template <class M>
struct ModuleList {
  std::vector<M> modules;

  void push_back(M module) { modules.push_back(std::move(module)); }
  [[nodiscard]] std::size_t size() const { return modules.size(); }
  [[nodiscard]] M& operator[](std::size_t i) { return modules[i]; }
  [[nodiscard]] const M& operator[](std::size_t i) const { return modules[i]; }
  [[nodiscard]] M& back() { return modules.back(); }
  auto begin() { return modules.begin(); }
  auto end() { return modules.end(); }
  auto begin() const { return modules.begin(); }
  auto end() const { return modules.end(); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.modules.size(); ++i) visit(std::to_string(i), self.modules[i]);
  }
};

}  // namespace segnet::nn
