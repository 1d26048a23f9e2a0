// The graph: which operations made a tensor, and what each one's backward pass computes. Knows no operation by name.
//
// Every tracked tensor has one node. A leaf's node (requires_grad) keeps a gradient; an operation's node also holds the closure
// that maps the gradient of its output to those of its inputs. Edges point from outputs to inputs, so a graph lives exactly as
// long as somebody holds its end.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "segnet/core/closure.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"

namespace segnet {

namespace autograd {

/// Part of a node that does not depend on the element type.
struct Node {
  explicit Node(const char* op) : operation(op), order(next_order()) {}
  virtual ~Node() { unlink(std::move(inputs)); }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Runs the closure on the gradient that arrived, if one did, and forgets the gradient.
  virtual void run() = 0;
  /// Drops the closure and what it kept.
  virtual void release() = 0;
  /// Drops a gradient that is only passing through.
  virtual void drop_gradient() = 0;

  const char* operation;                      ///< nullptr for a leaf
  std::uint64_t order;                        ///< inputs are always older than outputs
  std::vector<std::shared_ptr<Node>> inputs;  ///< null where an input is not tracked
  bool released = false;
  bool visited = false;  ///< used by the walk

 private:
  static std::uint64_t next_order() {
    static std::atomic<std::uint64_t> count{0};
    return count.fetch_add(1, std::memory_order_relaxed);
  }
  /// A chain of a million nodes must not recurse a million destructors deep.
  static void unlink(std::vector<std::shared_ptr<Node>>&& list) {
    while (!list.empty()) {
      const std::shared_ptr<Node> node = std::move(list.back());
      list.pop_back();
      if (node && node.use_count() == 1) {
        for (auto& input : node->inputs) list.push_back(std::move(input));
        node->inputs.clear();
      }
    }
  }
};

template <class T, class D = Cpu>
class Gradients;

/// The node of a Tensor<T, D>.
template <class T, class D>
struct GradNode final : Node {
  using Backward = Closure<void(const Tensor<T, D>& dy, Gradients<T, D>& grad)>;

  GradNode(const char* op, const Shape& output_shape) : Node(op), shape(output_shape) {}

  void run() override;
  void release() override {
    backward = {};
    released = true;
  }
  void drop_gradient() override { grad = {}; }

  /// Adds to the gradient. `g` is kept without a copy if it is the first; nothing that others can see is overwritten.
  void accumulate(Tensor<T, D> g);

  Shape shape;
  Tensor<T, D> grad;
  Backward backward;
};

/// Where a closure puts what it computed: `grad[i]` is a fresh, uninitialised tensor shaped like input i, to be assigned.
/// Adding up several uses of a tensor is the graph's work.
template <class T, class D>
class Gradients {
 public:
  explicit Gradients(const std::vector<std::shared_ptr<Node>>& inputs) : inputs_(inputs), fresh_(inputs.size()) {}

  /// Whether anybody wants the gradient of input i: where not, do not compute it.
  [[nodiscard]] bool wanted(std::size_t i) const { return inputs_[i] != nullptr; }

  /// Storage for the gradient of input i, to be assigned in full.
  [[nodiscard]] const Tensor<T, D>& operator[](std::size_t i) {
    if (!fresh_[i]) fresh_[i] = Tensor<T, D>(node<T, D>(i).shape);
    return fresh_[i];
  }
  /// The same in the place of dy, if nobody else sees dy: for closures that read each element of it before they assign that element.
  [[nodiscard]] const Tensor<T, D>& in_place_of(const Tensor<T, D>& dy, std::size_t i) {
    if (!fresh_[i] && dy.unique() && dy.shape() == node<T, D>(i).shape) fresh_[i] = dy;
    return (*this)[i];
  }
  /// What the gradient of input i is to be added to in place: what others gave it so far if nobody sees that, else zeros.
  [[nodiscard]] const Tensor<T, D>& sum_so_far(std::size_t i) {
    GradNode<T, D>& to = node<T, D>(i);
    return to.grad.unique() ? to.grad : fresh_[i] = zeros<T, D>(to.shape);
  }
  /// Hands over a finished gradient of input i (of the input's shape; it may be dy itself).
  void set(std::size_t i, Tensor<T, D> gradient) { fresh_[i] = std::move(gradient); }
  /// The same for an input of another element type or device.
  template <class U, class E>
  void set_other(std::size_t i, Tensor<U, E> gradient) {
    if (inputs_[i]) node<U, E>(i).accumulate(std::move(gradient));
  }

