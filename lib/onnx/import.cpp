#include <utility>

#include "lib/ir/verify.h"
#include "lib/onnx/decode.h"
#include "lib/onnx/fields.h"
#include "lib/onnx/onnx.h"
#include "lib/onnx/scan.h"

namespace bevel::onnx {

namespace {

constexpr std::string_view kLfsPointer = "version https://git-lfs.github.com/spec/";

bool looks_like_text(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 512);
  for (const char c : head) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t' && byte != '\f') return false;
  }
  return true;
}

Status check_scanned(const Source& source, Message kind, const Limits& limits, const char* expected) {
  const std::string_view bytes = source.text();
  if (bytes.empty()) return fail_input("the file is empty; expected {}", expected);
  if (bytes.starts_with(kLfsPointer))
    return fail_input("this is a Git LFS pointer, not the file it stands for; run 'git lfs pull' to fetch it");
  auto scanned = scan(bytes, kind, limits);
  if (scanned) return {};
  if (looks_like_text(bytes)) return fail_input("this is a text file; expected {}", expected);
  return Failure(std::move(scanned).error());
}

Result<Source> open_source(const std::filesystem::path& path, Message kind, const ImportOptions& options,
                           const char* expected) {
  BEVEL_TRY(auto file, MappedFile::open(path));
  const std::filesystem::path root = options.external_root.empty() ? path.parent_path() : options.external_root;
  Source source(std::move(file), FileRoot{root, options.allowed_roots}, options.limits);
  if (auto status = check_scanned(source, kind, options.limits, expected); !status)
    return located(printable(path.string()), std::move(status).error());
  return source;
}

// Metadata of two plain strings; an entry with more in it is carried through as it is.
Status add_metadata(Model& model, const Field& field) {
  std::pair<std::string, std::string> entry;
  bool plain = true;
  BEVEL_TRY_STATUS(each_field({field.bytes}, [&](const Field& inner) -> Status {
    if (inner.number == entry_field::kKey) entry.first = inner.bytes;
    else if (inner.number == entry_field::kValue) entry.second = inner.bytes;
    else plain = false;
    return {};
  }));
  if (plain) model.metadata.push_back(std::move(entry));
  else model.opaque += field.whole;
  return {};
}

Result<Model> decode_model(Source& source) {
  Model model;
  Pieces graph;
  BEVEL_TRY_STATUS(each_field({source.text()}, [&](const Field& field) -> Status {
    switch (field.number) {
      case model_field::kIrVersion: model.ir_version = field.as_int64(); return {};
      case model_field::kProducerName: model.producer_name = field.bytes; return {};
      case model_field::kProducerVersion: model.producer_version = field.bytes; return {};
      case model_field::kDomain: model.domain = field.bytes; return {};
      case model_field::kModelVersion: model.model_version = field.as_int64(); return {};
      case model_field::kDocString: model.doc_string = field.bytes; return {};
      case model_field::kGraph: graph.push_back(field.bytes); return {};
      case model_field::kOpsetImport: return decode_opset(field.bytes, model.opsets);
      case model_field::kMetadataProps: return add_metadata(model, field);
      case model_field::kFunctions: {
        BEVEL_TRY(Function function, decode_function(source, field.bytes));
        model.functions.push_back(std::move(function));
        return {};
      }
      default: model.opaque += field.whole; return {};
    }
  }));
  if (graph.empty()) return fail_input("the model has no graph; expected an ONNX ModelProto with one");
  BEVEL_TRY(model.graph, decode_graph(source, graph));
  BEVEL_TRY_STATUS(verify(model));
  return model;
}

// SequenceProto (`many`) or OptionalProto: tensors, sequences or optionals, as its elem_type says.
Result<Datum> decode_elements(Source& source, const Pieces& pieces, bool many, std::string* name) {
  std::int64_t element = data_field::kElementUndefined;
  Pieces tensors, sequences, optionals;
  BEVEL_TRY_STATUS(each_field(pieces, [&](const Field& field) -> Status {
    switch (field.number) {
      case data_field::kName:
        if (name != nullptr) *name = field.bytes;
        return {};
      case data_field::kElemType: element = static_cast<std::int32_t>(field.scalar); return {};
      case data_field::kTensor: tensors.push_back(field.bytes); return {};
      case data_field::kSequence: sequences.push_back(field.bytes); return {};
      case data_field::kOptional: optionals.push_back(field.bytes); return {};
      default: return fail_input("it holds sparse tensors or maps; expected tensors, sequences or optionals");
    }
  }));
  const Pieces& chosen = element == data_field::kElementSequence   ? sequences
                         : element == data_field::kElementOptional ? optionals
                                                                   : tensors;
  Sequence sequence;
  const auto add = [&](const Pieces& one) -> Status {
    if (element == data_field::kElementTensor || element == data_field::kElementUndefined) {
      BEVEL_TRY(DecodedTensor decoded, decode_tensor(source, one));
      sequence.emplace_back(std::move(decoded.tensor));
    } else if (element == data_field::kElementSequence || element == data_field::kElementOptional) {
      BEVEL_TRY(Datum inner, decode_elements(source, one, element == data_field::kElementSequence, nullptr));
      sequence.push_back(std::move(inner));
    } else {
      return fail_input("its element kind is number {}; expected tensors, sequences or optionals", element);
    }
    return {};
  };
  if (many) {
    for (const std::string_view piece : chosen) BEVEL_TRY_STATUS(add({piece}));
    return Datum(std::move(sequence));
  }
  if (element == data_field::kElementUndefined || chosen.empty()) return Result<Datum>(tl::in_place);
  BEVEL_TRY_STATUS(add(chosen));
  return std::move(sequence.front());
}

}  // namespace

Result<Model> import_model(const std::filesystem::path& path, const ImportOptions& options,
                           std::vector<std::filesystem::path>* external_files) {
  BEVEL_TRY(Source source, open_source(path, Message::model, options, "an ONNX model"));
  auto model = decode_model(source);
  if (!model) return located(printable(path.string()), std::move(model).error());
  model->source = path.string();
  if (external_files != nullptr) *external_files = source.external_files();
  return model;
}

Result<Tensor> read_tensor_proto(const std::filesystem::path& path, std::string* name, const ImportOptions& options) {
  BEVEL_TRY(Datum datum, read_value_proto(path, Type::tensor(DType::undefined), name, options));
  return *datum.tensor();
}

Result<Datum> read_value_proto(const std::filesystem::path& path, const Type& type, std::string* name,
                               const ImportOptions& options) {
  const bool sequence = type.kind == Type::Kind::sequence, optional = type.kind == Type::Kind::optional;
  const Message kind = sequence ? Message::sequence_data : optional ? Message::optional_data : Message::tensor;
  BEVEL_TRY(Source source, open_source(path, kind, options, "an ONNX TensorProto"));
  const auto read = [&]() -> Result<Datum> {
    if (sequence || optional) return decode_elements(source, {source.text()}, sequence, name);
    BEVEL_TRY(DecodedTensor decoded, decode_tensor(source, {source.text()}));
    if (name != nullptr) *name = decoded.name;
    return Datum(std::move(decoded.tensor));
  };
  auto datum = read();
  if (!datum) return located(printable(path.string()), std::move(datum).error());
  return datum;
}

}  // namespace bevel::onnx
