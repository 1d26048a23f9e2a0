// FCN-8s whose scores a CRF refines, trained as one network: Zheng et al., "Conditional random fields as recurrent neural networks",
// ICCV 2015, arXiv:1502.03240, figure 3.
#pragma once

#include "segnet/crf/crf_rnn.hpp"
#include "segnet/models/fcn.hpp"

namespace segnet::models {

struct CrfRnnNetOptions {
  FcnOptions fcn = {};  ///< of stride 8; `classes` are those of the CRF, too
  crf::CrfRnnOptions crf = {};
  double colour_scale[3] = {1, 1, 1};  ///< times the network's input: colours in units of 0 to 255
};

/// [N, H, W, 3] -> logits [N, H, W, classes]. Training usually begins with a trained FCN-8s (nn::copy_state of `fcn`), whole images, one at
/// a time.
template <class T = float, class D = Cpu>
struct CrfRnnNet {
  CrfRnnNetOptions options;
  Fcn<T, D> fcn;
  crf::CrfRnn<T, D> crfrnn;

  explicit CrfRnnNet(const CrfRnnNetOptions& o = {}) : options(o), fcn(o.fcn), crfrnn(with_classes(o)) {
    if (o.fcn.in_channels != 3) throw ValueError("CrfRnnNet", "in_channels", "3, colours", concat(o.fcn.in_channels));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    using P = Master<T>;
    const double* scale = options.colour_scale;
    const Tensor<P, D> units =
        Tensor<P>({3}, {static_cast<P>(scale[0]), static_cast<P>(scale[1]), static_cast<P>(scale[2])}).template to<D>();
    return crfrnn(fcn(x), cast<T>(cast<P>(x.detach()) * units));
  }

  [[nodiscard]] index_t padded_size(index_t n) const { return fcn.padded_size(n); }
  [[nodiscard]] index_t margin() const { return fcn.margin(); }

  /// FCN's names, and `crfrnn`, as the PyTorch port has them.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    Fcn<T, D>::for_each_field(self.fcn, visit);
    visit("crfrnn", self.crfrnn);
  }

 private:
  static crf::CrfRnnOptions with_classes(const CrfRnnNetOptions& o) {
    crf::CrfRnnOptions crf = o.crf;
    crf.classes = o.fcn.classes;
    return crf;
  }
};

}  // namespace segnet::models