  /// Passes everything on to the inputs' nodes.
  void deliver() {
    for (std::size_t i = 0; i < fresh_.size(); ++i)
      if (fresh_[i] && inputs_[i]) node<T, D>(i).accumulate(std::move(fresh_[i]));
  }

 private:
  template <class U, class E>
  GradNode<U, E>& node(std::size_t i) const {
    return static_cast<GradNode<U, E>&>(*inputs_[i]);
  }
  const std::vector<std::shared_ptr<Node>>& inputs_;
  std::vector<Tensor<T, D>> fresh_;
};

/// An input of an operation, of any element type and device, as `record` takes it.
struct Input {
  template <class T, class D>
  Input(const Tensor<T, D>& tensor) : node(tensor.node()) {}  // NOLINT: an initializer list of tensors
  std::shared_ptr<Node> node;
};

/// sum = a + b, element by element; sum may be a or b.
template <class T>
void add(View<T, Cpu> sum, ConstView<T, Cpu> a, ConstView<T, Cpu> b) {
  parallel_for(sum.size(), 1 << 15, [=](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) sum[i] = static_cast<T>(a[i] + b[i]);
  });
}
template <class T>
void add(View<T, Cuda> sum, ConstView<T, Cuda> a, ConstView<T, Cuda> b);  // cuda/fill.cuh

inline bool& recording_flag() {
  thread_local bool on = true;
  return on;
}
inline bool& recomputing_flag() {
  thread_local bool on = false;
  return on;
}

template <class T, class D>
void GradNode<T, D>::run() {
  if (!grad || !backward) return;
  Gradients<T, D> gradients(inputs);
  const Tensor<T, D> dy = std::move(grad);
  grad = {};
  backward(dy, gradients);
  gradients.deliver();
}

template <class T, class D>
void GradNode<T, D>::accumulate(Tensor<T, D> g) {
  if (g.shape() != shape) throw ShapeError(operation ? operation : "backward", "gradient", concat(shape), g.shape());
  if (!grad) {
    grad = std::move(g);
    return;
  }
  Tensor<T, D> sum = grad.unique() ? grad : g.unique() ? g : Tensor<T, D>(shape);
  add(sum.view(), grad.view(), g.view());
  grad = std::move(sum);
}

}  // namespace autograd

using autograd::Gradients;

/// Whether operations are being recorded on this thread.
[[nodiscard]] inline bool is_recording() { return autograd::recording_flag(); }

/// Whether a checkpointed part of a network is being computed a second time: running statistics were updated already.
[[nodiscard]] inline bool is_recomputing() { return autograd::recomputing_flag(); }

