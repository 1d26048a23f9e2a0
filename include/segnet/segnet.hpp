// Everything that needs no library beside the standard one, and reads or writes no files. It only includes.
// Images, weights, data sets and plots have headers of their own: segnet/io, segnet/data, segnet/report.
#pragma once

#include "segnet/autograd/backward.hpp"
#include "segnet/autograd/checkpoint.hpp"
#include "segnet/autograd/gradcheck.hpp"
#include "segnet/autograd/graph.hpp"
#include "segnet/core/config.hpp"
#include "segnet/core/device.hpp"
#include "segnet/core/error.hpp"
#include "segnet/core/isa.hpp"
#include "segnet/core/layout.hpp"
#include "segnet/core/memory.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/print.hpp"
#include "segnet/core/random.hpp"
#include "segnet/core/shape.hpp"
#include "segnet/core/tensor.hpp"
#include "segnet/core/view.hpp"
