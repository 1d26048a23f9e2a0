// Writes sample pictures of the "scenes" data set: scenes.png, a contact sheet of image, classes and instances side by side, and
// the first scene as image and label map files, as a folder data set has them.
//
//   scenes [FOLDER [ROWS [SIZE [SEED]]]]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "segnet/data/scenes.hpp"
#include "segnet/io/image.hpp"

using namespace segnet;
using namespace segnet::data;

namespace {

/// Pastes [H, W, 3], coloured by `colour(i)` for pixel i, into a sheet.
template <class F>
void paste(const Tensor<std::uint8_t>& sheet, index_t top, index_t left, index_t size, const F& colour) {
  for (index_t i = 0; i < size * size; ++i) {
    const Rgb c = colour(i);
    for (index_t k = 0; k < 3; ++k)
      sheet.data()[((top + i / size) * sheet.dim(1) + left + i % size) * 3 + k] = c[static_cast<std::size_t>(k)];
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const index_t rows = argc > 2 ? std::atoll(argv[2]) : 6, per_row = 3;
  ScenesOptions options;
  if (argc > 3) options.size = std::atoll(argv[3]);
  if (argc > 4) options.seed = std::strtoull(argv[4], nullptr, 10);
  const Scenes scenes(Split::train, options);
  const index_t size = options.size, gap = 4, step = size + gap;
  const Palette& palette = scenes.info().palette;
  const Palette colours = voc_palette();  // of instances

  std::filesystem::create_directories(folder);
  auto sheet = full<std::uint8_t>({rows * step + gap, per_row * (3 * step + gap) + gap, 3}, 255);
  for (index_t n = 0; n < rows * per_row; ++n) {
    const Sample scene = scenes.get(n);
    const index_t top = n / per_row * step + gap, left = n % per_row * (3 * step + gap) + gap;
    paste(sheet, top, left, size,
          [&](index_t i) { return Rgb{scene.image.data()[3 * i], scene.image.data()[3 * i + 1], scene.image.data()[3 * i + 2]}; });
    paste(sheet, top, left + step, size, [&](index_t i) { return palette[static_cast<std::size_t>(scene.label.data()[i])]; });
    paste(sheet, top, left + 2 * step, size, [&](index_t i) { return colours[static_cast<std::size_t>(scene.instance.data()[i])]; });
    if (n == 0) {
      write_png(folder + "/image.png", scene.image);
      write_label_map(folder + "/classes.png", scene.label, palette);
      write_label_map(folder + "/instances.png", scene.instance, colours);
    }
  }
  write_png(folder + "/scenes.png", sheet);

  const auto start = std::chrono::steady_clock::now();
  const index_t count = 200;
  for (index_t i = 0; i < count; ++i) (void)scenes.get(i);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s/scenes.png: %lld scenes; one core makes %.0f a second\n", folder.c_str(), static_cast<long long>(rows * per_row),
              static_cast<double>(count) / seconds);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