/// While it lives, nothing is recorded on this thread: `NoGrad guard;` around inference and parameter updates.
class NoGrad {
 public:
  NoGrad() : before_(autograd::recording_flag()) { autograd::recording_flag() = false; }
  ~NoGrad() { autograd::recording_flag() = before_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

/// The value of f() computed without recording.
template <class F>
decltype(auto) no_grad(const F& f) {
  NoGrad guard;
  return f();
}

namespace detail {
[[nodiscard]] inline bool wants_recording(const autograd::Input* inputs, std::size_t count) {
  if (!is_recording()) return false;
  for (std::size_t i = 0; i < count; ++i)
    if (inputs[i].node) return true;
  return false;
}
/// Gives y its node.
template <class T, class D>
void record(const char* name, const Tensor<T, D>& y, const autograd::Input* inputs, std::size_t count,
            typename autograd::GradNode<T, D>::Backward backward) {
  auto node = std::make_shared<autograd::GradNode<T, D>>(name, y.shape());
  for (std::size_t i = 0; i < count; ++i) node->inputs.push_back(inputs[i].node);
  node->backward = std::move(backward);
  y.set_node(std::move(node));
}
}  // namespace detail

/// Records that operation `name` made y from `inputs`, and how gradients go back: `backward(dy, grad)` is called once with the
/// gradient of y, of y's shape, and fills `grad[i]` for each input with `grad.wanted(i)`. Returns y. Does nothing under
/// `no_grad` or when no input is tracked, and the closure with all it captured is dropped then.
///
/// The closure must capture detached tensors (`x = x.detach()`): the graph keeps its inputs alive by itself, and a closure that
/// held its own output would never be freed. `name` must outlive the graph (a literal).
template <class T, class D, class Backward>
Tensor<T, D> record(const char* name, const Tensor<T, D>& y, std::initializer_list<autograd::Input> inputs, Backward&& backward) {
  if (detail::wants_recording(inputs.begin(), inputs.size()))
    detail::record<T, D>(name, y, inputs.begin(), inputs.size(), std::forward<Backward>(backward));
  return y;
}
/// The same for a list of inputs whose length is known at run time (concat, dense_layer).
template <class T, class D, class Backward>
Tensor<T, D> record(const char* name, const Tensor<T, D>& y, const std::vector<autograd::Input>& inputs, Backward&& backward) {
  if (detail::wants_recording(inputs.data(), inputs.size()))
    detail::record<T, D>(name, y, inputs.data(), inputs.size(), std::forward<Backward>(backward));
  return y;
}
template <class T, class D, class Backward>
Tensor<T, D> record(const char* name, const Tensor<T, D>& y, const std::vector<Tensor<T, D>>& inputs, Backward&& backward) {
  return record(name, y, std::vector<autograd::Input>(inputs.begin(), inputs.end()), std::forward<Backward>(backward));
}

template <class T, class D>
template <class E>
Tensor<T, E> Tensor<T, D>::to() const {
  if constexpr (std::is_same_v<D, E>) return *this;
  else {
    if (!state_) return {};
    Tensor<T, E> y(shape());
    y.copy_from(*this);
    if constexpr (is_real<T>)
      return record("to", y, {*this}, [](const Tensor<T, E>& dy, Gradients<T, E>& grad) { grad.set_other(0, dy.template to<D>()); });
    else return y;
  }
}

template <class T, class D>
const Tensor<T, D>& Tensor<T, D>::requires_grad(bool wanted) const {
  static_assert(is_real<T>, "only floating-point tensors have gradients");
  if (!state_) throw Error("segnet::requires_grad: the tensor is undefined");
  if (node() && node()->operation)
    throw Error(concat("segnet::requires_grad: the tensor is the result of '", node()->operation, "'; detach() it first"));
  if (wanted && !tracked()) set_node(std::make_shared<autograd::GradNode<T, D>>(nullptr, shape()));
  if (!wanted) set_node(nullptr);
  return *this;
}

template <class T, class D>
Tensor<T, D> Tensor<T, D>::grad() const {
  return tracked() ? node()->grad : Tensor<T, D>{};
}

template <class T, class D>
void Tensor<T, D>::zero_grad() const {
  if (tracked()) node()->grad = {};
}

template <class T, class D>
void Tensor<T, D>::set_grad(const Tensor& gradient) const {
  if (!tracked()) throw Error("segnet::set_grad: the tensor does not require gradients");
  if (gradient && gradient.shape() != shape()) throw ShapeError("set_grad", "gradient", concat(shape()), gradient.shape());
  node()->grad = gradient;
}

}  // namespace segnet

#include "segnet/autograd/backward.hpp"  // so that whoever has a tensor with gradients can call backward()
