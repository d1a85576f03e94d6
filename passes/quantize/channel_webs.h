// Channel webs: which constants hold the scale of an activation's channels.
//
// Where nodes commute with positive factors (rectifiers, pooling, sums, concatenations, movement), the channels of what they read and write can
// only be scaled together. A web is what hangs together so: values whose channels belong to classes, one factor for each class; constants that
// are divided by it where a channel is made (a layer's weights and bias), and multiplied where it is read (the next layer's weights). The float
// function stays what it was, up to rounding.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/facts.h"
#include "passes/quantize/selection.h"

namespace bevel::passes {

struct ChannelWeb {
  // A value whose channels are scaled.
  struct Member {
    ValueId value;
    int axis = 0;
    std::vector<std::int32_t> classes;    // by index along the axis
    std::vector<std::size_t> rounded_before;  // members that are rounded on the way to this one, so that it inherits their error
  };
  // A layer that reads a member, which its weights make up for.
  struct Reader {
    NodeId node;
    std::size_t member = 0;
    std::vector<std::int32_t> channels;   // of the member, by element of the weights
    bool spreads_freely = false;          // each of its scales belongs to one channel alone (depthwise)
  };
  // A constant that is divided by its classes' factors.
  struct Made {
    ValueId constant;
    std::vector<std::int32_t> classes;    // by element; where the constant has one element for all: by channel
  };
  // A clamp: the factor may not be such that a channel that reaches a bound meets it elsewhere.
  struct Clamp {
    std::size_t member = 0;               // its result
    ops::Interval bounds;
  };
  std::size_t classes = 0;
  std::vector<bool> fixed;                // by class: something that cannot make up for a factor makes or reads it
  std::vector<Member> members;
  std::vector<Reader> readers;
  std::vector<Made> made;
  std::vector<Clamp> clamps;
  NodeId maker;                           // the first layer that makes a member, for messages
};

// Webs that have a class that is not fixed, in execution order of their makers. Constants are those that nothing else reads.
std::vector<ChannelWeb> find_channel_webs(const Model& model, const std::vector<ops::Facts>& facts, const Selection& selection);

}  // namespace bevel::passes
