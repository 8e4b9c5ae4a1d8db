/* reply */
#include "relaypool.h"
