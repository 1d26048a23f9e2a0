// Cross entropy of logits, fused: one pass over the logits forward, one backward, no probabilities in memory, and no wait for the host.
// Rows as in rows.cuh.
#pragma once

#include "rows.cuh"
#include "segnet/kernels/cross_entropy.hpp"

namespace segnet {

namespace cuda {

/// Labels of any of the three types, told apart when they are read: a kernel for all.
struct AnyLabels {
  const void* data;
  int bytes;
  template <class Label>
  explicit AnyLabels(const Label* labels) : data(labels), bytes(sizeof(Label)) {
    static_assert(std::is_same_v<Label, std::uint8_t> || std::is_same_v<Label, std::int32_t> || std::is_same_v<Label, std::int64_t>);
  }
  __device__ index_t operator()(index_t row) const {
    if (bytes == 1) return static_cast<const std::uint8_t*>(data)[row];
    if (bytes == 4) return static_cast<const std::int32_t*>(data)[row];
    return static_cast<const std::int64_t*>(data)[row];
  }
};
template <class A>
struct WeightedLabels {
  AnyLabels label;
  const A* class_weight;  // [C], or null: all 1
  index_t C, ignore_index;
  template <class Label>
  explicit WeightedLabels(const kernels::RowLabels<A, Label>& labels)
      : label(labels.target), class_weight(labels.class_weight), C(labels.C), ignore_index(labels.ignore_index) {}
  __device__ A weight(index_t c) const { return class_weight ? class_weight[c] : A(1); }
  __device__ bool valid(index_t t) const { return t >= 0 && t < C; }
};

template <class T>
struct CrossEntropyRow {
  using A = Master<T>;
  static constexpr int inputs = 1;
  static constexpr bool writes = false, sums = true;
  const T* in[1];
  WeightedLabels<A> labels;
  kernels::CrossEntropyTerms<A> terms;
  A *m, *s, *loss;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out&, LossSum& sum) const {
    const auto [top, total] = exp_sum<A>(team, C, x[0]);
    const A log_s = std::log(total);
    A smooth = 0;
    if (terms.smoothing != A(0)) {
      for (Index c = team.rank; c < C; c += Team::size) smooth += labels.weight(c) * (log_s - (x[0](c) - top));
      smooth = terms.smoothing / static_cast<A>(C) * team.reduce(smooth, A(0), Plus{});
    }
    if (team.rank != 0 || !real) return;
    m[row] = top;
    s[row] = total;
    A value = 0;
    const index_t t = labels.label(row);
    if (t != labels.ignore_index) {
      if (labels.valid(t)) {
        const A nll = log_s - (x[0](static_cast<Index>(t)) - top), weight = labels.weight(t);
        value = terms.loss(weight, nll) + smooth;
        sum.loss += static_cast<double>(value);
        sum.weight += static_cast<double>(weight);
      } else {
        value = NAN;
        note_bad_label(sum, row);
      }
    }
    if (loss) loss[row] = value;
  }
};

template <class T>
struct CrossEntropyGradRow {
  using A = Master<T>;
  static constexpr int inputs = 1;
  static constexpr bool writes = true, sums = false;
  const T* in[1];
  T* out;
  WeightedLabels<A> labels;
  kernels::CrossEntropyTerms<A> terms;
  const A *m, *s;
  kernels::Upstream<A> upstream;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out& dx, LossSum&) const {
    const A smooth = terms.smoothing / static_cast<A>(C);
    A smooth_all = 0;
    if (smooth != A(0)) {
      for (Index c = team.rank; c < C; c += Team::size) smooth_all += labels.weight(c);
      smooth_all = smooth * team.reduce(smooth_all, A(0), Plus{});
    }
    const index_t t = real ? labels.label(row) : labels.ignore_index;
    const bool counts = t != labels.ignore_index;
    A top = 0, a = 0, scale = 0, g = 0;
    if (counts && labels.valid(t)) {
      g = upstream(row);
      top = m[row];
      const A total = s[row], nll = terms.gamma == A(0) ? A(0) : std::log(total) - (x[0](static_cast<Index>(t)) - top);
      a = g * terms.slope(labels.weight(t), nll);
      scale = (a + g * smooth_all) / total;
      g *= smooth;
    } else if (counts) {
      scale = NAN;
    }
    team.sync();  // x of the label is read by all, and overwritten by one
    for (Index c = team.rank; c < C; c += Team::size) {
      A value = 0;
      if (counts) {
        value = scale * std::exp(x[0](c) - top);
        if (c == t) value -= a;
        if (smooth != A(0)) value -= g * labels.weight(c);
      }
      dx.set(c, value);
    }
  }
};

