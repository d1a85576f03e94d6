#include "lib/onnx/scan.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "lib/ir/graph.h"
#include "lib/onnx/fields.h"
#include "lib/onnx/wire.h"

namespace bevel::onnx {

namespace {

enum class Kind : std::uint8_t {
  varint,
  fixed32,
  name,            // a string with the name cap
  text,            // any bytes
  repeated_name,   // counted as elements
  repeated_text,
  payload,         // tensor contents
  varints,         // repeated, packed or not
  fixed32s,
  payload_varints, payload_fixed32s, payload_fixed64s,  // the same, as tensor contents
  message,
};

struct FieldRule {
  std::uint32_t number;
  Kind kind;
  Message child = Message::entry;  // for Kind::message
};

struct MessageRule {
  const char* name;
  std::span<const FieldRule> fields;
};

using enum Kind;
constexpr FieldRule kModel[] = {
    {model_field::kIrVersion, varint}, {model_field::kProducerName, text}, {model_field::kProducerVersion, text},
    {model_field::kDomain, text}, {model_field::kModelVersion, varint}, {model_field::kDocString, text},
    {model_field::kGraph, message, Message::graph}, {model_field::kOpsetImport, message, Message::opset},
    {model_field::kMetadataProps, message, Message::entry}, {model_field::kTrainingInfo, message, Message::training},
    {model_field::kFunctions, message, Message::function}};
constexpr FieldRule kGraph[] = {
    {graph_field::kNode, message, Message::node}, {graph_field::kName, name},
    {graph_field::kInitializer, message, Message::tensor}, {graph_field::kDocString, text},
    {graph_field::kInput, message, Message::value_info}, {graph_field::kOutput, message, Message::value_info},
    {graph_field::kValueInfo, message, Message::value_info},
    {graph_field::kQuantizationAnnotation, message, Message::annotation},
    {graph_field::kSparseInitializer, message, Message::sparse_tensor},
    {graph_field::kMetadataProps, message, Message::entry}};
constexpr FieldRule kNode[] = {
    {node_field::kInput, repeated_name}, {node_field::kOutput, repeated_name}, {node_field::kName, name},
    {node_field::kOpType, name}, {node_field::kAttribute, message, Message::attribute}, {node_field::kDocString, text},
    {node_field::kDomain, name}, {node_field::kOverload, name}, {node_field::kMetadataProps, message, Message::entry}};
constexpr FieldRule kAttribute[] = {
    {attribute_field::kName, name}, {attribute_field::kFloat, fixed32}, {attribute_field::kInt, varint},
    {attribute_field::kString, text}, {attribute_field::kTensor, message, Message::tensor},
    {attribute_field::kGraph, message, Message::graph}, {attribute_field::kFloats, fixed32s},
    {attribute_field::kInts, varints}, {attribute_field::kStrings, repeated_text},
    {attribute_field::kTensors, message, Message::tensor}, {attribute_field::kGraphs, message, Message::graph},
    {attribute_field::kDocString, text}, {attribute_field::kTypeProto, message, Message::type},
    {attribute_field::kTypeProtos, message, Message::type}, {attribute_field::kType, varint},
    {attribute_field::kRefAttrName, name}, {attribute_field::kSparseTensor, message, Message::sparse_tensor},
    {attribute_field::kSparseTensors, message, Message::sparse_tensor}};
constexpr FieldRule kTensor[] = {
    {tensor_field::kDims, varints}, {tensor_field::kDataType, varint},
    {tensor_field::kSegment, message, Message::segment}, {tensor_field::kFloatData, payload_fixed32s},
    {tensor_field::kInt32Data, payload_varints}, {tensor_field::kStringData, repeated_text},
    {tensor_field::kInt64Data, payload_varints}, {tensor_field::kName, name}, {tensor_field::kRawData, payload},
    {tensor_field::kDoubleData, payload_fixed64s}, {tensor_field::kUint64Data, payload_varints},
    {tensor_field::kDocString, text}, {tensor_field::kExternalData, message, Message::entry},
    {tensor_field::kDataLocation, varint}, {tensor_field::kMetadataProps, message, Message::entry}};
constexpr FieldRule kSparseTensor[] = {{sparse_field::kValues, message, Message::tensor},
                                       {sparse_field::kIndices, message, Message::tensor},
                                       {sparse_field::kDims, varints}};
constexpr FieldRule kSegment[] = {{1, varint}, {2, varint}};
constexpr FieldRule kValueInfo[] = {{value_info_field::kName, name}, {value_info_field::kType, message, Message::type},
                                    {value_info_field::kDocString, text},
                                    {value_info_field::kMetadataProps, message, Message::entry}};
constexpr FieldRule kType[] = {
    {type_field::kTensor, message, Message::tensor_type}, {type_field::kSequence, message, Message::sequence_type},
    {type_field::kMap, message, Message::map_type}, {type_field::kDenotation, name},
    {type_field::kOpaque, message, Message::opaque_type}, {type_field::kSparseTensor, message, Message::tensor_type},
    {type_field::kOptional, message, Message::sequence_type}};
constexpr FieldRule kTensorType[] = {{type_field::kElemType, varint}, {type_field::kShape, message, Message::shape}};
constexpr FieldRule kSequenceType[] = {{type_field::kElemType, message, Message::type}};
constexpr FieldRule kMapType[] = {{type_field::kMapKey, varint}, {type_field::kMapValue, message, Message::type}};
constexpr FieldRule kOpaqueType[] = {{1, name}, {2, name}};
constexpr FieldRule kShape[] = {{type_field::kDim, message, Message::dimension}};
constexpr FieldRule kDimension[] = {{type_field::kDimValue, varint}, {type_field::kDimParam, name},
                                    {type_field::kDimDenotation, name}};
constexpr FieldRule kEntry[] = {{entry_field::kKey, text}, {entry_field::kValue, text}};
constexpr FieldRule kAnnotation[] = {{1, name}, {2, message, Message::entry}};
constexpr FieldRule kOpset[] = {{opset_field::kDomain, name}, {opset_field::kVersion, varint}};
constexpr FieldRule kFunction[] = {
    {function_field::kName, name}, {function_field::kInput, repeated_name}, {function_field::kOutput, repeated_name},
    {function_field::kAttribute, repeated_name}, {function_field::kNode, message, Message::node},
    {function_field::kDocString, text}, {function_field::kOpsetImport, message, Message::opset},
    {function_field::kDomain, name}, {function_field::kAttributeProto, message, Message::attribute},
    {function_field::kValueInfo, message, Message::value_info}, {function_field::kOverload, name},
    {function_field::kMetadataProps, message, Message::entry}};
constexpr FieldRule kTraining[] = {{training_field::kInitialization, message, Message::graph},
                                   {training_field::kAlgorithm, message, Message::graph},
                                   {3, message, Message::entry}, {4, message, Message::entry}};
constexpr FieldRule kSequenceData[] = {
    {data_field::kName, name}, {data_field::kElemType, varint}, {data_field::kTensor, message, Message::tensor},
    {data_field::kSparseTensor, message, Message::sparse_tensor}, {data_field::kSequence, message, Message::sequence_data},
    {data_field::kOptional, message, Message::optional_data}};

// In the order of enum Message.
constexpr MessageRule kRules[] = {
    {"ModelProto", kModel}, {"GraphProto", kGraph}, {"NodeProto", kNode}, {"AttributeProto", kAttribute},
    {"TensorProto", kTensor}, {"SparseTensorProto", kSparseTensor}, {"TensorProto.Segment", kSegment},
    {"ValueInfoProto", kValueInfo}, {"TypeProto", kType}, {"TypeProto.Tensor", kTensorType},
    {"TypeProto.Sequence", kSequenceType}, {"TypeProto.Map", kMapType}, {"TypeProto.Opaque", kOpaqueType},
    {"TensorShapeProto", kShape}, {"TensorShapeProto.Dimension", kDimension}, {"StringStringEntryProto", kEntry},
    {"TensorAnnotation", kAnnotation}, {"OperatorSetIdProto", kOpset}, {"FunctionProto", kFunction},
    {"TrainingInfoProto", kTraining}, {"SequenceProto", kSequenceData}, {"OptionalProto", kSequenceData}};

// What a message takes in memory once it is decoded, its strings and lists not included: the IR's own sizes, and what hash tables,
// shared pointers and the decoder add, measured on a million of each.
std::uint64_t decoded_size(Message kind) {
  constexpr std::uint64_t kTableEntry = 96, kTensorStorage = 192, kSmall = 64;
  switch (kind) {
    case Message::graph: case Message::function: case Message::training: return sizeof(Graph) + kTableEntry;
    case Message::node: return sizeof(Node) + 3 * kTableEntry;
    case Message::attribute: return sizeof(Attribute) + kSmall;
    case Message::tensor: case Message::sparse_tensor: return sizeof(Value) + kTensorStorage + kTableEntry;
    case Message::value_info: return sizeof(Value) + kTableEntry;
    case Message::type: return sizeof(Type);
    case Message::dimension: return sizeof(Dim);
    default: return kSmall;
  }
}
constexpr std::uint64_t kStringBytes = sizeof(std::string) + 32;  // one in a list
constexpr std::uint64_t kNameCopies = 3;                          // a value's own, the table's, the decoder's

class Scanner {
 public:
  Scanner(std::string_view file, const Limits& limits) : file_(file), limits_(limits) {}

