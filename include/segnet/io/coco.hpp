// COCO's JSON: what is in the images, and what was found.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "segnet/io/json.hpp"
#include "segnet/metrics/coco_ap.hpp"

namespace segnet {

/// `annotations` and `categories` of a file of objects, as `coco_scores` takes them.
struct CocoObjects {
  std::vector<CocoObject> objects;
  std::vector<index_t> categories;  ///< their ids, rising: 1 ... 90 with gaps in COCO itself
};

namespace detail {
/// A segmentation: counts as text or as a list, or polygons, of which the object is the union.
[[nodiscard]] inline Rle coco_mask(const Json& segmentation, index_t h, index_t w) {
  if (segmentation.is_object()) {
    const Json &size = segmentation["size"], &counts = segmentation["counts"];
    Rle r{size[0].integer(), size[1].integer(), {}};
    if (counts.is_string()) return rle_from_text(counts.string(), r.h, r.w);
    for (const Json& count : counts.array()) r.counts.push_back(count.integer());
    check_rle("coco_objects", r);
    return r;
  }
  Rle all{h, w, {h * w}};
  for (const Json& polygon : segmentation.array()) {
    std::vector<double> xy;
    for (const Json& number : polygon.array()) xy.push_back(number.number());
    all = rle_merge(all, rle_of_polygon(xy, h, w));
  }
  return all;
}
[[nodiscard]] inline std::array<double, 4> coco_box(const Json& entry) {
  const Json& box = entry["bbox"];
  return {box[0].number(), box[1].number(), box[2].number(), box[3].number()};
}
}  // namespace detail

/// @throws ValueError: a part is missing or of another kind, a mask that is none
[[nodiscard]] inline CocoObjects coco_objects(const Json& json) {
  CocoObjects result;
  std::map<index_t, std::pair<index_t, index_t>> sizes;
  for (const Json& image : json["images"].array()) sizes[image["id"].integer()] = {image["height"].integer(), image["width"].integer()};
  for (const Json& category : json["categories"].array()) result.categories.push_back(category["id"].integer());
  std::sort(result.categories.begin(), result.categories.end());
  for (const Json& entry : json["annotations"].array()) {
    const index_t image = entry["image_id"].integer();
    const Json *crowd = entry.find("iscrowd"), *segmentation = entry.find("segmentation");
    CocoObject object{image, entry["category_id"].integer(), detail::coco_box(entry),
                      {},    entry["area"].number(),         crowd && crowd->integer() != 0};
    if (segmentation) object.mask = detail::coco_mask(*segmentation, sizes[image].first, sizes[image].second);
    result.objects.push_back(std::move(object));
  }
  return result;
}

/// A list of results, with boxes or with masks as counts, whose box is the one around them. @throws ValueError as coco_objects
[[nodiscard]] inline std::vector<CocoDetection> coco_detections(const Json& json) {
  std::vector<CocoDetection> result;
  for (const Json& entry : json.array()) {
    CocoDetection found{entry["image_id"].integer(), entry["category_id"].integer(), entry["score"].number(), {}, {}};
    const Json* segmentation = entry.find("segmentation");
    if (segmentation && !segmentation->is_object()) throw ValueError("coco_detections", "segmentation", "counts", "polygons");
    if (segmentation) found.mask = detail::coco_mask(*segmentation, 0, 0);
    found.box = entry.find("bbox") ? detail::coco_box(entry) : rle_box(found.mask);
    result.push_back(std::move(found));
  }
  return result;
}

}  // namespace segnet
