// Reference data of other implementations: how a case of a file is read, computed here, and compared.
//
// A family is a function over a Case<T>, written once for float and double:
//
//   registry.add("linear", [](auto& c) {
//     c.output("y", linear(c.input("x"), c.input("weight"), c.optional_input("bias")));
//     c.check_gradients();
//   });
//
// `input` makes a leaf where the file has the gradient of that tensor, `output` compares and remembers what to go back from.
// Whatever a family leaves unread or uncompared of a case is a failure of its own, so that no tensor is forgotten.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "segnet/autograd/backward.hpp"
#include "segnet/core/layout.hpp"
#include "segnet/io/safetensors.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::golden {

/// How a tensor lies in the file, which keeps PyTorch's order.
enum class Layout {
  plain,           ///< as it is here
  channels_first,  ///< [N, C, ...] there, [N, ..., C] here; convolution weights [O, I, ...] alike
  image,           ///< the same, and a sequence [N, C, L] there is an image of height 1, [N, 1, L, C], here
};

/// How far off a number may be: the sum of the three. A family that allows more than the default says why.
struct Tolerance {
  double absolute = 0;
  double relative = 0;    ///< times the expected number's magnitude
  double of_largest = 0;  ///< times the largest magnitude in the tensor
};

/// How far float may be off.
struct FloatTolerance {
  double of_largest = 1e-5;
  double absolute = 0;  ///< where a small result is the difference of large numbers
};

struct Compare {
  Layout layout = Layout::plain;
  FloatTolerance in_float = {};
};

/// A documented gap: the case counts as not implemented, with this reason.
struct Unsupported : Error {
  using Error::Error;
};

/// What became of a case in one precision.
struct Outcome {
  std::vector<std::string> failures;
  double worst = 0;  ///< largest |got - expected|, relative to the largest magnitude in its tensor (or what FloatTolerance puts there)
  std::uint64_t fingerprint = 0;  ///< of all numbers that were compared: equal where these are, bit for bit
};

/// A case of a file: attributes by type, tensors by role, and the comparison. Knows no element type; see Case<T>.
class CaseBase {
 public:
  CaseBase(const SafetensorsFile& file, std::string name, const Json& attributes)
      : file_(file), name_(std::move(name)), attributes_(attributes) {}

  [[nodiscard]] const std::string& name() const { return name_; }

  // Attributes. null is the same as absent. @throws Error when a value is absent or of another type

  [[nodiscard]] bool has_attribute(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] const Json& attribute(std::string_view key) const;
  [[nodiscard]] bool flag(std::string_view key) const { return attribute(key).boolean(); }
  [[nodiscard]] bool flag(std::string_view key, bool otherwise) const { return find(key) ? flag(key) : otherwise; }
  [[nodiscard]] index_t integer(std::string_view key) const { return attribute(key).integer(); }
  [[nodiscard]] index_t integer(std::string_view key, index_t otherwise) const { return find(key) ? integer(key) : otherwise; }
  [[nodiscard]] double number(std::string_view key) const { return attribute(key).number(); }
  [[nodiscard]] double number(std::string_view key, double otherwise) const { return find(key) ? number(key) : otherwise; }
  [[nodiscard]] const std::string& text(std::string_view key) const { return attribute(key).string(); }
  /// A list of integers; a single one is a list of one.
  [[nodiscard]] std::vector<index_t> integers(std::string_view key) const;
  /// {h, w} of a list of two, {absent, w} of a list of one (1-d cases are images of height 1), {n, n} of a number.
  [[nodiscard]] Extent2 extent(std::string_view key, index_t absent) const;

  // Tensors

  /// A tensor of the file as it is there.
  [[nodiscard]] Tensor<double> numbers(const std::string& role);
  /// Compares numbers in the file's order.
  void check_numbers(const std::string& role, const Tensor<double>& got, const Tolerance& tolerance);
  /// Compares one number that is in no tensor of the file; `what` names it.
  void check_close(const std::string& what, double got, double expected, double tolerance);
  /// Fails, and says so, where shapes differ.
  bool check_shape(const std::string& role, const Shape& got, const Shape& expected);
  /// Largest magnitude in a tensor of the file.
  [[nodiscard]] double largest(const std::string& role) const;
  [[nodiscard]] bool has(const std::string& role) const { return file_.has(full(role)); }
  [[nodiscard]] const Shape& shape(const std::string& role) const { return file_.shape(full(role)); }

