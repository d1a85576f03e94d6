// What Bevel knows of an operator: one OpRecord per (domain, op_type), one family file per name stem.
//
// Opsets: models are loaded at 7 to 28 (older files are tried as 7). `upgrade` lifts a node one opset; loading lifts every
// node to kBaseOpset, so that inference, facts, evaluation and lowering see the forms of opset 13 and later only,
// and take their version as an argument where 14..28 differ (axes as an attribute or as an input, ...). Writing a model in
// another opset (opset.h) takes the same steps further, and `downgrade` back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ir/datum.h"
#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "lib/support/result.h"

namespace bevel::ops {

constexpr int kOldestOpset = 7;
constexpr int kBaseOpset = 13;
constexpr int kNewestOpset = 28;

// Integer values known in part while shapes are computed (the output of Shape with a symbolic dimension, ...).
using PartialInts = std::vector<Dim>;  // a negative Dim::value with a symbol, or unknown; known dims may be any int64 >= 0
                                       // (negative known integers only come as full constants)

// --- inference -----------------------------------------------------------------------------------------------------
// Fills the types of a node's outputs. A missing piece of knowledge is not an error: leave it unknown. A contradiction is
// (exit 5, message names operand, what was found and expected; the caller adds file and node).
class InferContext {
 public:
  virtual ~InferContext() = default;
  virtual const Node& node() const = 0;
  virtual std::int64_t opset() const = 0;
  virtual std::size_t input_count() const = 0;                  // present or not
  virtual bool has_input(std::size_t i) const = 0;
  virtual const Type& input_type(std::size_t i) const = 0;      // Kind::unknown when absent or not known
  virtual const Tensor* input_constant(std::size_t i) const = 0;  // nullptr when not constant
  // Known or partly known integers of a 1-D (or scalar) integer operand; from constants and from shape arithmetic.
  virtual std::optional<PartialInts> input_ints(std::size_t i) const = 0;
  virtual void set_output(std::size_t i, Type type) = 0;
  virtual void set_output_ints(std::size_t i, PartialInts ints) = 0;
  // Inference inside a subgraph attribute (If, Loop, Scan): types of its outputs given types of its inputs.
  virtual Result<std::vector<Type>> infer_subgraph(const Graph& subgraph, std::span<const Type> inputs) = 0;
};

// --- evaluation ----------------------------------------------------------------------------------------------------
struct ElementMap;  // lib/ops/element_map.h

// Something that a family made of a constant operand (packed weights).
struct Kept {
  virtual ~Kept() = default;
  [[nodiscard]] virtual std::uint64_t heap_bytes() const = 0;
};

// The reference evaluation of one node. Inputs are validated against the spec by the family before any access.
class EvalContext {
 public:
  virtual ~EvalContext() = default;
  virtual const Node& node() const = 0;
  virtual std::int64_t opset() const = 0;
  virtual std::size_t input_count() const = 0;
  virtual bool has_input(std::size_t i) const = 0;
  virtual const Datum& input(std::size_t i) const = 0;
  // The tensor of a present tensor input; BEVEL_CHECKs presence (families declare their required inputs, which the
  // evaluator verified before the call).
  virtual const Tensor& tensor(std::size_t i) const = 0;
  // Refuses (exit 5, naming the node) an allocation beyond the cap. Call before allocating an output from file-given sizes.
  virtual Status reserve(DType dtype, std::span<const std::int64_t> dims) const = 0;
  virtual Result<std::vector<Datum>> run_subgraph(const Graph& subgraph, std::size_t first_capture,
                                                  std::span<const Datum> inputs) const = 0;

