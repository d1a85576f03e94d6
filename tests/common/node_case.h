// One node and its operands, evaluated alone; models given as text. For the tests of operator families.
#pragma once

#include <catch2/catch.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ir/text.h"
#include "lib/ops/evaluate.h"

namespace bevel::testing {

struct Case {
  Node node;
  std::vector<Datum> inputs;
  std::int64_t opset = 18;
  std::uint64_t cap = 1 << 20;  // bytes of an output: hostile sizes must be refused by it, not allocated

  explicit Case(std::string op) {
    node.op_type = std::move(op);
    node.outputs.resize(1);
  }
  Case& in(Tensor tensor) {
    node.inputs.push_back(ValueId(node.inputs.size()));
    inputs.emplace_back(std::move(tensor));
    return *this;
  }
  Case& absent() {
    node.inputs.emplace_back();
    inputs.emplace_back();
    return *this;
  }
  Case& attr(const std::string& name, AttributeValue value) {
    node.set_attribute(name, std::move(value));
    return *this;
  }
  Case& outputs(std::size_t count) {
    node.outputs.clear();
    for (std::size_t i = 0; i < count; ++i) node.outputs.emplace_back(100 + i);
    return *this;
  }
  [[nodiscard]] ops::Outputs run() const { return ops::evaluate_node(node, opset, inputs, cap); }
  [[nodiscard]] Tensor result(std::size_t i = 0) const {
    const auto outputs = run();
    INFO((outputs ? std::string() : outputs.error().message));
    REQUIRE(outputs.has_value());
    REQUIRE(i < outputs->size());
    REQUIRE((*outputs)[i].tensor() != nullptr);
    return *(*outputs)[i].tensor();
  }
  [[nodiscard]] std::vector<float> floats(std::size_t i = 0) const { return result(i).as_floats(); }
  [[nodiscard]] std::string error() const {
    const auto outputs = run();
    REQUIRE_FALSE(outputs.has_value());
    CHECK(outputs.error().code == ExitCode::input);
    return outputs.error().message;
  }
};

inline Model parsed(const std::string& text) {
  auto model = parse_text(text);
  INFO((model ? std::string() : model.error().message));
  REQUIRE(model.has_value());
  return std::move(*model);
}

}  // namespace bevel::testing
