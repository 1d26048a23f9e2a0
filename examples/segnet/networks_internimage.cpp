// InternImage under UPerNet.
#include "networks.hpp"
#include "segnet/models/intern_image.hpp"

namespace segnet::program {

namespace {

using models::InternImageOptions;

/// --width changes the channels of the first map, but not those of a group. The authors count 512 x 2048 pixels, four times as many.
NetworkInfo internimage(const char* name, const char* size, const char* description, std::int64_t parameters, double giga_multiply_adds,
                        const char* result) {
  const auto named = InternImageOptions::named(size);
  return {.name = name,
          .source = "Wang et al. 2023, arXiv:2211.05778; Xiao et al. 2018, arXiv:1807.10221",
          .description = description,
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                InternImageOptions o = named;
                o.channels = c.width;
                for (std::size_t s = 0; s < 4; ++s) o.groups[s] = std::max<index_t>(1, named.groups[s] * c.width / named.channels);
                return nn::AnyModule<T, D>(models::InternImageUPerNet<T, D>(
                    {.classes = c.classes, .aux = c.aux > 0, .backbone = o, .channels = std::min<index_t>(512, 8 * c.width)}));
              },
          .width = named.channels,
          .published = {.classes = 150,
                        .input = {1, 512, 512, 3},
                        .parameters = parameters,
                        .giga_multiply_adds = giga_multiply_adds,
                        .result = result},
          .published_config = {.aux = 0.4}};
}

}  // namespace

std::vector<NetworkInfo> internimage_networks() {
  return {
      internimage("internimage-t-upernet", "T", "deformable convolutions in four stages, a feature pyramid over them; --aux, --width",
                  59'077'148, 236.0, "ADE20K val 47.9 mean IoU"),
      internimage("internimage-s-upernet", "S", "the same, deeper and wider, norms at the ends of the branches; --aux, --width", 79'866'956,
                  254.3, "ADE20K val 50.1 mean IoU"),
      internimage("internimage-b-upernet", "B", "the same, wider; --aux, --width", 128'387'852, 296.2, "ADE20K val 50.8 mean IoU"),
  };
}

}  // namespace segnet::program