template <class T>
struct CrossEntropyProbabilitiesRow {
  using A = Master<T>;
  static constexpr int inputs = 2;
  static constexpr bool writes = false, sums = true;
  const T* in[2];  // logits, targets
  kernels::RowProbabilities<T> targets;
  A *m, *s, *loss;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out&, LossSum& sum) const {
    const auto [top, total] = exp_sum<A>(team, C, x[0]);
    const A log_s = std::log(total);
    A value = 0;
    for (Index c = team.rank; c < C; c += Team::size) value += targets.smoothed(c, x[1](c)) * (log_s - (x[0](c) - top));
    value = team.reduce(value, A(0), Plus{});
    if (team.rank != 0 || !real) return;
    m[row] = top;
    s[row] = total;
    sum.loss += static_cast<double>(value);
    sum.weight += 1;
    if (loss) loss[row] = value;
  }
};

template <class T>
struct CrossEntropyProbabilitiesGradRow {
  using A = Master<T>;
  static constexpr int inputs = 2;
  static constexpr bool writes = true, sums = false;
  const T* in[2];  // logits, targets
  T* out;
  kernels::RowProbabilities<T> targets;
  const A *m, *s;
  kernels::Upstream<A> upstream;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out& dx, LossSum&) const {
    A all = 0;
    for (Index c = team.rank; c < C; c += Team::size) all += targets.smoothed(c, x[1](c));
    all = team.reduce(all, A(0), Plus{});
    const A g = real ? upstream(row) : A(0), top = real ? m[row] : A(0), scale = real ? g * all / s[row] : A(0);
    for (Index c = team.rank; c < C; c += Team::size) dx.set(c, scale * std::exp(x[0](c) - top) - g * targets.smoothed(c, x[1](c)));
  }
};

template <class T>
struct CrossEntropyTargetGradRow {
  using A = Master<T>;
  static constexpr int inputs = 1;
  static constexpr bool writes = true, sums = false;
  const T* in[1];
  T* out;
  kernels::RowProbabilities<T> targets;
  const A *m, *s;
  kernels::Upstream<A> upstream;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out& dt, LossSum&) const {
    if (!real) return;
    const A g = upstream(row) * (A(1) - targets.smoothing), log_s = std::log(s[row]), top = m[row];
    for (Index c = team.rank; c < C; c += Team::size) dt.set(c, g * targets.weight(c) * (log_s - (x[0](c) - top)));
  }
};

/// One element per row is read: no need for tiles.
template <class T>
struct NllLoss {
  using A = Master<T>;
  const T* log_p;
  WeightedLabels<A> labels;
  A* loss;
  __device__ void operator()(index_t row, LossSum& sum) const {
    const index_t t = labels.label(row);
    A value = 0;
    if (t != labels.ignore_index) {
      if (labels.valid(t)) {
        value = -labels.weight(t) * static_cast<A>(log_p[row * labels.C + t]);
        sum.loss += static_cast<double>(value);
        sum.weight += static_cast<double>(labels.weight(t));
      } else {
        value = NAN;
        note_bad_label(sum, row);
      }
    }
    if (loss) loss[row] = value;
  }
};