  // What an evaluator of whole graphs adds. No bit of a result depends on whether it does.
  // Operand i, to write the result into: this node is the last that reads it, and nobody else holds its bytes. The operand is gone
  // then. Undefined where that is not so.
  virtual Tensor take(std::size_t) const { return {}; }
  // What `make` makes of operand i and the node's attributes: kept for later runs where the operand is a constant.
  virtual std::shared_ptr<const Kept> keep(std::size_t, const std::function<std::shared_ptr<const Kept>()>& make) const { return make(); }
  // What the only reader of output 0 does to each of its elements, or nullptr. Who asks must do it, and gives the reader's result.
  virtual const ElementMap* claim_map() const { return nullptr; }
};
using Outputs = Result<std::vector<Datum>>;  // one per node output, trailing ones may be missing

// --- facts ---------------------------------------------------------------------------------------------------------
class FactsContext {
 public:
  virtual ~FactsContext() = default;
  virtual const Node& node() const = 0;
  virtual std::int64_t opset() const = 0;
  virtual bool has_input(std::size_t i) const = 0;
  virtual const Type& input_type(std::size_t i) const = 0;
  virtual const Tensor* input_constant(std::size_t i) const = 0;
  virtual const Type& output_type(std::size_t i) const = 0;
};

// --- the record ----------------------------------------------------------------------------------------------------
struct LowerContext;  // lib/ops/lowering.h
struct LoweredGroup;
// Steps, or the reason why the group has no integer (or float) kernel.
using LowerResult = tl::expected<LoweredGroup, std::string>;

struct OpRecord {
  std::string_view domain{};  // "" or "com.microsoft"
  std::string_view name{};
  int since = 1;             // first opset that Bevel understands (1: whatever is loaded)
  int min_inputs = 1, max_inputs = 1;  // max -1: variadic; trailing optional inputs counted in max only
  int min_outputs = 1, max_outputs = 1;

  Status (*infer)(InferContext&) = nullptr;
  Facts (*facts)(const FactsContext&) = nullptr;           // nullptr: opaque, pure
  Outputs (*evaluate)(const EvalContext&) = nullptr;
  // Rewrites the node from the form of `from` to that of `from + 1`; nullptr: no change of form between 7 and 28.
  Status (*upgrade)(Model& model, NodeId node, int from) = nullptr;
  // The way back, from the form of `from` to that of `from - 1`. The error says what the older form cannot say. What the
  // operators' schemas alone tell (schemas.h) is seen to before: attributes at their default are gone, dtypes are allowed.
  Status (*downgrade)(Model& model, NodeId node, int from) = nullptr;
  LowerResult (*lower)(const LowerContext&) = nullptr;     // nullptr: no kernel
  bool any_kind = false;                                   // inputs may be sequences or empty optionals (Identity, If)
};

// nullptr when Bevel does not know the op.
const OpRecord* find_op(std::string_view domain, std::string_view op_type);
inline const OpRecord* find_op(const Node& node) { return find_op(node.domain, node.op_type); }
// All records, sorted by domain and name.
std::span<const OpRecord* const> all_ops();

// --- over whole graphs ---------------------------------------------------------------------------------------------
// Facts of a node in its graph, with the graph's types and constants. Opaque facts for unknown ops.
Facts facts_of(const Model& model, const Graph& graph, NodeId node);
// Types of all values, in place; subgraphs included. Values keep a declared type where inference knows less; a contradiction
// between a declared and an inferred type is an error that names both.
Status infer_types(Model& model);
// The same, and the values of the main graph that inference could compute though they are no initializers: small constant
// expressions, and shape arithmetic over known dimensions (the channel count of a tensor whose batch is a symbol).
struct ComputedValue {
  ValueId value;
  Tensor tensor;
};
Status infer_types(Model& model, std::vector<ComputedValue>& computed);
// Lifts a model to at least kBaseOpset, in place, through the families' upgrade functions; false: left as it is. Opsets 1 to 6 are
// read as 7 once their broadcasting is rewritten (old_broadcast.h). Left are newer opsets than kNewestOpset, and models with an
// operator whose form changed on the way and that no family lifts. Subgraphs are lifted too; ir_version rises to that of the base.
Result<bool> upgrade_to_base(Model& model);
// Binds symbolic dimensions ("N" -> 1, or an input's whole shape) before inference.
struct ShapeBinding {
  std::string name;  // a symbol, or an input's name
  Dims dims;         // one entry for a symbol
};
Status bind_shapes(Model& model, std::span<const ShapeBinding> bindings);

}  // namespace bevel::ops
