// Colours of labels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace segnet {

/// A colour: red, green, blue.
using Rgb = std::array<std::uint8_t, 3>;
/// The colour of each label.
using Palette = std::vector<Rgb>;

/// The palette of PASCAL VOC, which most label maps use: the bits of a label, three at a time, become the high bits of red, green
/// and blue. 0 black, 1 (128, 0, 0), 2 (0, 128, 0), 3 (128, 128, 0), ..., 255 (224, 224, 192). All different up to 2^24 labels.
[[nodiscard]] inline Palette voc_palette(int colours = 256) {
  Palette palette;
  for (int label = 0; label < colours; ++label) {
    Rgb colour{};
    for (int bit = 0; bit < 24; ++bit)
      if (label >> bit & 1) colour[static_cast<std::size_t>(bit % 3)] |= static_cast<std::uint8_t>(128 >> bit / 3);
    palette.push_back(colour);
  }
  return palette;
}

}  // namespace segnet
