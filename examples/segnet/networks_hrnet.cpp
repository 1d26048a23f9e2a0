// HRNet, with and without object-contextual representations.
#include "networks.hpp"
#include "segnet/models/hrnet.hpp"

namespace segnet::program {

namespace {

using models::HrNetOptions;

/// All but classes and width, which is the network's own.
NetworkInfo hrnet(const char* name, const HrNetOptions& o, const char* description, const Published& published) {
  return {.name = name,
          .source = o.ocr ? "Yuan et al. 2020, arXiv:1909.11065; HRNet-Semantic-Segmentation, counted without the products of attention"
                          : "Wang et al. 2020, arXiv:1908.07919; HRNet-Semantic-Segmentation",
          .description = description,
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                HrNetOptions options = o;
                options.classes = c.classes;
                options.width = c.width;
                return nn::AnyModule<T, D>(models::HrNet<T, D>(options));
              },
          .width = o.width,
          .published = published};
}

/// For Cityscapes at half its size.
Published published(std::int64_t parameters, double giga_multiply_adds, const char* result) {
  return {.classes = 19, .input = {1, 512, 1024, 3}, .parameters = parameters, .giga_multiply_adds = giga_multiply_adds, .result = result};
}

}  // namespace

std::vector<NetworkInfo> hrnet_networks() {
  // Corners are aligned where they are in the authors' settings for Cityscapes: with OCR, and in the small ones.
  const auto plain = [](std::int64_t width) { return HrNetOptions{.width = width, .align_corners = false}; };
  const auto ocr = [](std::int64_t width) { return HrNetOptions{.width = width, .ocr = models::OcrOptions{}}; };
  const char *branches = "branches of strides 4 to 32 side by side, 18 channels in the finest; --width",
             *wider = "the same, wider; --width";
  return {
      hrnet("hrnet-w18", plain(18), branches, published(9'641'119, 36.85, "Cityscapes val 78.8 mean IoU (mmsegmentation)")),
      hrnet("hrnet-w32", plain(32), wider, published(29'546'515, 90.31, "")),
      hrnet("hrnet-w48", plain(48), wider, published(65'859'379, 186.88, "Cityscapes val 80.9 mean IoU")),
      hrnet("hrnet-w18-small-v1", HrNetOptions::small_v1(), "two blocks for four, one module a stage, 16 channels; --width",
            published(1'540'819, 8.35, "")),
      hrnet("hrnet-w18-small-v2", HrNetOptions::small_v2(), "two blocks for four, fewer modules; --width", published(3'939'579, 19.2, "")),
      hrnet("hrnet-ocr-w18", ocr(18), "hrnet-w18's logits improved by what its classes look like in the image; --aux, --width",
            published(12'080'818, 105.9, "Cityscapes val 79.5 mean IoU (mmsegmentation)")),
      hrnet("hrnet-ocr-w32", ocr(32), wider, published(32'953'894, 191.0, "")),
      hrnet("hrnet-ocr-w48", ocr(48), wider, published(70'372'678, 323.8, "Cityscapes val 81.6 mean IoU")),
  };
}

}  // namespace segnet::program
