// Which standard operators changed their form between opsets 7 and 13.
#pragma once

#include <cstdint>

#include "lib/ir/graph.h"

namespace bevel::ops {

// Whether a node of the default domain has another form in opset `to` than in `from`, from < to. (From 13 on families take either form.)
bool changes_form(const Node& node, std::int64_t from, std::int64_t to);
// A Scan of opset 8 with an operand of lengths: the one form of it that is not lifted.
bool states_lengths(const Node& node);

}  // namespace bevel::ops
