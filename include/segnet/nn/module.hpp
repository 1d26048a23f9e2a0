// Modules: plain structs that list their members once. No base class, no registration, no virtual calls.
//
//   template <class T = float, class D = Cpu>
//   struct Head {
//     nn::Conv2d<T, D> conv;
//     nn::BatchNorm2d<T, D> norm;
//     Tensor<T, D> operator()(const Tensor<T, D>& x) const { return relu(norm(conv(x))); }
//     SEGNET_FIELDS(conv, norm)
//   };
//
// From that list come parameters(head), state_dict(head) with the names "conv.weight", "norm.weight", ..., train(head),
// eval(head), clone(head), summary(head, shape) and files of weights. A field is a Parameter, a Buffer, or a module, or a
// std::optional of these; other members (options, sizes) are not listed.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "segnet/autograd/graph.hpp"

// SEGNET_FIELDS(a, b, c): the members that hold parameters, in the order of the state dict.
#define SEGNET_DETAIL_PARENS ()
#define SEGNET_DETAIL_EXPAND(...) SEGNET_DETAIL_EXPAND3(SEGNET_DETAIL_EXPAND3(SEGNET_DETAIL_EXPAND3(__VA_ARGS__)))
#define SEGNET_DETAIL_EXPAND3(...) SEGNET_DETAIL_EXPAND2(SEGNET_DETAIL_EXPAND2(SEGNET_DETAIL_EXPAND2(__VA_ARGS__)))
#define SEGNET_DETAIL_EXPAND2(...) SEGNET_DETAIL_EXPAND1(SEGNET_DETAIL_EXPAND1(SEGNET_DETAIL_EXPAND1(__VA_ARGS__)))
#define SEGNET_DETAIL_EXPAND1(...) __VA_ARGS__
#define SEGNET_DETAIL_VISIT(field, ...) \
  visit(#field, self.field);            \
  __VA_OPT__(SEGNET_DETAIL_VISIT_AGAIN SEGNET_DETAIL_PARENS(__VA_ARGS__))
#define SEGNET_DETAIL_VISIT_AGAIN() SEGNET_DETAIL_VISIT
#define SEGNET_FIELDS(...)                                                                  \
  template <class Self, class Visit>                                                        \
  static void for_each_field([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) { \
    __VA_OPT__(SEGNET_DETAIL_EXPAND(SEGNET_DETAIL_VISIT(__VA_ARGS__)))                      \
  }

namespace segnet::nn {

/// Where a parameter's elements lie in PyTorch: the same, or, for convolution weights, [O, I, ...] for our [O, ..., I].
enum class WeightLayout { plain, convolution };

/// A trainable tensor. A default-constructed one is absent (a layer without bias) and does not appear anywhere.
template <class T = float, class D = Cpu>
struct Parameter : Tensor<T, D> {
  Parameter() = default;
  explicit Parameter(Tensor<T, D> values, WeightLayout weight_layout = WeightLayout::plain)
      : Tensor<T, D>(std::move(values)), layout(weight_layout) {
    this->requires_grad();
  }
  WeightLayout layout = WeightLayout::plain;
};

/// A tensor that belongs to the state dict but is not trained, such as running statistics.
template <class T = float, class D = Cpu>
struct Buffer : Tensor<T, D> {
  Buffer() = default;
  explicit Buffer(Tensor<T, D> values) : Tensor<T, D>(std::move(values)) {}
};

namespace detail {
template <class X>
inline constexpr bool is_parameter = false;
template <class T, class D>
inline constexpr bool is_parameter<Parameter<T, D>> = true;
template <class X>
inline constexpr bool is_buffer = false;
template <class T, class D>
inline constexpr bool is_buffer<Buffer<T, D>> = true;
template <class X>
inline constexpr bool is_optional = false;
template <class X>
inline constexpr bool is_optional<std::optional<X>> = true;

inline std::string joined(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : concat(prefix, ".", name);
}
}  // namespace detail

/// Calls f(name, field) for every Parameter and Buffer that is there, depth first in the order of the lists.
template <class M, class F>
void for_each_tensor(M& module, const F& f, const std::string& prefix = {}) {
  std::remove_const_t<M>::for_each_field(module, [&](std::string_view name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const std::string full = detail::joined(prefix, name);
    if constexpr (detail::is_parameter<Field> || detail::is_buffer<Field>) {
      if (field) f(full, field);
    } else if constexpr (detail::is_optional<Field>) {
      if (field) for_each_tensor(*field, f, full);
    } else {
      for_each_tensor(field, f, full);
    }
  });
}

/// Calls f(name, module) for the module itself (name "") and every module inside, parents first.
template <class M, class F>
void for_each_module(M& module, const F& f, const std::string& prefix = {}) {
  f(prefix, module);
  std::remove_const_t<M>::for_each_field(module, [&](std::string_view name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const std::string full = detail::joined(prefix, name);
    if constexpr (detail::is_parameter<Field> || detail::is_buffer<Field>) {
    } else if constexpr (detail::is_optional<Field>) {
      if (field) for_each_module(*field, f, full);
    } else {
      for_each_module(field, f, full);
    }
  });
}

template <class T, class D = Cpu>
struct NamedTensor {
  std::string name;
  Tensor<T, D> tensor;
  WeightLayout layout = WeightLayout::plain;
  bool trainable = false;  ///< a Parameter; else a Buffer
};

/// All parameters and buffers with their names, as handles: writing to them changes the module.
/// T is the element type of the module's tensors: `Master<T>` of what it computes in, float for a network of bfloat16.
template <class T = float, class D = Cpu, class M>
[[nodiscard]] std::vector<NamedTensor<T, D>> state_dict(const M& module) {
  std::vector<NamedTensor<T, D>> all;
  for_each_tensor(module, [&](const std::string& name, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (detail::is_parameter<Field>) all.push_back({name, field, field.layout, true});
    else all.push_back({name, field, WeightLayout::plain, false});
  });
  return all;
}

/// The parameters with their names, without buffers.
template <class T = float, class D = Cpu, class M>
[[nodiscard]] std::vector<NamedTensor<T, D>> named_parameters(const M& module) {
  std::vector<NamedTensor<T, D>> all;
  for (auto& entry : state_dict<T, D>(module))
    if (entry.trainable) all.push_back(std::move(entry));
  return all;
}

/// The parameters, as optimisers take them.
template <class T = float, class D = Cpu, class M>
[[nodiscard]] std::vector<Tensor<T, D>> parameters(const M& module) {
  std::vector<Tensor<T, D>> all;
  for (auto& entry : state_dict<T, D>(module))
    if (entry.trainable) all.push_back(std::move(entry.tensor));
  return all;
}

/// Number of trainable elements.
template <class M>
[[nodiscard]] index_t num_parameters(const M& module) {
  index_t n = 0;
  for_each_tensor(module, [&](const std::string&, const auto& field) {
    if constexpr (detail::is_parameter<std::remove_cvref_t<decltype(field)>>) n += field.numel();
  });
  return n;
}

/// Whether a name is `prefix` or of something inside it: "backbone" and "backbone.conv1", not "backbone2". Everything is inside "".
[[nodiscard]] inline bool is_inside(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && (prefix.empty() || name.size() == prefix.size() || name[prefix.size()] == '.');
}

/// Switches every layer that differs between training and inference (batch norm, dropout), or those inside the part of that name.
template <class M>
void train(M& module, bool training = true, std::string_view part = {}) {
  for_each_module(module, [=](const std::string& name, auto& m) {
    if constexpr (requires { m.training = training; })
      if (is_inside(name, part)) m.training = training;
  });
}
template <class M>
void eval(M& module) {
  train(module, false);
}

/// Forgets all gradients.
template <class M>
void zero_grad(const M& module) {
  for_each_tensor(module, [](const std::string&, const auto& field) { field.zero_grad(); });
}

/// Freezes (false) or thaws all parameters of a module.
template <class M>
void set_trainable(const M& module, bool trainable) {
  for_each_tensor(module, [=](const std::string&, const auto& field) {
    if constexpr (detail::is_parameter<std::remove_cvref_t<decltype(field)>>) field.requires_grad(trainable);
  });
}

/// A module with tensors of its own. (A plain copy shares them, as copies of a Tensor do.)
template <class M>
[[nodiscard]] M clone(const M& module) {
  M copy = module;
  for_each_tensor(copy, [](const std::string&, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (detail::is_parameter<Field>) {
      const bool trainable = field.tracked();
      field = Field(field.clone(), field.layout);
      field.requires_grad(trainable);
    } else {
      field = Field(field.clone());
    }
  });
  return copy;
}

/// Overwrites the tensors of one state dict with those of another that has the same names and shapes, on any devices:
///
///   copy_state(state_dict<float>(on_cpu), state_dict<float, Cuda>(on_gpu));
///
/// @throws ValueError: other names;  ShapeError
template <class T, class D, class U, class E>
void copy_state(const std::vector<NamedTensor<T, D>>& from, const std::vector<NamedTensor<U, E>>& to) {
  const auto name = [](const auto& state, std::size_t i) { return i < state.size() ? state[i].name : std::string("nothing"); };
  for (std::size_t i = 0; i < std::max(from.size(), to.size()); ++i)
    if (name(from, i) != name(to, i))
      throw ValueError("nn::copy_state", "from", concat("'", name(to, i), "'"), concat("'", name(from, i), "'"));
  for (std::size_t i = 0; i < from.size(); ++i) {
    Tensor<U, E> target = to[i].tensor;
    if constexpr (std::is_same_v<T, U>) {
      target.copy_from(from[i].tensor);
    } else {
      std::vector<U> values;
      for (const T value : from[i].tensor.to_vector()) values.push_back(static_cast<U>(value));
      target.copy_from(Tensor<U>(from[i].tensor.shape(), values));
    }
  }
}

}  // namespace segnet::nn
