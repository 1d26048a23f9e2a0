// PASCAL VOC 2012 segmentation: 20 classes and background. M. Everingham et al., "The PASCAL visual object classes challenge", IJCV 2015.
#pragma once

#include "segnet/data/folder.hpp"

namespace segnet::data {

[[nodiscard]] inline DatasetInfo voc_info() {
  DatasetInfo info{
      {"background",  "aeroplane", "bicycle", "bird",      "boat",   "bottle",      "bus",   "car",  "cat",   "chair",    "cow",
       "diningtable", "dog",       "horse",   "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"},
      voc_palette(21),
      255,
      std::vector<bool>(21, true)};
  info.is_thing[0] = false;
  return info;
}

struct VocOptions {
  std::string masks = "SegmentationClass";  ///< folder of the label maps; "SegmentationClassAug" for SBD's
  bool instances = false;                   ///< read the object numbers of SegmentationObject too
};

/// `root` is VOCdevkit/VOC2012; `list` names a file of ids in ImageSets/Segmentation: "train", "val", "trainval", "trainaug".
/// @throws IoError when the list is missing or empty
[[nodiscard]] inline FolderPairs voc(const std::string& root, const std::string& list, const VocOptions& options = {}) {
  const std::string path = root + "/ImageSets/Segmentation/" + list + ".txt", ids = read_file(path, 64 << 20);
  std::vector<FolderPairs::Pair> pairs;
  for (std::size_t begin = ids.find_first_not_of(" \t\r\n"); begin != std::string::npos;) {
    const std::size_t end = std::min(ids.find_first_of(" \t\r\n", begin), ids.size());
    const std::string id = ids.substr(begin, end - begin);
    pairs.push_back({id, root + "/JPEGImages/" + id + ".jpg", root + "/" + options.masks + "/" + id + ".png",
                     options.instances ? root + "/SegmentationObject/" + id + ".png" : std::string()});
    begin = ids.find_first_not_of(" \t\r\n", end);
  }
  if (pairs.empty()) throw IoError(path, "lists no images");
  return {std::move(pairs), voc_info()};
}

}  // namespace segnet::data
