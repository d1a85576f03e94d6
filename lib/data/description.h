// "bevel-data/1" as written, checked for form; lib/data/dataset.cpp checks it against files and a model.
#pragma once

#include <string>
#include <vector>

#include "lib/data/steps.h"
#include "lib/support/result.h"

namespace bevel::data {

// "eval/*.jpg", "x.npz:key", "x.npy", "labels.csv:column".
struct Reference {
  std::string text;  // as written, for messages
  std::string path;  // relative to the description, no "..", not absolute
  std::string key;   // after the colon; empty when there is none
};
Result<Reference> parse_reference(const std::string& text, const std::string& where);

struct DescribedInput {
  std::string name;
  Reference from;
  std::vector<Step> steps;
  std::string steps_text;  // canonical JSON, for the content hash
};

struct Description {
  std::vector<DescribedInput> inputs;  // in name order
  std::string labels;                  // a reference, or empty
  std::string metric;                  // empty when not stated; else a known one
};

// Unknown and duplicate keys, wrong types and unknown steps are refused by name. Exit code: input.
Result<Description> parse_description(std::string_view text, const std::string& name);

}  // namespace bevel::data