  Status message(std::string_view bytes, Message kind, std::uint64_t depth) {
    const MessageRule& rule = kRules[static_cast<std::size_t>(kind)];
    if (depth > limits_.max_depth)
      return fail_input("byte {}: messages are nested more than {} deep, in a {}; no real model is", offset(bytes.data()),
                        limits_.max_depth, rule.name);
    Reader reader(bytes);
    Field field;
    std::array<std::uint64_t, 12> occurrences{};  // of a node's and a function's fields, which are numbered below 12
    while (reader.next(field)) {
      const FieldRule* known = nullptr;
      for (const FieldRule& candidate : rule.fields)
        if (candidate.number == field.number) known = &candidate;
      if (kind == Message::node && field.number < occurrences.size() && ++occurrences[field.number] > limits_.max_operands)
        return fail_input("byte {}: a node has more than {} inputs, outputs or attributes; no real node does", offset(field.whole.data()),
                          limits_.max_operands);
      if (known != nullptr) BEVEL_TRY_STATUS(check(field, *known, rule, depth));
      else if (field.number == value_info_field::kTensorExtras)
        return fail_input("byte {}: a {} has a field numbered {}, which is not ONNX", offset(field.whole.data()), rule.name,
                          field.number);
      if (totals.payload_bytes + limits_.max_skeleton_bytes < offset(field.whole.data()))
        return fail_input("byte {}: the model holds more than {} bytes besides its tensors", offset(field.whole.data()),
                          limits_.max_skeleton_bytes);
    }
    if (reader.damaged() != nullptr)
      return fail_input("byte {}: the file is damaged or cut off: {}, in a {}", offset(reader.position()),
                        reader.damaged(), rule.name);
    return {};
  }

