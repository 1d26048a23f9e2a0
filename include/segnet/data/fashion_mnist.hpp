// Fashion-MNIST: 70,000 grey pictures of garments, 28 x 28, 10 classes. Link with -lz.
// H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", arXiv:1708.07747.
#pragma once

#include <zlib.h>

#include <cstdlib>
#include <string>

#include "segnet/core/tensor.hpp"

namespace segnet::data {

struct FashionMnist {
  Tensor<std::uint8_t> images;  ///< [N, 28, 28], 0 is background
  Tensor<std::uint8_t> labels;  ///< [N], 0 to 9

  static constexpr const char* classes[10] = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};
};

/// Where the files are looked for: `folder`, else the environment variable SEGNET_FASHION_MNIST, else the folder of the Debian
/// package dataset-fashion-mnist.
[[nodiscard]] inline std::string fashion_mnist_folder(const std::string& folder = {}) {
  if (!folder.empty()) return folder;
  const char* variable = std::getenv("SEGNET_FASHION_MNIST");
  return variable && *variable ? variable : "/usr/share/datasets/fashion-mnist";
}

namespace detail {
/// The elements of an IDX file of unsigned bytes, compressed or not: two zeros, the type 8, the rank, the sizes as 32-bit big-endian
/// numbers, the elements (http://yann.lecun.com/exdb/mnist).
inline Tensor<std::uint8_t> read_idx(const std::string& path, const Shape& expected) {
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  const std::unique_ptr<gzFile_s, Close> file(gzopen(path.c_str(), "rb"));
  if (!file)
    throw IoError(path,
                  "cannot open: install the Debian package dataset-fashion-mnist, or name the folder of its four .gz files in "
                  "SEGNET_FASHION_MNIST");
  const auto read = [&](void* out, index_t bytes) {
    if (gzread(file.get(), out, static_cast<unsigned>(bytes)) == bytes) return;
    int code = 0;
    const std::string reason = gzerror(file.get(), &code);
    throw IoError(path, concat("damaged file: ", code == Z_OK || code == Z_BUF_ERROR ? std::string("it ends too early") : reason));
  };
  std::uint8_t header[4 * (Shape::max_rank + 1)] = {};
  read(header, 4);
  if (header[0] || header[1] || header[2] != 8 || header[3] != expected.rank())
    throw IoError(path, concat("is not an IDX file of bytes in ", expected.rank(), " dimensions"));
  read(header + 4, 4 * expected.rank());
  for (int i = 0; i < expected.rank(); ++i) {
    const std::uint8_t* b = header + 4 * (i + 1);
    const index_t size = index_t{b[0]} << 24 | b[1] << 16 | b[2] << 8 | b[3];
    if (size != expected[i]) throw IoError(path, concat("size ", size, " in dimension ", i, "; Fashion-MNIST has ", expected));
  }
  Tensor<std::uint8_t> elements(expected);
  read(elements.data(), elements.numel());
  return elements;
}
}  // namespace detail

/// The 60,000 pictures for training, or the 10,000 for testing. @throws IoError naming the file, and the package when it is missing
[[nodiscard]] inline FashionMnist load_fashion_mnist(bool train, const std::string& folder = {}) {
  const std::string prefix = fashion_mnist_folder(folder) + (train ? "/train" : "/t10k");
  const index_t count = train ? 60000 : 10000;
  FashionMnist data{detail::read_idx(prefix + "-images-idx3-ubyte.gz", {count, 28, 28}),
                    detail::read_idx(prefix + "-labels-idx1-ubyte.gz", {count})};
  for (index_t i = 0; i < count; ++i)
    if (data.labels.data()[i] > 9)
      throw IoError(prefix + "-labels-idx1-ubyte.gz", concat("label ", int{data.labels.data()[i]}, " of picture ", i, " is above 9"));
  return data;
}

}  // namespace segnet::data
