// Optimisers and learning-rate schedules.
#include "segnet/optim/adam.hpp"
#include "segnet/optim/clip.hpp"
#include "segnet/optim/rmsprop.hpp"
#include "segnet/optim/schedule.hpp"
#include "segnet/optim/sgd.hpp"

#include "golden/golden.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/matmul.hpp"
#include "segnet/ops/reduction.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/unary.hpp"

namespace segnet::golden {

namespace {

/// Arguments of a group of parameters: its own, else those of the first group.
class Arguments {
 public:
  Arguments(const Json& first, const Json* own) : first_(first), own_(own) {}

  void read(const char* key, double& to) const {
    if (const Json* value = find(key)) to = value->number();
  }
  void read(const char* key, bool& to) const {
    if (const Json* value = find(key)) to = value->boolean();
  }
  [[nodiscard]] const Json* find(const char* key) const {
    if (const Json* value = own_ ? own_->find(key) : nullptr) return value;
    return first_.find(key);
  }

 private:
  const Json& first_;
  const Json* own_;
};

void read_options(const Arguments& from, optim::SgdOptions& o) {
  from.read("momentum", o.momentum);
  from.read("dampening", o.dampening);
  from.read("nesterov", o.nesterov);
}
template <class AdamLike>
  requires requires(AdamLike o) { o.beta1; }
void read_options(const Arguments& from, AdamLike& o) {
  if (const Json* betas = from.find("betas")) o.beta1 = (*betas)[0].number(), o.beta2 = (*betas)[1].number();
  from.read("eps", o.eps);
  from.read("amsgrad", o.amsgrad);
}
void read_options(const Arguments& from, optim::RmspropOptions& o) {
  from.read("alpha", o.alpha);
  from.read("eps", o.eps);
  from.read("momentum", o.momentum);
  from.read("centered", o.centered);
}

/// Minimises |A w - b|^2 / 2 + 0.1 sum(sin v) and compares everything after every step.
template <class Optimizer, class C>
void minimise(C& c) {
  using T = typename C::value_type;
  using D = typename C::device;
  const auto options = [&](const Json* own) {
    typename Optimizer::Options o;
    const Arguments arguments(c.attribute("hyper"), own);
    arguments.read("lr", o.lr);
    arguments.read("weight_decay", o.weight_decay);
    read_options(arguments, o);
    return o;
  };
  const auto a = c.input("A"), b = c.input("b");
  const auto w = c.input("w0"), v = c.input("v0");
  w.requires_grad(), v.requires_grad();
  Optimizer optimizer(std::vector{w}, options(nullptr));
  optimizer.add_group(std::vector{v}, options(c.has_attribute("group1") ? &c.attribute("group1") : nullptr));

  const index_t steps = c.shape("loss")[0];
  Tensor<T> losses({steps}), norms({steps}), ws(c.shape("w")), vs(c.shape("v")), gws(c.shape("grad_w")), gvs(c.shape("grad_v"));
  const auto keep = [](const Tensor<T>& all, index_t row, const Tensor<T, D>& value) {
    all.alias(value.shape(), row * value.numel()).copy_from(value);
  };
  keep(ws, 0, w);
  keep(vs, 0, v);
  for (index_t t = 0; t < steps; ++t) {
    optimizer.zero_grad();
    const auto residual = matmul(a, w) - b;
    const auto loss = sum(square(residual)) * T(0.5) + sum(segnet::sin(v)) * T(0.1);
    loss.backward();
    losses.data()[t] = loss.item();
    if (c.has_attribute("clip_norm")) norms.data()[t] = static_cast<T>(optim::clip_grad_norm<T, D>({w, v}, c.number("clip_norm")));
    if (c.has_attribute("lr_at")) optimizer.set_lr(c.attribute("lr_at")[static_cast<std::size_t>(t)].number());
    keep(gws, t, w.grad());
    keep(gvs, t, v.grad());
    optimizer.step();
    keep(ws, t + 1, w);
    keep(vs, t + 1, v);
  }
  // Each step starts from the last one's rounding, and Adam and RMSprop divide small gradients by their own size.
  constexpr Compare compare{.in_float = {.of_largest = 1e-4}};
  c.check("loss", losses, compare);
  c.check("w", ws, compare);
  c.check("v", vs, compare);
  c.check("grad_w", gws, compare);
  c.check("grad_v", gvs, compare);
  if (c.has("total_norm")) c.check("total_norm", norms, compare);
}

const auto optimizer_case = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  using D = typename std::remove_reference_t<decltype(c)>::device;
  const std::string& name = c.text("optimizer");
  if (name == "sgd") minimise<optim::Sgd<T, D>>(c);
  else if (name == "adam") minimise<optim::Adam<T, D>>(c);
  else if (name == "adamw") minimise<optim::AdamW<T, D>>(c);
  else if (name == "rmsprop") minimise<optim::Rmsprop<T, D>>(c);
  else throw Error(concat("unknown optimizer '", name, "'"));
};

}  // namespace

void add_training(Registry& registry) {
  registry.add("optimizers", optimizer_case);

  registry.add("lr_schedules", [](auto& c) {
    optim::ScheduleOptions o;
    o.base = c.number("base_lr");
    o.total = c.integer("total", c.integer("T_max", o.total));
    o.power = c.number("power", o.power);
    o.min_lr = c.number("min_lr", c.number("eta_min", o.min_lr));
    o.step_size = c.integer("step_size", o.step_size);
    if (c.has_attribute("milestones")) o.milestones = c.integers("milestones");
    o.gamma = c.number("gamma", o.gamma);
    o.warmup = c.integer("warmup", o.warmup);
    o.warmup_ratio = c.number("ratio", c.number("start_factor", o.warmup_ratio));
    // poly_min is poly with another minimum than 0.
    const optim::Schedule schedule = optim::make_schedule(c.text("kind") == "poly_min" ? "poly" : c.text("kind"), o);
    Tensor<double> lr({c.integer("steps")});
    for (index_t t = 0; t < lr.numel(); ++t) lr.data()[t] = schedule.lr(t);
    c.check_numbers("lr", lr, {.absolute = 1e-18, .relative = 1e-12});
  });
}

}  // namespace segnet::golden
