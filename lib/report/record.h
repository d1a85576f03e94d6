// What a road hands over to be shown: plain figures, no behaviour. lib/report turns them into JSON, Markdown and the terminal's
// summary. Nothing here holds a clock, a host, a path or a thread count, so that equal work gives equal bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bevel::report {

// Where the samples of a measurement came from.
struct SampleSource {
  std::string from;         // "evaluation", "calibration", "random"
  std::uint64_t count = 0;
  std::string sha256;       // of the data's content; empty for random inputs
  bool operator==(const SampleSource&) const = default;
};

// A labelled metric of up to three executions of the same network. Percent for top-k, 0..1 for auc.
struct MetricFigures {
  std::string name;
  std::optional<double> float_model, int8_model, runtime;
};

// One output of a test execution against a reference, pooled over samples.
struct OutputComparison {
  std::string output;
  double sqnr_db = 0;             // +inf: identical
  double agreement = 0;           // fraction of samples with the same argmax (of equal values the lowest index)
  double max_abs_difference = 0;
  std::int64_t identical = 0, elements = 0;
  bool class_scores = true;       // the largest element means something: a class. Else the agreement is measured and judges nothing
};

struct LayerRow {
  std::string name, kernel;
  std::uint64_t macs = 0, cycles = 0, weight_bytes = 0;
  std::optional<double> sqnr_db;  // of the layer's quantized output against the float model, where it was measured
};

struct FloatRow {
  std::string node, op_type, reason;
};

struct BudgetRow {
  std::string name;      // "ram", "flash", "latency", "energy"
  std::string unit;      // "B", "s", "J"
  double value = 0;
  double limit = 0;
  bool modelled = false; // from the device's cost table, not counted
  bool met = true;
  std::string from;      // "stated" by the user, or the "device"'s own size
};

struct NamedBytes {
  std::string name;
  std::uint64_t bytes = 0;
};

// What --precision auto measured and chose.
struct PrecisionFormat {
  std::string format;                             // "int4", "int8", "int16" (activations, beside int8 weights), "float32"
  double loss = 0;                                // what this group alone adds to the divergence of the outputs, against int8
  std::uint64_t weight_bytes = 0, activation_bytes = 0;
};
struct PrecisionRow {
  std::string name, format, why;
  std::vector<std::string> nodes;                 // that have the format together
  std::vector<PrecisionFormat> offered;
};
struct PrecisionStep {
  std::string what;
  std::uint64_t bytes = 0;                        // of weights and activations
  double drop = 0;                                // points, all groups together
  bool held = false, fits = true;                 // the drop; the limits
};
struct PrecisionRecord {
  double allowed = 0, drop = 0;                   // points
  std::string judged_by;                          // what they are points of
  bool held = false;
  bool proven = true;                             // for losses that add up, each choice was proven the best within its limits
  double gap = 0;                                 // else: of the losses, how much better one could have been
  std::vector<PrecisionRow> groups;
  std::vector<PrecisionStep> steps;               // measured together, in order
};

// The figures of one file that was written, or would have been.
struct CompileRecord {
  std::string status = "ok";           // "ok", "budget-missed", "verification-failed", "dry-run"
  std::vector<std::string> messages;   // why the status is not ok; the same paragraphs as on stderr
  std::vector<std::string> warnings;   // the outputs were written, but they hardly stand for their source
  std::vector<std::string> notes;      // what a user should know and need not act on

  struct ModelFigures {
    std::string graph, sha256;
    std::uint64_t parameters = 0, macs = 0, nodes = 0, nodes_simplified = 0;
    std::int64_t opset = 0;
  } model;
  struct TargetFigures {
    std::string name, summary, isa;
    double clock_hz = 0;
  } target;

  // Verification: absent in a dry run and when a budget was missed first.
  std::optional<SampleSource> samples;
  std::optional<MetricFigures> metric;
  std::vector<OutputComparison> int8_outputs;     // int8 ONNX, evaluated, against the float model
  std::vector<OutputComparison> runtime_outputs;  // the Program in the C runtime against the evaluated int8 ONNX
  std::optional<double> max_drop;                 // as asked for
  std::optional<double> drop;                     // in points, the worse of int8 and runtime

  SampleSource calibration;
  std::uint64_t float_onnx_bytes = 0, int8_onnx_bytes = 0, program_bytes = 0, c_source_bytes = 0;
  std::uint64_t arena_bytes = 0, arena_lower_bound = 0, state_bytes = 0, ram_bytes = 0;
  std::uint64_t constant_bytes = 0, flash_bytes = 0;
  std::uint64_t stack_bytes = 0;                  // bound, stated apart from RAM
  std::uint64_t cycles = 0;
  double latency_seconds = 0, energy_joules = 0;
  std::vector<BudgetRow> budget;
  std::string peak_step;                          // node whose step has the largest set of tensors alive
  std::vector<NamedBytes> peak_tensors, largest_weights;
  std::optional<std::string> target_that_fits;    // where the device, and not only the user's own limit, was too small; empty: none known
  std::vector<LayerRow> layers;
  std::vector<FloatRow> stays_float;
  std::optional<PrecisionRecord> precision;       // where it was searched
  std::map<std::string, std::string> files;       // name -> SHA-256 of every other output
};

// optimize, calibrate, quantize, emit-c, opt: what was written and how it was checked.
struct WriteRecord {
  std::string command;
  std::vector<NamedBytes> files;
  std::optional<SampleSource> samples;
  std::vector<OutputComparison> outputs;          // against the source
  std::string not_checked;                        // why nothing could be compared; empty: it was
  std::uint64_t nodes_before = 0, nodes_after = 0;
  struct PassRow {
    std::string pass;
    std::uint64_t changes = 0;
  };
  std::vector<PassRow> passes;
  std::vector<FloatRow> stays_float;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;              // the output was written, but it hardly stands for its source
  std::optional<PrecisionRecord> precision;       // where it was searched
  bool dry_run = false;
};

