// Tensor: a cheap handle to contiguous elements on a device and, when gradients are wanted, to a place in the graph.
#pragma once

#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/memory.hpp"
#include "segnet/core/view.hpp"

namespace segnet {

namespace autograd {
template <class T, class D>
struct GradNode;  // autograd/graph.hpp
template <class T, class D>
struct Recipe;  // autograd/saved.hpp
}  // namespace autograd

namespace detail {
// The GPU's are in cuda/fill.cuh.
template <class T>
void fill(View<T, Cpu> t, std::type_identity_t<T> value) {
  for (index_t i = 0, n = t.size(); i < n; ++i) t[i] = value;
}
template <class T>
void fill_range(View<T, Cpu> t) {
  for (index_t i = 0, n = t.size(); i < n; ++i) t[i] = static_cast<T>(i);
}
template <class T>
void fill(View<T, Cuda> t, std::type_identity_t<T> value);
template <class T>
void fill_range(View<T, Cuda> t);

/// Copies bytes from a block on device From to one on device To.
template <class To, class From>
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if constexpr (std::is_same_v<To, Cpu> && std::is_same_v<From, Cpu>) std::memmove(to, from, bytes);
  else cuda_copy(to, from, bytes, std::is_same_v<To, Cpu> ? Copy::to_host : std::is_same_v<From, Cpu> ? Copy::to_device : Copy::on_device);
}
}  // namespace detail

/// Elements of type T (float, double, int32, int64, uint8, bool; bfloat16 on the GPU) on device D: contiguous, row-major, images channels
/// last
/// ([N, H, W, C]). Copying a Tensor copies the handle; `clone()` copies the elements. A default-constructed Tensor is
/// *undefined* (`if (t)` is false): it stands for "none", such as a convolution without bias.
template <class T, class D = Cpu>
class Tensor {
 public:
  using value_type = T;
  using device = D;

  Tensor() = default;

  /// Of that shape, not initialised. See `zeros`, `full`, `random_normal`.
  explicit Tensor(const Shape& shape)
      : state_(std::make_shared<State>(State{std::make_shared<detail::Buffer<D>>(static_cast<std::size_t>(shape.numel()) * sizeof(T)),
                                             nullptr, shape, nullptr, nullptr})) {
    state_->data = static_cast<T*>(state_->buffer->data());
  }

  /// Of that shape, with these elements in row-major order. @throws ShapeError when their number differs.
  Tensor(const Shape& shape, std::initializer_list<T> values) : Tensor(shape, values.begin(), values.size()) {}
  Tensor(const Shape& shape, const std::vector<T>& values) : Tensor(shape, values.data(), values.size()) {}
  Tensor(const Shape& shape, const T* values, std::size_t count) : Tensor(shape) {
    if (static_cast<index_t>(count) != shape.numel())
      throw ShapeError("Tensor", "values", concat("as many elements as ", shape), {static_cast<index_t>(count)});
    detail::copy_bytes<D, Cpu>(data(), values, count * sizeof(T));
  }

  /// Memory that `owner` keeps alive (a mapped file, another library's array), used without a copy.
  [[nodiscard]] static Tensor from_external(T* data, const Shape& shape, std::shared_ptr<const void> owner) {
    Tensor t;
    t.state_ = std::make_shared<State>(State{std::make_shared<detail::Buffer<D>>(data, std::move(owner)), data, shape, nullptr, nullptr});
    return t;
  }

  explicit operator bool() const { return state_ != nullptr; }
  [[nodiscard]] const Shape& shape() const {
    static const Shape none{0};
    return state_ ? state_->shape : none;
  }
  [[nodiscard]] int rank() const { return shape().rank(); }
  [[nodiscard]] index_t dim(int i) const { return shape()[i]; }
  [[nodiscard]] index_t numel() const { return state_ ? state_->shape.numel() : 0; }
  [[nodiscard]] T* data() const { return state_ ? state_->data : nullptr; }
  [[nodiscard]] View<T, D> view() const { return {data(), shape()}; }

  /// The same elements under another shape; not recorded in the graph (`reshape` is). Starts `offset` elements in.
  [[nodiscard]] Tensor alias(const Shape& shape, index_t offset = 0) const {
    if (offset < 0 || offset + shape.numel() > numel())
      throw ShapeError("Tensor::alias", "shape", concat("at most the elements of ", this->shape(), " behind ", offset), shape);
    Tensor t;
    t.state_ = std::make_shared<State>(State{state_->buffer, state_->data + offset, shape, nullptr, nullptr});
    return t;
  }

  /// Element at these indices, on the CPU. @throws ValueError when one is out of range.
  template <class... Index>
  [[nodiscard]] T& at(Index... index) const
    requires std::is_same_v<D, Cpu>
  {
    const index_t i[] = {static_cast<index_t>(index)..., 0};
    if (sizeof...(index) != static_cast<std::size_t>(rank()))
      throw ValueError("Tensor::at", "index", concat(rank(), " numbers for shape ", shape()), concat(sizeof...(index)));
    index_t offset = 0;
    for (int d = 0; d < rank(); ++d) {
      if (i[d] < 0 || i[d] >= dim(d))
        throw ValueError("Tensor::at", "index", concat("below ", dim(d), " in dimension ", d, " of ", shape()), concat(i[d]));
      offset = offset * dim(d) + i[d];
    }
    return data()[offset];
  }

