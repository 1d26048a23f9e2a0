// A classifier of small windows, slid over a photo, and the same classifier with its fully connected layers as convolutions, which sees
// the photo once: same scores, a fraction of the time. Writes a sheet of the photo and heat maps of its commonest classes.
//
//   convolutionalization [SHEET.png [PHOTO [LABELS.png]]]
//
// Without a photo it trains on, and shows, scenes of garments. With a photo and its label map it learns from windows of that photo alone.
#include <chrono>
#include <cstdio>

#include <segnet/data/augment.hpp>
#include <segnet/data/scenes.hpp>
#include <segnet/io/image.hpp>
#include <segnet/io/label_map.hpp>
#include <segnet/report/overlay.hpp>
#include <segnet/segnet.hpp>

using namespace segnet;

namespace {

constexpr index_t window = 32, stride = 4;  // the poolings' strides multiplied

/// What is in the middle of a window of 32 x 32 pixels?
struct Classifier {
  nn::Conv2d<> conv1{3, 12, 5}, conv2{12, 16, 5};
  nn::Linear<> fc1{5 * 5 * 16, 64}, fc2;
  explicit Classifier(index_t classes) : fc2(64, classes) {}

  Tensor<float> features(const Tensor<float>& x) const {
    const auto y = max_pool2d(relu(conv1(x)), {.kernel = 2}).output;
    return max_pool2d(relu(conv2(y)), {.kernel = 2}).output;
  }
  Tensor<float> operator()(const Tensor<float>& x) const { return fc2(relu(fc1(flatten(features(x), 1)))); }
  SEGNET_FIELDS(conv1, conv2, fc1, fc2)
};

/// Windows from random places of random samples, and the labels in their middle.
std::pair<Tensor<float>, Tensor<std::int32_t>> draw(const data::Dataset& dataset, index_t count) {
  Generator& random = default_generator();
  std::vector<Tensor<float>> windows;
  Tensor<std::int32_t> labels({count});
  data::Sample sample;
  for (index_t i = 0; i < count; ++i) {
    if (i % 8 == 0) sample = dataset.get(random.below(dataset.size()));
    const index_t h = random.below(sample.image.dim(0) - window + 1), w = random.below(sample.image.dim(1) - window + 1);
    windows.push_back(data::normalized(narrow(narrow(sample.image, 0, h, window), 1, w, window)));
    labels.at(i) = sample.label.at(h + window / 2, w + window / 2);
  }
  return {stack(windows), labels};
}

/// A photo and its labels as a data set of one.
struct Photo {
  data::Sample sample;
  data::DatasetInfo about;
  index_t size() const { return 1; }
  data::Sample get(index_t) const { return sample; }
  const data::DatasetInfo& info() const { return about; }
};
Photo labelled_photo(const std::string& photo, const std::string& labels) {
  Photo p{{read_image(photo), read_label_map(labels), {}, photo}, {}};
  const auto& label = p.sample.label;
  std::int32_t classes = 0;
  for (index_t i = 0; i < label.numel(); ++i)
    if (label.data()[i] != p.about.ignore_index) classes = std::max(classes, label.data()[i] + 1);
  for (std::int32_t c = 0; c < classes; ++c) p.about.classes.push_back(concat("class ", c));
  return p;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) try {
  default_generator() = {1};
  const std::string sheet = argc > 1 ? argv[1] : "convolutionalization.png";
  const data::Dataset dataset =
      argc > 3 ? data::Dataset(labelled_photo(argv[2], argv[3])) : data::Scenes(data::Split::train, {.size = 128});
  const auto& names = dataset.info().classes;

  Classifier net(dataset.info().num_classes());
  optim::Adam<> adam(nn::parameters(net), {.lr = 2e-3});
  for (int step = 0; step <= 300; ++step) {
    const auto [windows, labels] = draw(dataset, 32);
    const auto loss = cross_entropy(net(windows), labels, {.ignore_index = dataset.info().ignore_index});
    adam.zero_grad();
    loss.backward();
    adam.step();
    if (step % 100 == 0) std::printf("step %3d  loss %.3f\n", step, static_cast<double>(loss.item()));
  }

  NoGrad guard;
  const auto photo = argc > 2 ? read_image(argv[2]) : data::Scenes(data::Split::val, {.size = 192}).get(0).image;
  const auto x = unsqueeze(data::normalized(photo), 0);
  const index_t H = photo.dim(0), W = photo.dim(1);

  auto start = std::chrono::steady_clock::now();
  const auto one_by_one = models::sliding_window(net, x, window, stride);
  const double slow = seconds_since(start);

  start = std::chrono::steady_clock::now();
  const auto fc1 = models::convolutionalized(net.fc1, 5, models::FeatureOrder::channels_last);
  const auto fc2 = models::convolutionalized(net.fc2, 1);
  const auto at_once = fc2(relu(fc1(net.features(x))));
  const double fast = seconds_since(start);

  double off = 0;
  for (index_t i = 0; i < at_once.numel(); ++i)
    off = std::max(off, std::abs(static_cast<double>(at_once.data()[i]) - static_cast<double>(one_by_one.data()[i])));
  std::printf("%lld windows one by one %.3f s, at once %.4f s: %.0f times as fast; scores differ by %.1e at most\n",
              static_cast<long long>(at_once.dim(1) * at_once.dim(2)), slow, fast, slow / fast, off);

  // The classes that are likeliest over the whole photo; the first window's middle is 16 pixels inside.
  const auto p = softmax(at_once, -1), mean = segnet::mean(p, {0, 1, 2});
  std::vector<report::Image> row{photo};
  const auto likeliest = topk(mean, std::min<index_t>(3, mean.numel())).indices;
  for (index_t k = 0; k < likeliest.numel(); ++k) {
    const auto c = static_cast<index_t>(likeliest.at(k));
    const Extent2 inner{(p.dim(1) - 1) * stride + 1, (p.dim(2) - 1) * stride + 1};
    const auto map = resize(narrow(p, 3, c, 1), inner, InterpolateMode::bilinear, true);
    const index_t border = window / 2;
    const auto whole = pad(map, {0, 0, border, W - border - inner.w, border, H - border - inner.h});
    row.push_back(report::heat_map(reshape(whole, {H, W})));
    std::printf("heat map %lld: %s\n", static_cast<long long>(k + 1), names[static_cast<std::size_t>(c)].c_str());
  }
  write_png(sheet, report::beside(row));
  std::printf("%s\n", sheet.c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
