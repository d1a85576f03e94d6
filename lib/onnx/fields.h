// Field numbers of onnx-ml.proto and onnx-data.proto (onnx 1.23), message by message. What is missing here is unknown to
// Bevel and travels as bytes.
#pragma once

#include <cstdint>

namespace bevel::onnx {

namespace model_field {
constexpr std::uint32_t kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kDomain = 4, kModelVersion = 5,
                        kDocString = 6, kGraph = 7, kOpsetImport = 8, kMetadataProps = 14, kTrainingInfo = 20,
                        kFunctions = 25;
}
namespace opset_field {
constexpr std::uint32_t kDomain = 1, kVersion = 2;
}
namespace entry_field {  // StringStringEntryProto
constexpr std::uint32_t kKey = 1, kValue = 2;
}
namespace graph_field {
constexpr std::uint32_t kNode = 1, kName = 2, kInitializer = 5, kDocString = 10, kInput = 11, kOutput = 12,
                        kValueInfo = 13, kQuantizationAnnotation = 14, kSparseInitializer = 15, kMetadataProps = 16;
}
namespace node_field {
constexpr std::uint32_t kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDocString = 6, kDomain = 7,
                        kOverload = 8, kMetadataProps = 9;
}
namespace attribute_field {
constexpr std::uint32_t kName = 1, kFloat = 2, kInt = 3, kString = 4, kTensor = 5, kGraph = 6, kFloats = 7, kInts = 8,
                        kStrings = 9, kTensors = 10, kGraphs = 11, kDocString = 13, kTypeProto = 14, kTypeProtos = 15,
                        kType = 20, kRefAttrName = 21, kSparseTensor = 22, kSparseTensors = 23;
}
namespace attribute_type {
constexpr std::int64_t kUndefined = 0, kFloat = 1, kInt = 2, kString = 3, kTensor = 4, kGraph = 5, kFloats = 6,
                       kInts = 7, kStrings = 8, kTensors = 9, kGraphs = 10, kSparseTensor = 11, kTypeProto = 13, kTypeProtos = 14;
}
namespace tensor_field {
constexpr std::uint32_t kDims = 1, kDataType = 2, kSegment = 3, kFloatData = 4, kInt32Data = 5, kStringData = 6,
                        kInt64Data = 7, kName = 8, kRawData = 9, kDoubleData = 10, kUint64Data = 11, kDocString = 12,
                        kExternalData = 13, kDataLocation = 14, kMetadataProps = 16;
}
namespace sparse_field {
constexpr std::uint32_t kValues = 1, kIndices = 2, kDims = 3;
}
namespace value_info_field {
constexpr std::uint32_t kName = 1, kType = 2, kDocString = 3, kMetadataProps = 4;
// Ours, inside Value::opaque only and never in a file: the fields of the value's TensorProto that Bevel carries
// through, kept apart from those of its ValueInfoProto.
constexpr std::uint32_t kTensorExtras = (1u << 29) - 1;
}
namespace type_field {
constexpr std::uint32_t kTensor = 1, kSequence = 4, kMap = 5, kDenotation = 6, kOpaque = 7, kSparseTensor = 8,
                        kOptional = 9;
constexpr std::uint32_t kElemType = 1, kShape = 2;         // in Tensor, SparseTensor; Sequence and Optional: kElemType
constexpr std::uint32_t kMapKey = 1, kMapValue = 2;        // in Map
constexpr std::uint32_t kDim = 1;                          // in TensorShapeProto
constexpr std::uint32_t kDimValue = 1, kDimParam = 2, kDimDenotation = 3;  // in Dimension
}
namespace function_field {
constexpr std::uint32_t kName = 1, kInput = 4, kOutput = 5, kAttribute = 6, kNode = 7, kDocString = 8, kOpsetImport = 9,
                        kDomain = 10, kAttributeProto = 11, kValueInfo = 12, kOverload = 13, kMetadataProps = 14;
}
namespace training_field {
constexpr std::uint32_t kInitialization = 1, kAlgorithm = 2;
}
namespace data_field {  // SequenceProto and OptionalProto: one tensor or many, by the same numbers
constexpr std::uint32_t kName = 1, kElemType = 2, kTensor = 3, kSparseTensor = 4, kSequence = 5, kMap = 6, kOptional = 7;
constexpr std::int64_t kElementUndefined = 0, kElementTensor = 1, kElementSequence = 3, kElementOptional = 5;
}

}  // namespace bevel::onnx