  /// The only element of a tensor that has one. @throws ShapeError
  [[nodiscard]] T item() const {
    if (numel() != 1) throw ShapeError("Tensor::item", "tensor", "one element", shape());
    T value;
    detail::copy_bytes<Cpu, D>(&value, data(), sizeof(T));
    return value;
  }

  /// The elements in row-major order, on the host.
  [[nodiscard]] std::vector<T> to_vector() const
    requires(!std::is_same_v<T, bool>)
  {
    std::vector<T> values(static_cast<std::size_t>(numel()));
    detail::copy_bytes<Cpu, D>(values.data(), data(), values.size() * sizeof(T));
    return values;
  }

  /// Its own copy of the elements, outside the graph.
  [[nodiscard]] Tensor clone() const {
    if (!state_) return {};
    Tensor t(shape());
    t.copy_from(*this);
    return t;
  }
  /// Overwrites the elements in place with those of a tensor of the same shape, on any device.
  template <class E>
  void copy_from(const Tensor<T, E>& other) {
    if (other.shape() != shape()) throw ShapeError("Tensor::copy_from", "other", concat(shape()), other.shape());
    detail::copy_bytes<D, E>(data(), other.data(), static_cast<std::size_t>(numel()) * sizeof(T));
  }
  void fill(T value) { detail::fill(view(), value); }
  /// The same elements on device E: this tensor itself if it is there, else a copy. Gradients flow back through it.
  template <class E>
  [[nodiscard]] Tensor<T, E> to() const;  // autograd/graph.hpp

  // Gradients; defined in autograd/graph.hpp and autograd/backward.hpp.

  /// Makes this tensor (all handles of it) a leaf whose gradient `backward` leaves in `grad()`. Returns the same tensor.
  const Tensor& requires_grad(bool wanted = true) const;
  /// Whether gradients flow to or through this tensor.
  [[nodiscard]] bool tracked() const { return state_ && state_->node != nullptr; }
  /// The gradient that `backward` left here; undefined before. Only leaves keep theirs.
  [[nodiscard]] Tensor grad() const;
  /// Forgets (and frees) the gradient.
  void zero_grad() const;
  /// Replaces the gradient, as gradient clipping and hand-written training loops do. @throws ShapeError
  void set_grad(const Tensor& gradient) const;
  /// Walks the graph behind this tensor and adds d(this)/d(leaf) * gradient to every leaf's `grad()`. `gradient` may be left
  /// out for one element, and is 1 then. Frees the graph as it goes, unless `keep_graph`. @throws Error, ShapeError
  void backward(const Tensor& gradient = {}, bool keep_graph = false) const;
  /// The same elements, outside the graph.
  [[nodiscard]] Tensor detach() const { return state_ ? alias(shape()) : Tensor{}; }

  /// For operations: the node of this tensor in the graph.
  [[nodiscard]] const std::shared_ptr<autograd::GradNode<T, D>>& node() const {
    static const std::shared_ptr<autograd::GradNode<T, D>> none;
    return state_ ? state_->node : none;
  }
  void set_node(std::shared_ptr<autograd::GradNode<T, D>> node) const { state_->node = std::move(node); }
  /// For operations: how the elements can be computed again, if at all; see `recomputable`.
  [[nodiscard]] std::shared_ptr<const autograd::Recipe<T, D>> recipe() const { return state_ ? state_->recipe : nullptr; }
  void set_recipe(std::shared_ptr<const autograd::Recipe<T, D>> recipe) const { state_->recipe = std::move(recipe); }
  /// Whether both are handles of the same elements.
  [[nodiscard]] bool shares_memory_with(const Tensor& other) const {
    return state_ && other.state_ && state_->buffer == other.state_->buffer;
  }
  /// Whether nobody else can see the elements, so that they may be overwritten.
  [[nodiscard]] bool unique() const { return state_ && state_.use_count() == 1 && state_->buffer.use_count() == 1; }

 private:
  struct State {
    std::shared_ptr<detail::Buffer<D>> buffer;
    T* data;
    Shape shape;
    std::shared_ptr<autograd::GradNode<T, D>> node;
    std::shared_ptr<const autograd::Recipe<T, D>> recipe;
  };
  std::shared_ptr<State> state_;
};

/// All elements `value`.
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> full(const Shape& shape, std::type_identity_t<T> value) {
  Tensor<T, D> t(shape);
  t.fill(value);
  return t;
}
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> zeros(const Shape& shape) {
  return full<T, D>(shape, T(0));
}
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> ones(const Shape& shape) {
  return full<T, D>(shape, T(1));
}
/// 0, 1, ..., n - 1
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> arange(index_t n) {
  Tensor<T, D> t({n});
  detail::fill_range(t.view());
  return t;
}

}  // namespace segnet
