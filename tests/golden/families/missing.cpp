// Families whose operations are still to come: their cases count as not implemented, not as failures.
#include "golden/golden.hpp"

namespace segnet::golden {

void add_missing(Registry& registry) {
  for (const char* name : {"conv3d", "conv_transpose3d", "einsum", "panoptic_coco_sample", "panoptic_quality"}) registry.add_missing(name);
}

}  // namespace segnet::golden
