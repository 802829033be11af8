// In which worlds the suite runs. The tests themselves stand in the files beside this one.
#include "conformance/suite.h"

namespace drover::conformance {

DROVER_IN_BOTH_WORLDS(Conformance);

}  // namespace drover::conformance