  /// An input of integers or masks, whichever type it has in the file. @throws Error when a value does not fit
  template <class I>
  [[nodiscard]] Tensor<I> integer_input(const std::string& role, Layout layout = Layout::plain) {
    const Tensor<std::int64_t> wide = integers_of(role);
    Tensor<I> narrow(wide.shape());
    for (index_t i = 0; i < wide.numel(); ++i) {
      const std::int64_t value = wide.data()[i];
      narrow.data()[i] = static_cast<I>(value);
      if (static_cast<std::int64_t>(narrow.data()[i]) != value) throw Error(concat("'", role, "': ", value, " does not fit its type"));
    }
    return from_file(narrow, layout);
  }

  /// Compares integers, which must be equal.
  template <class I>
    requires std::is_integral_v<I>
  void check(const std::string& role, const Tensor<I>& got, Compare compare = {}) {
    Tensor<std::int64_t> wide(got.shape());
    for (index_t i = 0; i < got.numel(); ++i) wide.data()[i] = static_cast<std::int64_t>(got.data()[i]);
    check_integers(role, to_file(role, wide, compare.layout));
  }

  /// Marks a tensor of the file as dealt with, where a family has a reason not to read or compare it.
  void ignore(const std::string& role) { seen_.insert(role); }
  /// Ends the case as not implemented.
  [[noreturn]] static void not_implemented(const std::string& reason) { throw Unsupported(reason); }

  void fail(const std::string& what) { outcome.failures.push_back(context_.empty() ? what : concat(context_, ": ", what)); }
  /// After the family's function: fails for every tensor that nobody looked at.
  void check_nothing_forgotten();

  Outcome outcome;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;  ///< for whole networks: of every convolution that it suits

 protected:
  [[nodiscard]] const Json* find(std::string_view key) const {
    const Json* const value = attributes_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }
  [[nodiscard]] std::string full(const std::string& role) const { return name_ + "/" + role; }
  [[nodiscard]] Tensor<std::int64_t> integers_of(const std::string& role);
  void check_integers(const std::string& role, const Tensor<std::int64_t>& got);

  template <class U>
  static Tensor<U> from_file(const Tensor<U>& t, Layout layout) {
    if (layout == Layout::plain) return t;
    if (layout == Layout::image && t.rank() == 3) return from_nchw(t.alias({t.dim(0), t.dim(1), 1, t.dim(2)}));
    return from_nchw(t);
  }
  template <class U>
  Tensor<U> to_file(const std::string& role, const Tensor<U>& t, Layout layout) const {
    if (layout == Layout::plain || t.rank() < 2) return t.detach();
    const Tensor<U> u = to_nchw(t);
    if (layout == Layout::image && has(role) && shape(role).rank() == 3 && u.rank() == 4 && u.dim(2) == 1)
      return u.alias({u.dim(0), u.dim(1), u.dim(3)});
    return u;
  }

  const SafetensorsFile& file_;
  std::string name_;
  const Json& attributes_;
  std::string context_;
  std::set<std::string> seen_;
};

template <class T>
[[nodiscard]] Tensor<double> in_double(const Tensor<T>& t) {
  Tensor<double> wide(t.shape());
  for (index_t i = 0; i < t.numel(); ++i) wide.data()[i] = static_cast<double>(t.data()[i]);
  return wide;
}

/// A case, computed with elements of type T on device D. The file's tensors, and all comparisons, are on the CPU.
template <class T, class D = Cpu>
class Case : public CaseBase {
 public:
  using value_type = T;
  using device = D;
  using CaseBase::CaseBase;

  /// Starts another pass over the same case, with another algorithm, say; failures repeat its name.
  void variant(std::string name) {
    context_ = std::move(name);
    leaves_.clear();
    outputs_.clear();
  }

