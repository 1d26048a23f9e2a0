// For damaged files: whether a file of named tensors can be read to the last element.
#pragma once

#include <cmath>

#include "support/files.hpp"

namespace segnet::testing {

/// Reads everything there is in a file; false when it is refused. `File`: SafetensorsFile or PthFile.
template <class File>
bool readable(const std::string& path) {
  try {
    const File file(path);
    double sum = 0;
    for (const auto& name : file.names()) {
      const std::string_view type = file.dtype(name);
      const auto add = [&](const auto& t) {
        for (index_t i = 0; i < t.numel(); ++i) sum += static_cast<double>(t.data()[i]);
      };
      if (type.starts_with("F8")) continue;  // not converted
      if (type[0] == 'F' || type == "BF16") add(file.template tensor<double>(name));
      else if (type == "I64") add(file.template tensor<std::int64_t>(name));
      else if (type == "I32") add(file.template tensor<std::int32_t>(name));
      else if (type == "U8") add(file.template tensor<std::uint8_t>(name));
      else if (type == "BOOL") add(file.template tensor<bool>(name));
    }
    return sum == sum || std::isnan(sum);
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace segnet::testing
