// SegFormer and Lawin on Mix Transformers.
#include "networks.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/lawin.hpp"

namespace segnet::program {

namespace {

/// What is published about a network on MiT-B0, B1, ...
struct Row {
  std::int64_t parameters;
  double giga_multiply_adds;
  const char* result;
};

/// With `width` channels in the first stage, and all stages as much wider or narrower.
models::MixTransformerOptions scaled(models::MixTransformerOptions o, std::int64_t width) {
  const index_t from = o.channels[0];
  for (index_t& channels : o.channels) channels = channels * width / from;
  return o;
}

/// For ADE20K; B5 for larger crops.
NetworkInfo on_mit(const char* name, int size, const char* source, const char* description, const Builder& build, const Row& row) {
  const index_t side = size == 5 ? 640 : 512;
  return {.name = concat(name, "-b", size),
          .source = source,
          .description = size ? concat("the same on MiT-B", size, "; --width") : description,
          .build = build,
          .width = models::MixTransformerOptions::b(size).channels[0],
          .published = {.classes = 150,
                        .input = {1, side, side, 3},
                        .parameters = row.parameters,
                        .giga_multiply_adds = row.giga_multiply_adds,
                        .result = row.result}};
}

NetworkInfo segformer(int size, const Row& row) {
  const Builder build = [=]<class T, class D>(const ModelConfig& c) {
    auto o = models::SegFormerOptions::b(size);
    o.classes = c.classes;
    o.embed = o.embed * c.width / o.backbone.channels[0];
    o.backbone = scaled(o.backbone, c.width);
    return nn::AnyModule<T, D>(models::SegFormer<T, D>(o));
  };
  return on_mit("segformer", size, "Xie et al. 2021, arXiv:2105.15203; NVlabs/SegFormer",
                "Mix Transformer, four maps added up by linear layers; --width", build, row);
}

NetworkInfo lawin(int size, const Row& row) {
  const Builder build = [=]<class T, class D>(const ModelConfig& c) {
    auto o = models::LawinOptions::b(size);
    o.classes = c.classes;
    o.embed = o.embed * c.width / o.backbone.channels[0];
    o.channels = (o.channels * c.width / o.backbone.channels[0] + 127) / 128 * 128;
    o.backbone = scaled(o.backbone, c.width);
    return nn::AnyModule<T, D>(models::AnySize<models::Lawin<T, D>>{models::Lawin<T, D>(o)});
  };
  return on_mit("lawin", size, "Yan et al. 2022, arXiv:2201.01615; yan-hao-tian/lawin",
                "Mix Transformer, windows that attend to contexts of three sizes; --width", build, row);
}

}  // namespace

std::vector<NetworkInfo> transformer_networks() {
  const Row segformers[] = {{3'752'694, 8.4, "ADE20K val 37.4, Cityscapes val 76.2 mean IoU"},
                            {13'715'798, 15.9, "ADE20K val 42.2, Cityscapes val 78.5 mean IoU"},
                            {27'461'974, 62.4, "ADE20K val 46.5, Cityscapes val 81.0 mean IoU"},
                            {47'337'814, 79.0, "ADE20K val 49.4, Cityscapes val 81.7 mean IoU"},
                            {64'108'374, 95.7, "ADE20K val 50.3, Cityscapes val 82.3 mean IoU"},
                            {84'708'694, 183.3, "ADE20K val 51.0, Cityscapes val 82.4 mean IoU"}};
  const Row lawins[] = {{4'150'630, 5.3, "ADE20K val 38.9 mean IoU"},
                        {14'107'078, 12.7, "ADE20K val 42.1, Cityscapes val 79.0 mean IoU"},
                        {29'613'446, 45.0, "ADE20K val 47.8, Cityscapes val 81.7 mean IoU"},
                        {49'489'286, 61.7, "ADE20K val 50.3, Cityscapes val 82.5 mean IoU"},
                        {66'259'846, 78.2, "ADE20K val 50.7 mean IoU"},
                        {86'860'166, 159.1, "ADE20K val 52.3 mean IoU"}};
  std::vector<NetworkInfo> list;
  for (int size = 0; size < 6; ++size) list.push_back(segformer(size, segformers[size]));
  for (int size = 0; size < 6; ++size) list.push_back(lawin(size, lawins[size]));
  return list;
}

}  // namespace segnet::program