  /// A tensor of the file, with elements of its own. A leaf if the file says what its gradient is.
  [[nodiscard]] Tensor<T, D> input(const std::string& role, Layout layout = Layout::plain) {
    seen_.insert(role);
    const Tensor<T, D> x = from_file(file_.tensor<T>(full(role)).clone(), layout).template to<D>();
    if (has("grad_" + role)) leaves_.push_back({role, x.requires_grad(), layout});
    return x;
  }
  /// The same, or undefined where the case has no such tensor.
  [[nodiscard]] Tensor<T, D> optional_input(const std::string& role, Layout layout = Layout::plain) {
    return has(role) ? input(role, layout) : Tensor<T, D>{};
  }
  template <class I>
  [[nodiscard]] Tensor<I, D> integer_input(const std::string& role, Layout layout = Layout::plain) {
    return CaseBase::integer_input<I>(role, layout).template to<D>();
  }

  /// Compares a result: |got - expected| <= 1e-10 + 1e-9 * |expected| in double, `in_float` in float.
  template <class E>
  void check(const std::string& role, const Tensor<T, E>& got, Compare compare = {}) {
    const FloatTolerance& f = compare.in_float;
    check_numbers(role, in_double(to_file(role, got.template to<Cpu>(), compare.layout)),
                  std::is_same_v<T, double> ? Tolerance{.absolute = 1e-10, .relative = 1e-9}
                                            : Tolerance{.absolute = f.absolute, .of_largest = f.of_largest});
  }
  /// Compares integers, which must be equal.
  template <class I, class E>
    requires std::is_integral_v<I>
  void check(const std::string& role, const Tensor<I, E>& got, Compare compare = {}) {
    CaseBase::check(role, got.template to<Cpu>(), compare);
  }
  /// Compares a result and, if the file gives its gradient, propagates from it in `check_gradients`.
  void output(const std::string& role, const Tensor<T, D>& got, Compare compare = {}) {
    check(role, got, compare);
    if (has("grad_" + role)) outputs_.push_back({role, got, compare.layout});
  }
  /// Compares the gradients of all inputs that were read. One that nothing flowed to is zero.
  void check_gradients(FloatTolerance in_float = {}) {
    for (const auto& [role, y, layout] : outputs_) {
      seen_.insert("grad_" + role);
      const Tensor<T, D> dy = from_file(file_.tensor<T>(full("grad_" + role)).clone(), layout).template to<D>();
      if (y.tracked()) y.backward(dy, /*keep_graph=*/true);
    }
    for (const auto& [role, x, layout] : leaves_) check("grad_" + role, x.grad() ? x.grad() : zeros<T, D>(x.shape()), {layout, in_float});
    outputs_.clear();
    leaves_.clear();
  }

 private:
  struct Remembered {
    std::string role;
    Tensor<T, D> tensor;
    Layout layout;
  };
  std::vector<Remembered> leaves_, outputs_;
};

/// How to compute a case of a family, on each device that this program has; empty functions where the operation is still to come.
struct Family {
  std::function<void(Case<double>&)> in_double;
  std::function<void(Case<float>&)> in_float;
#if defined(SEGNET_CUDA)
  std::function<void(Case<double, Cuda>&)> in_double_on_gpu;
  std::function<void(Case<float, Cuda>&)> in_float_on_gpu;
#endif
};

class Registry {
 public:
  /// `compute` is a generic lambda over Case<T, D>&.
  template <class F>
  void add(const std::string& name, const F& compute) {
#if defined(SEGNET_CUDA)
    families_[name] = {compute, compute, compute, compute};
#else
    families_[name] = {compute, compute};
#endif
  }
  /// A family whose operation is still to come; no effect once it is there.
  void add_missing(const std::string& name) { families_.try_emplace(name); }
  [[nodiscard]] const Family* find(const std::string& name) const {
    const auto found = families_.find(name);
    return found == families_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::string, Family> families_;
};

}  // namespace segnet::golden
