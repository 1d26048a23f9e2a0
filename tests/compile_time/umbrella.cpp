#include "segnet/segnet.hpp"
