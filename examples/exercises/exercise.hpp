// What the exercises share: a row and a grid of numbers, and a few products. Nothing of segnet, so that a check compiles in seconds.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace exercise {

using Row = std::vector<double>;
using Grid = std::vector<Row>;  ///< rows of equal length

inline int size(const Row& row) { return static_cast<int>(row.size()); }
inline int height(const Grid& grid) { return static_cast<int>(grid.size()); }
inline int width(const Grid& grid) { return grid.empty() ? 0 : size(grid[0]); }

inline Row zeros(int n) { return Row(static_cast<std::size_t>(n)); }
inline Grid zeros(int rows, int columns) { return Grid(static_cast<std::size_t>(rows), zeros(columns)); }

/// Element i; an int as index, without a cast in every line.
inline double& at(Row& row, int i) { return row.at(static_cast<std::size_t>(i)); }
inline double at(const Row& row, int i) { return row.at(static_cast<std::size_t>(i)); }
inline double& at(Grid& grid, int i, int j) { return at(grid.at(static_cast<std::size_t>(i)), j); }
inline double at(const Grid& grid, int i, int j) { return at(grid.at(static_cast<std::size_t>(i)), j); }

/// matrix * vector
inline Row multiply(const Grid& matrix, const Row& vector) {
  Row product = zeros(height(matrix));
  for (int i = 0; i < height(matrix); ++i)
    for (int j = 0; j < width(matrix) && j < size(vector); ++j) at(product, i) += at(matrix, i, j) * at(vector, j);
  return product;
}
inline Grid transpose(const Grid& matrix) {
  Grid result = zeros(width(matrix), height(matrix));
  for (int i = 0; i < height(matrix); ++i)
    for (int j = 0; j < width(matrix); ++j) at(result, j, i) = at(matrix, i, j);
  return result;
}

}  // namespace exercise
