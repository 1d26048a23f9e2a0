// Errors are exceptions whose text names the operation, the argument, what was expected and what came.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace segnet {

namespace detail {
/// Text, a number, or something with a `to_string` beside its type.
template <class A>
concept Writable = std::is_convertible_v<const A&, std::string_view> || std::is_arithmetic_v<A> || requires(const A& a) { to_string(a); };

template <class A>
void append(std::string& text, const A& a) {
  if constexpr (std::is_same_v<A, bool>) text += a ? "true" : "false";
  else if constexpr (std::is_same_v<A, char>) text += a;
  else if constexpr (std::is_convertible_v<const A&, std::string_view>) text += std::string_view(a);
  else if constexpr (std::is_integral_v<A>) text += std::to_string(a);
  else if constexpr (std::is_floating_point_v<A>) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%g", static_cast<double>(a));
    text += buffer;
  } else text += to_string(a);  // found beside the type: Shape, Extent2, ...
}
}  // namespace detail

/// Its arguments, written one after the other: text, numbers, and anything that has a `to_string` beside its type.
/// (Tensors are joined by the operation of the same name, ops/concat.hpp.)
template <detail::Writable... Args>
[[nodiscard]] std::string concat(const Args&... args) {
  std::string text;
  (detail::append(text, args), ...);
  return text;
}

/// Base of every exception that segnet throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument has a value that the operation does not accept.
class ValueError : public Error {
 public:
  /// "segnet::conv2d: argument 'stride': expected at least 1, got 0"
  ValueError(std::string_view operation, std::string_view argument_name, std::string_view expected, std::string_view actual)
      : Error(concat("segnet::", operation, ": argument '", argument_name, "': expected ", expected, ", got ", actual)),
        op(operation),
        argument(argument_name) {}
  std::string op, argument;
};

/// A file cannot be read, written, or understood. The text begins with its path.
class IoError : public Error {
 public:
  IoError(std::string_view file, std::string_view what_is_wrong) : Error(concat(file, ": ", what_is_wrong)), path(file) {}
  std::string path;
};

/// A device is missing, out of memory, or reported a failure.
class DeviceError : public Error {
 public:
  DeviceError(std::string_view device_name, std::string_view what_is_wrong)
      : Error(concat("segnet: device ", device_name, ": ", what_is_wrong)), device(device_name) {}
  std::string device;
};

/// The arguments are right, but this combination has no code yet.
class NotImplemented : public Error {
 public:
  NotImplemented(std::string_view operation, std::string_view what)
      : Error(concat("segnet::", operation, ": not implemented: ", what)), op(operation) {}
  std::string op;
};

}  // namespace segnet
