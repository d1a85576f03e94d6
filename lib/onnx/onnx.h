// The only room that knows ONNX's file format: models and tensors in and out.
//
// It reads and writes the wire format itself (wire.h) instead of parsing a skeleton with the linked libonnx: fields newer
// than libonnx 1.12 need no detour, files above protobuf's 2 GiB need no special case, nothing is held twice and no
// exception or recursion of a dependency is in the way. Tests read what it writes with libprotobuf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/datum.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::onnx {

// Caps of the wire pre-scan, which walks the file before anything is built from it.
struct Limits {
  std::uint32_t max_depth = 64;               // nesting of messages (graphs in graphs, types in types)
  std::uint64_t max_messages = 8'000'000;     // sub-messages and repeated strings in the whole file
  std::uint64_t max_skeleton_bytes = 256ull << 20;  // everything but tensor contents
  std::uint64_t max_nodes = 1'000'000;        // in all graphs; a Node is far larger in memory than in a file
  std::uint64_t max_values = 2'000'000;       // in all graphs, captures counted once for each
  std::uint32_t max_rank = 64;
  std::uint64_t max_name_bytes = 64 * 1024;
};

struct ImportOptions {
  Limits limits;
  // Folder that external data must lie beneath; empty: the model's own.
  std::filesystem::path external_root;
};

// Maps the file, pre-scans it, decodes it, points tensors into the map. The model is verified (ir/verify.h) but not
// upgraded and not type-inferred. What has no place in the IR is dropped: value_info entries for values that no longer
// exist. A sparse initializer becomes a Constant node with sparse_value. Errors: exit 5, one located paragraph starting with the file's name.
// `external_files` receives the files of external data that were opened, sorted.
Result<Model> import_model(const std::filesystem::path& path, const ImportOptions& options = {},
                           std::vector<std::filesystem::path>* external_files = nullptr);

struct ExportOptions {
  // Tensors of at least this many bytes go to `<file>.data` beside the model; nullopt: all inside, unless the model would
  // pass 2 GiB (protobuf's limit for readers).
  std::optional<std::uint64_t> external_threshold;
};
// Streams the skeleton, then the payloads, to `path` atomically (with its .data file first). Deterministic bytes.
Status export_model(const Model& model, const std::filesystem::path& path, const ExportOptions& options = {});

// A TensorProto file (input_0.pb of the ONNX test data sets). `name` receives the proto's name.
Result<Tensor> read_tensor_proto(const std::filesystem::path& path, std::string* name = nullptr);

// A TensorProto, SequenceProto or OptionalProto file, by the type of the value that it is for: the file does not say
// which it is. An absent optional is an empty Datum.
Result<Datum> read_value_proto(const std::filesystem::path& path, const Type& type, std::string* name = nullptr);

}  // namespace bevel::onnx