template <class T>
struct NllLossGradRow {
  using A = Master<T>;
  static constexpr int inputs = 0;
  static constexpr bool writes = true, sums = false;
  const T* in[1];
  T* out;
  WeightedLabels<A> labels;
  kernels::Upstream<A> upstream;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In*, const Out& dx, LossSum&) const {
    if (!real) return;
    const index_t t = labels.label(row);
    const bool counts = t != labels.ignore_index, bad = counts && !labels.valid(t);
    const A value = bad ? static_cast<A>(NAN) : counts ? -upstream(row) * labels.weight(t) : A(0);
    for (Index c = team.rank; c < C; c += Team::size) dx.set(c, bad || (counts && c == t) ? value : A(0));
  }
};

}  // namespace cuda

namespace kernels {

template <class T, class Label>
void cross_entropy(View<const T, Cuda> x, const RowLabels<Master<T>, Label>& labels, const CrossEntropyTerms<Master<T>>& terms,
                   View<Master<T>, Cuda> m, View<Master<T>, Cuda> s, View<Master<T>, Cuda> loss, View<LossSum, Cuda> sum) {
  const cuda::CrossEntropyRow<T> op{{x.data}, cuda::WeightedLabels<Master<T>>(labels), terms, m.data, s.data, loss.data};
  cuda::for_each_row<T>(m.size(), labels.C, op, sum.data);
}
template <class T, class Label>
void cross_entropy_grad(View<const T, Cuda> x, const RowLabels<Master<T>, Label>& labels, const CrossEntropyTerms<Master<T>>& terms,
                        View<const Master<T>, Cuda> m, View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream,
                        View<T, Cuda> dx) {
  const cuda::CrossEntropyGradRow<T> op{{x.data}, dx.data, cuda::WeightedLabels<Master<T>>(labels), terms, m.data, s.data, upstream};
  cuda::for_each_row<T>(m.size(), labels.C, op);
}
template <class T>
void cross_entropy_probabilities(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<Master<T>, Cuda> m,
                                 View<Master<T>, Cuda> s, View<Master<T>, Cuda> loss, View<LossSum, Cuda> sum) {
  const cuda::CrossEntropyProbabilitiesRow<T> op{{x.data, targets.target}, targets, m.data, s.data, loss.data};
  cuda::for_each_row<T>(m.size(), targets.C, op, sum.data);
}
template <class T>
void cross_entropy_probabilities_grad(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<const Master<T>, Cuda> m,
                                      View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream, View<T, Cuda> dx) {
  const cuda::CrossEntropyProbabilitiesGradRow<T> op{{x.data, targets.target}, dx.data, targets, m.data, s.data, upstream};
  cuda::for_each_row<T>(m.size(), targets.C, op);
}
template <class T>
void cross_entropy_target_grad(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<const Master<T>, Cuda> m,
                               View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream, View<T, Cuda> dt) {
  cuda::for_each_row<T>(m.size(), targets.C, cuda::CrossEntropyTargetGradRow<T>{{x.data}, dt.data, targets, m.data, s.data, upstream});
}
template <class T, class Label>
void nll_loss(View<const T, Cuda> log_p, const RowLabels<Master<T>, Label>& labels, index_t rows, View<Master<T>, Cuda> loss,
              View<LossSum, Cuda> sum) {
  cuda::sum_losses(rows, cuda::NllLoss<T>{log_p.data, cuda::WeightedLabels<Master<T>>(labels), loss.data}, sum.data);
}
template <class T, class Label>
void nll_loss_grad(const RowLabels<Master<T>, Label>& labels, index_t rows, const Upstream<Master<T>>& upstream, View<T, Cuda> dx) {
  cuda::for_each_row<T>(rows, labels.C, cuda::NllLossGradRow<T>{{nullptr}, dx.data, cuda::WeightedLabels<Master<T>>(labels), upstream});
}

}  // namespace kernels

}  // namespace segnet