struct RunRecord {
  std::uint64_t samples = 0;                      // 1 for whole tensors
  struct Port {
    std::string name, type;
  };
  bool whole_tensors = false;                     // --inputs: one run of tensors as they stand, whatever their batch
  std::vector<Port> inputs;                       // of whole tensors, as given
  std::vector<Port> outputs;
  std::string stable_hash;                        // SHA-256 over all output values, in order
};

struct EvalRecord {
  SampleSource samples;
  std::string metric;
  double value = 0;
  std::vector<std::string> notes;
};

struct BenchRow {
  std::string node, op_type;
  double seconds = 0;                             // least of the runs, per sample
};

struct BenchRecord {
  SampleSource samples;
  std::size_t runs = 0;                           // timed, over all samples
  double load_seconds = 0;                        // from the file to a model ready to run
  double minimum_seconds = 0, median_seconds = 0; // per sample
  std::vector<BenchRow> nodes;                    // slowest first; empty unless asked for
};

struct CompareRecord {
  SampleSource samples;
  std::vector<OutputComparison> outputs;          // B against A
  std::string metric;                             // empty: no labels
  std::optional<double> a, b;
  std::optional<double> max_drop, drop;
  bool passed = true;
  std::vector<std::string> notes;
};

// Why a layer errs: one of the kinds that docs/report-schema.md lists, in words and in figures.
struct ExplainCause {
  std::string kind, text;
  std::map<std::string, double> figures;
};

// A change of the recipe that was tried, and what it gave at the outputs.
struct ExplainFix {
  std::string node, key, value;                   // nodes.NODE.KEY = VALUE
  double gain_db = 0;                             // of the outputs' SQNR, when this alone is changed
  std::string measured_by;                        // "requantized", "requantized-nearest" or "patched": how it was tried
};

struct ExplainLayer {
  std::string node, op_type, value;               // value: of the float model
  std::string matched_by;                         // "name" or "position"
  double alone_db = 0, accumulated_db = 0;        // SQNR of its result: from float values, and as it is in the quantized model
  double alone_low_db = 0, alone_high_db = 0;     // 90 % of resampled sets of samples lie between
  std::optional<double> weights_db;               // with its integer weights alone
  std::optional<double> contribution_db;          // what the outputs' SQNR gains when this layer alone is as in float; absent: not tried
  std::vector<ExplainCause> causes;               // the main one first
  std::vector<ExplainFix> fixes;                  // that were tried, the best first
};

struct ExplainRecord {
  std::string reference;                          // "source": the model was quantized here; "given"; "own": its own float version
  SampleSource calibration, samples;              // ranges were looked at on the former, errors on the latter
  std::vector<OutputComparison> outputs;          // quantized against float
  double outputs_db = 0;                          // of all outputs: from the mean of their relative errors
  std::string metric;                             // empty: no labels
  std::optional<double> float_metric, quantized_metric;
  std::vector<ExplainLayer> layers;               // by what they contribute, then by their own error
  std::vector<FloatRow> without_counterpart;
  std::vector<FloatRow> stays_float;
  std::vector<ExplainFix> recipe_lines;           // that help together
  std::optional<double> recipe_gain_db;           // measured together; absent: none helps, or none was tried
  std::string recipe;                             // JSON: the recipe with these lines; empty: none
  std::vector<std::string> notes;
};

struct InspectRow {
  std::string node, op_type, shape;               // shape of the first output, with its dtype
  std::optional<std::uint64_t> macs;              // absent: a dimension is unknown
  std::uint64_t parameters = 0, weight_bytes = 0;
  std::optional<std::uint64_t> output_bytes;
  bool known = true;
  bool simplified_away = false;                   // a name that neither --keep-float nor a recipe can take
};

struct InspectRecord {
  std::string graph, sha256, opsets;
  struct Port {
    std::string name, type;
  };
  std::vector<Port> inputs, outputs;
  std::vector<InspectRow> layers;
  std::uint64_t parameters = 0;                   // elements of the weights, whatever their dtype
  std::uint64_t weight_bytes = 0;                 // of all constants: scales, zero points, shapes too
  std::map<std::string, std::uint64_t> weight_bytes_by_dtype;
  std::uint64_t nodes_simplified = 0;
  std::uint64_t macs = 0;                         // sum of the known ones
  bool macs_complete = true;
  std::vector<std::pair<std::string, std::string>> added_nodes;  // name, operator: what simplifying puts in the others' place
  std::vector<FloatRow> stays_float;
  bool float_compute = true;                      // whether there is a node that computes on floats
  std::string stays_float_unknown;                // why the forecast could not be made; empty: it was
  std::vector<std::string> notes;
};

struct TargetRow {
  std::string name, summary, isa, activations;
  double ram_bytes = 0, flash_bytes = 0, clock_hz = 0, active_watts = 0;
  std::map<std::string, std::string> sources;     // figure -> where it comes from
  std::vector<std::string> not_confirmed;         // figures that no document at hand held and nothing counted, sorted
  [[nodiscard]] bool confirmed(std::string_view figure) const {
    return std::find(not_confirmed.begin(), not_confirmed.end(), figure) == not_confirmed.end();
  }
};

struct PassRow {
  std::string name, accuracy, summary;
  struct Option {
    std::string name, default_value, summary;
  };
  std::vector<Option> options;
};

}  // namespace bevel::report
