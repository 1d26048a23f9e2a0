// The published recipes of networks, as settings of `segnet train`: a table. Options given beside --recipe override it.
#pragma once

#include "config.hpp"

namespace segnet::program {

struct Recipe {
  std::string name, source;
  std::string note;  ///< what of it the settings cannot say, and where the weights come from
  TrainConfig config;
  std::string guessed = {};  ///< settings that the source leaves open, which are ours
};

const std::vector<Recipe>& recipes();
/// The settings of a recipe. @throws ValueError: no such name
TrainConfig recipe_config(const std::string& name);

}  // namespace segnet::program