  ScanTotals totals;

 private:
  [[nodiscard]] std::uint64_t offset(const char* at) const { return static_cast<std::uint64_t>(at - file_.data()); }

  Status wrong_wire(const Field& field, const MessageRule& rule) const {
    return fail_input("byte {}: field {} of a {} has wire type {}, which is not ONNX's: the file is damaged",
                      offset(field.whole.data()), field.number, rule.name, static_cast<int>(field.wire));
  }

  // `bytes` more of what the decoded skeleton takes.
  Status decode(const Field& field, const MessageRule& rule, std::uint64_t bytes) {
    totals.decoded_bytes += bytes;
    if (totals.decoded_bytes > limits_.max_decoded_bytes)
      return fail_input("byte {}: the model's graphs, nodes, types and names would take more than {} bytes of memory, here a {}; no real "
                        "model's do (--limits decoded=N raises the limit)", offset(field.whole.data()), limits_.max_decoded_bytes, rule.name);
    return {};
  }

  // Numbers that stand as such in the file, one after the other: `size` bytes of memory for each.
  Status list(const Field& field, const MessageRule& rule, std::uint64_t size) {
    std::uint64_t numbers = 1;
    if (field.wire == Wire::bytes) {
      numbers = 0;
      for (const char byte : field.bytes) numbers += static_cast<unsigned char>(byte) < 0x80;  // each varint has one such byte
    }
    totals.list_bytes += numbers * size;
    if (totals.list_bytes > std::max<std::uint64_t>(limits_.max_number_list_bytes, 2 * file_.size()))
      return fail_input("byte {}: the numbers that are not raw data would take more than {} bytes of memory, here in a {} (--limits lists=N "
                        "raises the limit)", offset(field.whole.data()), limits_.max_number_list_bytes, rule.name);
    return {};
  }

