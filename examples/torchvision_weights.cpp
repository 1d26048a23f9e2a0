// Segments a picture with weights that torchvision trained. In Python, once:
//
//   net = torchvision.models.segmentation.fcn_resnet50(weights="DEFAULT")
//   torch.save(net.state_dict(), "fcn_resnet50.pth")
#include <cstdio>

#include <segnet/data/augment.hpp>
#include <segnet/data/voc.hpp>
#include <segnet/io/image.hpp>
#include <segnet/io/weights.hpp>
#include <segnet/models/fcn_resnet.hpp>
#include <segnet/models/inference.hpp>
#include <segnet/report/overlay.hpp>

using namespace segnet;

int main(int argc, char** argv) {
  if (argc != 4) return std::puts("usage: torchvision_weights fcn_resnet50.pth picture.jpg overlay.png"), 0;
  try {
    models::FcnResNet<> net;
    std::puts(to_string(load_weights(argv[1], net)).c_str());  // all of them, or an error that names what does not fit
    nn::eval(net);

    const Tensor<std::uint8_t> picture = read_image(argv[2]);  // [H, W, 3]
    const Tensor<float> x = data::normalized(picture);         // by ImageNet's mean and deviation, as torchvision does
    const index_t H = x.dim(0), W = x.dim(1);
    const auto labels = models::most_likely(models::predict_probabilities(net, reshape(x, {1, H, W, 3})));

    const data::DatasetInfo voc = data::voc_info();  // torchvision's labels are those of Pascal VOC
    std::vector<index_t> pixels(voc.classes.size());
    for (const std::int32_t label : labels.to_vector()) ++pixels[static_cast<std::size_t>(label)];
    for (std::size_t c = 0; c < pixels.size(); ++c)
      if (pixels[c])
        std::printf("%-12s %5.1f %%\n", voc.classes[c].c_str(), 100.0 * static_cast<double>(pixels[c]) / static_cast<double>(H * W));
    write_png(argv[3], report::overlay(picture, reshape(labels, {H, W}), voc.palette));
  } catch (const Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
