// The data sets that the program knows by name, and how it augments them.
#pragma once

#include "networks.hpp"
#include "segnet/data/augment.hpp"
#include "segnet/data/camvid.hpp"
#include "segnet/data/cityscapes.hpp"
#include "segnet/data/class_weights.hpp"
#include "segnet/data/folder.hpp"
#include "segnet/data/proposals.hpp"
#include "segnet/data/scenes.hpp"
#include "segnet/data/voc.hpp"

namespace segnet::program {

inline data::Split split_of(const std::string& name) {
  if (name == "train") return data::Split::train;
  if (name == "val") return data::Split::val;
  if (name == "test") return data::Split::test;
  throw ValueError("program", "--split", "train, val or test", name);
}

/// Pairs of --images and --masks; without --val-images every tenth pair is held out.
inline data::Dataset open_folder(const DataConfig& c, const std::string& split) {
  if (c.images.empty() || c.masks.empty()) throw ValueError("program", "--images, --masks", "two folders, for --data folder", "none");
  if (c.val_images.empty() != c.val_masks.empty())
    throw ValueError("program", "--val-images, --val-masks", "both or neither", "one of them");
  data::DatasetInfo info;
  if (!c.class_names.empty()) {
    info = data::read_classes(c.class_names);
  } else {
    if (c.classes < 2 || c.classes > 256)
      throw ValueError("program", "--classes", "2 to 256, or --class-names FILE, for --data folder", concat(c.classes));
    const Palette colours = voc_palette();
    for (std::int64_t i = 0; i < c.classes; ++i) {
      info.classes.push_back(concat("class ", i));
      info.palette.push_back(colours[static_cast<std::size_t>(i)]);
    }
  }
  info.ignore_index = c.ignore_index;
  const bool val = split_of(split) != data::Split::train;
  if (val && !c.val_images.empty()) return data::FolderPairs(c.val_images, c.val_masks, info);
  const data::Dataset all = data::FolderPairs(c.images, c.masks, info);
  if (!c.val_images.empty()) return all;
  std::vector<index_t> part;
  for (index_t i = 0; i < all.size(); ++i)
    if ((i % 10 == 9) == val) part.push_back(i);
  if (part.empty())
    throw ValueError("program", "--images", "at least 10 pairs, to hold out every tenth (or --val-images)", concat(all.size()));
  return data::Subset(all, part);
}

/// `instances`: of voc too, where they are files of their own.
/// @throws IoError, ValueError: what is missing, by the name of its file or option
inline data::Dataset open_dataset(const DataConfig& c, const std::string& split, bool instances = false) {
  if (c.kind == "scenes") {
    data::ScenesOptions options;
    options.size = c.scene_size;
    options.min_side = c.scene_side_min;
    options.max_side = c.scene_side_max;
    options.min_objects = c.scene_objects_min;
    options.max_objects = c.scene_objects_max;
    options.count = split == "train" ? c.scene_train : c.scene_val;
    return data::Scenes(split_of(split), options);
  }
  if (c.kind == "folder") return open_folder(c, split);
  if (c.root.empty()) throw ValueError("program", "--root", concat("the folder of ", c.kind), "none");
  if (c.kind == "camvid") return data::camvid(c.root, split_of(split));
  if (c.kind == "cityscapes") return data::cityscapes(c.root, split_of(split));
  if (c.kind == "voc") return data::voc(c.root, split, {.instances = instances});
  throw ValueError("program", "--data", "scenes, camvid, cityscapes, voc or folder", c.kind);
}

/// What is trained on: `images`, or with --window-crop their windows. @throws IoError, ValueError: the file of windows, or options
inline data::Dataset training_samples(const TrainConfig& c, const data::Dataset& images) {
  if (c.window_crop == 0 && c.proposals.empty()) return images;
  if (c.window_crop == 0 || c.proposals.empty())
    throw ValueError("train", "--window-crop, --proposals", "both, or neither for whole images",
                     concat("--window-crop ", c.window_crop, c.proposals.empty() ? " without" : " with", " --proposals"));
  if (c.object_crop > 0) throw ValueError("train", "--object-crop", "0 with --window-crop", concat(c.object_crop));
  const data::Windows windows(images, data::read_proposals(c.proposals), c.window_crop);
  std::printf("%s: %lld windows of %lld of %lld training images\n", c.proposals.c_str(), static_cast<long long>(windows.size()),
              static_cast<long long>(windows.pictures()), static_cast<long long>(images.size()));
  return windows;
}

/// `rule` is published, the constants that networks for CamVid and Cityscapes are trained with, or median-frequency: those of CamVid, else
/// counted in the training set. @throws ValueError: none are published
inline Tensor<float> class_weights(const std::string& rule, const DataConfig& c, const data::Dataset& train) {
  const index_t classes = train.info().num_classes();
  if (c.kind == "camvid") return Tensor<float>({classes}, data::camvid_class_weights, static_cast<std::size_t>(classes));
  if (rule == "published") {
    if (c.kind != "cityscapes") throw ValueError("train", "--class-weights", concat("none or median-frequency for --data ", c.kind), rule);
    return Tensor<float>({classes}, data::cityscapes_class_weights, static_cast<std::size_t>(classes));
  }
  return Tensor<float>({classes}, data::median_frequency_weights(data::count_labels(train)));
}

}  // namespace segnet::program
