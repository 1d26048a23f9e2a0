// --device and --precision: where a command computes and in which type.
#pragma once

#include "config.hpp"
#include "segnet/core/bfloat16.hpp"
#include "segnet/core/cuda.hpp"
#include "segnet/core/error.hpp"

namespace segnet::program {

/// Calls f.operator()<T, D>() for the choice. f is a template over what networks compute in and on: one text, compiled for each.
/// @throws DeviceError: no GPU, or a program without CUDA;  ValueError: a precision that the device has not
template <class F>
int on_device(const DeviceConfig& choice, const F& f) {
  if (choice.device == "cpu") {
    if (choice.precision != "float") throw ValueError("program", "--precision", "float, or --device cuda", choice.precision);
    return f.template operator()<float, Cpu>();
  }
#if defined(SEGNET_CUDA)
  (void)cuda::device_info();  // or the reason why there is none
  cuda::allow_tf32(choice.precision == "tf32");
  if (choice.precision == "bf16") return f.template operator()<bfloat16, Cuda>();
  return f.template operator()<float, Cuda>();
#else
  throw DeviceError(Cuda::name, "this build has no CUDA kernels");
#endif
}

}  // namespace segnet::program