  Status count(const Field& field, const MessageRule& rule) {
    if (++totals.elements > limits_.max_messages)
      return fail_input("byte {}: the file holds more than {} messages and strings, here in a {}; no real model does",
                        offset(field.whole.data()), limits_.max_messages, rule.name);
    return {};
  }

  Status check(const Field& field, const FieldRule& known, const MessageRule& rule, std::uint64_t depth) {
    const bool is_bytes = field.wire == Wire::bytes;
    switch (known.kind) {
      case varint: return field.wire == Wire::varint ? Status() : wrong_wire(field, rule);
      case fixed32: return field.wire == Wire::fixed32 ? Status() : wrong_wire(field, rule);
      case varints:
        if (field.wire != Wire::varint && !is_bytes) return wrong_wire(field, rule);
        return list(field, rule, 2 * sizeof(std::int64_t));  // grown by doubling
      case fixed32s: return field.wire == Wire::fixed32 || is_bytes ? Status() : wrong_wire(field, rule);
      case payload_varints:
      case payload_fixed32s:
      case payload_fixed64s: {
        const Wire single = known.kind == payload_varints    ? Wire::varint
                            : known.kind == payload_fixed32s ? Wire::fixed32
                                                             : Wire::fixed64;
        if (field.wire != single && !is_bytes) return wrong_wire(field, rule);
        totals.payload_bytes += field.whole.size();
        if (known.kind == payload_varints)
          return list(field, rule, field.number == tensor_field::kInt32Data ? sizeof(std::int32_t) : sizeof(std::int64_t));
        totals.list_bytes += field.bytes.size();
        return {};
      }
      case payload:
        if (!is_bytes) return wrong_wire(field, rule);
        totals.payload_bytes += field.bytes.size();
        return {};
      case repeated_name:
      case repeated_text:
        BEVEL_TRY_STATUS(count(field, rule));
        // An output becomes a Value; the other names of lists refer to one.
        BEVEL_TRY_STATUS(decode(field, rule, &rule == &kRules[static_cast<std::size_t>(Message::node)] && field.number == node_field::kOutput
                                                 ? decoded_size(Message::value_info)
                                                 : kStringBytes));
        [[fallthrough]];
      case name:
      case text:
        if (!is_bytes) return wrong_wire(field, rule);
        if ((known.kind == name || known.kind == repeated_name) && field.bytes.size() > limits_.max_name_bytes)
          return fail_input("byte {}: a name in a {} is {} bytes long; expected at most {}", offset(field.whole.data()),
                            rule.name, field.bytes.size(), limits_.max_name_bytes);
        return decode(field, rule, field.bytes.size() * (known.kind == text || known.kind == repeated_text ? 1 : kNameCopies));
      case Kind::message:
        if (!is_bytes) return wrong_wire(field, rule);
        BEVEL_TRY_STATUS(count(field, rule));
        if (known.child == Message::opset && ++opsets_ > limits_.max_opsets)
          return fail_input("byte {}: more than {} operator sets are imported; no real model needs as many", offset(field.whole.data()),
                            limits_.max_opsets);
        BEVEL_TRY_STATUS(decode(field, rule, decoded_size(known.child)));
        return message(field.bytes, known.child, depth + 1);
    }
    return {};
  }

  std::string_view file_;
  const Limits& limits_;
  std::uint64_t opsets_ = 0;
};

}  // namespace

std::optional<Message> message_in(Message parent, std::uint32_t field) {
  for (const FieldRule& rule : kRules[static_cast<std::size_t>(parent)].fields)
    if (rule.number == field && rule.kind == Kind::message) return rule.child;
  return std::nullopt;
}

Result<ScanTotals> scan(std::string_view bytes, Message kind, const Limits& limits) {
  Scanner scanner(bytes, limits);
  BEVEL_TRY_STATUS(scanner.message(bytes, kind, 0));
  scanner.totals.skeleton_bytes = bytes.size() - scanner.totals.payload_bytes;
  if (scanner.totals.skeleton_bytes > limits.max_skeleton_bytes)
    return fail_input("the model holds {} bytes besides its tensors; expected at most {}", scanner.totals.skeleton_bytes,
                      limits.max_skeleton_bytes);
  return scanner.totals;
}

}  // namespace bevel::onnx
