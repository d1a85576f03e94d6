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
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ir/datum.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::onnx {

// Caps of the wire pre-scan, which walks the file before anything is built from it, and of what is built. The defaults keep a file of
// up to 64 MiB below 512 MiB beyond itself and 2 s (tests/robustness/attacks_test.cpp), and leave room above any known model: the
// largest exports of language models have some 50,000 nodes.
struct Limits {
  std::uint64_t max_depth = 64;                       // nesting of messages (graphs in graphs, types in types)
  std::uint64_t max_messages = 4'000'000;             // sub-messages and repeated strings in the whole file
  std::uint64_t max_skeleton_bytes = 256ull << 20;    // everything but tensor contents
  std::uint64_t max_decoded_bytes = 128ull << 20;     // what the skeleton takes once decoded, estimated
  std::uint64_t max_number_list_bytes = 192ull << 20; // numbers that are not raw data, once decoded; twice the file where that is more
  std::uint64_t max_nodes = 150'000;                  // in all graphs; a Node is far larger in memory than in a file
  std::uint64_t max_values = 300'000;                 // in all graphs, captures counted once for each
  std::uint64_t max_operands = 16'384;                // inputs, or outputs, or attributes of one node
  std::uint64_t max_opsets = 1'024;                   // imported by the model, or by one function
  std::uint64_t max_rank = 64;
  std::uint64_t max_name_bytes = 64 * 1024;
  std::uint64_t max_trips = 10'000'000;               // runs of loop bodies and branches, in one evaluation of the model
};

// One of them, by the name that --limits knows it under.
struct LimitRecord {
  std::string_view name;
  std::uint64_t Limits::*field;
  std::string_view what;
  std::uint64_t most = ~std::uint64_t{0};  // that may be asked for
};
std::span<const LimitRecord> all_limits();

// "nesting=100,nodes=1M": the defaults with some of them changed; K, M and G are powers of 1024 for bytes, of 1000 for the rest. Exit 2 for a
// name that is not known (the message lists them), for a number that is none, and for a name given twice.
Result<Limits> parse_limits(std::string_view text);

struct ImportOptions {
  Limits limits;
  // Folder that external data must lie beneath; empty: the model's own.
  std::filesystem::path external_root;
  std::vector<std::filesystem::path> allowed_roots;  // FileRoot::allowed
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
Result<Tensor> read_tensor_proto(const std::filesystem::path& path, std::string* name = nullptr, const ImportOptions& options = {});

// A TensorProto, SequenceProto or OptionalProto file, by the type of the value that it is for: the file does not say
// which it is. An absent optional is an empty Datum.
Result<Datum> read_value_proto(const std::filesystem::path& path, const Type& type, std::string* name = nullptr,
                               const ImportOptions& options = {});

}  // namespace bevel::onnx
