#include "segnet/ops/conv2d.hpp"
