// torchvision's deform_conv2d, where Python's torchvision is installed (its operators are a library that needs no Python), and DCNv3 as
// InternImage's code for LibTorch alone has it, of grid_sampler. On LibTorch's usual layout; what they compute is copied out once.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <glob.h>

#include "deform_conv2d_bench.hpp"
#include "segnet/core/parallel.hpp"

namespace {

at::Tensor nhwc(const float* data, long side, long channels) { return at::from_blob(const_cast<float*>(data), {1, side, side, channels}); }
at::Tensor nchw(const float* data, long side, long channels) { return nhwc(data, side, channels).permute({0, 3, 1, 2}).contiguous(); }
void copy_out(const at::Tensor& from, float* to) {
  const at::Tensor last = from.permute({0, 2, 3, 1});
  at::from_blob(to, last.sizes()).copy_(last);
}

/// The library of torchvision's operators, once.
bool torchvision() {
  static const bool loaded = [] {
    glob_t found{};
    const bool there = glob("/usr/lib/python3/dist-packages/torchvision/_C*.so", 0, nullptr, &found) == 0 && found.gl_pathc > 0 &&
                       dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_GLOBAL) != nullptr;
    globfree(&found);
    return there;
  }();
  return loaded;
}

struct Operands {
  at::Tensor x, w, offset, mask, bias, dy;
  bool modulated;
  explicit Operands(const DeformProblem& p)
      : x(nchw(p.x, p.side, p.C)),
        w(at::from_blob(const_cast<float*>(p.w), {p.C, 3, 3, p.C}).permute({0, 3, 1, 2}).contiguous()),
        offset(nchw(p.offset, p.side, 18)),
        mask(p.mask ? nchw(p.mask, p.side, 9) : at::zeros({1, 0, 0, 0})),
        bias(at::zeros({p.C})),
        dy(nchw(p.dy, p.side, p.C)),
        modulated(p.mask != nullptr) {
    at::set_num_threads(segnet::num_threads());
  }
};
using Int = std::int64_t;
using Forward = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, Int, Int, Int,
                           Int, Int, Int, Int, Int, bool);
using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Backward = Gradients(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                           Int, Int, Int, Int, Int, Int, Int, Int, bool);
template <class F>
auto operation(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<F>();
}

std::function<void()> forward_v2(const DeformProblem& p) {
  return [p, t = Operands(p), call = operation<Forward>("torchvision::deform_conv2d"), first = true]() mutable {
    const at::NoGradGuard guard;
    const at::Tensor y = call.call(t.x, t.w, t.offset, t.mask, t.bias, 1, 1, 1, 1, 1, 1, 1, 1, t.modulated);
    if (first) copy_out(y, p.y);
    first = false;
  };
}
std::function<void()> backward_v2(const DeformProblem& p) {
  return [p, t = Operands(p), call = operation<Backward>("torchvision::_deform_conv2d_backward"), first = true]() mutable {
    const at::NoGradGuard guard;
    const auto [dx, dw, doffset, dmask, db] = call.call(t.dy, t.x, t.w, t.offset, t.mask, t.bias, 1, 1, 1, 1, 1, 1, 1, 1, t.modulated);
    if (!first) return;
    first = false;
    copy_out(dx, p.dx), copy_out(dw, p.dw), copy_out(doffset, p.doffset);
    if (t.modulated) copy_out(dmask, p.dmask);
  };
}

/// Tap points in grid_sampler's coordinates, then the sum of what is read there.
at::Tensor dcnv3(const at::Tensor& x, const at::Tensor& offset, const at::Tensor& mask, const at::Tensor& regular, long side, long C) {
  const long groups = C / 16, pixels = side * side;
  const at::Tensor points = (regular + offset.view({pixels, groups, 9, 2})) * (2. / static_cast<double>(side)) - 1;
  const at::Tensor images = x.view({pixels, C}).t().reshape({groups, 16, side, side});
  const at::Tensor read = at::grid_sampler(images, points.transpose(0, 1), 0, 0, false);  // [groups, 16, pixels, 9]
  const at::Tensor scalars = mask.view({pixels, groups, 9}).transpose(0, 1).unsqueeze(1);
  return (read * scalars).sum(-1).view({C, pixels}).t().reshape({1, side, side, C});
}
/// Centres of the taps of the regular grid, half a pixel to the right and below as grid_sampler counts, [pixels, 1, 9, 2].
at::Tensor regular_grid(long side) {
  const at::Tensor at = at::arange(side, at::kFloat) + 0.5, by = at::arange(-1, 2, at::kFloat);
  const at::Tensor along = at.unsqueeze(1) + by;  // [side, 3]
  const at::Tensor x = along.view({1, side, 3, 1}).expand({side, side, 3, 3}), y = along.view({side, 1, 1, 3}).expand({side, side, 3, 3});
  return at::stack({x, y}, -1).reshape({side * side, 1, 9, 2});
}
std::function<void()> forward_v3(const DeformProblem& p) {
  at::set_num_threads(segnet::num_threads());
  return [p, regular = regular_grid(p.side), x = nhwc(p.x, p.side, p.C), offset = nhwc(p.offset, p.side, p.C / 16 * 18),
          mask = nhwc(p.mask, p.side, p.C / 16 * 9), first = true]() mutable {
    const at::NoGradGuard guard;
    const at::Tensor y = dcnv3(x, offset, mask, regular, p.side, p.C);
    if (first) nhwc(p.y, p.side, p.C).copy_(y);
    first = false;
  };
}
const bool added = [] {
  deform_contenders().push_back({"torch", true, false, forward_v3, {}});
  if (torchvision()) deform_contenders().push_back({"torchvision", false, true, forward_v2, backward_v2});
  return true;
}();

}  // namespace
