#include "lib/ir/datum.h"

namespace bevel {

Datum::Datum(Sequence sequence) : value(std::make_shared<const Sequence>(std::move(sequence))) {}

const Sequence* Datum::sequence() const {
  const auto* pointer = std::get_if<std::shared_ptr<const Sequence>>(&value);
  return pointer ? pointer->get() : nullptr;
}

}  // namespace bevel
