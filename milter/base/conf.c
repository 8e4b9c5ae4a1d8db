/* conf */
#include "relaypool.h"
