// Copies between the operands of one group, through a requantizing table where scales differ.
#pragma once

#include "lib/ops/lower_common.h"

namespace bevel::ops {

class Mover {
 public:
  static Lowered<Mover> create(const LowerContext& context);
  LoweredGroup group;
  [[nodiscard]] bool eight_bit() const { return eight_bit_; }
  // The step that requantizes `count` elements of one operand to another (with the folded clamp); nullopt when bytes stay as they are.
  // 8 bits: by a table, added to the group's constants.
  Lowered<std::optional<LoweredStep>> requantization(const GroupOperand& in, const GroupOperand& out, StepOperand from, StepOperand to,
                                                     std::int32_t count);
  // Appends the copy of a walk (strides[0] over input `input`, strides[1] over output `output`); the reason when it cannot.
  std::optional<std::string> move(int input, int output, const Walk& walk, std::int64_t in_offset, std::int64_t out_offset);

 private:
  explicit Mover(const LowerContext& context) : context_(context) {}
  const LowerContext& context_;
  bool eight_bit_ = false, wide_ = false;
};

}  // namespace bevel::ops
