// Every loss, in one include. They are functions of plain tensors; there is nothing to construct.
//
//   pixels against labels           cross_entropy, ohem_cross_entropy, focal_loss, nll_loss, dice_loss
//   pixels against probabilities    cross_entropy, dice_loss, binary_cross_entropy_with_logits, sigmoid_focal_loss
//   numbers against numbers         mse_loss, l1_loss, smooth_l1_loss, huber_loss
#pragma once

#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/dice_loss.hpp"
#include "segnet/ops/ohem.hpp"
#include "segnet/ops/pointwise_loss.hpp"
